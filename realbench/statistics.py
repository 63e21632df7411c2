"""Means, intervals and ranks over repeats that are nested: scene > fit > seed. Never imports torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from realbench.metric import Direction

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.95
RESAMPLES = 9_999
"""With these, the interval's ends are the 250th smallest and the 250th largest resampled mean."""
COVERAGE_PERCENT = 80
"""Share of scenes, and of fills, that a row must have scores for to be ranked."""
LEAST_SCENES = 4
"""Fewer give no interval: with two or three, one resample in 4 or 27 holds one value alone, so a 95 % interval were their range."""
_SEED = 2309
_BLOCK = 1_000_000


def scene_means(scores: pd.DataFrame, by: Sequence[str] = ()) -> pd.Series:
    """Each scene's mean over seeds, then over fits, indexed by `by` and `scene`.

    Takes lines as `Results.scores` gives them; those without a value are left out, so the caller must count and show them.
    A scene with values of +∞ and −∞ has no mean: NaN.
    """
    present = scores[scores["value"].notna()]
    keys = [*by, "scene"]
    with np.errstate(invalid="ignore"):
        fits = present.groupby([*keys, "fit"], sort=False)["value"].mean().groupby(keys, sort=False)
        # pandas leaves a fit without a mean out; a scene with such a fit has none either.
        return fits.mean().where(fits.count() == fits.size())


def nested_mean(scores: pd.DataFrame) -> float | None:
    """Mean over seeds, then over fits, then over scenes of one row's lines under one metric; None where there is none."""
    return mean(scene_means(scores))


def mean(values: Iterable[float]) -> float | None:
    """Arithmetic mean; infinite with an infinite value; None without values, and where both +∞ and −∞ (or NaN) occur."""
    result = _average(np.fromiter(values, dtype=np.float64))
    return None if math.isnan(result) else result


def interval(values: Iterable[float]) -> tuple[float, float] | None:
    """95 % percentile bootstrap interval of the mean over scenes; the same values always give the same interval.

    Takes one value a scene. None for fewer than LEAST_SCENES. Infinite values are resampled like any other: all infinite
    gives (∞, ∞), some give an end that is finite or infinite, as the resampled means are.
    The ends are resampled means themselves, never interpolated between two (scipy.stats.bootstrap gives NaN for infinite values).
    """
    sample = np.fromiter(values, dtype=np.float64)
    if sample.size < LEAST_SCENES or math.isnan(_average(sample)):
        return None
    generator = np.random.default_rng(_SEED)
    rows = max(1, _BLOCK // sample.size)
    blocks = [min(rows, RESAMPLES - start) for start in range(0, RESAMPLES, rows)]
    means = np.sort(np.concatenate([sample[generator.integers(0, sample.size, (block, sample.size))].mean(axis=1) for block in blocks]))
    at = round((1 - LEVEL) / 2 * (RESAMPLES + 1))
    return float(means[at - 1]), float(means[RESAMPLES - at])


def is_covered(count: int, of: int) -> bool:
    """Whether `count` of `of` is enough to be ranked."""
    return of > 0 and 100 * count >= COVERAGE_PERCENT * of


@dataclass(frozen=True)
class Ranking:
    """Ranks of rows under one metric."""

    common: tuple[str, ...] = ()
    """The scenes that every ranked row has a score for; ranks rest on these alone."""
    means: Mapping[str, float] = field(default_factory=dict)
    """Mean over the common scenes, by row."""
    ranks: Mapping[str, int] = field(default_factory=dict)
    """1 is best; equal means share a rank and the next one is skipped. Empty when no scene is common to all rows."""
    places: Mapping[str, float] = field(default_factory=dict)
    """What a mean rank counts: equal means share the mean of their places (two first ones have 1.5). Empty where all of several
    rows tie, since such a metric tells them nothing apart."""


def rank(rows: Mapping[str, Mapping[str, float]], direction: Direction) -> Ranking:
    """Rank rows over the scenes common to all of them, so that none gains from a scene it misses.

    Takes, by row, the mean of each scene it has a score for; only rows with enough coverage belong here.
    """
    if not rows:
        return Ranking()
    first, *others = (list(scenes) for scenes in rows.values())
    common = tuple(scene for scene in first if all(scene in other for other in others))
    found = {row: mean(scenes[scene] for scene in common) for row, scenes in rows.items()}
    means = {row: value for row, value in found.items() if value is not None}
    better = [-value if direction == "higher" else value for value in means.values()]
    ranks = {row: 1 + sum(other < own for other in better) for row, own in zip(means, better, strict=True)}
    tied = len(better) > 1 and len(set(better)) == 1
    places = {row: ranks[row] + (better.count(own) - 1) / 2 for row, own in zip(means, better, strict=True)}
    return Ranking(common, means, ranks, {} if tied else places)


def _average(values: Iterable[float]) -> float:
    """Mean of floats without numpy's warnings; NaN for none and for infinities of both signs."""
    numbers = np.asarray(values, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return float(numbers.mean()) if numbers.size else math.nan
