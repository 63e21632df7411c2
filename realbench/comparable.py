"""What a run and a baseline differ in: what makes them incomparable, and what is under test (docs/ci.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from realbench.baseline import Baseline, BaselineMetric, Tested, classes, digests, project
from realbench.records import Environment
from realbench.results import Results
from realbench.text import listed

_MACHINE = ("device_name", "dtype", "threads", "python", "platform")


@dataclass(frozen=True)
class Difference:
    """Something under test that changed."""

    label: str
    """The row; empty where it concerns all."""
    what: str
    before: str
    after: str


def mismatches(baseline: Baseline, results: Results, labels: Sequence[str]) -> list[str]:
    """Why the scores must not be compared, in sentences; empty where they may be."""
    return [*_rows(baseline, results, labels), *_scenes(baseline, results), *_metrics(baseline, results, labels)]


def devices(baseline: Baseline, rows: Mapping[str, Tested], metrics: Mapping[str, BaselineMetric]) -> list[str]:
    """Rows that ran, and metrics that were computed, on another class of device (cpu, cuda, mps) than at the baseline."""
    ran = [(f"{label} ran", baseline.rows[label].devices, row.devices) for label, row in rows.items()]
    ran += [(f"{name} was computed", baseline.metrics[name].devices, metric.devices) for name, metric in metrics.items()]
    sides = ((what, classes(before), classes(after)) for what, before, after in ran)
    return [
        f"{what} on {', '.join(after)}, its baseline on {', '.join(before)}: scores may differ by that alone"
        for what, before, after in sides
        if before and after and before != after
    ]


def changed(
    baseline: Baseline, results: Results, rows: Mapping[str, Tested], metrics: Mapping[str, BaselineMetric]
) -> Iterator[Difference]:
    """What is under test and is not as it was accepted: of these rows and metrics, as the run has them."""
    old, new = baseline.accepted.project, project(results)
    if old and new and old != new:
        yield Difference("", "commit of the project", old, new)
    for label, row in rows.items():
        yield from _row(label, baseline.rows[label], row)
    machines = ((label, baseline.rows[label].environment, row.environment) for label, row in rows.items())
    fills = _shared(machines, len(rows))
    yield from (Difference(label, *what) for label, what in fills)
    scored = ((name, baseline.metrics[name].environment, metric.environment) for name, metric in metrics.items())
    for names, (what, before, after) in _shared(scored, len(metrics)):
        # What changed for all fills was said.
        if ("", (what, before, after)) not in fills:
            yield Difference("", f"{what}, of what computed {names or 'the metrics'}", before, after)
    for name, metric in metrics.items():
        if baseline.metrics[name].source != metric.source:
            yield Difference("", f"code of {name}", baseline.metrics[name].source[:12], metric.source[:12])


def _row(label: str, old: Tested, new: Tested) -> Iterator[Difference]:
    settings, weights = [*_apart(old.settings, new.settings)], [*_apart(old.weights, new.weights)]
    yield from (Difference(label, f"setting {key}", *sides) for key, *sides in settings)
    yield from (Difference(label, f"weights {key}", *sides) for key, *sides in weights)
    if old.method != new.method or old.preset != new.preset:
        yield Difference(label, "method", _method(old), _method(new))
    if old.source and new.source:
        if old.source != new.source:
            yield Difference(label, "the method's code", old.source, new.source)
        elif old.fingerprint != new.fingerprint and not settings and not weights:
            yield Difference(label, "weights, or files that settings name", old.fingerprint, new.fingerprint)
    elif old.fingerprint != new.fingerprint:
        # Files of earlier versions hold one hash over all of it.
        what = "perhaps the method's code, or weights" if settings else "the method's code, or weights"
        yield Difference(label, what, old.fingerprint, new.fingerprint)
    for key in ("fits", "seeds"):
        if getattr(old, key) != getattr(new, key):
            yield Difference(label, key, *(_range(getattr(side, key)) for side in (old, new)))


def _shared(pairs: Iterable[tuple[str, Environment | None, Environment | None]], count: int) -> list[tuple[str, tuple[str, str, str]]]:
    """What differs between two environments, each once with the names that it concerns; with none where it concerns all."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for name, old, new in pairs:
        for difference in _environment(old, new):
            found.setdefault(difference, []).append(name)
    return [("" if len(names) == count else ", ".join(names), difference) for difference, names in found.items()]


def _rows(baseline: Baseline, results: Results, labels: Sequence[str]) -> Iterator[str]:
    for label in labels:
        if label not in baseline.rows:
            has = listed(sorted(baseline.rows))
            yield f"row {label} is not in the baseline, which has {has}; accept a run with it, or name another"
        elif label not in results.rows:
            yield f"row {label} is not in the run, which has {listed(sorted(results.rows))}; run it, or name the rows to check"


def _scenes(baseline: Baseline, results: Results) -> Iterator[str]:
    new = digests(results)
    for name, parts in baseline.scenes.items():
        if name not in new:
            yield f"scene {name} is in the baseline and not in the run"
        elif new[name] != parts:
            other = sorted(part for part in {**parts, **new[name]} if parts.get(part) != new[name].get(part))
            # The task is made of the other parts.
            yield f"scene {name} is not the one of the baseline: another {listed([part for part in other if part != 'task'] or other)}"
    for name in new:
        if name not in baseline.scenes:
            yield f"scene {name} is in the run and not in the baseline; accept a run of the whole suite"


def _metrics(baseline: Baseline, results: Results, labels: Sequence[str]) -> Iterator[str]:
    wanted = dict.fromkeys(signature for label in labels for signature in baseline.scores.get(label, ()))
    for signature in wanted:
        if signature not in results.columns:
            name = baseline.metrics[signature].metric
            others = sorted(other for other, info in results.columns.items() if info.metric == name)
            has = f"; the run has {listed(others)}" if others else f"; the run was not scored with {name}"
            yield f"metric {signature} is in the baseline and not in the run{has}"


def _environment(old: Environment | None, new: Environment | None) -> Iterator[tuple[str, str, str]]:
    if old is None or new is None:
        return
    for name in _MACHINE:
        before, after = str(getattr(old, name)), str(getattr(new, name))
        if before != after:
            yield name.replace("_", " "), before, after
    yield from ((f"version of {key}", before, after) for key, before, after in _apart(old.versions, new.versions))


def _apart(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for key in {**old, **new}:
        if old.get(key) != new.get(key):
            before, after = (str(side[key]) if key in side else "none" for side in (old, new))
            yield key, before, after


def _method(side: Tested) -> str:
    return f"{side.method}:{side.preset}" if side.preset else side.method


def _range(numbers: Sequence[int]) -> str:
    whole = len(numbers) > 1 and [*numbers] == [*range(numbers[0], numbers[-1] + 1)]
    return f"{numbers[0]}–{numbers[-1]}" if whole else ", ".join(map(str, numbers))
