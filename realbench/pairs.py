"""Whether two rows differ: paired by scene, with an interval, a sign-flip test and Holm's correction (docs/statistics.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import combinations, groupby, product

import numpy as np

from realbench import bootstrap, statistics
from realbench.bootstrap import Nest
from realbench.metric import Direction
from realbench.records import ColumnInfo
from realbench.statistics import RESAMPLES, SEED, Floats

SIGNIFICANCE = 0.05
"""A row is shown to be better where its adjusted p-value is at most this."""
EXACT_SCENES = 16
"""Up to so many scenes, all sign flips are tried; beyond, RESAMPLES random ones."""
_TOGETHER = 64
"""Pairs tested at a time, to bound the memory."""


@dataclass(frozen=True)
class Pair:
    """Two rows under one metric, over the scenes that both have a value for."""

    first: str
    second: str
    scenes: tuple[str, ...]
    """In the order of their names."""
    differences: tuple[float, ...]
    """first − second, a scene each; equal infinite values differ by 0."""
    mean: float | None
    """Of the differences; None where there is none, or some are +∞ and some −∞."""
    interval: tuple[float, float] | None
    """95 % nested bootstrap interval of the mean; None for fewer than statistics.LEAST_SCENES."""
    p: float | None
    """Two-sided sign-flip test of no difference; None without a common scene."""
    adjusted: float | None
    """Holm's, over all pairs of the metric."""
    wins: int
    """Scenes on which `first` is better, in the metric's direction."""
    ties: int
    losses: int
    better: str
    """The row shown to be better; empty where no difference is shown."""

    @property
    def exact(self) -> bool:
        """Every sign flip was tried."""
        return len(self.scenes) <= EXACT_SCENES

    def turned(self) -> Pair:
        """The same pair with the rows in the other order."""
        mean = None if self.mean is None else 0.0 - self.mean
        span = None if self.interval is None else (0.0 - self.interval[1], 0.0 - self.interval[0])
        differences = tuple(0.0 - value for value in self.differences)
        changed = replace(self, first=self.second, second=self.first, differences=differences, mean=mean, interval=span)
        return replace(changed, wins=self.losses, losses=self.wins)


@dataclass(frozen=True)
class Pairs:
    """Every two rows that are no oracles, under one metric."""

    info: ColumnInfo
    pairs: tuple[Pair, ...]
    too_few: str = ""
    """Why no difference could be shown, whatever the scores; empty where one could."""

    @cached_property
    def _by_labels(self) -> dict[tuple[str, str], Pair]:
        return {(pair.first, pair.second): pair for pair in self.pairs}

    def get(self, first: str, second: str) -> Pair | None:
        """Two rows in this order; None for a row and itself, and for one that is not compared."""
        other = self._by_labels.get((second, first))
        return self._by_labels.get((first, second)) or (other.turned() if other else None)


def compare(info: ColumnInfo, rows: Mapping[str, tuple[Nest, Sequence[str]]]) -> Pairs:
    """All pairs of rows, each given as its nest and the scenes that count."""
    drafts = [_draft(one, other, info.direction) for one, other in combinations(rows.values(), 2)]
    values = _p_values([pair.differences for pair in drafts])
    adjusted = holm(values)
    pairs = (_judged(pair, p, q, info.direction) for pair, p, q in zip(drafts, values, adjusted, strict=True))
    return Pairs(info, tuple(pairs), _too_few(drafts))


def sign_flip(differences: Sequence[float]) -> float | None:
    """Two-sided p-value of the sign-flip test: how often random signs make the mean as far from 0 as it is.

    Exact for up to EXACT_SCENES differences; else (1 + count) / (1 + RESAMPLES) over random signs, the same ones each time. An
    infinite difference counts as larger than all finite ones together. None for no differences.
    """
    return _p_values([differences])[0]


def least_p(differences: int) -> float:
    """The smallest p-value that `sign_flip` can give so many differences: where all point one way."""
    return 2.0 ** (1 - differences) if differences <= EXACT_SCENES else 1 / (1 + RESAMPLES)


def holm(values: Sequence[float | None]) -> list[float | None]:
    """P-values adjusted by Holm's step-down method; None stays None and does not count."""
    order = sorted((p, at) for at, p in enumerate(values) if p is not None)
    adjusted: list[float | None] = [None] * len(values)
    largest = 0.0
    for rank, (p, at) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        adjusted[at] = largest
    return adjusted


def _draft(one: tuple[Nest, Sequence[str]], other: tuple[Nest, Sequence[str]], direction: Direction) -> Pair:
    """A pair without its test."""
    (first, mine), (second, theirs) = one, other
    scenes = tuple(sorted({*mine} & {*theirs}))
    own, others = first.settled, second.settled
    differences = tuple(0.0 if own[scene] == others[scene] else own[scene] - others[scene] for scene in scenes)
    span = statistics.ends(bootstrap.difference(first, second, scenes)) if len(scenes) >= statistics.LEAST_SCENES else None
    better, worse = sum(value > 0 for value in differences), sum(value < 0 for value in differences)
    wins, losses = (better, worse) if direction == "higher" else (worse, better)
    ties = len(scenes) - wins - losses
    return Pair(first.label, second.label, scenes, differences, statistics.mean(differences), span, None, None, wins, ties, losses, "")


def _judged(pair: Pair, p: float | None, adjusted: float | None, direction: Direction) -> Pair:
    """With the test's outcome."""
    ahead = _finite(pair.differences).sum() * (1 if direction == "higher" else -1) > 0
    shown = adjusted is not None and adjusted <= SIGNIFICANCE
    return replace(pair, p=p, adjusted=adjusted, better=(pair.first if ahead else pair.second) if shown else "")


def _p_values(samples: Sequence[Sequence[float]]) -> list[float | None]:
    """One p-value a sample; samples of one length are tested at once."""
    found: list[float | None] = [None] * len(samples)
    order = sorted(range(len(samples)), key=lambda at: len(samples[at]))
    for size, group in groupby(order, key=lambda at: len(samples[at])):
        members = list(group)
        if size:
            for start in range(0, len(members), _TOGETHER):
                part = members[start : start + _TOGETHER]
                for at, p in zip(part, _flip(np.array([_finite(samples[at]) for at in part])), strict=True):
                    found[at] = p
    return found


def _flip(samples: Floats) -> list[float]:
    """P-values of samples × scenes."""
    scenes = samples.shape[1]
    sums = np.abs(_signs(scenes) @ samples.T)
    # A sum that differs from the observed one by rounding alone is as far from 0 as that.
    least = np.abs(samples.sum(axis=1)) - 1e-12 * np.abs(samples).sum(axis=1)
    count = (sums >= least).sum(axis=0)
    exact = scenes <= EXACT_SCENES
    return [float(value) for value in (count / len(sums) if exact else (1 + count) / (1 + len(sums)))]


@lru_cache(maxsize=4)
def _signs(scenes: int) -> Floats:
    """Lines of +1 and −1. All of them with a first +1 (the others are their mirror images) for few scenes, else random ones."""
    if scenes <= EXACT_SCENES:
        return np.array([(1.0, *signs) for signs in product((1.0, -1.0), repeat=scenes - 1)])
    return np.random.default_rng(SEED).choice(np.array([1.0, -1.0]), (RESAMPLES, scenes))


def _finite(differences: Iterable[float]) -> Floats:
    """Differences with each infinite one replaced by more than all finite ones together."""
    values = np.fromiter(differences, dtype=np.float64)
    finite = np.isfinite(values)
    if finite.all():
        return values
    most = 1 + 2 * np.abs(values[finite]).sum()
    return np.where(finite, values, np.copysign(most, values))


def _too_few(pairs: Sequence[Pair]) -> str:
    """See Pairs.too_few."""
    most = max((len(pair.scenes) for pair in pairs), default=0)
    if not most:
        return ""
    needed = next(scenes for scenes in range(1, 1_000) if len(pairs) * 2.0 ** (1 - scenes) <= SIGNIFICANCE)
    if most >= needed:
        return ""
    family = f"with {len(pairs)} pairs of rows" if len(pairs) > 1 else "with one pair of rows"
    return (
        f"{most} scene{'' if most == 1 else 's'} cannot show a difference at {100 * SIGNIFICANCE:g} %: {family} it takes at least {needed}"
    )
