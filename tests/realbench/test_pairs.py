"""Paired comparisons by hand and against scipy and statsmodels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realbench.bootstrap import Nest, nest, nests
from realbench.pairs import Pairs, compare, holm, sign_flip
from realbench.records import ColumnInfo

INF = math.inf
REAL = Path(__file__).resolve().parents[3] / "shared" / "realfill_eval_rows.csv"
VALUES = st.lists(st.floats(-1e3, 1e3, allow_subnormal=False), min_size=1, max_size=9)


def column(direction: str = "higher") -> ColumnInfo:
    return ColumnInfo(
        metric="psnr", config={}, signature="psnr|v:1", title="PSNR", summary="", direction=direction, region="hole", image="composite",
        reads=[], unit="dB", digits=2,
    )  # fmt: skip


def row(label: str, values: Sequence[float]) -> tuple[Nest, list[str]]:
    scenes = {f"{at:02}": [np.array([value], dtype=np.float64)] for at, value in enumerate(values)}
    return nest(label, scenes), [*scenes]


def pairs(direction: str = "higher", **rows: Sequence[float]) -> Pairs:
    return compare(column(direction), {label: row(label, values) for label, values in rows.items()})


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([], None),
        ([3.0], 1.0),  # +3 and −3 are as far from 0
        ([0.0, 0.0, 0.0], 1.0),
        ([1.0, 1.0, 1.0, 1.0, 1.0], 2 / 32),
        ([1.0, 2.0, 3.0, -1.0], 6 / 16),  # sums with a first +: 5, 7, −1, 1, 1, 3, −5, −3
        ([INF, 1.0, 1.0], 2 / 8),
        ([INF, -1.0, -1.0], 1.0),  # the infinite part is the same in all flips, and no finite part pulls more against it
        ([INF, -INF, 1.0], 1.0),  # the infinite parts cancel, which is nearest to 0
    ],
)
def test_sign_flips_by_hand(differences: list[float], p: float | None) -> None:
    assert sign_flip(differences) == p


@settings(max_examples=20, deadline=None)
@given(VALUES.filter(lambda values: len(values) > 1))
def test_sign_flips_agree_with_scipy(values: list[float]) -> None:
    from scipy.stats import permutation_test

    other = permutation_test((np.array(values),), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True)
    mean = np.mean(values)
    exact = np.mean([abs(value) >= abs(mean) - 1e-12 * np.abs(values).mean() for value in other.null_distribution])
    assert sign_flip(values) == pytest.approx(exact)


def test_random_sign_flips_agree_with_the_t_test() -> None:
    from scipy.stats import ttest_1samp

    values = np.random.default_rng(4).normal(0.35, 1, 40)
    assert sign_flip(values.tolist()) == pytest.approx(ttest_1samp(values, 0).pvalue, abs=0.01)
    assert sign_flip([1.0] * 40) == 1 / 10_000


@given(VALUES)
@settings(max_examples=20, deadline=None)
def test_sign_scale_and_order_do_not_matter(values: list[float]) -> None:
    p = sign_flip(values)
    assert sign_flip([-value for value in values]) == p == sign_flip([4 * value for value in values]) == sign_flip(sorted(values))


@pytest.mark.parametrize(
    ("values", "adjusted"),
    [
        ([], []),
        ([0.04], [0.04]),
        # Smallest × 4, next × 3, and so on, never falling: .01·4, .02·3, .02·2 → .06, .5.
        ([0.02, 0.01, 0.5, 0.02], [0.06, 0.04, 0.5, 0.06]),
        ([0.9, 0.8], [1.0, 1.0]),
        ([0.01, None, 0.03], [0.02, None, 0.03]),
    ],
)
def test_holm_by_hand(values: list[float | None], adjusted: list[float | None]) -> None:
    assert [None if p is None else round(p, 12) for p in holm(values)] == adjusted


def test_holm_agrees_with_statsmodels() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest", reason="statsmodels is not installed")
    values = np.random.default_rng(1).uniform(0, 0.2, 45)
    assert holm(values.tolist()) == pytest.approx(multitest.multipletests(values, method="holm")[1].tolist())


def test_a_pair_by_hand() -> None:
    found = pairs(x=[3, 5, 2, 4, 9, 9, 1], y=[1, 5, 3, 1, 2, 3, 0])
    (pair,) = found.pairs
    assert (pair.first, pair.second, len(pair.scenes)) == ("x", "y", 7)
    assert pair.differences == (2, 0, -1, 3, 7, 6, 1) and pair.mean == pytest.approx(18 / 7)
    assert (pair.wins, pair.ties, pair.losses) == (5, 1, 1)
    assert pair.interval is not None and 0 < pair.interval[0] < 18 / 7 < pair.interval[1] < 6
    # |Σ| of 2, 1, 3, 7, 6, 1 with signs is 18 or more for 20 and 18 (three ways: either 1 flipped), both signs: 6 of 64.
    assert pair.p == pair.adjusted == 6 / 64 and pair.exact and pair.better == ""
    turned = found.get("y", "x")
    assert turned is not None and turned.differences == (-2, 0, 1, -3, -7, -6, -1)
    assert (turned.wins, turned.ties, turned.losses) == (1, 1, 5) and turned.mean == -pair.mean
    assert turned.interval == (-pair.interval[1], -pair.interval[0]) and turned.turned() == pair
    assert found.get("x", "x") is None and found.get("x", "nobody") is None and found.get("x", "y") == pair


@pytest.mark.parametrize(("direction", "better", "wins"), [("higher", "x", 6), ("lower", "y", 0)])
def test_a_difference_that_is_shown(direction: str, better: str, wins: int) -> None:
    (pair,) = pairs(direction, x=[2, 3, 4, 5, 6, 7], y=[1, 1, 1, 1, 1, 1]).pairs
    assert (pair.p, pair.better, pair.wins) == (2 / 64, better, wins)


def test_holm_counts_the_pairs_of_the_metric() -> None:
    found = pairs(x=[2, 3, 4, 5, 6, 7], y=[1] * 6, z=[1] * 6)
    assert [pair.adjusted for pair in found.pairs] == [6 / 64, 6 / 64, 1.0]
    assert [pair.better for pair in found.pairs] == ["", "", ""]
    assert found.too_few == "6 scenes cannot show a difference at 5 %: with 3 pairs of rows it takes at least 7"


@pytest.mark.parametrize(("scenes", "told"), [(5, True), (6, False)])
def test_too_few_scenes_are_told(scenes: int, told: bool) -> None:
    assert bool(pairs(x=[1.0] * scenes, y=[0.0] * scenes).too_few) is told


def test_rows_are_compared_on_their_common_scenes() -> None:
    found = compare(column(), {"x": row("x", [1, 2, 3]), "y": (row("y", [5, 5, 5])[0], ["01", "02"]), "z": (row("z", [])[0], [])})
    assert [(pair.first, pair.second, pair.scenes) for pair in found.pairs] == [("x", "y", ("01", "02")), ("x", "z", ()), ("y", "z", ())]
    assert [(pair.mean, pair.p) for pair in found.pairs] == [(-2.5, 1 / 2), (None, None), (None, None)]


def test_equal_rows_are_tied() -> None:
    (pair,) = pairs(x=[1, INF, 3, 4], y=[1, INF, 3, 4]).pairs
    assert (pair.mean, pair.interval, pair.p, pair.ties, pair.better) == (0, (0, 0), 1, 4, "")


def test_infinite_differences() -> None:
    (pair,) = pairs(x=[INF, 2, 3, 4, 5, 6], y=[1, 1, 1, 1, 1, 1]).pairs
    assert (pair.mean, pair.p, pair.better) == (INF, 2 / 64, "x")
    assert pair.interval is not None and pair.interval[1] == INF
    (both,) = pairs(x=[INF, 1, 1, 1], y=[1, INF, 1, 1]).pairs
    assert both.mean is None and both.interval is None and both.p == 1


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.floats(-10, 10))
def test_a_constant_shifts_and_rows_may_change_places(seed: int, constant: float) -> None:
    random = np.random.default_rng(seed)
    x, y, z = (random.normal(size=7).tolist() for _ in range(3))
    one, other = pairs(x=x, y=y, z=z), pairs(z=z, y=y, x=x)
    pair, same = one.get("x", "y"), other.get("x", "y")
    assert pair == same
    shifted = pairs(x=[value + constant for value in x], y=y).pairs[0]
    assert pair is not None and pair.interval is not None and pair.mean is not None
    assert shifted.mean == pytest.approx(pair.mean + constant)
    assert shifted.interval == pytest.approx((pair.interval[0] + constant, pair.interval[1] + constant))


def test_real_rows_of_one_method_are_not_shown_to_differ() -> None:
    """Even and odd seeds of the same method on 14 real scenes; then the same with half a dB added to the odd ones."""
    if not REAL.is_file():
        pytest.skip(f"{REAL.name} is not on this machine (real scores, which are not part of the project)")
    real = pd.read_csv(REAL).rename(columns={"cand": "seed"}).assign(signature="psnr", fit=0)
    real["scene"] = real["scene"].astype(str)
    real["value"] = real["psnr_masked"]
    real["label"] = np.where(real["seed"] % 2, "odd", "even")
    found = nests(real)
    rows = {label: (found[label, "psnr"], found[label, "psnr"].scenes) for label in ("even", "odd")}
    (pair,) = compare(column(), rows).pairs
    assert len(pair.scenes) == 14 and pair.exact and pair.p is not None and pair.p > 0.05 and pair.better == ""
    assert pair.interval is not None and pair.interval[0] < 0 < pair.interval[1]
    real.loc[real["label"] == "odd", "value"] += 0.5
    shifted = nests(real)
    (other,) = compare(column(), {label: (shifted[label, "psnr"], nest.scenes) for label, (nest, _) in rows.items()}).pairs
    assert other.better == "odd" and other.mean == pytest.approx((pair.mean or 0) - 0.5)


def test_two_halves_of_one_invented_method_are_seldom_shown_to_differ() -> None:
    """The same on made scores, 200 times over: about one in twenty is a false claim."""
    random = np.random.default_rng(6)
    samples = random.normal(0, 1, (200, 12)) - random.normal(0, 1, (200, 12))
    claims = [p is not None and p <= 0.05 for p in (sign_flip(sample) for sample in samples.tolist())]
    assert 0.01 <= np.mean(claims) <= 0.1


def test_rounding_is_no_difference() -> None:
    """Three seeds of 0.1 have a mean of 0.10000000000000002; the row with one seed of 0.1 has lost nothing."""
    scenes = [f"{at:02}" for at in range(8)]
    three, one = ((nest(label, {scene: [np.full(count, 0.1)] for scene in scenes}), scenes) for label, count in (("three", 3), ("one", 1)))
    (pair,) = compare(column(), {"three": three, "one": one}).pairs
    assert (pair.wins, pair.ties, pair.losses, pair.better, pair.p) == (0, 8, 0, "", 1.0)
