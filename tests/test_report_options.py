"""What `realbench report` is asked to write, and what it then writes."""

from __future__ import annotations

import gc
import os
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


def test_votes_are_read_before_anything_is_written(run: Path) -> None:
    broken = run.parent / "votes.json"
    broken.write_text("{")
    done, names = report(run, "--votes", str(broken))
    assert done.exit_code == 2 and "votes.json" in done.output and names == set()


def test_votes_need_a_format_that_shows_them(run: Path) -> None:
    done, names = report(run, "--format", "csv", "--votes", "votes.json")
    assert done.exit_code == 2 and "html or markdown" in done.output and names == set()


def test_votes_from_a_pipe_are_refused(run: Path) -> None:
    pipe = run.parent / "votes.json"
    os.mkfifo(pipe)
    done, _ = report(run, "--votes", str(pipe))
    assert done.exit_code == 2 and "expected a file that a blind page exported" in done.output


def test_a_folder_in_the_way_is_told_with_what_to_do(run: Path) -> None:
    (run.parent / "out" / "leaderboard.md").mkdir(parents=True)
    done, _ = report(run, "--format", "markdown")
    assert done.exit_code == 3 and "leaderboard.md" in done.output and "Traceback" not in done.output


def test_no_page_without_its_key(run: Path) -> None:
    (run / "blind").write_text("a file in the way")
    done, names = report(run, "--format", "blind")
    assert done.exit_code == 3 and names == set()


def test_a_broken_record_is_not_called_not_run(run: Path) -> None:
    (record,) = run.glob("a-*/one/fit-0/seed-00000/record.json")
    record.write_text("{broken")
    scores = load_run(run).scores().set_index(["label", "scene"])["reason"]
    assert scores["a", "one"] == "its record or an image is broken: run again"
    record.unlink()
    assert load_run(run).scores().set_index(["label", "scene"])["reason"]["a", "one"] == "not run yet"


def test_the_collector_is_on_again(run: Path) -> None:
    report(run, "--format", "csv")
    assert gc.isenabled()


def test_help_lists_every_format_with_what_it_needs(plugins: Plugins) -> None:
    source = """
        from realbench.report import ReportCard

        class Note:
            card = ReportCard("note", "a note", on_request=True, needs="a pencil")
        """
    plugins("reports", {"note": "Note", "broken": "Absent"}, source)
    done = RUNNER.invoke(app, ["report", "--help"])
    text = " ".join(done.output.split())
    assert done.exit_code == 0
    usual, asked = text.split("Formats written where none is named:")[1].split("Formats written only where they are named:")
    for name in ("csv", "html", "latex", "markdown", "parquet"):
        assert f" {name} " in usual, name
    for name in ("blind", "history", "regression", "single-file", "note", "broken"):
        assert f" {name} " in asked, name
    assert "a note; needs a pencil" in asked and "needs a baseline: `realbench check` writes it" in asked


def test_a_history_is_not_asked_of_a_report(run: Path) -> None:
    done, names = report(run, "--format", "history")
    assert done.exit_code == 2 and "`realbench history RUN… -o DIR` writes it" in done.output and names == set()
