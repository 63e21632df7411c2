"""Running methods as a baseline was run, so that the outcome can be held against it (docs/ci.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from realbench import bench
from realbench.baseline import Baseline
from realbench.bench import Machine, Summary
from realbench.errors import NothingMeasured, UsageError
from realbench.plan import plan_rows
from realbench.text import listed
from realbench.watch import Watcher

USUAL = 2, "4"
"""Fits and seeds of a run that is to become a baseline."""


@dataclass(frozen=True)
class Rerun:
    """What is run before a check or a calibration."""

    methods: Sequence[str] = ()
    settings: Sequence[str] = ()
    scenes: str = "demo"
    scene: Sequence[str] = ()
    """Ids to restrict the suite to; empty means all."""
    fits: int | None = None
    """None: as many as the baseline has."""
    seeds: str | None = None
    """As `--seeds` takes them; None: the baseline's."""
    on: Machine | None = None

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The rows that are run."""
        return tuple(row.label for row in plan_rows(self.methods, self.settings)) if self.methods else ()

    def refuse(self, held: Baseline) -> None:
        """Raises NothingMeasured, before anything is run, where the outcome could not be held against this baseline."""
        for reason in self._apart(held):
            raise NothingMeasured(f"not comparable: {reason}; nothing was run")

    def run(self, held: Baseline | None, out: Path, watch: Watcher) -> Summary:
        """Run with the baseline's metrics, seeds, fits and feather; without a baseline, as one is made.

        Raises as `refuse`, UsageError where the baseline's seeds are no range, and as `bench.run`.
        """
        if held is None:
            fits, seeds = self.fits or USUAL[0], self.seeds or USUAL[1]
        else:
            self.refuse(held)
            fits, seeds = repeats(held, self.labels, self.seeds, self.fits)
        return bench.run(
            self.methods, scenes=self.scenes, scene=self.scene, settings=self.settings,
            metrics=[metric.spec for metric in held.metrics.values()] if held else None,
            seeds=seeds, fits=fits, feather=held.feather if held else None, out=out, on=self.on, watch=watch,
        )  # fmt: skip

    def _apart(self, held: Baseline) -> Iterator[str]:
        for label in self.labels:
            if label not in held.rows:
                yield f"row {label} is not in the baseline, which has {', '.join(held.rows)}"
        if self.scene:
            lacking = sorted({*held.scenes} - {*self.scene})
            if lacking:
                yield f"the baseline has scenes that are not among those to run: {listed(lacking)}; leave --scene out"
            yield from (
                f"scene {name} is not in the baseline, which has {listed(held.scenes)}" for name in self.scene if name not in held.scenes
            )


def repeats(baseline: Baseline, labels: Iterable[str], seeds: str | None = None, fits: int | None = None) -> tuple[int, str]:
    """The number of fits, and the seeds as `--seeds` takes them: those given, else those that these rows (where none is known, all rows)
    were accepted with.

    Raises UsageError where the baseline's are no range and none are given.
    """
    rows = [baseline.rows[label] for label in labels if label in baseline.rows] or [*baseline.rows.values()]
    own = sorted({seed for row in rows for seed in row.seeds})
    if not own:
        raise UsageError("the baseline has no row: accept a run")
    if seeds is None and len(own) != own[-1] - own[0] + 1:
        raise UsageError(f"the baseline has the seeds {', '.join(map(str, own))}, which are no range: give --seeds")
    return fits or max(len(row.fits) for row in rows), seeds or f"{own[0]}-{own[-1]}"
