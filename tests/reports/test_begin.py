"""A report that begins in a second process writes what it writes in one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from realbench import report
from realbench.errors import NothingMeasured
from realbench.reports.html import HTML
from realbench.results import Results, load_run
from tests.making import Made

SCRIPT = """
import os, sys
from pathlib import Path
from realbench import aside, report, results
import realbench.reports.html as html
os.sched_getaffinity = lambda _: {0, 1}
names = ["csv", "html", "markdown"]
run, alone, beside = map(Path, sys.argv[1:])
begun, whole = [], html.aside
html.aside = lambda work: begun.append(os.getpid()) or whole(work)
report.write_reports(results.load_run(run), beside, names)
assert begun == [os.getpid()], begun
html.is_safe = lambda: False
report.write_reports(results.load_run(run), alone, names)
print(len(begun))
"""


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    made = Made(tmp_path / "run")
    for at in range(5):
        made.scene(f"scene {at}", references=at, hole_share=at / 10)
    for label in ("one", "two"):
        made.row(label, seeds=[0, 1])
        for at in range(5):
            made.score(label, f"scene {at}", 20 + at + len(label), seed=0)
            made.score(label, f"scene {at}", 21.5 - at, seed=1)
    return made.write()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux forks safely")
def test_two_processes_write_what_one_writes(small: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(small), str(tmp_path / "alone"), str(tmp_path / "beside")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0 and done.stdout.strip() == "1", done.stderr
    alone, beside = files(tmp_path / "alone"), files(tmp_path / "beside")
    assert alone == beside and {"leaderboard.html", "leaderboard.md", "scores.csv"} <= {*alone}


def test_every_named_report_that_can_begin_does_so_before_the_first_is_written(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    class Late:
        def begin(self, results: Results) -> None:
            done.append("begun")

        def write(self, results: Results, folder: Path) -> list[Path]:
            done.append("written")
            return []

    class Plain:
        def write(self, results: Results, folder: Path) -> list[Path]:
            done.append("plain")
            return []

    monkeypatch.setattr(report.registry, "load", lambda group, name: {"late": Late, "plain": Plain}[name])
    report.write_reports(load_run(small), tmp_path / "out", ["plain", "late"])
    assert done == ["begun", "plain", "written"]


def test_beginning_raises_nothing_where_nothing_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(tmp_path / "run")
    made.scene("a", refused="broken")
    made.row("row")
    results = load_run(made.write())
    monkeypatch.setattr("realbench.reports.html.is_safe", lambda: True)
    HTML().begin(results)
    with pytest.raises(NothingMeasured):
        HTML().write(results, tmp_path)
