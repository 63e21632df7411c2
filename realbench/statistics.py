"""Means, intervals and ranks over repeats that are nested: scene > fit > seed. Never imports torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from realbench.metric import Direction

if TYPE_CHECKING:
    import pandas as pd

Floats: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.integer[Any]]

LEVEL = 0.95
RESAMPLES = 9_999
"""With these, the interval's ends are the 250th smallest and the 250th largest resampled mean."""
COVERAGE_PERCENT = 80
"""Share of scenes, and of fills, that a row must have scores for to be ranked."""
LEAST_SCENES = 4
"""Fewer give no interval: with two or three, one resample in 4 or 27 holds one value alone, so a 95 % interval were their range."""
SEED = 2309
"""Of every draw, so that the same scores always give the same numbers."""
BLOCK = 1_000_000
"""Draws held in memory at a time."""


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


def difference(before: float, after: float) -> float:
    """after − before; equal values differ by 0, infinite ones too."""
    return 0.0 if before == after else after - before


def interval(values: Iterable[float]) -> tuple[float, float] | None:
    """95 % percentile bootstrap interval of the mean over scenes; the same values always give the same interval.

    Takes one value a scene. None for fewer than LEAST_SCENES. Infinite values are resampled like any other: all infinite
    gives (∞, ∞), some give an end that is finite or infinite, as the resampled means are.
    """
    sample = np.fromiter(values, dtype=np.float64)
    if sample.size < LEAST_SCENES or math.isnan(_average(sample)):
        return None
    return ends(np.concatenate([sample[lines].mean(axis=1) for lines in draws(sample.size)]))


def draws(scenes: int) -> Iterator[Indices]:
    """RESAMPLES lines of scene indices drawn with replacement, each as long as there are scenes; in blocks, always the same ones."""
    if scenes * RESAMPLES <= BLOCK:
        yield _draws(scenes)
        return
    generator = np.random.default_rng(SEED)
    for block in blocks(scenes):
        yield generator.integers(0, scenes, (block, scenes), dtype=np.int32)


def blocks(scenes: int) -> Iterator[int]:
    """How many of the RESAMPLES lines are held at a time, block after block."""
    lines = max(1, BLOCK // scenes)
    return (min(lines, RESAMPLES - start) for start in range(0, RESAMPLES, lines))


@lru_cache(maxsize=16)
def _draws(scenes: int) -> Indices:
    return np.random.default_rng(SEED).integers(0, scenes, (RESAMPLES, scenes), dtype=np.int32)


def ends(resampled: Floats) -> tuple[float, float] | None:
    """The ends of the 95 % interval: resampled values themselves, never interpolated between two (scipy.stats.bootstrap gives NaN for
    infinite values). None where one of them is NaN, the mean of infinities of both signs.
    """
    if np.isnan(resampled).any():
        return None
    at = round((1 - LEVEL) / 2 * (resampled.size + 1))
    ordered = np.partition(resampled, (at - 1, resampled.size - at))
    return float(ordered[at - 1]), float(ordered[resampled.size - at])


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


def settled(values: Floats) -> Floats:
    """Rounded to 12 significant digits: three seeds of 0.1 have a mean of 0.10000000000000002, which is no better than one of 0.1."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scale = 10.0 ** (11 - np.floor(np.log10(np.abs(values))))
        rounded = np.round(values * scale) / scale
    return np.asarray(np.where(np.isfinite(rounded), rounded, values))


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
    compared = settled(np.array([*means.values()], dtype=np.float64)).tolist()
    better = [-value if direction == "higher" else value for value in compared]
    ranks = {row: 1 + sum(other < own for other in better) for row, own in zip(means, better, strict=True)}
    tied = len(better) > 1 and len(set(better)) == 1
    places = {row: ranks[row] + (better.count(own) - 1) / 2 for row, own in zip(means, better, strict=True)}
    return Ranking(common, means, ranks, {} if tied else places)


def _average(values: Iterable[float]) -> float:
    """Mean of floats without numpy's warnings; NaN for none and for infinities of both signs."""
    numbers = np.asarray(values, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return float(numbers.mean()) if numbers.size else math.nan
