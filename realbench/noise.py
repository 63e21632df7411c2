"""How much a scene's score varies by chance: between fits, between seeds, from both runs and a calibration (docs/ci.md).

The scenes are given: a check asks whether these scenes got worse, so only repeats are random. Fits and seeds are exchangeable, those of
the baseline and those of the run. Two to eight of them are too few to resample (a bootstrap of two values has half their variance), so
noise is taken as normal with an estimated variance: the t distribution, which is what a parametric bootstrap with that variance comes to.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

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

    @classmethod
    def of(cls, cells: Cells) -> Sample:
        """From scores by fit and seed; cells without one are left out."""
        fits = (np.array([value for value in seeds.values() if value is not None], dtype=np.float64) for seeds in cells.values())
        return cls(tuple(fit for fit in fits if fit.size))

    @property
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


def measured(samples: Sequence[Sample]) -> Noise:
    """One scene's noise from the repeats of one or more runs."""
    fit, seed = _between_fits(samples), _between_seeds(samples)
    seeds = [fit.size for sample in samples for fit in sample.fits]
    harmonic = len(seeds) / sum(1 / count for count in seeds) if seeds else 1.0
    return Noise(fit=fit.value, fit_freedom=int(fit.freedom), seed=seed.value, seed_freedom=int(seed.freedom), seeds=harmonic)


def differences(
    before: Mapping[str, Sample], after: Mapping[str, Sample], calibrated: Mapping[str, Noise], varies: Varies
) -> dict[str, Variance]:
    """The variance of after − before for each scene of `after`, by chance alone.

    A scene's own variance is moderated by that of all scenes together; with no repeat anywhere it is UNKNOWN.
    """
    if varies == "nothing":
        return dict.fromkeys(after, NONE)
    own = {scene: _unit((before[scene], sample), calibrated.get(scene), varies) for scene, sample in after.items()}
    together = Variance.pooled(own.values())
    prior = Variance(together.value, min(prior_freedom([*own.values()]), together.freedom))
    return {
        scene: _difference(_moderated(unit, prior, together), before[scene], after[scene], varies) if together.freedom else UNKNOWN
        for scene, unit in own.items()
    }


def total(parts: Sequence[Variance]) -> Variance:
    """The variance of the mean of independent differences, with Satterthwaite's degrees of freedom; UNKNOWN where one of them is."""
    if not parts or any(part.freedom <= 0 for part in parts):
        return UNKNOWN
    value = sum(part.value for part in parts)
    inverse = sum(part.value**2 / part.freedom for part in parts)
    freedom = value**2 / inverse if inverse > 0 else min(part.freedom for part in parts)
    # Moderated variances share what all scenes know, so they are not as independent as the formula takes them to be.
    return Variance(value / len(parts) ** 2, min(freedom, *(part.shared for part in parts)))


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
    """A fit's variance if it had another number of seeds than at the calibration."""
    return max(0.0, noise.fit - noise.seed / noise.seeds) + noise.seed / seeds


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


def _moderated(own: Variance, prior: Variance, together: Variance) -> Variance:
    found = Variance.pooled([own, prior])
    return Variance(found.value, min(found.freedom, together.freedom), together.freedom)


def _difference(unit: Variance, before: Sample, after: Sample, varies: Varies) -> Variance:
    repeats = [sum(fit.size for fit in sample.fits) if varies == "seeds" else len(sample.fits) for sample in (before, after)]
    return Variance(unit.value * sum(1 / count for count in repeats), unit.freedom, unit.shared) if all(repeats) else UNKNOWN


def _between_fits(samples: Sequence[Sample]) -> Variance:
    return Variance.pooled(_variance(np.array([fit.mean() for fit in sample.fits])) for sample in samples)


def _between_seeds(samples: Sequence[Sample]) -> Variance:
    return Variance.pooled(_variance(fit) for sample in samples for fit in sample.fits)


def _variance(values: Floats) -> Variance:
    """Infinite scores say nothing of a variance."""
    finite = values[np.isfinite(values)]
    return Variance(float(finite.var(ddof=1)), finite.size - 1) if finite.size > 1 else UNKNOWN
