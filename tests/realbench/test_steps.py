"""Steps: found where they are, not in noise, not in one point, and the same whatever the unit."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realbench.steps import FALSE_ALARMS, LEAST_POINTS, PENALTY, Step, _holds, _lasting, _segmented, roughness, steps

SERIES = 400


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], []),
        ([5], []),
        ([20, 20, 19], []),
        ([20, 20, 19, 19], [Step(2, 20, 19)]),
        ([20, 20, 20, 19], []),  # the last point may be an outlier
        ([19, 20, 20, 20], []),
        ([20, 20, 20, 15, 20, 20, 20], []),
        ([0, 0, 0, 0], []),
        ([0, 0, 0, 4, 4, 1, 1], [Step(3, 0, 4), Step(5, 4, 1)]),
        ([-2, -2, 3, 3, 3], [Step(2, -2, 3)]),
        ([20, 20, 19.995, 19.995], []),  # smaller than the least that counts
        ([20, 20, 20.02, 20.02], [Step(2, 20, 20.02)]),
        ([1, 1, 1.006, 1.006, 1.012, 1.012, 1.018, 1.018], [Step(4, 1.003, 1.015)]),  # none of three alone, but together
    ],
    ids=str,
)
def test_steps_of_exact_values(values: list[float], found: list[Step]) -> None:
    made = steps(values, 0.01)
    assert [step.at for step in made] == [step.at for step in found]
    assert [(step.before, step.after) for step in made] == [pytest.approx((step.before, step.after)) for step in found]


def test_a_step_in_noise_is_found_with_its_size() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 20)
    made = steps([*(noise[:12] + 24), *(noise[12:] + 23.2)], 0.01)
    assert [step.at for step in made] == [12]
    assert made[0].size == pytest.approx(noise[12:].mean() - noise[:12].mean() - 0.8)


@pytest.mark.parametrize("size", [4, 5, 8, 12, 30])
def test_noise_shows_no_more_steps_than_stated(size: int) -> None:
    random = np.random.default_rng(size)
    found = sum(bool(steps(random.normal(20, 0.3, size), 1e-6)) for _ in range(SERIES))
    # Two standard errors above the stated share.
    assert found <= SERIES * FALSE_ALARMS + 2 * math.sqrt(SERIES * FALSE_ALARMS)


def test_an_outlier_in_noise_is_no_step() -> None:
    random = np.random.default_rng(3)
    found = 0
    for _ in range(200):
        noise = random.normal(20, 0.3, 20)
        noise[random.integers(20)] += 10
        found += bool(steps(noise, 0.01))
    assert found <= 10


def test_roughness_by_hand() -> None:
    # Squared differences 1, 4, 9, 100: the largest quarter is one of them.
    assert roughness(np.array([0.0, 1, 3, 0, 10]), 1) == pytest.approx(14 / 3)
    # Half of the neighbours are the same, to a tenth of what counts.
    assert roughness(np.array([0.0, 0.1, 7, 7, 9]), 1) == 0
    assert roughness(np.array([0.0, 0.2, 7, 7, 9]), 1) == pytest.approx((0.04 + 0 + 4) / 3)


def exhaustive(series: np.ndarray, penalty: float) -> float:
    """The least sum of squares plus penalties over all levels of two points or more."""
    places = range(2, series.size - 1)
    every = (breaks for count in range(series.size // 2) for breaks in combinations(places, count))
    allowed = (breaks for breaks in every if all(b - a >= 2 for a, b in pairwise([0, *breaks, series.size])))
    return min(cost(series, [*breaks], penalty) for breaks in allowed)


def cost(series: np.ndarray, breaks: list[int], penalty: float) -> float:
    return sum(float(((part - part.mean()) ** 2).sum()) for part in np.split(series, breaks)) + penalty * len(breaks)


def test_levels_are_the_best_there_are() -> None:
    random = np.random.default_rng(5)
    for size in (4, 5, 7, 9, 11):
        for penalty in (0.3, 1.0, 4.0):
            series = random.normal(0, 1, size) + 3 * (np.arange(size) > size // 2)
            assert cost(series, _segmented(series, penalty), penalty) == pytest.approx(exhaustive(series, penalty))


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.integers(-50, 50), min_size=LEAST_POINTS, max_size=14),
    power=st.integers(-8, 8),
    shift=st.integers(-3, 3),
)
def test_units_and_direction_do_not_matter(values: list[int], power: int, shift: int) -> None:
    """Powers of two, so that no rounding decides."""
    base = steps([float(value) for value in values], 0.5)
    scaled = steps([value * 2.0**power for value in values], 0.5 * 2.0**power)
    mirrored = steps([-float(value) for value in values], 0.5)
    assert [step.at for step in scaled] == [step.at for step in base] == [step.at for step in mirrored]
    assert [step.size for step in mirrored] == [pytest.approx(-step.size) for step in base]
    assert all(abs(step.size) > 0.5 and 2 <= step.at <= len(values) - 2 for step in base)


@pytest.mark.parametrize("values", [[1e308, 1e308, -1e308, -1e308], [5e-324] * 5, [1e-300, 1e-300, 2e-300, 2e-300]])
def test_extreme_numbers_are_numbers(values: list[float]) -> None:
    assert len(steps(values, 1e-2)) == (abs(values[0]) > 1)


@pytest.mark.parametrize("size", [8, 12])
def test_half_of_the_penalty_would_not_do(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realbench.steps.PENALTY", PENALTY / 2)
    random = np.random.default_rng(size)
    found = sum(bool(steps(random.normal(20, 0.3, size), 1e-6)) for _ in range(SERIES))
    assert found > SERIES * 2 * FALSE_ALARMS


@pytest.mark.parametrize(
    ("after", "penalty", "least", "holds"),
    [
        ([1.0] * 10, 4.9, 0.1, True),
        ([1.0] * 10, 5.1, 0.1, False),  # 1² × 10 × 10 / 20 are saved
        ([-1.0] * 10, 4.9, 0.1, True),
        ([1.0] * 10, 1.0, 1.1, False),
        ([9.0, 1.0], 1.0, 0.1, False),  # 5 is the step, and 1 without the point that helps it most
        ([6.0, 4.0], 1.0, 0.1, True),
    ],
)
def test_a_step_holds_where_it_pays_counts_and_rests_on_more_than_a_point(
    after: list[float], penalty: float, least: float, holds: bool
) -> None:
    assert _holds(np.zeros(10), np.array(after), penalty, least) is holds
    assert _holds(np.array(after), np.zeros(10), penalty, least) is holds


def test_the_smallest_step_that_does_not_hold_goes_first() -> None:
    assert _lasting(np.array([0, 0, 0.9, 0.9, 1.7, 1.7]), [2, 4], 1e-6, 1.0) == [2]
