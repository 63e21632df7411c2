"""Verdicts, on scores made up so that the outcome is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realbench.baseline import Accepted, Baseline, BaselineMetric, BaselineRow, Noise
from realbench.errors import Exit
from realbench.gate import Change, Judgement, _power, compare
from realbench.pairs import EXACT_SCENES, least_p, sign_flip
from realbench.statistics import RESAMPLES
from realbench.tolerance import Rules, Tolerance

PSNR, LPIPS = "psnr|v:1", "lpips|v:1"
Scores = Mapping[str, Sequence[Sequence[float]]]


def metric(name: str, direction: str) -> BaselineMetric:
    return BaselineMetric(metric=name, config={}, title=name.upper(), direction=direction, unit="", digits=2, source="")


def cells(fits: Sequence[Sequence[float]]) -> dict[str, dict[str, float]]:
    return {str(fit): {str(seed): value for seed, value in enumerate(seeds)} for fit, seeds in enumerate(fits)}


def baseline(scores: Mapping[str, Scores], varies: str = "fits", noise: Mapping[str, Noise] | None = None) -> Baseline:
    """One row; by signature, the scores of each scene's fits."""
    row = BaselineRow(method="m", preset=None, settings={}, fingerprint="0" * 12, oracle=False, varies=varies, fits=[0], seeds=[0])
    metrics = {PSNR: metric("psnr", "higher"), LPIPS: metric("lpips", "lower")}
    held = {"row": {signature: {scene: cells(fits) for scene, fits in scenes.items()} for signature, scenes in scores.items()}}
    known = {"row": {PSNR: dict(noise)}} if noise else {}
    made = Accepted(when="2030-01-01", version="9")
    return Baseline(suite="s", feather=4, scenes={}, rows={"row": row}, metrics=metrics, scores=held, noise=known, accepted=made)


def changes(before: Baseline, after: Mapping[str, Scores], **rules: object) -> dict[tuple[str, str], Change]:
    """By metric and scene."""
    scores = {"row": {signature: {scene: cells(fits) for scene, fits in scenes.items()} for signature, scenes in after.items()}}
    return {(change.signature, change.scene): change for change in compare(before, scores, Rules(**rules))}


def outcome(found: Mapping[object, Change], **rules: object) -> Judgement:
    return Judgement(tuple(found.values()), (), (), (), Rules(**rules), "s", "")


def verdicts(found: Mapping[tuple[str, str], Change], signature: str = PSNR) -> dict[str, str]:
    return {scene: change.verdict for (of, scene), change in found.items() if of == signature}


@pytest.mark.parametrize(
    ("signature", "after", "verdict", "code"),
    [
        (PSNR, 20.0, "same", 0),
        (PSNR, 19.99, "same", 0),
        (PSNR, 19.98, "worse", 1),
        (PSNR, 20.02, "better", 0),
        (LPIPS, 20.02, "worse", 1),
        (LPIPS, 19.98, "better", 0),
        (PSNR, -math.inf, "worse", 1),
        (PSNR, math.inf, "better", 0),
    ],
)
def test_a_method_that_never_varies(signature: str, after: float, verdict: str, code: int) -> None:
    """What no table shows (0.01 here) is no change; everything above it is one."""
    found = changes(baseline({signature: {"a": [[20.0]]}}, "nothing"), {signature: {"a": [[after]]}})
    assert verdicts(found, signature) == {"": verdict, "a": verdict}
    assert outcome(found).exit_code == code


def test_equal_infinities_are_the_same() -> None:
    found = changes(baseline({PSNR: {"a": [[math.inf]], "b": [[20.0]]}}, "nothing"), {PSNR: {"a": [[math.inf]], "b": [[20.0]]}})
    assert {*verdicts(found).values()} == {"same"} and found[PSNR, ""].difference == 0.0


SIX = {f"{at}": [[20.0 + at], [20.2 + at]] for at in range(6)}
"""Two fits of one seed, 0.2 apart: each scene's variance is 0.02, of a difference of two means of two 0.02, of six scenes' 0.02 / 6."""


def moved(scenes: Scores, **by: float) -> Scores:
    """Scores moved by so much; `every` for the scenes not named."""
    return {scene: [[value + by.get(f"s{scene}", by.get("every", 0.0)) for value in fit] for fit in fits] for scene, fits in scenes.items()}


@pytest.mark.parametrize(
    ("by", "overall", "scenes"),
    [
        (0.0, "same", "same"),
        (-0.05, "within noise", "within noise"),  # 0.87 standard deviations of the mean
        (-0.2, "worse", "within noise"),  # 3.5 of the mean, 1.4 of a scene
        (-2.0, "worse", "worse"),
        (+2.0, "better", "better"),
    ],
)
def test_a_change_of_every_scene(by: float, overall: str, scenes: str) -> None:
    found = changes(baseline({PSNR: SIX}), {PSNR: moved(SIX, every=by)})
    assert found[PSNR, ""].verdict == overall
    assert {change.verdict for (_, scene), change in found.items() if scene} == {scenes}
    assert found[PSNR, ""].deviation == pytest.approx(math.sqrt(0.02 / 6))
    assert found[PSNR, "3"].deviation == pytest.approx(math.sqrt(0.02)) and found[PSNR, "3"].repeats == ("2 × 1", "2 × 1")


def test_a_swap_is_seen_by_scene() -> None:
    found = changes(baseline({PSNR: SIX}), {PSNR: moved(SIX, s1=-2.0, s4=2.0)})
    assert verdicts(found) == {"": "same", "0": "same", "1": "worse", "2": "same", "3": "same", "4": "better", "5": "same"}
    assert outcome(found).exit_code is Exit.REGRESSION
    assert outcome(found).headline == "regression: row PSNR on 1 dropped"


def test_p_values_are_corrected_within_means_and_within_scenes() -> None:
    """Two metrics: the smaller p of two means counts 2 × 2, the smallest of twelve scenes 2 × 12."""
    drop = moved(SIX, s0=-0.6)
    found = changes(baseline({PSNR: SIX, LPIPS: SIX}), {PSNR: drop, LPIPS: SIX})
    assert found[PSNR, ""].adjusted == pytest.approx(4 * found[PSNR, ""].p)
    assert found[PSNR, "0"].adjusted == pytest.approx(24 * found[PSNR, "0"].p)
    assert found[LPIPS, ""].adjusted == 1.0


def test_without_repeats_the_signs_of_scenes_speak() -> None:
    """Six scenes all lower: 1 in 64 by chance, twice that for the two families. Of no single scene can anything be said."""
    six = {scene: fits[:1] for scene, fits in SIX.items()}
    found = changes(baseline({PSNR: six}), {PSNR: moved(six, every=-1.0)})
    assert found[PSNR, ""].p == pytest.approx(1 / 64) and found[PSNR, ""].adjusted == pytest.approx(1 / 32)
    assert found[PSNR, ""].verdict == "worse" and {verdicts(found)[scene] for scene in six} == {"unknown"}
    mixed = changes(baseline({PSNR: six}), {PSNR: moved(six, every=-1.0, s5=0.5)})
    assert mixed[PSNR, ""].verdict == "within noise" and outcome(mixed).exit_code is Exit.DONE
    three = {scene: six[scene] for scene in "012"}
    assert {*verdicts(changes(baseline({PSNR: three}), {PSNR: moved(three, every=-9.0)})).values()} == {"unknown"}


def test_a_calibration_makes_one_fit_enough() -> None:
    six = {scene: fits[:1] for scene, fits in SIX.items()}
    known = {scene: Noise(fit=0.01, fit_freedom=7, seed=0, seed_freedom=0) for scene in six}
    found = changes(baseline({PSNR: six}, noise=known), {PSNR: moved(six, s2=-1.0)})
    assert verdicts(found)["2"] == "worse" and found[PSNR, "2"].deviation == pytest.approx(math.sqrt(0.02))


def test_lost_scores() -> None:
    after = {scene: fits for scene, fits in SIX.items() if scene != "3"}
    found = changes(baseline({PSNR: SIX}), {PSNR: after})
    assert verdicts(found)["3"] == "lost" and found[PSNR, "3"].reason == "not in the run" and found[PSNR, ""].verdict == "same"
    assert found[PSNR, ""].before == pytest.approx(np.mean([20.1, 21.1, 22.1, 24.1, 25.1]))
    assert outcome(found).exit_code is Exit.FAILED_CELLS and outcome(found).headline == "not whole: row PSNR on 3 lost"
    both = changes(baseline({PSNR: SIX}), {PSNR: moved(after, every=-3.0)})
    assert outcome(both).exit_code is Exit.REGRESSION and outcome(both).headline.endswith("dropped; row PSNR on 3 lost")


def test_a_scene_with_a_failed_fill_is_lost_though_others_have_scores() -> None:
    scores = {"row": {PSNR: {scene: cells(fits) for scene, fits in SIX.items()}}}
    found = list(compare(baseline({PSNR: SIX}), scores, Rules(), broken={("row", PSNR, "2"): "timeout: slow"}))
    assert [(change.scene, change.reason) for change in found if change.verdict == "lost"] == [("2", "timeout: slow")]


def test_what_was_never_measured_cannot_be_lost() -> None:
    before = baseline({PSNR: {"a": [[1.0]]}}, "nothing")
    before.scores["row"][PSNR]["no truth"] = {"0": {"0": None}}
    assert {*verdicts(changes(before, {PSNR: {"a": [[1.0]]}}))} == {"", "a"}


def test_scores_without_a_mean() -> None:
    """A scene that had none cannot lose it; one that has none any more is lost."""
    both = [[math.inf], [-math.inf]]
    before = baseline({PSNR: {"a": both, "b": [[20.0], [20.1]]}})
    assert {*verdicts(changes(before, {PSNR: {"a": both, "b": [[20.0], [20.1]]}}))} == {"", "b"}
    found = changes(before, {PSNR: {"b": both}})
    assert found[PSNR, "b"].verdict == "lost" and found[PSNR, "b"].reason == "values of +∞ and −∞ have no mean" and (PSNR, "") not in found


def test_failed_cells_fail_the_check_though_no_score_is_lost() -> None:
    found = Judgement(tuple(changes(baseline({PSNR: SIX}), {PSNR: SIX}).values()), (), (), (), Rules(), "s", "", failed=True)
    assert found.exit_code is Exit.FAILED_CELLS and found.headline == "not whole: cells of this run failed"


def test_nothing_measured_never_passes() -> None:
    assert outcome({}).exit_code is Exit.NOTHING_MEASURED and outcome({}).headline.startswith("nothing measured")
    found = changes(baseline({PSNR: SIX}), {PSNR: SIX}, metrics=("lpips",))
    assert outcome(found, metrics=("lpips",)).exit_code is Exit.NOTHING_MEASURED
    assert Judgement((), ("scene a is gone",), (), (), Rules(), "s", "").exit_code is Exit.NOTHING_MEASURED


def test_a_check_that_could_show_nothing_does_not_pass_a_change() -> None:
    """Four scenes without repeats: the signs have a p of 1 in 16 at least. No change holds; one that nothing can judge does not."""
    four = {scene: SIX[scene][:1] for scene in "0123"}
    found = changes(baseline({PSNR: four}), {PSNR: moved(four, every=-8.0)})
    blind = replace(outcome(found), blind=True)
    assert blind.exit_code is Exit.NOTHING_MEASURED and blind.headline.startswith("not judged: scores changed")
    same = replace(outcome(changes(baseline({PSNR: four}), {PSNR: four})), blind=True)
    assert same.exit_code is Exit.DONE


@pytest.mark.parametrize(
    ("scenes", "metrics", "able"),
    [(6, 1, True), (5, 1, False), (6, 2, False), (7, 2, True)],
)  # fmt: skip
def test_what_signs_alone_can_show(scenes: int, metrics: int, able: bool) -> None:
    """All scenes lower: a p of 1 in 2^scenes, times the metrics, times the two families; 2/64 and 4/128 are below 0.05."""
    one = {f"{at}": [[20.0 + at]] for at in range(scenes)}
    both = dict.fromkeys((PSNR, LPIPS)[:metrics], one)
    found = changes(baseline(both), both)
    told, blind = _power([*found.values()], Rules())
    assert blind is not able and len(told) == (0 if able else metrics)
    if not able:
        assert told[0].startswith(f"row PSNR: {scenes} scenes without repeats cannot show a drop at level 0.05: ")


def test_a_calibrated_metric_beside_one_without_repeats_is_not_blind() -> None:
    four = {scene: SIX[scene][:1] for scene in "0123"}
    known = {scene: Noise(fit=0.01, fit_freedom=7, seed=0, seed_freedom=0) for scene in four}
    both = {PSNR: four, LPIPS: four}
    told, blind = _power([*changes(baseline(both, noise=known), both).values()], Rules())
    assert not blind and [text.partition(":")[0] for text in told] == ["row LPIPS"]


@pytest.mark.parametrize("scenes", [1, 5, EXACT_SCENES, EXACT_SCENES + 1, 40])
def test_the_least_p_is_that_of_scenes_that_all_drop(scenes: int) -> None:
    """Beyond EXACT_SCENES signs are drawn, so that no p-value is below one in the number of draws."""
    if scenes != EXACT_SCENES:  # 32,768 lines of signs, for a value that the others pin down
        assert sign_flip([-1.0] * scenes) == pytest.approx(least_p(scenes))
    assert least_p(scenes) == (2.0 / 2**scenes if scenes <= EXACT_SCENES else 1 / (1 + RESAMPLES))


@pytest.mark.parametrize(
    ("by", "fields", "advice"),
    [
        (2.0, {}, "gain"),
        (-2.0, {}, "drop"),
        (0.0, {}, ""),
        (2.0, {"failed": True}, ""),
        (-2.0, {"mismatches": ("other scenes",)}, ""),
    ],
)
def test_advice(by: float, fields: dict[str, object], advice: str) -> None:
    found = outcome(changes(baseline({PSNR: SIX}), {PSNR: moved(SIX, every=by)}))
    assert replace(found, **fields).advice == advice


def test_what_is_lost_is_never_advised_to_be_accepted() -> None:
    after = {scene: fits for scene, fits in SIX.items() if scene != "3"}
    assert outcome(changes(baseline({PSNR: SIX}), {PSNR: moved(after, every=-3.0)})).advice == ""


@pytest.mark.parametrize(
    ("after", "verdict", "digits"), [(19.9, "worse", 2), (19.9996, "worse", 4), (19.9996, "same", 2), (20.0, "worse", 2)]
)
def test_digits_show_a_change_that_counts(after: float, verdict: str, digits: int) -> None:
    one = changes(baseline({PSNR: {"a": [[20.0]]}}, "nothing"), {PSNR: {"a": [[after]]}})[PSNR, "a"]
    assert replace(one, verdict=verdict).digits == digits


def test_infinite_scores_do_not_hide_the_others() -> None:
    """One scene is perfect before and after; the mean of the differences tells what the difference of the means, ∞ − ∞, does not."""
    before = {scene: fits[:1] for scene, fits in SIX.items()} | {"6": [[math.inf]]}
    after = {scene: fits if scene == "6" else [[fits[0][0] - 7.0]] for scene, fits in before.items()}
    found = changes(baseline({PSNR: before}, "nothing"), {PSNR: after})
    assert found[PSNR, ""].difference == pytest.approx(-6.0) and found[PSNR, ""].verdict == "worse"


def test_a_method_that_declines_more_fills_loses_them() -> None:
    after = {"row": {PSNR: {scene: cells(fits) for scene, fits in SIX.items()}}}
    after["row"][PSNR]["4"]["1"]["0"] = None
    found = [change for change in compare(baseline({PSNR: SIX}), after, Rules()) if change.verdict == "lost"]
    assert [(change.scene, change.reason) for change in found] == [("4", "1 of 2 fills have no score, at the baseline 0 of 2")]
    both = baseline({PSNR: SIX})
    both.scores["row"][PSNR]["4"]["1"]["0"] = None
    assert not [change for change in compare(both, after, Rules()) if change.verdict == "lost"]


def test_tolerances() -> None:
    before, after = baseline({PSNR: {"a": [[20.0]]}}, "nothing"), {PSNR: {"a": [[19.5]]}}
    for tolerance, verdict in (
        (Tolerance(0.5), "same"),
        (Tolerance(0.4), "worse"),
        (Tolerance(0.03, True), "same"),
        (Tolerance(0.02, True), "worse"),
    ):
        assert verdicts(changes(before, after, tolerances={"psnr": tolerance}))["a"] == verdict
    own = {"psnr": Tolerance(0.1), PSNR: Tolerance(1.0)}
    assert verdicts(changes(before, after, tolerances=own))["a"] == "same"
    lost = changes(baseline({PSNR: {"a": [[math.inf]]}}, "nothing"), after, tolerances={"psnr": Tolerance(0.5, True)})
    assert verdicts(lost)["a"] == "worse"


def test_metrics_that_do_not_gate_are_shown() -> None:
    found = changes(baseline({PSNR: SIX, LPIPS: SIX}), {PSNR: moved(SIX, every=-9.0), LPIPS: SIX}, metrics=("lpips",))
    assert {*verdicts(found).values()} == {"shown"} and {*verdicts(found, LPIPS).values()} == {"same"}
    assert outcome(found, metrics=("lpips",)).exit_code is Exit.DONE
    lost = changes(baseline({PSNR: SIX, LPIPS: SIX}), {PSNR: {}, LPIPS: SIX}, metrics=("lpips",))
    assert {*verdicts(lost).values()} == {"shown"} and outcome(lost, metrics=("lpips",)).exit_code is Exit.DONE


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 3))
def test_the_order_of_fits_and_seeds_means_nothing(seed: int, fits: int, seeds: int) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(20, 1, (2, 4, fits, seeds))
    before, after = ({f"{at}": scene.tolist() for at, scene in enumerate(side)} for side in values)
    first = changes(baseline({PSNR: before}), {PSNR: after})
    turned = {scene: [list(reversed(fit)) for fit in reversed(fits_)] for scene, fits_ in after.items()}
    again = changes(baseline({PSNR: before}), {PSNR: turned})
    assert verdicts(first) == verdicts(again)
    for key, change in first.items():
        assert again[key].p == (None if change.p is None else pytest.approx(change.p, abs=1e-9))


def test_unchanged_code_fails_at_most_as_often_as_the_level_says() -> None:
    """300 pairs of runs of equal code, two metrics, six scenes of different loudness, two fits of two seeds: at most 5 % (+ 3 σ) fail."""
    random = np.random.default_rng(11)
    loudness = np.array([0.5, 0.8, 1.0, 1.0, 1.25, 2.0])[:, None, None]

    def run() -> Scores:
        values = 20 + loudness * (random.normal(size=(6, 2, 1)) + 0.5 * random.normal(size=(6, 2, 2)))
        return {f"{at}": scene.tolist() for at, scene in enumerate(values)}

    failed = 0
    for _ in range(300):
        before, after = ({PSNR: run(), LPIPS: run()} for _ in range(2))
        failed += outcome(changes(baseline(before), after)).exit_code is Exit.REGRESSION
    assert failed / 300 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
