"""What a new baseline keeps of an older one in the same file, and what it refuses to lose."""

from __future__ import annotations

from pathlib import Path

import pytest

from realbench.baseline import Accepted, Baseline, BaselineMetric, BaselineRow, Noise
from realbench.errors import UsageError
from realbench.succession import succeed

PSNR, DRIFT = "psnr|v:1", "drift|v:1"
FILE = Path("b.json")
NOISE = Noise(fit=1, fit_freedom=3, seed=1, seed_freedom=3)
METRIC = BaselineMetric(metric="psnr", config={}, title="PSNR", direction="higher", unit="", digits=2, source="one", devices=["cpu"])


def baseline(scores: dict[str, dict[str, str]], **fields: object) -> Baseline:
    """By row and metric: the scenes with a score, each a letter; a capital one has none by its nature."""
    made = {
        label: {
            signature: {scene.lower(): {"0": {"0": None if scene.isupper() else 1.0}} for scene in scenes}
            for signature, scenes in one.items()
        }
        for label, one in scores.items()
    }
    row = BaselineRow(method="m", preset=None, settings={}, fingerprint="0" * 12, varies="seeds", fits=[0], seeds=[0])
    every = sorted({scene for one in made.values() for scenes in one.values() for scene in scenes})
    standard: dict[str, object] = {
        "suite": "s", "feather": 4, "scenes": {scene: {"task": scene} for scene in every}, "rows": dict.fromkeys(made, row),
        "metrics": dict.fromkeys([signature for one in made.values() for signature in one], METRIC), "scores": made,
        "accepted": Accepted(when="", version=""),
    }  # fmt: skip
    return Baseline(**(standard | fields))


@pytest.mark.parametrize(
    ("old", "new", "lost"),
    [
        ({"one": {PSNR: "ab"}}, {"one": {PSNR: "a"}}, "scene b"),
        ({"one": {PSNR: "a", DRIFT: "a"}}, {"one": {PSNR: "a"}}, f"metric {DRIFT}"),
        # Scene b is there still, but of another row.
        ({"one": {PSNR: "ab"}, "two": {PSNR: "ab"}}, {"one": {PSNR: "a"}, "two": {PSNR: "ab"}}, f"{PSNR} of one on scene b"),
        ({"one": {PSNR: "ab", DRIFT: "ab"}}, {"one": {PSNR: "ab", DRIFT: "a"}}, f"{DRIFT} of one on scene b"),
        ({"one": {PSNR: "a"}}, {"two": {PSNR: "ab"}}, "row one (the scenes are others)"),
    ],
)  # fmt: skip
def test_nothing_is_lost_unsaid(old: dict[str, dict[str, str]], new: dict[str, dict[str, str]], lost: str) -> None:
    with pytest.raises(UsageError) as found:
        succeed(baseline(old), baseline(new), FILE)
    assert str(found.value) == f"b.json has what this run lacks: {lost}; accept a run of all, or give --replace"


def test_a_score_that_was_none_cannot_be_lost() -> None:
    old = baseline({"one": {PSNR: "aB"}, "two": {PSNR: "ab"}})
    made, told = succeed(old, baseline({"one": {PSNR: "a"}, "two": {PSNR: "ab"}}), FILE)
    assert [*made.scores["one"][PSNR]] == ["a"] and told == []


@pytest.mark.parametrize(
    ("fields", "lost"),
    [
        ({"feather": 8}, "row one (its fills have another feather)"),
        ({"metrics": {PSNR: METRIC.model_copy(update={"source": "other"})}}, "row one (it was scored by other code of the metrics)"),
    ],
)
def test_rows_of_other_runs_must_be_alike(fields: dict[str, object], lost: str) -> None:
    with pytest.raises(UsageError) as found:
        succeed(baseline({"one": {PSNR: "a"}}), baseline({"two": {PSNR: "a"}}, **fields), FILE)
    assert lost in str(found.value)


def test_rows_that_the_run_lacks_are_kept_with_their_noise() -> None:
    old = baseline({"one": {PSNR: "a"}, "two": {PSNR: "a"}}, noise={"one": {PSNR: {"a": NOISE}}})
    there = METRIC.model_copy(update={"devices": ["cuda:0"]})
    made, told = succeed(old, baseline({"two": {PSNR: "a"}}, metrics={PSNR: there}), FILE)
    assert {*made.rows} == {*made.scores} == {"one", "two"} and made.noise == {"one": {PSNR: {"a": NOISE}}}
    assert told == ["kept: one, which this run lacks"] and made.metrics[PSNR].devices == ["cpu", "cuda:0"]


def test_noise_is_kept_of_what_is_the_same() -> None:
    new = baseline({"fill": {PSNR: "a"}})
    noise = {"fill": {PSNR: {"a": NOISE, "gone": NOISE}, DRIFT: {"a": NOISE}}}
    old = new.model_copy(update={"noise": noise})
    made, told = succeed(old, new, FILE)
    assert made.noise == {"fill": {PSNR: {"a": NOISE}}} and told == ["kept: the noise that `realbench calibrate` measured of fill"]
    assert succeed(old, new.model_copy(update={"scenes": {"a": {"task": "another"}}}), FILE)[0].noise == {}
    changed = new.rows["fill"].model_copy(update={"fingerprint": "f" * 12})
    assert succeed(old, new.model_copy(update={"rows": {"fill": changed}}), FILE)[0].noise == {}
