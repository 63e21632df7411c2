"""How often the gate is wrong on made-up scores, whose noise is known (docs/ci.md).

    python benchmarks/gate_simulated.py [--checks 300]

Normal scores of one row on six scenes, two metrics, one seed a fit: a fit's own noise and half as much of its seed. Each check has a new
baseline. Power: a drop of three standard deviations of a fit on every scene, under one metric.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from realbench.baseline import Accepted, Baseline, BaselineMetric, BaselineRow, Cells
from realbench.gate import compare
from realbench.tolerance import Rules

Deviations = npt.NDArray[np.float64]
SCENES: Mapping[str, Deviations] = {
    "alike": np.ones(6),
    "as tiny's on the embedded suite": np.array([0.08, 0.17, 0.20, 0.19, 0.07, 0.20]),
    "15 times apart, evenly": np.array([0.011, 0.02, 0.04, 0.06, 0.1, 0.169]),
    "one 15 times louder": np.array([1, 1, 1, 1, 1, 15.0]),
}
REPEATS = ((2, 2), (2, 1), (3, 3))
METRICS = ("a", "b")
ROW = BaselineRow(method="m", preset=None, settings={}, fingerprint="0" * 12, oracle=False, varies="fits", fits=[0], seeds=[0])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checks", type=int, default=300)
    checks = parser.parse_args().checks
    print("| noise of the scenes | fits accepted, checked | false alarms | caught |\n| --- | --- | --- | --- |")
    for name, deviations in SCENES.items():
        for repeats in REPEATS:
            random = np.random.default_rng(0)
            alarms = sum(failed(random, deviations, repeats, 0.0) for _ in range(checks)) / checks
            caught = sum(failed(random, deviations, repeats, 3.0) for _ in range(checks)) / checks
            print(f"| {name} | {repeats[0]}, {repeats[1]} | {100 * alarms:.1f} % | {100 * caught:.0f} % |", flush=True)


def failed(random: np.random.Generator, deviations: Deviations, repeats: tuple[int, int], drop: float) -> bool:
    """Whether one check of a run, lower by so many standard deviations, finds a drop."""
    old = {metric: scores(random, deviations, repeats[0], 0.0) for metric in METRICS}
    new = {metric: scores(random, deviations, repeats[1], drop * (metric == "a")) for metric in METRICS}
    described = {
        name: BaselineMetric(metric=name, config={}, title=name, direction="higher", unit="", digits=6, source="") for name in METRICS
    }
    made = Accepted(when="", version="")
    held = Baseline(suite="", feather=4, scenes={}, rows={"row": ROW}, metrics=described, scores={"row": old}, accepted=made)
    return any(change.verdict == "worse" for change in compare(held, {"row": new}, Rules()))


def scores(random: np.random.Generator, deviations: Deviations, fits: int, drop: float) -> dict[str, Cells]:
    """By scene."""
    noise = random.normal(size=(len(deviations), fits)) + 0.5 * random.normal(size=(len(deviations), fits))
    values = 20 + deviations[:, None] * (noise - drop)
    return {str(at): {str(fit): {"0": float(value)} for fit, value in enumerate(line)} for at, line in enumerate(values)}


if __name__ == "__main__":
    main()
