"""What is refused before anything is run for a check, a calibration or pytest; and with how many repeats it is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from realbench import bench, calibration
from realbench.baseline import Accepted, Baseline, BaselineMetric, BaselineRow
from realbench.bench import Summary
from realbench.errors import NothingMeasured, UsageError
from realbench.rerun import Rerun
from realbench.watch import Silent

METRIC = BaselineMetric(metric="psnr", config={"range": 255}, title="", direction="higher", unit="", digits=2, source="")


def held(**varies: Any) -> Baseline:
    """Rows by what they vary by, all with 2 fits and the seeds 3 and 4; two scenes."""
    rows = {
        label: BaselineRow(method="m", preset=None, settings={}, fingerprint="0" * 12, varies=how, fits=[0, 1], seeds=[3, 4])
        for label, how in varies.items()
    }
    scenes: dict[str, dict[str, str]] = {"a": {}, "b": {}}
    accepted = Accepted(when="", version="")
    return Baseline(suite="", feather=7, scenes=scenes, rows=rows, metrics={"psnr|v:1": METRIC}, scores={}, accepted=accepted)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Rerun(["telea", "mean-color"]), "row mean-color is not in the baseline, which has telea; nothing was run"),
        (Rerun(["telea"], scene=["a"]), "the baseline has scenes that are not among those to run: b; leave --scene out; nothing was run"),
        (Rerun(["telea"], scene=["a", "b", "c"]), "scene c is not in the baseline, which has a, b; nothing was run"),
    ],
)
def test_what_could_not_be_compared_is_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked: Rerun, message: str) -> None:
    monkeypatch.setattr(bench, "run", lambda *_, **__: pytest.fail("it ran"))
    with pytest.raises(NothingMeasured) as found:
        asked.run(held(telea="nothing"), tmp_path, Silent())
    assert str(found.value) == f"not comparable: {message}"


@pytest.mark.parametrize(
    ("asked", "baseline", "expected"),
    [
        (Rerun(["telea"]), True, ("3-4", 2, ["psnr:range=255"], 7)),
        (Rerun(["telea"], seeds="9", fits=5), True, ("9", 5, ["psnr:range=255"], 7)),
        (Rerun(["telea"], scene=["b", "a"]), True, ("3-4", 2, ["psnr:range=255"], 7)),
        (Rerun(["telea"]), False, ("4", 2, None, None)),
        (Rerun(["telea"], seeds="9"), False, ("9", 2, None, None)),
    ],
)
def test_it_runs_as_the_baseline_was_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked: Rerun, baseline: bool, expected: tuple[Any, ...]
) -> None:
    given: dict[str, Any] = {}

    def run(methods: Any, **words: Any) -> Summary:
        given.update(words)
        return Summary(tmp_path, {}, {})

    monkeypatch.setattr(bench, "run", run)
    asked.run(held(telea="nothing") if baseline else None, tmp_path, Silent())
    assert (given["seeds"], given["fits"], given["metrics"], given["feather"]) == expected


def test_rows_are_planned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from realbench import rerun

    asked = Rerun(["telea=a", "mean-color"])
    assert asked.labels == ("a", "mean-color") and Rerun().labels == ()
    monkeypatch.setattr(rerun, "plan_rows", lambda *_: pytest.fail("planned again"))
    assert asked.labels == ("a", "mean-color")


@pytest.mark.parametrize(
    ("labels", "seeds", "fits", "expected"),
    [
        (["fits"], None, None, (8, "3-4")),
        (["fits"], None, 3, (3, "3-4")),
        (["seeds"], None, None, (8, "5-12")),
        (["seeds"], "100-120", None, (8, "100-120")),
        (["fits", "seeds"], None, None, (8, "5-12")),
        (["fits", "never"], None, None, (8, "3-4")),
        ([], None, None, (8, "5-12")),
    ],
)
def test_what_a_calibration_runs(labels: list[str], seeds: str | None, fits: int | None, expected: tuple[int, str]) -> None:
    """Seeds that were accepted would give a method that only draws its accepted scores again."""
    assert calibration.wanted(held(fits="fits", seeds="seeds", never="nothing"), labels, seeds, fits) == expected


def test_what_never_varies_has_no_noise_to_measure() -> None:
    with pytest.raises(UsageError, match="telea, other: never vary, so there is no noise to measure"):
        calibration.wanted(held(telea="nothing", other="nothing"), [])
