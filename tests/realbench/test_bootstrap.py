"""The nested bootstrap against brute force, scipy, and what must not change it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realbench import statistics
from realbench.bootstrap import BANK, Nest, _weights, difference, mean_rank_intervals, nest, nests

INF = math.inf
REAL = Path(__file__).resolve().parents[3] / "shared" / "realfill_eval_rows.csv"
Values = dict[str, list[npt.NDArray[np.float64]]]


def invented(scenes: int = 12, fits: int = 2, seeds: int = 8, label: str = "row") -> pd.DataFrame:
    """Scenes that differ by 3, fits by 1, seeds by 2."""
    random = np.random.default_rng(len(label))
    lines = []
    for scene in range(scenes):
        centre = 15 + random.normal(0, 3)
        for fit in range(fits):
            middle = centre + random.normal(0, 1)
            lines += [(label, "psnr", f"scene {scene}", fit, seed, middle + random.normal(0, 2)) for seed in range(seeds)]
    return pd.DataFrame(lines, columns=["label", "signature", "scene", "fit", "seed", "value"])


def of(frame: pd.DataFrame) -> Nest:
    (found,) = nests(frame).values()
    return found


def by_brute_force(frame: pd.DataFrame, resamples: int = 4_000) -> tuple[float, float]:
    """Every level drawn anew, with loops."""
    random = np.random.default_rng(7)
    fits = {
        scene: [own["value"].to_numpy() for _, own in lines.groupby("fit")] for scene, lines in frame.groupby("scene")
    }  # fmt: skip
    scenes = list(fits)
    means = []
    for _ in range(resamples):
        drawn = [fits[scenes[at]] for at in random.integers(0, len(scenes), len(scenes))]
        groups = [[own[at] for at in random.integers(0, len(own), len(own))] for own in drawn]
        means.append(np.mean([np.mean([random.choice(seeds, len(seeds)).mean() for seeds in group]) for group in groups]))
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


@pytest.mark.parametrize(("fits", "seeds"), [(1, 6), (3, 1), (2, 5)])
def test_it_is_what_brute_force_gives(fits: int, seeds: int) -> None:
    frame = invented(10, fits, seeds)
    found = of(frame)
    assert found.interval(found.scenes) == pytest.approx(by_brute_force(frame, 1_500), abs=0.25)


@pytest.mark.parametrize(("fits", "seeds"), [(1, 6), (3, 1), (2, 5), (1, 2)])
def test_its_variance_is_the_sum_of_the_levels(fits: int, seeds: int) -> None:
    """Between scene means, between fit means within a scene, between seeds within a fit; each divided by the number drawn."""
    frame = invented(10, fits, seeds)
    found = of(frame)
    within = []
    for _, lines in frame.groupby("scene"):
        groups = lines.groupby("fit")["value"]
        within.append(groups.mean().var(ddof=0) / fits + groups.var(ddof=0).mean() / (fits * seeds))
    expected = math.sqrt((found.means.var() + np.mean(within)) / 10)
    assert found.resampled(found.scenes).std() == pytest.approx(expected, rel=0.025)


def test_it_is_wider_than_over_scenes_alone_where_seeds_vary() -> None:
    found = of(invented(6, 1, 2))
    low, high = found.interval(found.scenes) or (0, 0)
    flat = statistics.interval(found.means) or (0, 0)
    assert high - low > 1.02 * (flat[1] - flat[0])


def test_with_one_fill_a_scene_it_is_the_bootstrap_over_scenes() -> None:
    found = of(invented(9, 1, 1))
    assert found.bank.shape == (9, 1)
    assert found.interval(found.scenes) == statistics.interval(found.means)


def test_real_rows() -> None:
    """224 scores of real fills, 14 scenes of 16 seeds."""
    if not REAL.is_file():
        pytest.skip(f"{REAL.name} is not on this machine (real scores, which are not part of the project)")
    real = pd.read_csv(REAL).rename(columns={"cand": "seed"}).assign(label="realfill", signature="psnr", fit=0)
    real["scene"] = real["scene"].astype(str)
    for metric in ("psnr_masked", "lpips_masked", "dreamsim"):
        frame = real.assign(value=real[metric])
        found = of(frame)
        low, high = found.interval(found.scenes) or (0, 0)
        assert len(found.scenes) == 14 and low < found.means.mean() < high
        assert (low, high) == pytest.approx(by_brute_force(frame, 1_000), abs=0.12 * (high - low))


def test_means_of_the_bank_are_the_scene_means() -> None:
    found = of(invented(5, 1, 7))
    assert found.bank.shape == (5, BANK)
    assert found.bank.mean(axis=1) == pytest.approx(found.means)
    assert (_weights(7) * 7).sum(axis=0).tolist() == [BANK] * 7
    assert (_weights(7).sum(axis=1) == pytest.approx(np.ones(BANK)))  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False), st.floats(-100, 100))
def test_order_means_nothing_and_a_constant_shifts(random: object, constant: float) -> None:
    frame = invented(6, 2, 3)
    found = of(frame)
    shuffled = frame.sample(frac=1, random_state=random.randrange(2**31))  # type: ignore[attr-defined]
    assert of(shuffled).interval(found.scenes[::-1]) == found.interval(found.scenes)
    low, high = found.interval(found.scenes) or (0, 0)
    assert of(frame.assign(value=frame["value"] + constant)).interval(found.scenes) == pytest.approx((low + constant, high + constant))


def test_rows_of_one_table_do_not_depend_on_each_other() -> None:
    one, other = invented(label="one"), invented(label="other")
    both = nests(pd.concat([other, one]))
    alone = of(one)
    assert both["one", "psnr"].interval(alone.scenes) == alone.interval(alone.scenes)


def test_lines_without_a_value_are_left_out() -> None:
    frame = invented(5, 1, 3)
    frame.loc[frame["scene"] == "scene 2", "value"] = math.nan
    frame.loc[0, "value"] = math.nan
    found = of(frame)
    assert found.scenes == ("scene 0", "scene 1", "scene 3", "scene 4")
    assert found.means[0] == pytest.approx(frame["value"][1:3].mean())
    assert nests(frame.assign(value=math.nan)) == {}


@pytest.mark.parametrize("count", [1, 3])
def test_fewer_than_four_scenes_have_no_interval(count: int) -> None:
    found = of(invented(count))
    assert found.interval(found.scenes) is None


def test_infinite_values() -> None:
    fills = {name: [np.array([INF, INF])] for name in "abcd"}
    assert nest("row", fills).interval("abcd") == (INF, INF)
    # A seed of four at ∞ dB: a resampled scene misses it with probability 0.32, all four scenes at once with 1 %.
    some = nest("row", {name: [np.array([INF, 1.0, 1.0, 1.0])] for name in "abcd"})
    assert some.interval("abcd") == (INF, INF) and some.means.tolist() == [INF] * 4
    one = nest("row", {"a": [np.array([INF, 1.0])]} | {name: [np.array([1.0, 3.0])] for name in "bcd"})
    low, high = one.interval("abcd") or (0, 0)
    assert 1 <= low < 3 and high == INF


def test_infinities_of_both_signs() -> None:
    """In a scene they leave it without a mean, in two scenes the row without an interval."""
    rest = {name: [np.array([1.0])] for name in "cdef"}
    assert nest("row", {"a": [np.array([INF, -INF])], **rest}).scenes == tuple("cdef")
    assert nest("row", {"a": [np.array([INF]), np.array([-INF])], **rest}).scenes == tuple("cdef")
    assert nest("row", {"a": [np.array([INF])], "b": [np.array([-INF])], **rest}).interval("abcdef") is None


def test_within_a_scene() -> None:
    found = nest("row", {"a": [np.arange(16.0)], "b": [np.array([3.0])], "c": [np.array([4.0, 4.0])]})
    low, high = found.scene_interval("a") or (0, 0)
    assert low == pytest.approx(7.5 - 1.96 * 4.61 / 4, abs=0.5) and high == pytest.approx(7.5 + 1.96 * 4.61 / 4, abs=0.5)
    assert found.scene_interval("b") is None and found.scene_interval("c") is None and found.scene_interval("none") is None


def test_differences_are_paired_by_scene() -> None:
    """Scenes differ by 100 and the rows by 1 on each: the difference has no spread."""
    scenes = {f"{at}": [np.array([100.0 * at])] for at in range(8)}
    better = {name: [values[0] + 1] for name, values in scenes.items()}
    assert statistics.ends(difference(nest("x", better), nest("y", scenes), [*scenes])) == (1, 1)


def test_differences_of_infinite_values() -> None:
    one = nest("x", {"a": [np.array([INF])], **{name: [np.array([2.0])] for name in "bcd"}})
    other = nest("y", {"a": [np.array([INF])], **{name: [np.array([1.0])] for name in "bcd"}})
    # 0 on a, 1 elsewhere: four draws hold a three times or more with 5 %, so 2.5 % lie at 0.25.
    assert statistics.ends(difference(one, other, "abcd")) == (0.25, 1)
    finite = nest("z", {name: [np.array([1.0])] for name in "abcd"})
    assert statistics.ends(difference(one, finite, "abcd")) == (1, INF)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99))
def test_the_difference_turned_round_is_its_negative(seed: int) -> None:
    random = np.random.default_rng(seed)
    one, other = (nest(name, {f"{at}": [random.normal(size=3)] for at in range(6)}) for name in ("x", "y"))
    assert (difference(one, other, one.scenes) == -difference(other, one, one.scenes)).all()


def test_many_scenes_are_drawn_in_blocks() -> None:
    random = np.random.default_rng(3)
    found = nest("row", {f"{at:03}": [random.normal(0, 1, 4)] for at in range(250)})
    low, high = found.interval(found.scenes) or (0, 0)
    width = 1.96 * math.hypot(found.means.std(), math.sqrt(3 / 16)) / math.sqrt(250)
    assert (low, high) == pytest.approx((found.means.mean() - width, found.means.mean() + width), abs=0.02)


def test_mean_ranks_of_rows_that_never_change_places() -> None:
    rows = {label: nest(label, {f"{at}": [np.array([float(at + place)])] for at in range(5)}) for place, label in enumerate("xyz")}
    scenes = rows["x"].scenes
    assert mean_rank_intervals([("higher", scenes, rows), ("lower", scenes, rows)]) == dict.fromkeys("xyz", (2, 2))
    assert mean_rank_intervals([("higher", scenes, rows)]) == {"x": (3, 3), "y": (2, 2), "z": (1, 1)}


def test_mean_ranks_by_hand() -> None:
    """x wins on a, ties elsewhere: a resample of four scenes holds a with probability 0.68, else both have place 1.5."""
    x = nest("x", {name: [np.array([2.0 if name == "a" else 1.0])] for name in "abcd"})
    y = nest("y", {name: [np.array([1.0])] for name in "abcd"})
    assert mean_rank_intervals([("higher", "abcd", {"x": x, "y": y})]) == {"x": (1, 1.5), "y": (1.5, 2)}


def test_mean_ranks_over_metrics_with_other_scenes() -> None:
    rows = {label: nest(label, {f"{at}": [np.array([float(place)])] for at in range(12)}) for place, label in enumerate("xy")}
    few, all_ = rows["x"].scenes[:4], rows["x"].scenes
    # Twelve draws miss four scenes of twelve in 0.8 % of the resamples, where the other metric counts alone.
    found = mean_rank_intervals([("higher", few, rows), ("lower", all_, rows)])
    assert found == {"x": (1.5, 1.5), "y": (1.5, 1.5)}
    assert mean_rank_intervals([("higher", few[:3], rows)]) == {} and mean_rank_intervals([]) == {}
