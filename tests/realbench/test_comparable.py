"""What is told of a run beside its scores: what changed under test, and where it was made."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from realbench import baseline as baselines
from realbench import gate
from realbench.gate import Judgement
from realbench.plan import plan_rows
from realbench.records import Invocation
from realbench.results import load_run
from tests.making import DRIFT, PSNR, Made

ROW = {"source": "0" * 12, "fingerprint": "0" * 12}


def made(root: Path, row: dict[str, Any] | None = None, *, scored: str = "cpu", project: str = "", **versions: str) -> Path:
    """A run of two rows under two metrics, whose scores were made with these versions."""
    run = Made(root)
    run.column(DRIFT)
    run.scene("a")
    run.row("fill", **(ROW | (row or {})))
    run.row("other")
    for label in ("fill", "other"):
        run.score(label, "a", 20.0, versions={"numpy": "2.0"} | versions, device=scored)
        run.score(label, "a", 0.5, signature=DRIFT, versions={"numpy": "2.0"})
    run.manifest.invocations = [Invocation(started="2030-01-01T00:00:00Z", command=[], version="9", project=project)]
    return run.write()


def judged(old: Path, new: Path, **fields: Any) -> Judgement:
    return gate.judge(baselines.accept(load_run(old)), load_run(new), **fields)


def told(found: Judgement) -> list[tuple[str, str, str, str]]:
    return [(one.label, one.what, one.before, one.after) for one in found.differences]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({}, []),
        ({"settings": {"steps": 5}, "fingerprint": "1" * 12}, [("fill", "setting steps", "none", "5")]),
        ({"source": "c" * 12, "fingerprint": "1" * 12}, [("fill", "the method's code", "0" * 12, "c" * 12)]),
        (
            {"settings": {"steps": 5}, "source": "c" * 12, "fingerprint": "1" * 12},
            [("fill", "setting steps", "none", "5"), ("fill", "the method's code", "0" * 12, "c" * 12)],
        ),
        ({"fingerprint": "1" * 12}, [("fill", "weights, or files that settings name", "0" * 12, "1" * 12)]),
        ({"source": "", "fingerprint": "1" * 12}, [("fill", "the method's code, or weights", "0" * 12, "1" * 12)]),
        (
            {"source": "", "fingerprint": "1" * 12, "settings": {"steps": 5}},
            [("fill", "setting steps", "none", "5"), ("fill", "perhaps the method's code, or weights", "0" * 12, "1" * 12)],
        ),
    ],
)
def test_settings_hide_no_change_of_the_code(tmp_path: Path, row: dict[str, Any], expected: list[tuple[str, ...]]) -> None:
    """Runs of earlier versions hold one hash over settings, code and weights."""
    assert told(judged(made(tmp_path / "old"), made(tmp_path / "new", row))) == expected


def test_a_rows_source_is_its_code_alone() -> None:
    (plain,), (changed,), (other,) = plan_rows(["telea"]), plan_rows(["telea"], ["radius=7"]), plan_rows(["navier-stokes"])
    assert plain.source == changed.source != other.source and plain.fingerprint != changed.fingerprint
    assert re.fullmatch("[0-9a-f]{12}", plain.source)


def test_other_versions_of_what_computed_a_metric_are_told(tmp_path: Path) -> None:
    found = judged(made(tmp_path / "old", torch="2.1"), made(tmp_path / "new", torch="2.2"))
    assert told(found) == [("", f"version of torch, of what computed {PSNR}", "2.1", "2.2")] and not found.warnings


def test_what_changed_for_fills_and_scores_is_told_once(tmp_path: Path) -> None:
    runs = []
    for name, version in (("old", "1"), ("new", "2")):
        run = Made(tmp_path / name)
        run.scene("a")
        run.row("fill")
        run.fill("fill", "a")
        path = run.folder.cell(run.cell("fill", "a")) / "record.json"
        record = json.loads(path.read_text())
        record["environment"]["versions"] = {"numpy": version}
        path.write_text(json.dumps(record))
        run.score("fill", "a", 20.0, versions={"numpy": version})
        runs.append(run.write())
    assert told(judged(*runs)) == [("", "version of numpy", "1", "2")]


def test_another_class_of_device_of_a_metric_is_a_warning_and_refused_by_strict(tmp_path: Path) -> None:
    old, new = made(tmp_path / "old"), made(tmp_path / "new", scored="cuda:0")
    say = f"{PSNR} was computed on cuda, its baseline on cpu: scores may differ by that alone"
    assert judged(old, new).warnings == (say,) and judged(old, new, strict=True).mismatches == (say,)
    assert judged(made(tmp_path / "cuda", scored="cuda:1"), new).warnings == (), "the class counts, not the number"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a" * 40, "b" * 40, [("", "commit of the project", "a" * 40, "b" * 40)]),
        ("a" * 40, f"{'a' * 40} and changes", [("", "commit of the project", "a" * 40, f"{'a' * 40} and changes")]),
        ("a" * 40, "a" * 40, []),
        ("", "b" * 40, []),
        ("a" * 40, "", []),
    ],
)
def test_the_projects_commit_is_told(tmp_path: Path, before: str, after: str, expected: list[tuple[str, ...]]) -> None:
    assert told(judged(made(tmp_path / "old", project=before), made(tmp_path / "new", project=after))) == expected


def test_the_baseline_is_named_by_its_commit_with_its_changes(tmp_path: Path) -> None:
    found = judged(made(tmp_path / "old", project=f"{'ab' * 20} and changes"), made(tmp_path / "new"))
    assert found.accepted.endswith(f" from commit {'ab' * 6} and changes")


def test_a_file_of_an_earlier_version_is_read_and_nothing_made_up(tmp_path: Path) -> None:
    """Without the fields of this version, with one that it no longer writes."""
    path = tmp_path / "b.json"
    baselines.write(baselines.accept(load_run(made(tmp_path / "old", scored="cuda:0", torch="1"))), path)
    data = json.loads(path.read_text())
    for row in data["rows"].values():
        assert "oracle" not in row
        del row["source"]
        row["oracle"] = False
    for metric in data["metrics"].values():
        del metric["devices"], metric["environment"]
    data["content"] = baselines.content(data)
    path.write_text(json.dumps(data))
    found = gate.judge(baselines.read(path), load_run(made(tmp_path / "new", torch="2")))
    assert told(found) == [] and found.warnings == () and found.headline == "fill quality holds"


def test_hole_metrics_come_first(tmp_path: Path) -> None:
    """As in leaderboards; a baseline's file has them in the order of their names."""
    found = judged(made(tmp_path / "old"), made(tmp_path / "new"))
    assert [(one.label, one.metric.metric, one.scene) for one in found.changes] == [
        (label, metric, scene) for label in ("fill", "other") for metric in ("psnr", "drift") for scene in ("", "a")
    ]


def test_the_line_that_accepts_has_the_folders_as_they_were_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path / "old"), made(tmp_path / "runs/it's new")
    held = baselines.accept(load_run("old"))
    found = gate.judge(held, load_run("runs/it's new"), path=Path("ci/my baseline.json"))
    assert found.accepting == """realbench accept 'runs/it'"'"'s new' -o 'ci/my baseline.json'"""
    assert found.runs == ("it's new",)
    monkeypatch.setenv("HOME", str(tmp_path))
    home = gate.judge(held, load_run(tmp_path / "runs/it's new"))
    assert home.accepting == """realbench accept ~/'runs/it'"'"'s new' -o baseline.json""", "nobody's home is told, and a shell finds it"
