"""How much a scene's score varies by chance: between fits, between seeds, from both runs and a calibration (docs/ci.md).

The scenes are given: a check asks whether these scenes got worse, so only repeats are random. Fits and seeds are exchangeable, those of
the baseline and those of the run. Two to eight of them are too few to resample (a bootstrap of two values has half their variance), so
noise is taken as normal with an estimated variance: the t distribution, exact for one scene with its own variance, else an approximation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from realbench.baseline import Cells, Noise, Varies
from realbench.statistics import Floats

PRIOR = 4.0
"""Most degrees of freedom that the variance of all scenes together counts for in a scene's own (a moderated t, as in limma)."""
_FLOOR = 1e-5
"""Of the median, for variances of 0, whose logarithm nobody has."""


@dataclass(frozen=True)
class Sample:
    """One scene under one metric in one run."""

    fits: tuple[Floats, ...]
    """The scores of each fit's seeds, in any order; a fit without a score is left out."""
    drawn: frozenset[str] = frozenset()
    """The seeds that any fit has a score of."""

    @classmethod
    def of(cls, cells: Cells) -> Sample:
        """From scores by fit and seed; cells without one are left out."""
        known = [{seed: value for seed, value in seeds.items() if value is not None} for seeds in cells.values()]
        fits = (np.array([*seeds.values()], dtype=np.float64) for seeds in known if seeds)
        return cls(tuple(fits), frozenset(seed for seeds in known for seed in seeds))

    @cached_property
    def mean(self) -> float:
        """Over seeds, then over fits. NaN without a score, and with infinite ones of both signs."""
        with np.errstate(invalid="ignore"):
            return float(np.mean([fit.mean() for fit in self.fits])) if self.fits else math.nan

    @property
    def seeds(self) -> float:
        """Seeds of a fit: the harmonic mean, since the variance of a fit's mean goes with one over their number."""
        return len(self.fits) / sum(1 / fit.size for fit in self.fits) if self.fits else 1.0


@dataclass(frozen=True)
class Variance:
    """A variance with the degrees of freedom it was estimated with; 0 of them: unknown."""

    value: float
    freedom: float
    shared: float = math.inf
    """Degrees of freedom that all scenes together have: no mean of scenes has more."""

    @classmethod
    def pooled(cls, parts: Iterable[Variance]) -> Variance:
        """The mean of variances, each counting by its degrees of freedom."""
        known = [part for part in parts if part.freedom > 0]
        freedom = sum(part.freedom for part in known)
        return cls(sum(part.value * part.freedom for part in known) / freedom, freedom) if known else UNKNOWN


UNKNOWN = Variance(0.0, 0)
NONE = Variance(0.0, math.inf)
"""Of what never varies."""


def measured(sample: Sample) -> Noise:
    """One scene's noise from its repeats."""
    fit, seed = _between_fits([sample]), _between_seeds([sample])
    return Noise(fit=fit.value, fit_freedom=int(fit.freedom), seed=seed.value, seed_freedom=int(seed.freedom), seeds=sample.seeds)


def differences(
    before: Mapping[str, Sample], after: Mapping[str, Sample], calibrated: Mapping[str, Noise], varies: Varies
) -> dict[str, Variance]:
    """The variance of after − before for each scene of `after`, by chance alone.

    A scene's own variance is moderated by that of all scenes together; with no repeat anywhere it is UNKNOWN.
    """
    if varies == "nothing":
        return dict.fromkeys(after, NONE)
    pairs = {scene: (before[scene], sample) for scene, sample in after.items()}
    units = _moderated({scene: _unit(pair, calibrated.get(scene), varies) for scene, pair in pairs.items()})
    parts = {scene: [_scaled(units[scene], _repeats(*pair, varies))] for scene, pair in pairs.items()}
    apart = {scene: _apart(*pair) for scene, pair in pairs.items()}
    if varies == "fits" and any(apart.values()):
        # What seeds have in common in all fits does not show between the fits of one run, but does between runs with other seeds.
        seeds = _moderated({scene: _of_seeds(pair, calibrated.get(scene)) for scene, pair in pairs.items()})
        parts = {scene: [*found, _scaled(seeds[scene], apart[scene])] if apart[scene] else found for scene, found in parts.items()}
    return {scene: _sum(found) for scene, found in parts.items()}


def total(parts: Sequence[Variance]) -> Variance:
    """The variance of the mean of independent differences, with Satterthwaite's degrees of freedom; UNKNOWN where one of them is."""
    found = _sum(parts)
    # Moderated variances share what all scenes know, so they are not as independent as the formula takes them to be.
    return Variance(found.value / len(parts) ** 2, min(found.freedom, found.shared)) if found.freedom else UNKNOWN


def p_value(drop: float, noise: Variance) -> float | None:
    """Probability that chance alone makes a drop of at least this much; None where nothing says how much chance does."""
    from scipy.stats import norm, t

    if noise.freedom <= 0:
        return None
    if not math.isfinite(drop) or noise.value == 0:
        return 0.0 if drop > 0 else 1.0
    distance = drop / math.sqrt(noise.value)
    return float(norm.sf(distance) if math.isinf(noise.freedom) else t.sf(distance, noise.freedom))


def _unit(samples: Sequence[Sample], calibrated: Noise | None, varies: Varies) -> Variance:
    """Of one repeat: a fit with as many seeds as these samples have, or a seed."""
    if varies == "seeds":
        known = [] if calibrated is None else [Variance(calibrated.seed, calibrated.seed_freedom)]
        return Variance.pooled([_between_seeds(samples), *known])
    seeds = 2 / sum(1 / sample.seeds for sample in samples)
    known = [] if calibrated is None else [Variance(_with_seeds(calibrated, seeds), calibrated.fit_freedom)]
    return Variance.pooled([_between_fits(samples), *known])


def _with_seeds(noise: Noise, seeds: float) -> float:
    """A fit's variance if it had another number of seeds than at the calibration: at most, since fits have their seeds in common.

    So a seed's variance is not all within the variance of fits' means, and more seeds may lower that by nothing.
    """
    return noise.fit + noise.seed * max(0.0, 1 / seeds - 1 / noise.seeds)


def _of_seeds(samples: Sequence[Sample], calibrated: Noise | None) -> Variance:
    """Of one seed, of a method that fits; the seeds of a run's fits are the same ones, so they count once."""
    found = (_between_seeds([sample]) for sample in samples)
    own = Variance.pooled(
        Variance(part.value, min(part.freedom, len(sample.drawn) - 1)) for part, sample in zip(found, samples, strict=True)
    )
    if own.freedom or calibrated is None:
        return own
    return Variance(calibrated.seed, min(calibrated.seed_freedom, calibrated.seeds - 1))


def _apart(before: Sample, after: Sample) -> float:
    """The variance of the difference of two means over seeds, of which some are the same, in a seed's variance; 0 where all are."""
    one, other, both = len(before.drawn), len(after.drawn), len(before.drawn & after.drawn)
    return 1 / one + 1 / other - 2 * both / (one * other) if one and other else 0.0


def prior_freedom(own: Sequence[Variance]) -> float:
    """How far scenes' variances are one and the same: the degrees of freedom of the distribution they come from, at most PRIOR.

    Smyth 2004 (limma), equation 11: the spread of the variances' logarithms beyond what their own freedom explains.
    """
    from scipy.optimize import brentq
    from scipy.special import digamma, polygamma

    known = [part for part in own if part.freedom > 0]
    values = np.array([part.value for part in known])
    if len(known) < 2 or not np.median(values) > 0:
        return PRIOR
    freedom = np.array([part.freedom for part in known]) / 2
    logarithms = np.log(np.maximum(values, _FLOOR * np.median(values))) - digamma(freedom) + np.log(freedom)
    beyond = float(logarithms.var(ddof=1) - polygamma(1, freedom).mean())
    if beyond <= polygamma(1, PRIOR / 2):
        return PRIOR
    return 2 * float(brentq(lambda half: polygamma(1, half) - beyond, 1e-6, PRIOR / 2))


def _moderated(own: Mapping[str, Variance]) -> dict[str, Variance]:
    """Each scene's variance with some of that of all scenes together; UNKNOWN without a repeat anywhere."""
    together = Variance.pooled(own.values())
    if not together.freedom:
        return dict.fromkeys(own, UNKNOWN)
    prior = Variance(together.value, min(prior_freedom([*own.values()]), together.freedom))
    pooled = {scene: Variance.pooled([variance, prior]) for scene, variance in own.items()}
    return {scene: Variance(one.value, min(one.freedom, together.freedom), together.freedom) for scene, one in pooled.items()}


def _repeats(before: Sample, after: Sample, varies: Varies) -> float:
    """The variance of the difference of two means over repeats, in a repeat's variance; 0 where there is no repeat."""
    counts = [sum(fit.size for fit in sample.fits) if varies == "seeds" else len(sample.fits) for sample in (before, after)]
    return sum(1 / count for count in counts) if all(counts) else 0.0


def _scaled(variance: Variance, factor: float) -> Variance:
    return replace(variance, value=variance.value * factor) if factor else UNKNOWN


def _sum(parts: Sequence[Variance]) -> Variance:
    """Of independent sums, with Satterthwaite's degrees of freedom; UNKNOWN where one of them is."""
    if not parts or any(part.freedom <= 0 for part in parts):
        return UNKNOWN
    value = sum(part.value for part in parts)
    inverse = sum(part.value**2 / part.freedom for part in parts)
    freedom = value**2 / inverse if inverse > 0 else min(part.freedom for part in parts)
    return Variance(value, freedom, min(part.shared for part in parts))


def _between_fits(samples: Sequence[Sample]) -> Variance:
    return Variance.pooled(_variance(np.array([fit.mean() for fit in sample.fits])) for sample in samples)


def _between_seeds(samples: Sequence[Sample]) -> Variance:
    return Variance.pooled(_variance(fit) for sample in samples for fit in sample.fits)


def _variance(values: Floats) -> Variance:
    """Infinite scores say nothing of a variance."""
    finite = values[np.isfinite(values)]
    return Variance(float(finite.var(ddof=1)), finite.size - 1) if finite.size > 1 else UNKNOWN
