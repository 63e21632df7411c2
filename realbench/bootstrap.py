"""The nested bootstrap: scenes are resampled, then the fits of a scene, then the seeds of a fit (docs/statistics.md).

Drawing every seed of every resampled scene anew would take 2 × 10⁹ draws for ten rows and metrics. So each scene has a bank of BANK
means of resampled fits and seeds, made once, and each time a resample holds the scene it takes one of them at random.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from realbench.metric import Direction
from realbench.statistics import BLOCK, LEAST_SCENES, RESAMPLES, SEED, Floats, Indices, blocks, draws, ends, settled

if TYPE_CHECKING:
    import pandas as pd

BANK = 1_000
"""Resampled means kept of each scene. They are balanced (each seed of a fit is drawn equally often), so that their mean is the fit's."""
MOST_SEEDS = 4_096
"""A fit with more seeds counts as its mean: resampling so many would move it by nothing."""


@dataclass(eq=False)
class Nest:
    """One row under one metric: its scenes, the mean of each, and what resampled fits and seeds make of it."""

    label: str
    scenes: tuple[str, ...]
    """Scenes with a mean, in the order of their names."""
    means: Floats
    """One a scene: over seeds, then over fits."""
    bank: Floats
    """Scenes × BANK resampled means, or scenes × 1 where every scene has one fill."""
    _resampled: dict[tuple[tuple[str, ...], tuple[str, ...]], Floats] = field(default_factory=dict, repr=False)

    @cached_property
    def settled(self) -> dict[str, float]:
        """The means by scene, to as many digits as comparing them takes."""
        return dict(zip(self.scenes, settled(self.means).tolist(), strict=True))

    def resampled(self, scenes: Sequence[str], among: Sequence[str] | None = None) -> Floats:
        """RESAMPLES means over scenes, drawn with replacement from `scenes`, all of which the nest must have.

        Two nests are drawn the same scenes, but each its own fits and seeds. With `among`, scenes are drawn from these and the mean
        is of those drawn that are in `scenes` too: NaN where none is.
        """
        wanted = tuple(sorted(scenes))
        drawn = wanted if among is None else tuple(sorted(among))
        if (wanted, drawn) not in self._resampled:
            means = self._all(wanted) if wanted == drawn else self._some(wanted, drawn)
            self._resampled[wanted, drawn] = np.concatenate(list(means))
        return self._resampled[wanted, drawn]

    def forget(self) -> None:
        """Give back the memory of the means that `resampled` keeps."""
        self._resampled.clear()

    def slots(self, scenes: tuple[str, ...], among: tuple[str, ...]) -> Iterator[tuple[Floats, Indices]]:
        """Blocks of (what each drawn scene has: lines × drawn scenes; the indices drawn); scenes that are only in `among` have zeros."""
        bank = np.zeros((len(among), self.bank.shape[1]))
        bank[[among.index(scene) for scene in scenes]] = self.bank[self._at(scenes)]
        inner = _picks(self.label, len(among)) if self.bank.shape[1] > 1 else None
        with np.errstate(invalid="ignore"):
            for lines in draws(len(among)):
                yield bank[lines, 0] if inner is None else bank.ravel()[lines * BANK + next(inner)], lines

    def interval(self, scenes: Sequence[str]) -> tuple[float, float] | None:
        """95 % interval of the mean over these scenes; None for fewer than LEAST_SCENES, and where there is no mean."""
        return ends(self.resampled(scenes)) if len(scenes) >= LEAST_SCENES else None

    def scene_interval(self, scene: str) -> tuple[float, float] | None:
        """95 % interval of one scene's mean over its fits and seeds; None with one fill, or where nothing says how fills vary."""
        bank = self.bank[self.scenes.index(scene)] if scene in self.scenes else np.zeros(1)
        return ends(bank) if bank.size > 1 and bank.min() < bank.max() else None

    def _at(self, scenes: Sequence[str]) -> list[int]:
        return [self.scenes.index(scene) for scene in scenes]

    def _all(self, scenes: tuple[str, ...]) -> Iterator[Floats]:
        with np.errstate(invalid="ignore"):
            yield from (values.mean(axis=1) for values, _ in self.slots(scenes, scenes))

    def _some(self, scenes: tuple[str, ...], among: tuple[str, ...]) -> Iterator[Floats]:
        here = np.isin(among, scenes)
        with np.errstate(invalid="ignore", divide="ignore"):
            yield from (values.sum(axis=1) / here[lines].sum(axis=1) for values, lines in self.slots(scenes, among))


def nests(scores: pd.DataFrame) -> dict[tuple[str, str], Nest]:
    """One nest for each (label, signature) of score lines; those without a value are left out, as are scenes without a mean."""
    keys = ["label", "signature", "scene", "fit"]
    present = scores.loc[scores["value"].notna(), [*keys, "seed", "value"]].sort_values([*keys, "seed"], kind="stable")
    values = present["value"].to_numpy(dtype=np.float64)
    found: dict[tuple[str, str], dict[str, list[Floats]]] = {}
    starts = np.flatnonzero(~present.duplicated(keys).to_numpy())
    heads = present.iloc[starts][["label", "signature", "scene"]].itertuples(index=False, name=None)
    for (label, signature, scene), fit in zip(heads, np.split(values, starts[1:]), strict=False):
        found.setdefault((label, signature), {}).setdefault(scene, []).append(fit)
    return {key: nest(key[0], scenes) for key, scenes in found.items()}


def nest(label: str, scenes: Mapping[str, Sequence[Floats]]) -> Nest:
    """A row's nest from the values of each fit of each scene. The label names the row's own draws of fits and seeds."""
    with np.errstate(invalid="ignore"):
        means = {scene: float(np.mean([fit.mean() for fit in fits])) for scene, fits in sorted(scenes.items())}
    kept = tuple(scene for scene, value in means.items() if value == value)
    banks = [_scene_bank(scenes[scene]) for scene in kept]
    width = max((bank.size for bank in banks), default=1)
    stacked = np.array([np.broadcast_to(bank, width) for bank in banks]).reshape(len(kept), width)
    return Nest(label, kept, np.array([means[scene] for scene in kept]), stacked)


def difference(first: Nest, second: Nest, scenes: Sequence[str]) -> Floats:
    """RESAMPLES means of first − second over common scenes, both drawn the same ones; equal infinities differ by 0."""
    one, other = first.resampled(scenes), second.resampled(scenes)
    if np.isfinite(one).all() and np.isfinite(other).all():
        return one - other
    wanted = tuple(sorted(scenes))
    pairs = zip(first.slots(wanted, wanted), second.slots(wanted, wanted), strict=True)
    with np.errstate(invalid="ignore"):
        return np.concatenate([np.where(a == b, 0.0, a - b).mean(axis=1) for (a, _), (b, _) in pairs])


def mean_rank_intervals(
    metrics: Sequence[tuple[Direction, Sequence[str], Mapping[str, Nest]]],
) -> dict[str, tuple[float, float] | None]:
    """95 % intervals of rows' mean ranks over metrics, each given with its common scenes and the nests of the rows ranked under it.

    Each resample draws scenes once for all metrics, ranks the rows under each, and averages a row's places. A metric that applies to
    none of the scenes drawn is left out of that resample. No intervals where a metric has fewer than LEAST_SCENES.
    """
    from scipy.stats import rankdata

    if min((len(scenes) for _, scenes, _ in metrics), default=0) < LEAST_SCENES:
        return {}
    union = sorted({scene for _, scenes, _ in metrics for scene in scenes})
    sums: dict[str, Floats] = {}
    counts: dict[str, Floats] = {}
    for direction, scenes, rows in metrics:
        means = settled(np.array([rows[label].resampled(scenes, union) for label in rows]))
        places = rankdata(-means if direction == "higher" else means, axis=0)
        for label, own in zip(rows, places, strict=True):
            sums[label] = sums.get(label, np.zeros(RESAMPLES)) + np.where(np.isnan(own), 0.0, own)
            counts[label] = counts.get(label, np.zeros(RESAMPLES)) + ~np.isnan(own)
    with np.errstate(invalid="ignore"):
        return {label: ends(total / counts[label]) for label, total in sums.items()}


def _scene_bank(fits: Sequence[Floats]) -> Floats:
    """BANK means of resampled fits, each of resampled seeds; one value for a scene with one fill."""
    if len(fits) == 1:
        return _fit_bank(fits[0])
    banks = np.array([np.broadcast_to(_fit_bank(fit), BANK) for fit in fits])
    generator = np.random.default_rng([SEED, len(fits)])
    which, line = generator.integers(0, len(fits), (BANK, len(fits))), generator.integers(0, BANK, (BANK, len(fits)))
    with np.errstate(invalid="ignore"):
        return np.asarray(banks[which, line].mean(axis=1))


def _fit_bank(values: Floats) -> Floats:
    """BANK means of resampled seeds; the mean alone where there is one seed."""
    if values.size == 1 or values.size > MOST_SEEDS:
        return np.array([values.mean()])
    weights = _weights(values.size)
    if np.isfinite(values).all():
        return np.asarray(weights @ values)
    # 0 × ∞ is no number, so what is infinite is put in afterwards.
    bank = weights @ np.where(np.isfinite(values), values, 0)
    for infinite in set(values[np.isinf(values)]):
        bank[weights @ (values == infinite) > 0] = infinite
    return np.asarray(bank)


@lru_cache(maxsize=32)
def _weights(seeds: int) -> Floats:
    """BANK lines of weights, one a seed: how often a balanced bootstrap draws it, divided by the number of seeds."""
    drawn = np.random.default_rng([SEED, seeds]).permutation(np.tile(np.arange(seeds), BANK)).reshape(BANK, seeds)
    lines = np.repeat(np.arange(BANK), seeds)
    return np.bincount(lines * seeds + drawn.ravel(), minlength=BANK * seeds).reshape(BANK, seeds) / seeds


def _picks(label: str, scenes: int) -> Iterator[Indices]:
    """For every scene that `realbench.statistics.draws` draws, which mean of its bank to take; each row has its own."""
    if scenes * RESAMPLES <= BLOCK:
        yield _picked(label, scenes)
        return
    generator = np.random.default_rng([SEED, crc32(label.encode())])
    for block in blocks(scenes):
        yield generator.integers(0, BANK, (block, scenes), dtype=np.int32)


@lru_cache(maxsize=32)
def _picked(label: str, scenes: int) -> Indices:
    return np.random.default_rng([SEED, crc32(label.encode())]).integers(0, BANK, (RESAMPLES, scenes), dtype=np.int32)
