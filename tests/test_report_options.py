"""What `realbench report` is asked to write, and what it then writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from realbench.cli.app import app
from realbench.report import ReportCard, standard, write_reports
from realbench.results import load_run
from tests.conftest import Plugins, write_scene
from tests.making import Made

RUNNER = CliRunner()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two rows over two scenes."""
    for seed, name in enumerate(("one", "two")):
        write_scene(tmp_path / "suite" / name, seed=seed)
    made = Made(tmp_path / "run", tmp_path / "suite")
    made.scene("one")
    made.scene("two")
    for at, label in enumerate(("a", "b")):
        made.row(label)
        made.scores(label, {"one": 10.0 + at, "two": 20.0})
    return made.write()


def report(run: Path, *words: str) -> tuple[Result, set[str]]:
    """The command's outcome, and the names right below the folder it wrote to."""
    folder = run.parent / "out"
    done = RUNNER.invoke(app, ["report", str(run), "-o", str(folder), *words])
    return done, {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def test_formats_are_written_alone(run: Path) -> None:
    done, names = report(run, "--format", "csv", "--format", "markdown")
    assert done.exit_code == 0 and "leaderboard.md" in names and "scores.csv" in names
    assert names.isdisjoint({"leaderboard.html", "scores.parquet", "leaderboard.tex"})
    assert f"wrote {run.parent / 'out' / 'scores.csv'}" in done.output


def test_an_unknown_format_lists_the_known_ones(run: Path) -> None:
    done, names = report(run, "--format", "docx")
    assert done.exit_code == 2 and "html" in done.output and names == set()


def test_pages_on_request_are_not_written_unasked(run: Path) -> None:
    done, names = report(run, "--format", "html")
    assert done.exit_code == 0 and names == {"leaderboard.html", "cards.html", "figures", "scenes", "images"}
    assert "scenes/" not in done.output.replace(str(run.parent), "")
    assert "blind" not in standard() and "single-file" not in standard() and {"html", "csv"} <= set(standard())


def test_pages_on_request_come_beside_the_formats(run: Path) -> None:
    done, names = report(run, "--format", "csv", "--single-file", "--blind", "--blind-pairs", "3")
    assert done.exit_code == 0, done.output
    assert "single.html" in names and any(name.startswith("blind-") for name in names) and "scores.csv" in names
    assert ".key.json" in done.output  # in the run's folder, for the votes that come back


def test_votes_that_are_not_there_are_an_error(run: Path) -> None:
    done, names = report(run, "--format", "html", "--votes", str(run / "nobody.json"))
    assert done.exit_code == 2 and "nobody.json" in done.output and "leaderboard.html" not in names


def test_a_third_party_s_report_may_be_on_request(run: Path, plugins: Plugins, tmp_path: Path) -> None:
    plugins(
        "reports",
        {"note": "Note"},
        """
        from realbench.report import ReportCard

        class Note:
            card = ReportCard("note", "a note", on_request=True)

            def write(self, results, folder):
                (folder / "note.txt").write_text("x")
                return [folder / "note.txt"]
        """,
    )
    assert "note" not in standard() and ReportCard("x", "y").on_request is False
    assert [path.name for path in write_reports(load_run(run), tmp_path / "out", ["note"])] == ["note.txt"]
