"""The real command line, as a user types it: exit codes, messages, and never a traceback."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Plugins, write_scene
from tests.realbench.test_bench import CLASSES, METHODS


def realbench(*words: str | Path, cwd: Path, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"PYTHONPATH": str(site)} if site else {})}
    done = subprocess.run(
        [sys.executable, "-m", "realbench", *map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert "Traceback" not in done.stderr + done.stdout
    return done


def test_from_scenes_to_leaderboard(suite: Path, tmp_path: Path) -> None:
    """The main job, end to end: run, status, score, report."""
    done = realbench("run", "-m", "telea", "-m", "ground-truth", "-m", "mean-color=Floor", "--scenes", suite, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "fills: 8 ok, 1 unsupported" in done.stdout  # the scene without truth gives the oracle nothing to return
    assert "run: runs/suite" in done.stdout

    status = realbench("status", "runs/suite", cwd=tmp_path)
    assert status.returncode == 0
    assert re.search(r"telea\s+3\s", status.stdout)

    assert realbench("score", "runs/suite", "--metric", "psnr", cwd=tmp_path).returncode == 0

    report = realbench("report", cwd=tmp_path)  # the latest run
    assert report.returncode == 0, report.stderr
    folder = tmp_path / "runs" / "suite" / "report"
    assert {"leaderboard.html", "leaderboard.md", "scores.csv", "scores.parquet"} <= {path.name for path in folder.iterdir()}
    with (folder / "scores.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    perfect = [line for line in lines if (line["label"], line["metric"], line["state"]) == ("ground-truth", "psnr", "ok")]
    assert {line["value"] for line in perfect} == {"inf"} and len(perfect) == 2
    table = pd.read_parquet(folder / "scores.parquet")
    assert len(table) == len(lines) == 3 * 3 * 8
    page = (folder / "leaderboard.html").read_text()
    assert "Floor" in page and "telea" in page

    elsewhere = realbench("report", "runs/suite", "-o", "site", cwd=tmp_path)
    assert elsewhere.returncode == 0 and (tmp_path / "site" / "leaderboard.html").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run", "-m", "tela"], 2, "did you mean telea"),
        (["run", "-m", "telea", "--scenes", "nowhere"], 2, "nowhere"),
        (["run", "-m", "telea", "--scenes", "suite", "--scene", "z"], 2, "known: a, b, c"),
        (["run", "-m", "telea", "--scenes", "suite", "--set", "radius=wide"], 2, "method telea, setting radius"),
        (["run", "-m", "telea", "--scenes", "suite", "--set", "colour=red"], 2, "no method of this run has it; known: telea: radius"),
        (["run", "-m", "telea", "--scenes", "suite", "--seeds", "x"], 2, "--seeds"),
        (["run", "-m", "telea", "--scenes", "suite", "--metric", "pnsr"], 2, "did you mean psnr"),
        (["run", "-m", "telea", "--scenes", "suite", "--runner", "slurm"], 2, "unknown runner 'slurm'"),
        (["run", "--scenes", "suite"], 2, "--method"),
        (["run", "-m", "precomputed", "--scenes", "suite"], 2, "--set precomputed.fills=FOLDER"),
        (["report"], 5, "no run in"),
        (["status"], 5, "`realbench run --method …` makes one, or give the run's folder"),
        (
            ["status", "suite"],
            2,
            "give a folder that `realbench run` wrote; `realbench run --method NAME` makes one in runs/<suite's name>",
        ),
        (["methods", "tela"], 2, "did you mean telea"),
        (["scenes", "import", "nothing.zip", "there"], 2, "nothing.zip"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_explained(suite: Path, tmp_path: Path, words: list[str], code: int, message: str) -> None:
    done = realbench(*words, cwd=tmp_path)
    assert done.returncode == code
    assert message in " ".join(done.stderr.split())


def test_failed_cells_end_with_3_and_say_why(suite: Path, tmp_path: Path, plugins: Plugins) -> None:
    site = plugins("methods", CLASSES, METHODS).parent
    done = realbench("run", "-m", "bad", "--scenes", suite, "--scene", "a", "--seeds", "2", cwd=tmp_path, site=site)
    assert done.returncode == 3
    assert "failed: bad on a, seed 1: ValueError: no luck <b>today</b>" in done.stderr
    assert realbench("status", "runs/suite", cwd=tmp_path, site=site).returncode == 3


def test_status_needs_no_folder_and_knows_those_below(suite: Path, tmp_path: Path) -> None:
    realbench("run", "-m", "mean-color", "--scenes", suite, "--metric", "psnr", cwd=tmp_path)
    done = realbench("status", cwd=tmp_path)
    assert done.returncode == 0 and "run: runs/suite" in done.stdout and "mean-color" in done.stdout
    done = realbench("status", "runs", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.endswith("give a folder that `realbench run` wrote, such as runs/suite\n")


def test_repeats_without_effect_are_told_once(suite: Path, tmp_path: Path) -> None:
    words = [
        "run",
        "-m",
        "mean-color",
        "-m",
        "telea=T",
        "--scenes",
        suite,
        "--scene",
        "a",
        "--metric",
        "psnr",
        "--fits",
        "2",
        "--seeds",
        "3",
    ]
    done = realbench(*words, cwd=tmp_path)
    assert done.returncode == 0 and "fills: 2 ok" in done.stdout
    assert done.stderr.count("note: one fit, not 2, for mean-color, T: nothing is fitted to a scene there") == 1
    assert done.stderr.count("note: seed 0 alone, not 3 seeds, for mean-color, T: fills there do not depend on the seed") == 1


def test_missing_weights_end_with_6(suite: Path, tmp_path: Path, plugins: Plugins) -> None:
    site = plugins("methods", CLASSES, METHODS).parent
    words = ["run", "-m", "bad", "--scenes", suite, "--seeds", "2", "--set", "how=weights"]
    done = realbench(*words, cwd=tmp_path, site=site)
    assert done.returncode == 6
    assert "weights x are missing; get them" in done.stderr


def test_interrupted_runs_end_with_130_and_resume(suite: Path, tmp_path: Path, plugins: Plugins) -> None:
    site = plugins("methods", CLASSES, METHODS).parent
    words = [sys.executable, "-m", "realbench", "run", "-m", "bad", "--scenes", str(suite), "--scene", "a", "--seeds", "3", "--set"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    process = subprocess.Popen([*words, "how=hang"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("seed-00000/record.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: what was finished is kept" in errors and "Traceback" not in errors
    before = next(tmp_path.rglob("seed-00000/record.json")).stat().st_mtime_ns
    done = subprocess.run(
        [*words, "how=hang", "--timeout", "2"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 3 and "fills: 2 ok, 1 timeout" in done.stdout
    assert next(tmp_path.rglob("seed-00000/record.json")).stat().st_mtime_ns == before


def test_scenes_lists_and_checks(suite: Path, tmp_path: Path) -> None:
    listing = realbench("scenes", suite, cwd=tmp_path)
    assert listing.returncode == 0
    assert re.search(r"b\s+40 × 56\s+2\s+outpainting", listing.stdout)
    assert realbench("scenes", "check", suite, cwd=tmp_path).returncode == 0
    (suite / "a" / "target" / "mask.png").write_bytes(b"\xff\xd8\xff truncated")
    check = realbench("scenes", "check", suite, cwd=tmp_path)
    assert check.returncode == 3 and "mask.png" in check.stdout
    assert realbench("scenes", "check", tmp_path / "nowhere", cwd=tmp_path).returncode == 2


def test_cards_are_shown(tmp_path: Path) -> None:
    methods = realbench("methods", cwd=tmp_path).stdout
    for name in (
        "ground-truth",
        "mean-color",
        "nearest-reference",
        "telea",
        "navier-stokes",
        "patchmatch",
        "reference-warp",
        "precomputed",
    ):
        assert re.search(rf"^{name} ", methods, re.MULTILINE)
    assert "radius = 3.0" in realbench("methods", "telea", cwd=tmp_path).stdout
    metrics = realbench("metrics", cwd=tmp_path).stdout
    for name in ("psnr", "ssim", "psnr-full", "ssim-full", "psnr-known", "drift", "seam", "matches"):
        assert re.search(rf"^{name} ", metrics, re.MULTILINE)
    assert "psnr|region:hole|image:composite|feather:4/512|range:255|size:target|v:1" in realbench("metrics", "psnr", cwd=tmp_path).stdout
    assert realbench("--version", cwd=tmp_path).stdout.startswith("realbench 0.")


def test_a_hostile_suite_harms_nothing(tmp_path: Path) -> None:
    """Scenes that are only ugly are run and shown as text; broken ones are refused with the file's name."""
    suite = tmp_path / "suite"
    ugly = "<script>alert(1)<%2Fscript> [red]"
    write_scene(suite / ugly, seed=1)
    (suite / ugly / "scene.toml").write_text('title = "<img src=x onerror=alert(1)>"\ntags = ["|", "`"]\n')
    write_scene(suite / "bomb", seed=2)
    header = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (40_000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00\x00\x00\x00\x00"
    (suite / "bomb" / "ref" / "0.png").write_bytes(header)
    write_scene(suite / "cut", seed=3)
    picture = (suite / "cut" / "ref" / "1.png").read_bytes()
    (suite / "cut" / "ref" / "1.png").write_bytes(picture[: len(picture) // 2])
    write_scene(suite / "link", seed=4)
    secret = write_scene(tmp_path / "secret", seed=5)
    (suite / "link" / "ref" / "0.png").unlink()
    (suite / "link" / "ref" / "0.png").symlink_to(secret / "target" / "gt.png")
    before = set(tmp_path.rglob("*"))

    done = realbench("run", "-m", "telea", "--scenes", suite, "--out", tmp_path / "run", cwd=tmp_path)
    assert done.returncode == 3
    for scene, file in (("bomb", "ref/0.png"), ("cut", "ref/1.png"), ("link", "ref/0.png")):
        assert re.search(rf"refused: scene {scene}: .*{file}", done.stderr)
    assert ugly in done.stderr + done.stdout or "plan: telea: 1 to do" in done.stderr
    assert realbench("report", tmp_path / "run", cwd=tmp_path).returncode == 0
    page = (tmp_path / "run" / "report" / "leaderboard.html").read_text()
    assert "<script>alert" not in page and "<img src=x" not in page and "&lt;script&gt;alert" in page
    markdown = (tmp_path / "run" / "report" / "leaderboard.md").read_text()
    assert "<script>alert" not in markdown and "<img src=x" not in markdown
    assert {path for path in tmp_path.rglob("*") if tmp_path / "run" not in path.parents} - before == {tmp_path / "run"}


def test_help_is_quick_to_import(tmp_path: Path) -> None:
    program = "import sys; sys.argv=['realbench', 'methods']\nfrom realbench.cli import main\ntry: main()\nexcept SystemExit: pass\n"
    program += "print('heavy:', [name for name in ('torch', 'cv2', 'pandas', 'scipy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "heavy: []" in done.stdout
