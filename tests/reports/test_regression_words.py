"""A check's numbers as they are printed: digits that tell, noise that is known or not, and what comes first."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from realbench.comparable import Difference
from realbench.gate import Verdict
from realbench.reports._check_words import NEVER, UNKNOWN, standing, striking
from realbench.tolerance import Rules, Tolerance
from tests.making import DRIFT, PSNR
from tests.reports.checking import METRICS, change, checked


@pytest.mark.parametrize(
    ("before", "after", "verdict", "texts"),
    [
        (20.0, 19.5, "worse", ("20.00", "19.50", "−0.50")),
        (20.0, 20.004, "same", ("20.00", "20.00", "0.00")),
        (20.0, 19.9996, "worse", ("20.0000", "19.9996", "−0.0004")),
        (20.0, math.inf, "better", ("20.00", "∞", "+∞")),
        (math.inf, math.inf, "same", ("∞", "∞", "0.00")),
        (20.0, None, "lost", ("20.00", "–", "–")),
        (math.nan, None, "lost", ("–", "–", "–")),
    ],
)
def test_values_have_as_many_decimals_as_it_takes(
    tmp_path: Path, before: float, after: float | None, verdict: Verdict, texts: tuple[str, ...]
) -> None:
    check = checked(tmp_path / "run", change("a", before, after, verdict))
    line = check.line(check.judgement.changes[0])
    assert (line.before, line.after, line.difference) == texts


def test_a_difference_that_no_decimal_shows_ends_somewhere() -> None:
    assert change("a", 1.0, 1.0 + 1e-15, "worse").digits == 9


@pytest.mark.parametrize(
    ("deviation", "text", "tip"),
    [
        (None, "–", UNKNOWN),
        (0.0, "±0.00", NEVER),
        (0.25, "±0.25", "chance gives the change: 0.25; fits × seeds: 2 × 3 in the baseline, 1 × 3 in the run"),
        (0.0004, "±0.0004", "0.0004"),
        (250.0, "±250.00", "250"),
    ],
)
def test_noise(tmp_path: Path, deviation: float | None, text: str, tip: str) -> None:
    one = change("a", 20.0, 19.0, "unknown", deviation=deviation, repeats=("2 × 3", "1 × 3"))
    line = checked(tmp_path / "run", one).line(one)
    assert line.noise == text and tip in line.noise_tip


@pytest.mark.parametrize(
    ("p", "adjusted", "rules", "text", "tip"),
    [
        (
            0.01,
            0.04,
            Rules(),
            "0.040",
            "one-sided p of this change alone: 0.010; adjusted for all rows, metrics and scenes: 0.040; it counts",
        ),
        (0.01, 0.04, Rules(level=0.01), "0.040", "it counts at 0.01 or less"),
        (0.0001, 0.0002, Rules(), "< 0.001", "alone: < 0.001"),
        (0.01, None, Rules(metrics=("drift",)), "0.010", "not adjusted, since the metric does not gate"),
        (None, None, Rules(), "–", "not tested: nothing says what chance does"),
    ],
)
def test_p_values_say_how_they_came_to_be(
    tmp_path: Path, p: float | None, adjusted: float | None, rules: Rules, text: str, tip: str
) -> None:
    one = change("a", 20.0, 19.0, "worse", p=p, adjusted=adjusted)
    line = checked(tmp_path / "run", one, rules=rules).line(one)
    assert line.p == text and tip in line.p_tip


@pytest.mark.parametrize(
    ("tolerances", "text"), [({}, "0.01"), ({"psnr": Tolerance(0.02, True)}, "0.4 (2 %)"), ({"drift": Tolerance(3)}, "0.01")]
)
def test_tolerances_are_in_the_metric_s_unit(tmp_path: Path, tolerances: dict[str, Tolerance], text: str) -> None:
    rules = Rules(tolerances=tolerances)
    one = change("a", 20.0, tolerance=rules.tolerance(PSNR, METRICS[PSNR]).at(20.0))
    assert checked(tmp_path / "run", one, rules=rules).line(one).tolerance == text


def test_metrics_of_one_title_are_told_apart(tmp_path: Path) -> None:
    twin = METRICS[DRIFT].model_copy(update={"title": "PSNR"})
    check = checked(tmp_path / "run", change("a"), change("a", signature=DRIFT, metric=twin))
    assert check.titles == {PSNR: f"PSNR ({PSNR})", DRIFT: f"PSNR ({DRIFT})"}
    assert checked(tmp_path / "other", change("a"), change("a", signature=DRIFT)).titles == {PSNR: "PSNR", DRIFT: "DRIFT"}


def test_what_changed_most_comes_first(tmp_path: Path) -> None:
    changes = [
        change("same"), change("shown", 20, 30, "shown"), change("noise", 20, 19, "within noise"), change("up", 20, 21, "better"),
        change("unknown", 20, 19, "unknown"), change("lost", 20, None, "lost"), change("down", 20, 19.5, "worse"),
        change("far", 20, 19, "worse"), change("small", 20, 19.9, "worse", tolerance=0.0001),
        change("none", 20, 19.9, "worse", tolerance=0.0),
        change("inf", 20, -math.inf, "worse"),
    ]  # fmt: skip
    check = checked(tmp_path / "run", change("", 20, 19, "worse"), *changes)
    order = [place.scene for place in standing(check.places)]
    assert order[:2] in (["none", "inf"], ["inf", "none"])
    assert order[2:] == ["small", "far", "down", "lost", "unknown", "up", "noise", "shown"]
    assert striking(change("a", 20, 20, tolerance=0.0)) == striking(change("b", 20, 20)), "no change is none, whatever is tolerated"


def test_a_place_is_as_striking_as_its_worst_metric(tmp_path: Path) -> None:
    check = checked(tmp_path / "run", change("a", 20, 25, "better"), change("a", 0.1, 0.2, "worse", signature=DRIFT), change("b"))
    assert [(place.scene, place.first.signature, len(place.changes)) for place in check.places] == [("a", DRIFT, 2), ("b", PSNR, 1)]


def test_counts_tell_means_from_scenes(tmp_path: Path) -> None:
    changes = [
        change("", 20, 19, "worse"),
        change("a", 20, 18, "worse"),
        change("b", 20, 18, "worse"),
        change("c"),
        change("d", 20, None, "lost"),
    ]
    assert checked(tmp_path / "run", *changes).counts == [("worse", 1, 2), ("lost", 0, 1), ("same", 0, 1)]


@pytest.mark.parametrize(
    ("verdicts", "runs", "advice"),
    [
        (["same"], ("run",), ("", "")),
        (["worse", "better"], ("run",), ("If the drop is meant:", "realbench accept run -o baseline.json")),
        (["better"], ("my run", "b"), ("To keep the gain:", "realbench accept 'my run' b -o baseline.json")),
        (["better", "lost"], ("run",), ("", "")),
        (["worse", "lost"], ("run",), ("", "")),
        (["better"], tuple("abcde"), ("To keep the gain:", "realbench accept a b c d e -o baseline.json")),
        (
            ["better"],
            ("-x", "$(rm -r ~);", "it's"),
            ("To keep the gain:", """realbench accept ./-x '$(rm -r ~);' 'it'"'"'s' -o baseline.json"""),
        ),
    ],
)
def test_what_to_type_next(tmp_path: Path, verdicts: list[Verdict], runs: tuple[str, ...], advice: tuple[str, str]) -> None:
    changes = [change(str(at), 20, 19, verdict) for at, verdict in enumerate(verdicts)]
    assert checked(tmp_path / "run", *changes, paths=runs).advice == advice


@pytest.mark.parametrize("fields", [{"failed": True}, {"mismatches": ("other scenes",)}])
def test_what_cannot_be_accepted_is_not_advised(tmp_path: Path, fields: dict[str, Any]) -> None:
    assert checked(tmp_path / "run", change("a", 20, 21, "better"), **fields).advice == ("", "")


def test_no_folder_of_this_machine_is_told(tmp_path: Path) -> None:
    root = tmp_path / "run"
    check = checked(
        root,
        change("a", 20, None, "lost", reason=f"failed: {root}/x is broken"),
        mismatches=(f"{root}: other",),
        warnings=(f"see {root}",),
        differences=(
            Difference("row", "setting fills", "/secret/folder/fills", f"{root}/new"),
            Difference("", "steps", "20", "owner/name"),
        ),
    )
    found = check.judgement
    assert found.changes[0].reason == "failed: run/x is broken" and found.mismatches == ("run: other",) and found.warnings == ("see run",)
    assert [(one.before, one.after) for one in found.differences] == [("fills", "new"), ("20", "owner/name")]


@pytest.mark.parametrize(("lost", "text"), [((), ""), (("b",), "over 1 of 2 scenes")])
def test_a_mean_over_fewer_scenes_says_so(tmp_path: Path, lost: tuple[str, ...], text: str) -> None:
    scenes = [change(name, 20, None if name in lost else 20, "lost" if name in lost else "same") for name in "ab"]
    check = checked(tmp_path / "run", change(), *scenes, change(signature=DRIFT), change("a", signature=DRIFT))
    lines = check.lines(check.judgement.changes)
    assert [line.partial for line in lines] == [text, "", "", "", ""]
    assert lines[0].sentence.endswith(f"p –, {text}): within the tolerance" if text else "p –): within the tolerance")
