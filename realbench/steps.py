"""Where a series of scores changes its level: steps that last, and that chance does not make (docs/history.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from realbench.statistics import Floats

SHORTEST = 2
"""Points that a level holds for, at least: one point alone may be an outlier. So it takes four points to see a step."""
LEAST_POINTS = 2 * SHORTEST
FALSE_ALARMS = 0.05
"""Share of series of independent normal noise that show a step, at most."""
PENALTY = 15.0
"""What a step must lower the sum of squares by, in units of `roughness`: about the least that keeps to FALSE_ALARMS at every length
(`python benchmarks/history.py`). The BIC's penalty, 2 log n times the variance, assumes that the variance is known."""
MOST_STEPS = 30
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Step:
    """A change of level."""

    at: int
    """Index of the first point on the new level."""
    before: float
    """The level before: the mean of its points."""
    after: float

    @property
    def size(self) -> float:
        """after - before, in the series' unit."""
        return self.after - self.before


def steps(values: Sequence[float], least: float) -> list[Step]:
    """The steps of a series of finite values, in order; none in a series with fewer than LEAST_POINTS.

    Levels are fitted by least squares, and each further one must pay a penalty: PENALTY times the noise that differences of neighbours
    show, or the square of `least` where that is more. A step is larger than `least`, which must be above 0, and no single point makes it.
    """
    series = np.asarray(values, dtype=np.float64)
    if series.size < LEAST_POINTS:
        return []
    scale = max(float(np.abs(series).max()), least)
    series, floor = series / scale, least / scale
    penalty = max(PENALTY * roughness(series, floor), floor**2)
    breaks = _lasting(series, _segmented(series, penalty), penalty, floor)
    levels = [float(part.mean()) * scale for part in np.split(series, breaks)]
    return [Step(at, before, after) for at, (before, after) in zip(breaks, pairwise(levels), strict=True)]


def roughness(series: Floats, least: float) -> float:
    """Mean of the squared differences of neighbours, the largest quarter of them left out: steps and outliers are among these.

    0 where half of the neighbours are the same, as those of methods without chance are: to a tenth of what counts as a step.
    """
    gaps = np.sort(np.abs(np.diff(series)))
    if gaps[(gaps.size - 1) // 2] <= least / 10:
        return 0.0
    return float(np.mean(gaps[: (3 * gaps.size + 2) // 4] ** 2))


def _segmented(series: Floats, penalty: float) -> list[int]:
    """Where the levels begin that have the least sum of squares plus penalties.

    By exact dynamic programming: with a shortest length, the pruning of ruptures' PELT misses the best levels now and then.
    """
    from ruptures import KernelCPD

    most = min(series.size // SHORTEST - 1, MOST_STEPS)
    search = KernelCPD(kernel="linear", min_size=SHORTEST).fit((series - series.mean()).reshape(-1, 1))
    search.predict(n_bkps=most)
    found = [[series.size], *(search.predict(n_bkps=count) for count in range(1, most + 1))]
    costs = [search.cost.sum_of_costs(ends) + penalty * (len(ends) - 1) for ends in found]
    return [int(end) for end in found[int(np.argmin(costs))][:-1]]


def _lasting(series: Floats, breaks: list[int], penalty: float, least: float) -> list[int]:
    """Without the steps that are too small or that one point makes; the smallest of them goes first, since its levels become one."""
    while True:
        parts = np.split(series, breaks)
        bad = [
            (abs(b.mean() - a.mean()), at) for (a, b), at in zip(pairwise(parts), breaks, strict=True) if not _holds(a, b, penalty, least)
        ]
        if not bad:
            return breaks
        breaks = [at for at in breaks if at != min(bad)[1]]


def _holds(before: Floats, after: Floats, penalty: float, least: float) -> bool:
    """Whether a step is large enough and pays its penalty, and half of it is left when the point that helps it most is taken away."""
    up = 1.0 if after.mean() > before.mean() else -1.0
    low, high = np.sort(up * before), np.sort(up * after)
    size = high.mean() - low.mean()
    rest = min(high.mean() - low[1:].mean(), high[:-1].mean() - low.mean())
    saved = size**2 * low.size * high.size / (low.size + high.size)
    return bool(size > least and saved >= penalty * (1 - _ROUNDING) and rest >= size / 2)
