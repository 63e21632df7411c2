"""How often `realbench history` finds a step where there is none, and how often it finds one that is there.

    python benchmarks/history.py [--series 4000] [--seed 7]

Series of independent noise without a step, of several lengths and distributions, then normal noise with one step, in the middle or two
points before the end. A fixed seed: the same command prints the same table. The column BIC is what a penalty of 2 log n times the
variance that the differences' median gives would find in normal noise.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np

from realbench.statistics import Floats
from realbench.steps import PENALTY, _segmented, steps

LENGTHS = (4, 5, 6, 7, 8, 9, 10, 12, 16, 20, 30, 50, 100, 200)
SIZES = (2, 3, 5, 8)
"""Of a step, in standard deviations of the noise."""
TINY = 1e-9
"""Of a step that counts: none is too small here."""


def noises(random: np.random.Generator) -> dict[str, Callable[[int], Floats]]:
    """What draws a series of a length, by the name of the noise; `one outlier` has one point 20 deviations off."""

    def drifting(size: int) -> Floats:
        made = random.normal(size=size)
        for at in range(1, size):
            made[at] += 0.3 * made[at - 1]
        return made

    def outlier(size: int) -> Floats:
        made = random.normal(size=size)
        made[random.integers(size)] += 20
        return made

    return {
        "normal": lambda size: random.normal(size=size),
        "uniform": lambda size: random.uniform(size=size),
        "t, 3 degrees": lambda size: random.standard_t(3, size=size),
        "one outlier": outlier,
        "correlated by 0.3": drifting,
    }


def bic(series: Floats) -> bool:
    """Whether the usual penalty finds a step."""
    deviation = np.median(np.abs(np.diff(series))) / 0.6744897501960817 / math.sqrt(2)
    return bool(_segmented(series, 2 * math.log(series.size) * deviation**2))


def line(cells: list[object]) -> None:
    print(f"| {' | '.join(map(str, cells))} |")


def false_alarms(series: int, seed: int) -> float:
    """Print the share of series without a step that show one; returns the largest one of normal noise."""
    draw = noises(np.random.default_rng(seed))
    line(["points", *draw, "normal, BIC"])
    line(["--:"] * (len(draw) + 2))
    worst = 0.0
    for size in LENGTHS:
        found = [sum(bool(steps(make(size), TINY)) for _ in range(series)) / series for make in draw.values()]
        usual = sum(bic(draw["normal"](size)) for _ in range(series)) / series
        worst = max(worst, found[0])
        line([size, *(f"{100 * share:.1f} %" for share in (*found, usual))])
    return worst


def power(series: int, seed: int) -> None:
    """Print the share of series with one step in which a step begins within a point of it."""
    random = np.random.default_rng(seed)
    line(["points", "the step", *(f"{size} σ" for size in SIZES)])
    line(["--:", ":--", *["--:"] * len(SIZES)])
    for size in LENGTHS:
        for where, at in {"in the middle": size // 2, "two points before the end": size - 2}.items():
            shares = []
            for height in SIZES:
                drawn = (random.normal(size=size) + height * (np.arange(size) >= at) for _ in range(series))
                shares.append(sum(any(abs(step.at - at) <= 1 for step in steps(one, TINY)) for one in drawn) / series)
            line([size, where, *(f"{100 * share:.0f} %" for share in shares)])


def main() -> None:
    """Run and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    print(f"{asked.series} series of each kind, penalty {PENALTY}\n\nfalse alarms:\n")
    worst = false_alarms(asked.series, asked.seed)
    error = 1.96 * math.sqrt(worst * (1 - worst) / asked.series)
    print(f"\nlargest in normal noise: {100 * worst:.1f} % (± {100 * error:.1f} %)\n\nsteps found:\n")
    power(max(1, asked.series // 10), asked.seed)


if __name__ == "__main__":
    main()
