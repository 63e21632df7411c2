"""The report of a check: which files it writes, and check.json with every number."""

from __future__ import annotations

import html
import json
import math
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from realbench import registry
from realbench.cli.app import app
from realbench.comparable import Difference
from realbench.errors import UsageError
from realbench.report import standard, write_reports
from realbench.reports._check_json import CheckFile
from realbench.tolerance import Rules, Tolerance
from tests.making import DRIFT, PSNR
from tests.reports.checking import CONTROL, change, empty_run, judgement, pair

FILES = ["check.html", "check.json", "check.xml", "check.md"]


def test_four_files_and_the_page_is_the_first(tmp_path: Path) -> None:
    results = replace(empty_run(tmp_path / "run"), judgement=judgement(change("a")))
    paths = write_reports(results, tmp_path / "out", ["regression"])
    assert [path.name for path in paths] == FILES and {path.parent for path in paths} == {tmp_path / "out"}
    assert all(path.stat().st_size for path in paths)


def test_without_a_check_there_is_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="realbench check RUN"):
        write_reports(empty_run(tmp_path / "run"), tmp_path / "out", ["regression"])
    assert not [*(tmp_path / "out").iterdir()]
    done = CliRunner().invoke(app, ["report", str(tmp_path / "run"), "--format", "regression"])
    assert done.exit_code == 2 and "realbench check RUN" in done.output


def test_it_is_written_on_request_only() -> None:
    assert "regression" in registry.names("reports") and "regression" not in standard()


def test_the_same_check_gives_the_same_bytes(tmp_path: Path) -> None:
    old, new = pair(tmp_path)
    for folder in ("one", "two"):
        write_reports(replace(new, before=old), tmp_path / folder, ["regression"])
    files = {path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()}
    assert len(files) > len(FILES)
    assert all((tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes() for path in files)


def test_json_holds_everything(tmp_path: Path) -> None:
    rules = Rules(level=0.1, metrics=("psnr",), tolerances={"drift": Tolerance(0.02, True)})
    one = change(
        CONTROL, 20.0, 17.5, "worse", label="<row>", tolerance=0.5, deviation=0.25, p=0.01, adjusted=0.04, repeats=("1 × 3", "2 × 3")
    )
    other = change("", math.inf, -math.inf, "shown", signature=DRIFT, tolerance=0.0)
    lost = change("b", math.nan, None, "lost", reason="failed: x")
    differences = (Difference("row", "setting steps", "20", "5"),)
    found = judgement(one, other, lost, rules=rules, differences=differences, warnings=("beware",))
    write_reports(replace(empty_run(tmp_path / "run"), judgement=found), tmp_path / "out", ["regression"])
    text = (tmp_path / "out" / "check.json").read_text(encoding="utf-8")
    data = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    first, second, third = data.pop("changes")
    assert first == {
        "label": "<row>", "signature": PSNR, "scene": CONTROL, "verdict": "worse", "before": 20.0, "after": 17.5, "difference": -2.5,
        "gain": -2.5, "tolerance": 0.5, "noise": 0.25, "p": 0.01, "adjusted": 0.04, "repeats_before": "1 × 3", "repeats_after": "2 × 3",
        "reason": "",
    }  # fmt: skip
    assert [second[name] for name in ("scene", "before", "after", "difference", "gain")] == [None, "inf", "-inf", "-inf", "inf"]
    assert [third[name] for name in ("before", "after", "difference", "noise", "p", "reason")] == [None] * 5 + ["failed: x"]
    metrics = data.pop("metrics")
    assert metrics[PSNR] == {
        "metric": "psnr", "config": {"range": 255}, "title": "PSNR", "unit": "dB", "direction": "higher", "digits": 2, "gates": True,
        "tolerance": 0.01, "relative": False,
    }  # fmt: skip
    assert (metrics[DRIFT]["gates"], metrics[DRIFT]["tolerance"], metrics[DRIFT]["relative"]) == (False, 0.02, True)
    assert data.pop("version") and data == {
        "schema_version": 1, "outcome": "regression", "exit_code": 1, "headline": found.headline, "suite": "suite",
        "accepted": "2030-01-02 from commit abc", "runs": ["run"], "accept": "", "level": 0.1,
        "counts": {"worse": 1, "shown": 1, "lost": 1}, "mismatches": [], "warnings": ["beware"],
        "differences": [{"label": "row", "what": "setting steps", "before": "20", "after": "5"}],
    }  # fmt: skip
    assert CheckFile.model_validate_json(text).changes[1].before == math.inf, "it is read back as it was"


def test_the_line_that_accepts_can_be_pasted_from_all_files(tmp_path: Path) -> None:
    """With folder and file as they were given, which no page shortens to a name."""
    root = tmp_path / "runs/it's new"
    found = judgement(change("a", 20.0, 25.0, "better"), paths=(str(root),), baseline="ci/b 1.json", runs=("it's new",))
    write_reports(replace(empty_run(root), judgement=found), tmp_path / "out", ["regression"])
    line = f"realbench accept {shlex.quote(str(root))} -o 'ci/b 1.json'"
    assert shlex.split(line) == ["realbench", "accept", str(root), "-o", "ci/b 1.json"]
    assert json.loads((tmp_path / "out/check.json").read_text(encoding="utf-8"))["accept"] == line
    assert f"To keep the gain: `{line}`" in (tmp_path / "out/check.md").read_text(encoding="utf-8")
    page = (tmp_path / "out/check.html").read_text(encoding="utf-8")
    assert f"To keep the gain: <code>{line}</code>" in html.unescape(page)


@pytest.mark.parametrize(
    ("verdict", "after", "mismatches", "outcome", "code"),
    [
        ("same", 20.0, (), "holds", 0),
        ("worse", 19.0, (), "regression", 1),
        ("lost", None, (), "not whole", 3),
        ("same", 20.0, ("other scenes",), "nothing judged", 5),
    ],
)
def test_outcomes(tmp_path: Path, verdict: str, after: float | None, mismatches: tuple[str, ...], outcome: str, code: int) -> None:
    found = judgement(*([] if mismatches else [change("a", 20.0, after, verdict)]), mismatches=mismatches)
    write_reports(replace(empty_run(tmp_path / "run"), judgement=found), tmp_path / "out", ["regression"])
    data = json.loads((tmp_path / "out" / "check.json").read_text(encoding="utf-8"))
    assert (data["outcome"], data["exit_code"], data["mismatches"]) == (outcome, code, list(mismatches))
