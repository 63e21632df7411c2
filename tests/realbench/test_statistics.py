from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realbench.statistics import interval, is_covered, mean, nested_mean, rank, scene_means, settled

INF = math.inf
FINITE = st.floats(-1e6, 1e6)


def lines(*values: tuple[str, int, int, float | None]) -> pd.DataFrame:
    frame = pd.DataFrame(values, columns=["scene", "fit", "seed", "value"])
    return frame.assign(value=frame["value"].astype(float), state=np.where(frame["value"].isna(), "failed", "ok"))


def test_means_are_nested() -> None:
    # a: fit 0 has (1 + 2 + 3) / 3 = 2, fit 1 has 8, so 5 (a flat mean were 3.5); b: 1; over scenes 3.
    frame = lines(("a", 0, 0, 1), ("a", 0, 1, 2), ("a", 0, 2, 3), ("a", 1, 0, 8), ("b", 0, 0, 1))
    assert scene_means(frame).to_dict() == {"a": 5, "b": 1}
    assert nested_mean(frame) == 3


def test_lines_without_a_value_are_left_out_and_not_zero() -> None:
    assert nested_mean(lines(("a", 0, 0, 4), ("a", 0, 1, None), ("b", 0, 0, None), ("c", 0, 0, 6))) == 5
    assert nested_mean(lines(("a", 0, 0, None))) is None


def test_scene_means_by_row_keep_rows_apart() -> None:
    frame = lines(("a", 0, 0, 4), ("a", 0, 0, 6)).assign(label=["x", "y"])
    assert scene_means(frame, ["label"]).to_dict() == {("x", "a"): 4, ("y", "a"): 6}


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], None), ([2.0], 2.0), ([1, 2, 6], 3.0), ([INF, INF], INF), ([1, INF], INF), ([-INF, 1], -INF), ([INF, -INF], None)],
)
def test_mean(values: list[float], expected: float | None) -> None:
    assert mean(values) == expected


def test_infinite_values_in_the_nest() -> None:
    assert nested_mean(lines(("a", 0, 0, INF), ("a", 0, 1, INF), ("b", 0, 0, INF))) == INF
    assert nested_mean(lines(("a", 0, 0, INF), ("a", 0, 1, 3), ("b", 0, 0, 2))) == INF
    assert nested_mean(lines(("a", 0, 0, INF), ("a", 0, 1, -INF), ("b", 0, 0, 2))) is None
    assert nested_mean(lines(("a", 0, 0, INF), ("a", 0, 1, -INF), ("a", 1, 0, 2), ("b", 0, 0, 2))) is None


@pytest.mark.parametrize("values", [[], [3.0], [INF], [INF, -INF, 1, 2]])
def test_no_interval_is_made_up(values: list[float]) -> None:
    assert interval(values) is None


def test_interval_agrees_with_scipy() -> None:
    from scipy.stats import bootstrap

    values = np.random.default_rng(5).normal(15, 4, 33)
    other = bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1)).confidence_interval
    assert interval(values) == pytest.approx((other.low, other.high), abs=0.06)


@pytest.mark.parametrize(("count", "given"), [(1, False), (2, False), (3, False), (4, True)])
def test_fewer_than_four_scenes_have_no_interval(count: int, given: bool) -> None:
    assert (interval(map(float, range(count))) is not None) is given


def test_interval_of_four_scenes_by_hand() -> None:
    # Means of resamples of 0, 0, 0, 4 are 0, 1, 2, 3, 4 with 81, 108, 54, 12, 1 of 256: 2.5 % lies in the 0s, 97.5 % in the 3s.
    assert interval([0, 0, 0, 4]) == (0, 3)


def test_interval_of_many_scenes_is_made_in_blocks() -> None:
    values = np.random.default_rng(0).normal(0, 1, 3_000)
    low, high = interval(values) or (0, 0)
    assert (low, high) == pytest.approx((values.mean() - 1.96 / math.sqrt(3000), values.mean() + 1.96 / math.sqrt(3000)), abs=0.003)


def test_intervals_with_infinite_values() -> None:
    assert interval([INF, INF, INF, INF]) == (INF, INF)
    # One of four: a resample misses it with probability (3/4)⁴ = 0.32, so only the upper end is infinite.
    assert interval([INF, 1.0, 1.0, 1.0]) == (1.0, INF)


@given(st.lists(st.one_of(FINITE, st.just(INF)), min_size=4, max_size=12))
def test_an_interval_is_repeatable_and_lies_within_the_values(values: list[float]) -> None:
    found = interval(values)
    assert found is not None and found == interval(values)
    assert min(values) - 1e-6 <= found[0] <= found[1] <= max(values) + 1e-6


@pytest.mark.parametrize(
    ("count", "of", "enough"), [(4, 5, True), (3, 4, False), (8, 10, True), (7, 9, False), (0, 0, False), (28, 35, True)]
)
def test_coverage(count: int, of: int, enough: bool) -> None:
    assert is_covered(count, of) is enough


def test_ranks_rest_on_common_scenes() -> None:
    # Over its own scenes y has 25 and x (30 + 30 + 3) / 3 = 21; without the hard scene, which y lacks, x wins.
    found = rank({"x": {"a": 30, "b": 30, "hard": 3}, "y": {"a": 25, "b": 25}}, "higher")
    assert found.common == ("a", "b")
    assert dict(found.means) == {"x": 30, "y": 25}
    assert dict(found.ranks) == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    ("direction", "ranks"), [("higher", {"x": 3, "y": 1, "z": 1, "w": 4}), ("lower", {"x": 2, "y": 3, "z": 3, "w": 1})]
)
def test_direction_and_ties(direction: str, ranks: dict[str, int]) -> None:
    rows = {"x": {"a": 1.0}, "y": {"a": 2.0}, "z": {"a": 2.0}, "w": {"a": 0.0}}
    assert dict(rank(rows, direction).ranks) == ranks  # type: ignore[arg-type]


def test_equal_means_share_the_mean_of_their_places() -> None:
    rows = {"x": {"a": 1.0}, "y": {"a": 2.0}, "z": {"a": 2.0}, "w": {"a": 0.0}}
    assert dict(rank(rows, "higher").places) == {"y": 1.5, "z": 1.5, "x": 3, "w": 4}
    three = {"x": {"a": 5.0}, "y": {"a": 5.0}, "z": {"a": 5.0}, "w": {"a": 9.0}}
    assert dict(rank(three, "lower").places) == {"x": 2, "y": 2, "z": 2, "w": 4}


def test_a_metric_under_which_all_rows_tie_gives_no_places() -> None:
    found = rank({"x": {"a": INF}, "y": {"a": INF}}, "higher")
    assert dict(found.ranks) == {"x": 1, "y": 1} and dict(found.places) == {}
    assert dict(rank({"x": {"a": 4.0}}, "higher").places) == {"x": 1}


def test_infinity_ranks_first_and_ties() -> None:
    assert dict(rank({"x": {"a": INF}, "y": {"a": 3}, "z": {"a": INF}}, "higher").ranks) == {"x": 1, "y": 3, "z": 1}


def test_without_a_common_scene_nothing_is_ranked() -> None:
    assert dict(rank({"x": {"a": 1}, "y": {"b": 1}}, "higher").ranks) == {}
    assert dict(rank({}, "higher").ranks) == {}


@given(st.dictionaries(st.sampled_from("abcdefgh"), FINITE, min_size=1), st.dictionaries(st.sampled_from("abcdefgh"), FINITE, min_size=1))
def test_a_scene_that_one_row_lacks_changes_no_rank(x: dict[str, float], y: dict[str, float]) -> None:
    before = rank({"x": x, "y": y}, "higher")
    after = rank({"x": {**x, "new": -1e9}, "y": y}, "higher")
    assert before.ranks == after.ranks and before.means == after.means


def test_means_that_differ_by_rounding_share_a_rank() -> None:
    found = rank({"three": {"a": (0.1 + 0.1 + 0.1) / 3}, "one": {"a": 0.1}, "more": {"a": 0.1000001}}, "higher")
    assert found.ranks == {"three": 2, "one": 2, "more": 1}


def test_settled_keeps_twelve_digits_and_what_is_no_number() -> None:
    values = np.array([0.1 + 0.2, -1234.5678901234567, 0.0, math.inf, -math.inf, 1e-300])
    assert settled(values).tolist() == [0.3, -1234.56789012, 0.0, math.inf, -math.inf, 1e-300]
    assert np.isnan(settled(np.array([math.nan]))).all()
