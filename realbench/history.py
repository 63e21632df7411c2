"""Scores over time: each metric of each row over runs and accepted baselines, and where it changed its level (docs/history.md)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from realbench import bootstrap, statistics
from realbench.baseline import BaselineMetric, Cells
from realbench.errors import UsageError
from realbench.noise import Sample
from realbench.points import Point
from realbench.steps import FALSE_ALARMS, LEAST_POINTS, Step, steps
from realbench.text import listed, signed
from realbench.tolerance import usual


@dataclass(frozen=True)
class Entry:
    """A point of a series."""

    point: Point
    mean: float | None
    """Over seeds, then fits, then the series' scenes."""
    interval: tuple[float, float] | None
    """95 %, nested bootstrap over scenes, fits and seeds. All points share the scenes: it says little of changes between them."""
    change: float | None
    """From the point before; equal infinite means differ by 0."""
    step: Step | None
    """Where a new level begins here."""
    again: bool
    """Whether the point before is of the same commit."""
    marks: tuple[str, ...]
    """What else is not as it was at the point before, and what makes the point doubtful."""


@dataclass(frozen=True)
class Series:
    """One row under one metric."""

    label: str
    signature: str
    metric: BaselineMetric
    """As the newest point has it."""
    scenes: tuple[str, ...]
    """With the same content, and a score, at all points: what the means are over."""
    left_out: Mapping[str, str]
    """The other scenes, each with the reason."""
    entries: tuple[Entry, ...]
    note: str
    """Why no step can be seen; empty where one can."""

    @property
    def digits(self) -> int:
        """Decimals of a mean."""
        return self.metric.mean_digits

    @cached_property
    def steps(self) -> tuple[Entry, ...]:
        """Where new levels begin."""
        return tuple(entry for entry in self.entries if entry.step)

    def words(self, entry: Entry) -> str:
        """What there is to say of a point: where a new level begins, and its marks."""
        return "; ".join(filter(None, [self._step(entry), *entry.marks]))

    def _step(self, entry: Entry) -> str:
        if entry.step is None:
            return ""
        size = entry.step.size
        unit = f" {self.metric.unit}" if self.metric.unit else ""
        verdict = "better" if (size > 0) == (self.metric.direction == "higher") else "worse"
        where = f"between runs of {entry.point.title}" if entry.again else f"since {entry.point.title}"
        return f"step {signed(size, self.digits)}{unit} {where} ({verdict})"


@dataclass(frozen=True)
class History:
    """What was measured over time."""

    series: tuple[Series, ...]
    """Metric by metric, and row by row."""
    points: tuple[Point, ...]
    """In the order of time."""
    notes: tuple[str, ...] = ()

    @property
    def chance(self) -> str:
        """What steps are worth, in a sentence; empty where no series is long enough to show one."""
        count = sum(not series.note for series in self.series)
        if not count:
            return ""
        share = f"{100 * FALSE_ALARMS:g} %"
        return f"independent normal noise alone shows a step in up to {share} of series (docs/history.md), of which here are {count}"


def history(points: Iterable[Point], *, metrics: Sequence[str] = (), rows: Sequence[str] = (), notes: Iterable[str] = ()) -> History:
    """The series that these points make, of all metrics and rows or of those named (a metric by name, spec or signature).

    Raises UsageError for a metric or row that no point has.
    """
    ordered, again = _each_once(sorted(points, key=lambda point: point.when))
    newest = ordered[::-1]
    known = {signature: metric for point in ordered for signature, metric in point.metrics.items()}
    labels = [*dict.fromkeys(label for point in newest for label in point.scores)]
    _known("--row", rows, labels)
    _known("--metric", metrics, [name for signature, metric in known.items() for name in _names(signature, metric)])
    signatures = dict.fromkeys(signature for point in newest for scores in point.scores.values() for signature in scores)
    wanted = [one for one in signatures if not metrics or {*metrics} & {*_names(one, known[one])}]
    places = ((label, signature) for signature in wanted for label in labels if not rows or label in rows)
    mine = ((*place, [point for point in ordered if point.has(*place)]) for place in places)
    found = tuple(_series(label, signature, points) for label, signature, points in mine if points)
    return History(found, tuple(ordered), (*notes, *again, *_absent(found, ordered)))


def _each_once(points: Iterable[Point]) -> tuple[list[Point], list[str]]:
    """Points without those that are the one before over again, which would count as a measurement more, and what to tell of them."""
    found: list[Point] = []
    told = []
    for point in points:
        if found and point.repeats(found[-1]):
            first, second = (f"{one.name} ({one.title})" if one.commit else one.name for one in (found[-1], point))
            told.append(f"{first} and {second} are one point: the same scores, made at the same commit")
        else:
            found.append(point)
    return found, told


def _series(label: str, signature: str, points: Sequence[Point]) -> Series:
    """The series of one row and metric over points that have both."""
    samples = [_samples(point.scores[label][signature]) for point in points]
    scenes, left_out = _common(points, samples)
    nests = [bootstrap.nest(label, {scene: one[scene].fits for scene in scenes}) for one in samples]
    means = [statistics.mean(nest.means) for nest in nests]
    metric = points[-1].metrics[signature]
    found, note = _steps(means, metric)
    changes = [None, *(_difference(*pair) for pair in pairwise(means))]
    marks = [tuple(_marks(label, signature, *pair)) for pair in zip([None, *points], points, strict=False)]
    again = [False, *(bool(after.commit) and before.title == after.title for before, after in pairwise(points))]
    entries = (
        Entry(point, means[at], nest.interval(scenes), changes[at], found.get(at), again[at], marks[at])
        for at, (point, nest) in enumerate(zip(points, nests, strict=True))
    )
    return Series(label, signature, metric, scenes, left_out, tuple(entries), note)


def _samples(scenes: Mapping[str, Cells]) -> dict[str, Sample]:
    """By scene; those without a mean are left out."""
    found = {scene: Sample.of(cells) for scene, cells in scenes.items()}
    return {scene: sample for scene, sample in found.items() if not math.isnan(sample.mean)}


def _common(points: Sequence[Point], samples: Sequence[Mapping[str, Sample]]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The scenes that all points have a score of with the same content, and the others with the reason."""
    left_out = {}
    scenes = sorted({scene for one in samples for scene in one})
    for scene in scenes:
        lacking = [point.title for point, one in zip(points, samples, strict=True) if scene not in one]
        contents = {str(sorted(point.scenes.get(scene, {}).items())) for point in points if scene in point.scenes}
        if lacking:
            left_out[scene] = f"no score at {listed(lacking)}"
        elif len(contents) > 1:
            left_out[scene] = f"its content differs: there are {len(contents)} of that name"
    return tuple(scene for scene in scenes if scene not in left_out), left_out


def _steps(means: Sequence[float | None], metric: BaselineMetric) -> tuple[dict[int, Step], str]:
    """Steps by the point where they begin, and why none can be seen."""
    known = [(at, mean) for at, mean in enumerate(means) if mean is not None and math.isfinite(mean)]
    if len(known) < LEAST_POINTS:
        what = "one point" if len(means) == 1 else f"{len(known)} points" + (" with a finite mean" if len(known) < len(means) else "")
        return {}, f"{what}: no step possible, it takes {LEAST_POINTS}"
    found = steps([mean for _, mean in known], usual(metric).amount)
    return {known[step.at][0]: step for step in found}, ""


def _marks(label: str, signature: str, before: Point | None, after: Point) -> Iterator[str]:
    """What is not as it was, and what makes a point doubtful."""
    if before is not None:
        devices = [point.devices.get(label, ()) for point in (before, after)]
        if all(devices) and devices[0] != devices[1]:
            yield f"device {' and '.join(devices[0])} → {' and '.join(devices[1])}"
        if before.settings.get(label) != after.settings.get(label):
            yield "other settings"
        if before.metrics[signature].source != after.metrics[signature].source:
            yield "other code of the metric"
    broken = after.broken.get((label, signature), 0)
    if broken:
        yield f"{broken} score{'' if broken == 1 else 's'} failed or missing"
    if after.commits > 1:
        yield f"worked on at {after.commits} commits"


def _absent(series: Iterable[Series], points: Sequence[Point]) -> Iterator[str]:
    """Which points are not in a series."""
    for one in series:
        there = {id(entry.point) for entry in one.entries}
        lacking = [point.title for point in points if id(point) not in there]
        if lacking:
            yield f"{one.label} {one.metric.title}: nothing at {listed(lacking)} under {one.signature}"


def _known(option: str, wanted: Iterable[str], names: Iterable[str]) -> None:
    there = [*dict.fromkeys(names)]
    for name in wanted:
        if name not in there:
            raise UsageError(f"{option} {name}: no point has it; there is {listed(there)}")


def _names(signature: str, metric: BaselineMetric) -> tuple[str, str, str]:
    return metric.metric, metric.spec, signature


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else statistics.difference(before, after)
