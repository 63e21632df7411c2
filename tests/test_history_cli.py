"""realbench history, as it is typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from realbench.cli.app import app
from realbench.records import Invocation
from tests.making import PSNR, Made

EVIL = "[red]a|b[/red] <img onerror=a>\x1b[31m"
LEVELS = (20.0, 20.0, 20.0, 19.2, 19.2)


def realbench(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def made_run(root: Path, day: int, value: float, label: str = "telea") -> Path:
    run = Made(root)
    for scene in ("a", EVIL):
        run.scene(scene)
    run.row(label)
    run.scores(label, {"a": value, EVIL: value + 1})
    run.manifest.invocations = [Invocation(started=f"2030-05-{day:02}T10:00:00+00:00", command=["x"], version="9", commit=f"{day:02}" * 20)]
    return run.write()


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Five days; on the fourth it drops by 0.8 dB."""
    return [made_run(tmp_path / f"night {day}", day, value) for day, value in enumerate(LEVELS, 1)]


def test_the_table_shows_means_changes_and_the_step(runs: list[Path]) -> None:
    found = realbench("history", *reversed(runs))
    assert found.exit_code == 0, found.output
    lines = [line.split() for line in found.output.splitlines()]
    assert found.output.startswith(f"telea: PSNR (dB), higher is better, 2 scenes   {PSNR}\n")
    table = [line for line in lines if line and line[0].isdigit()]
    assert [line[:2] for line in table] == [[f"{day:02}" * 3 + "0", f"2030-05-{day:02}"] for day in range(1, 6)]
    assert [line[4] for line in table] == ["20.50", "20.50", "20.50", "19.70", "19.70"]
    assert [line[6] for line in table] == ["–", "0.00", "0.00", "−0.80", "0.00"]
    assert "step −0.80 dB since 0404040 (worse)" in found.output.partition("2030-05-04")[2].splitlines()[0]
    assert "\ntelea: PSNR: step −0.80 dB since 0404040 (worse)\n" in found.output
    assert "note: independent normal noise alone shows a step in up to 5 % of series" in found.output


def test_files_are_written_only_where_asked(runs: list[Path], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert realbench("history", *runs).exit_code == 0 and sorted(tmp_path.rglob("*")) == before
    found = realbench("history", *runs, "-o", tmp_path / "out")
    assert found.exit_code == 0, found.output
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["history-psnr-dark.svg", "history-psnr-light.svg", "history.csv", "history.md"]
    assert all(f"wrote {tmp_path / 'out' / name}" in found.output for name in names)


def test_one_run_says_that_no_step_is_possible(runs: list[Path]) -> None:
    found = realbench("history", runs[0])
    assert found.exit_code == 0 and "note: one point: no step possible, it takes 4" in found.output
    # The same run twice is one point.
    assert realbench("history", runs[0], runs[1] / ".." / runs[0].name).output == found.output


def test_metrics_and_rows_are_chosen(runs: list[Path], tmp_path: Path) -> None:
    other = made_run(tmp_path / "other", 9, 5, label=EVIL)
    found = realbench("history", *runs, other, "--row", "telea", "--metric", "psnr")
    assert found.exit_code == 0 and found.output.count("higher is better") == 1
    assert "note: telea PSNR: nothing at 0909090 under psnr|" in found.output
    assert realbench("history", *runs, "--metric", PSNR).exit_code == 0
    for words in (("--metric", "lpips"), ("--row", "none")):
        refused = realbench("history", *runs, *words)
        assert refused.exit_code == 2 and "no point has it; there is" in refused.output


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    run = made_run(tmp_path / "[bold]run", 1, 5, label=EVIL)
    other = made_run(tmp_path / "other", 2, 5, label=EVIL)
    only_a = Made(other)
    only_a.scene("a")
    only_a.row(EVIL)
    only_a.scores(EVIL, {"a": 5})
    only_a.manifest.invocations = [Invocation(started="2030-05-02T00:00:00Z", command=[], version="9", commit=EVIL)]
    only_a.write()
    found = realbench("history", run, other)
    assert found.exit_code == 0 and "\x1b" not in found.output
    assert "[bold]run" in found.output and "[red]a|b[/red] <img onerror=a>\\x1b[31m: PSNR" in found.output
    assert "left out: scene [red]a|b[/red] <img onerror=a>\\x1b[31m: no score at [red]a|" in found.output


def test_no_common_scene_is_nothing_measured(tmp_path: Path) -> None:
    runs = []
    for day, scene in enumerate("ab", 1):
        run = Made(tmp_path / scene)
        run.scene(scene)
        run.row("telea")
        run.scores("telea", {scene: 1})
        run.manifest.invocations[0].started = f"2030-05-0{day}T00:00:00Z"
        runs.append(run.write())
    found = realbench("history", *runs)
    assert found.exit_code == 5 and "left out: scene a: no score at b" in found.output


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((), 2, "nothing to show: give run folders (`realbench history runs/*`), baseline files, or --git"),
        (("gone",), 2, "gone: not there"),
        (("--baseline", "gone.json"), 4, "gone.json: no baseline there"),
        (("--git",), 2, "baseline.json"),
        (("broken.json",), 2, "broken.json: not a baseline of schema 1"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.json").write_text('{"rows": 5}')
    found = realbench("history", *words)
    assert found.exit_code == code and text in found.output


def test_baselines_in_git_are_a_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: list[Path]) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "a")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "a@b.example")
    subprocess.run(["git", "init", "--quiet"], check=True)
    commits = []
    for day, run in enumerate(runs, 1):
        assert realbench("accept", run).exit_code == 0
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"2030-06-{day:02}T00:00:00Z")
        subprocess.run(["git", "add", "baseline.json"], check=True)
        # Accepting the same scores anew changes the file too: it holds the time.
        subprocess.run(["git", "commit", "--quiet", "--allow-empty", "-m", str(day)], check=True)
        commits.append(subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout[:7])
    changed = subprocess.run(["git", "log", "--format=%h", "--abbrev=7", "--", "baseline.json"], check=True, capture_output=True, text=True)
    found = realbench("history", "--git")
    assert found.exit_code == 0, found.output
    assert [commit in found.output for commit in commits] == [commit in changed.stdout for commit in commits]
    assert "baseline.json" in found.output and realbench("history", "--git", "-b", "baseline.json").output == found.output
    # The accepted file, or a run after it, beside the versions.
    assert "note: one point" in realbench("history", "--baseline", "baseline.json").output
    later = realbench("history", "--git", made_run(tmp_path / "later", 31, 19))
    assert later.exit_code == 0 and "3131313" in later.output


def test_the_command_imports_nothing_heavy(runs: list[Path]) -> None:
    heavy = ("torch", "matplotlib", "cv2", "skimage")
    program = (
        "import sys, typer\nfrom realbench.cli.history import history\napp = typer.Typer()\napp.command()(history)\n"
        f"try: app([{str(runs[0])!r}])\nexcept SystemExit as done: print(done.code, [name for name in {heavy} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert found.splitlines()[-1] == "0 []"
