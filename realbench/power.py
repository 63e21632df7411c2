"""How many scenes, fits and seeds show a difference, from what a run's scores vary by (docs/statistics.md). Never imports torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from realbench import registry, statistics
from realbench.costs import Cost, costs
from realbench.errors import NothingMeasured, RealbenchError, UsageError
from realbench.records import ColumnInfo, RowInfo
from realbench.results import Results

if TYPE_CHECKING:
    import pandas as pd

SEEDS = (1, 2, 4, 8, 16, 64)
FITS = (1, 2, 3)
MOST_SCENES = 1_000_000


@dataclass(frozen=True)
class Spread:
    """What one row's values on a scene vary by."""

    fit: float | None
    """Variance between fits; 0 for a method that fits nothing, None where no scene has two fits."""
    seed: float | None
    """Variance between the seeds of a fit; 0 for a method that ignores the seed, None where no fit has two seeds."""
    noise: Mapping[str, float]
    """By scene: the variance of its mean that `fit` and `seed` explain."""
    fits: int
    """Most fits of a scene."""
    seeds: int
    """Most seeds of a fit."""


@dataclass(frozen=True)
class Design:
    """How often to repeat, and what that takes."""

    fits: int
    seeds: int
    scenes: int | None
    """Scenes that show the difference; None for more than MOST_SCENES."""
    seconds: float | None
    """Time of both rows on so many scenes; None where it is not recorded."""
    smallest: float
    """The difference that the run's own number of scenes would show."""


@dataclass(frozen=True)
class PairPlan:
    """Two rows: the parts that the variance of their difference on a scene is made of, and what to do about it."""

    first: str
    second: str
    scenes: int
    """Scenes with a finite difference, which everything here rests on."""
    mean: float
    """The difference in this run."""
    scene: float
    """Variance between scenes that no repeat lowers; with `unknown`, theirs is in it too."""
    fit: float
    """Of one fit, both rows together, as far as known."""
    seed: float
    """Of one seed, both rows together, as far as known."""
    unknown: tuple[str, ...]
    """What the run cannot tell, in words."""
    designs: tuple[Design, ...]
    """The first is the run's own."""
    range: tuple[int | None, int | None]
    """The scenes that the run's own design needs, if the variance were at the ends of its 95 % interval."""

    def variance(self, fits: int, seeds: int) -> float:
        """Of the difference on one scene."""
        return self.scene + self.fit / fits + self.seed / (fits * seeds)


@dataclass(frozen=True)
class Plan:
    """What it takes under one metric."""

    info: ColumnInfo
    detect: float
    power: float
    level: float
    pairs: tuple[PairPlan, ...]
    """From the pair that needs fewest scenes to the one that needs most, with the run's own design."""
    skipped: tuple[str, ...] = ()
    """Pairs that cannot be planned, each with the reason."""

    @property
    def typical(self) -> PairPlan:
        """The pair in the middle."""
        return self.pairs[(len(self.pairs) - 1) // 2]

    @property
    def hardest(self) -> PairPlan:
        """The pair that needs most scenes."""
        return self.pairs[-1]


def plan(results: Results, detect: float, *, metric: str = "", power: float = 0.8, level: float = 0.05, rows: Sequence[str] = ()) -> Plan:
    """What shows a difference of `detect` in the metric's unit; all seeds count, whatever the results' policy.

    `rows` names the two to compare, else every two that are no oracles are planned. Raises UsageError for what does not exist, and
    NothingMeasured where no two rows have three scenes in common.
    """
    if not (0 < detect < math.inf and 0 < level < power < 1):
        raise UsageError("expected --detect above 0 and 0 < --level < --power < 1")
    info = column(results, metric)
    labels = _labels(results, rows)
    scores = results.scores()
    own = scores[(scores["signature"] == info.signature) & scores["value"].notna() & scores["label"].isin(labels)]
    spent = costs(results)
    spreads = {label: _spread(results.rows[label], own[own["label"] == label]) for label in labels}
    means = {label: statistics.scene_means(own[own["label"] == label]).to_dict() for label in labels}
    made, skipped = [], []
    for one, other in combinations(labels, 2):
        common = [scene for scene in means[one] if scene in means[other]]
        finite = {scene: gap for scene in common if math.isfinite(gap := means[one][scene] - means[other][scene])}
        if len(finite) < 3:
            skipped.append(f"{one} and {other}: {len(finite)} scenes with finite values of both; it takes 3 to see how differences vary")
            continue
        pair = _pair((one, other), (spreads[one], spreads[other]), finite)
        made.append(_planned(pair, (spreads[one], spreads[other]), (spent[one], spent[other]), detect, power, level))
    if not made:
        raise NothingMeasured(f"nothing to plan by: {skipped[0] if skipped else 'it takes two rows that are no oracles'}")
    made.sort(key=lambda pair: (pair.designs[0].scenes or MOST_SCENES + 1, pair.designs[0].smallest, pair.first, pair.second))
    return Plan(info, detect, power, level, tuple(made), tuple(skipped))


def column(results: Results, wanted: str = "", option: str = "--metric") -> ColumnInfo:
    """A metric by its name, `NAME:key=value,…` or signature; by default `psnr`, or the only one. Raises UsageError with what there is."""
    name, _, options = (wanted or "psnr").partition(":")
    settings = [option.partition("=")[::2] for option in options.split(",") if option]
    found = [
        info
        for info in results.columns.values()
        if wanted == info.signature
        or (info.metric == name and all(key in info.config and str(info.config[key]) == value for key, value in settings))
    ]
    found = found or (list(results.columns.values()) if not wanted and len(results.columns) == 1 else [])
    if len(found) != 1:
        known = "".join(f"\n  {info.signature}" for info in found or results.columns.values())
        raise UsageError(f"{option} {wanted or 'psnr'}: {len(found) or 'none'} of this run's metrics; name one of:{known}")
    return found[0]


def power_of(scenes: int, deviation: float, effect: float, level: float) -> float:
    """Power of a two-sided paired t-test, close to the sign-flip test's: scenes with differences of this mean and deviation."""
    from scipy.stats import nct, t

    if scenes < least_scenes(level):
        return 0.0
    if deviation == 0:
        return 1.0
    bound = t.ppf(1 - level / 2, scenes - 1)
    shift = effect / deviation * math.sqrt(scenes)
    # Far from 0 scipy's noncentral t is NaN; there the outcome is certain.
    values = nct.sf(bound, scenes - 1, shift), nct.cdf(-bound, scenes - 1, shift)
    return 1.0 if math.isnan(values[0]) else float(values[0] + (0 if math.isnan(values[1]) else values[1]))


def least_scenes(level: float) -> int:
    """Fewer cannot show anything: even if all of their differences point one way, that many signs do so by chance too often."""
    return 1 + math.ceil(-math.log2(level))


def scenes_needed(deviation: float, effect: float, power: float, level: float) -> int | None:
    """The fewest scenes that show an effect with this power; None for more than MOST_SCENES."""
    low, high = least_scenes(level) - 1, least_scenes(level)
    while power_of(high, deviation, effect, level) < power:
        low, high = high, 2 * high
        if high > MOST_SCENES:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(middle, deviation, effect, level) >= power else (middle, high)
    return high


def smallest_shown(scenes: int, deviation: float, power: float, level: float) -> float:
    """The smallest effect that so many scenes show with this power; infinite where they can show none."""
    from scipy.optimize import brentq

    if scenes < least_scenes(level):
        return math.inf
    if deviation == 0:
        return 0.0
    high = deviation
    while power_of(scenes, deviation, high, level) < power:
        high *= 2
    return float(brentq(lambda effect: power_of(scenes, deviation, effect, level) - power, 0, high, xtol=1e-6 * deviation))


def _labels(results: Results, rows: Sequence[str]) -> list[str]:
    unknown = [row for row in rows if row not in results.rows]
    if unknown or len(set(rows)) not in (0, 2):
        what = f"no row {unknown[0]!r}" if unknown else "expected two different rows"
        raise UsageError(f"--row: {what}; this run has {', '.join(results.rows)}")
    return list(dict.fromkeys(rows)) or [label for label, row in results.rows.items() if not row.oracle]


def _spread(row: RowInfo, scores: pd.DataFrame) -> Spread:
    """Variance components by moments: pooled within fits, then between the fits of a scene."""
    finite = scores[np.isfinite(scores["value"])]
    fits = finite.groupby(["scene", "fit"])["value"].agg(["mean", "var", "count"])
    free = (fits["count"] - 1).sum()
    fitted, stochastic = _repeats(row)
    seed = float((fits["var"].fillna(0) * (fits["count"] - 1)).sum() / free) if free else None if stochastic else 0.0
    scenes = fits.assign(share=1 / fits["count"]).groupby("scene")
    counts = scenes["mean"].count()
    several = counts > 1
    fit = None if fitted else 0.0
    if several.any():
        between = (scenes["mean"].var()[several] * (counts[several] - 1)).sum() / (counts[several] - 1).sum()
        fit = max(0.0, float(between - (seed or 0.0) * scenes["share"].mean()[several].mean()))
    noise = (fit or 0.0) / counts + (seed or 0.0) * scenes["share"].sum() / counts**2
    return Spread(fit, seed, noise.to_dict(), int(counts.max()) if len(counts) else 1, int(fits["count"].max()) if len(fits) else 1)


def _repeats(row: RowInfo) -> tuple[bool, bool]:
    """Whether its method fits, and whether it depends on the seed; yes where it is not installed, since then nobody knows."""
    try:
        card = registry.method(row.method, row.settings).card
    except RealbenchError:
        return True, True
    return card.fits, card.stochastic


def _pair(labels: tuple[str, str], spreads: tuple[Spread, Spread], gaps: Mapping[str, float]) -> PairPlan:
    """A pair's variance components."""
    noise = math.fsum(spread.noise.get(scene, 0.0) for spread in spreads for scene in gaps) / len(gaps)
    scene = max(0.0, float(np.var(list(gaps.values()), ddof=1)) - noise)
    fit, seed = (math.fsum(getattr(spread, part) or 0.0 for spread in spreads) for part in ("fit", "seed"))
    unknown = tuple(text for label, spread in zip(labels, spreads, strict=True) for text in _unknown(label, spread))
    return PairPlan(*labels, len(gaps), math.fsum(gaps.values()) / len(gaps), scene, fit, seed, unknown, (), (None, None))


def _unknown(label: str, spread: Spread) -> Iterable[str]:
    if spread.fit is None:
        yield f"{label} has one fit a scene, so nobody knows what further fits would gain; what fits differ by counts as scene here"
    if spread.seed is None:
        yield f"{label} has one seed a fit, so nobody knows what further seeds would gain; what seeds differ by counts as scene here"


def _planned(
    pair: PairPlan, spreads: tuple[Spread, Spread], spent: tuple[Cost, Cost], detect: float, power: float, level: float
) -> PairPlan:
    """A pair with its designs."""
    from scipy.stats import chi2

    own = max(spread.fits for spread in spreads), max(spread.seeds for spread in spreads)
    fits = FITS if pair.fit > 0 else (own[0],)
    seeds = SEEDS if pair.seed > 0 else (own[1],)
    choices = [own, *((fit, seed) for fit in fits for seed in seeds if (fit, seed) != own)]
    designs = []
    for fit, seed in choices:
        deviation = math.sqrt(pair.variance(fit, seed))
        scenes = scenes_needed(deviation, detect, power, level)
        seconds = _seconds(spent, spreads, fit, seed, scenes)
        designs.append(Design(fit, seed, scenes, seconds, smallest_shown(pair.scenes, deviation, power, level)))
    variance, free = pair.variance(*own), pair.scenes - 1
    low, high = (scenes_needed(math.sqrt(variance * free / chi2.ppf(end, free)), detect, power, level) for end in (0.975, 0.025))
    return replace(pair, designs=tuple(designs), range=(low, high))


def _seconds(spent: tuple[Cost, Cost], spreads: tuple[Spread, Spread], fits: int, seeds: int, scenes: int | None) -> float | None:
    """Time of both rows; a row that does not vary is fitted or filled once."""
    total = 0.0
    for cost, spread in zip(spent, spreads, strict=True):
        if cost.fill_seconds is None or scenes is None:
            return None
        once = spread.fit == 0 and cost.fit_seconds is None
        fills = 1 if spread.seed == 0 else seeds
        total += scenes * (1 if once else fits) * ((cost.fit_seconds or 0.0) + fills * cost.fill_seconds)
    return total
