"""realbench plan and export, as they are typed."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from realbench.cli.app import app
from tests.conftest import write_scene
from tests.making import Made

MATCHES = "matches|region:hole|backend:sift|v:1"


def realbench(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Three rows of four seeds on eight scenes; `b` is 3 dB better than `a`, `c` the same as `a`."""
    run = Made(tmp_path / "run")
    random = np.random.default_rng(8)
    for at in range(8):
        run.scene(f"{at}")
    for label in "abc":
        run.row(label, seeds=[0, 1, 2, 3])
    run.row("single", method="telea")
    for at in range(8):
        centre = random.normal(20, 4)
        run.score("single", f"{at}", centre)
        for label in "abc":
            for seed in range(4):
                run.fill(label, f"{at}", seed=seed, seconds=60.0)
                run.score(label, f"{at}", centre + 3 * (label == "b") + random.normal(0, 1), seed=seed)
    run.write()
    return run


def test_plan_says_what_it_takes(made: Made) -> None:
    found = realbench("plan", made.root, "--detect", 0.5)
    assert found.exit_code == 0, found.output
    lines = found.output.splitlines()
    assert lines[0].startswith("a difference of 0.5 dB in PSNR, found 80 % of the time at the 5 % level, paired by scene (psnr|")
    titles = [line.partition(":")[0] for line in lines if "which differ by" in line]
    assert titles == ["in the middle of the 6 pairs of rows", "the pair of rows that needs the most scenes"]
    own = [line.split() for line in lines if "as in this run" in line]
    assert [words[:2] for words in own] == [["1", "4"], ["1", "4"]] and all(int(words[2]) >= 6 for words in own)
    assert "unknown: a has one fit a scene, so nobody knows what further fits would gain" in found.output
    assert "to hold for all 6 pairs of rows at once give --level 0.0083" in found.output


def test_plan_for_two_rows(made: Made) -> None:
    found = realbench("plan", made.root, "--detect", 3, "--row", "a", "--row", "b", "--power", 0.9, "--level", 0.01)
    assert found.exit_code == 0 and "\nthe pair of rows: a and b, which differ by −" in found.output
    assert "dB on the 8 scenes of this run\n" in found.output and "hardest" not in found.output
    assert "found 90 % of the time at the 1 % level" in found.output and "to hold for all" not in found.output


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--detect", "-1"], 2, "expected --detect above 0"),
        (["--detect", "1", "--metric", "ssim"], 2, "--metric ssim: none of this run's metrics"),
        (["--detect", "1", "--row", "a"], 2, "expected two different rows"),
    ],
)
def test_plan_refuses(made: Made, words: list[str], code: int, message: str) -> None:
    found = realbench("plan", made.root, *words)
    assert (found.exit_code, message in found.output) == (code, True), found.output


def test_a_run_with_one_row_has_nothing_to_plan_by(tmp_path: Path) -> None:
    run = Made(tmp_path / "run")
    run.scene("a")
    run.row("row")
    run.score("row", "a", 1)
    found = realbench("plan", run.write(), "--detect", 1)
    assert found.exit_code == 5 and "two rows that are no oracles" in found.output


@pytest.fixture
def shown(tmp_path: Path) -> Made:
    """A run on scenes that exist, with two seeds and matches."""
    suite = tmp_path / "suite"
    write_scene(suite / "a", seed=1)
    run = Made(tmp_path / "run", suite)
    run.column(MATCHES, digits=0)
    run.scene("a")
    run.row("row", seeds=[0, 1])
    for seed in (0, 1):
        run.score("row", "a", 10 - seed, seed=seed)
        run.score("row", "a", seed, seed=seed, signature=MATCHES)
    run.write()
    return run


def test_export(shown: Made, tmp_path: Path) -> None:
    found = realbench("export", shown.root, "--best")
    assert found.exit_code == 0, found.output
    assert (
        found.output.startswith("Selected without the ground truth:")
        and "a: references and truth left out, it states no licence" in found.output
    )
    assert found.output.splitlines()[-1] == f"wrote {shown.root / 'export.zip'}"
    assert b"a,row,0,1,best matches of 2" in zipfile.ZipFile(shown.root / "export.zip").read("contents.csv")
    oracle = realbench("export", shown.root, "--best", "--oracle", "psnr", "-o", tmp_path / "deep" / "x.zip", "--unlicensed")
    assert oracle.exit_code == 0 and oracle.output.startswith("ORACLE:"), oracle.output
    assert "scenes/a/truth.png" in zipfile.ZipFile(tmp_path / "deep" / "x.zip").namelist()


@pytest.mark.parametrize("words", [["--oracle", "psnr"], ["--best", "--oracle", "psnr", "--by", "matches"]])
def test_export_refuses_what_contradicts_itself(shown: Made, words: list[str]) -> None:
    found = realbench("export", shown.root, *words)
    assert found.exit_code == 2 and "--oracle chooses the best fill" in found.output
    assert not (shown.root / "export.zip").exists()
