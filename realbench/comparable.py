"""What a run and a baseline differ in: what makes them incomparable, and what is under test (docs/ci.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from realbench.baseline import Baseline, BaselineRow, row
from realbench.results import Results


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


def devices(baseline: Baseline, results: Results, labels: Sequence[str]) -> list[str]:
    """Rows that ran on another class of device (cpu, cuda, mps) than at the baseline."""
    cells = results.cells()
    found = []
    for label in labels:
        before = _classes(baseline.rows[label].devices if label in baseline.rows else ())
        after = _classes(cells.loc[(cells["label"] == label) & (cells["state"] == "ok"), "device"].dropna())
        if before and after and before != after:
            found.append(f"{label} ran on {_listed(after)}, its baseline on {_listed(before)}: scores may differ by that alone")
    return found


def changed(baseline: Baseline, results: Results, labels: Sequence[str]) -> Iterator[Difference]:
    """What is under test and is not as it was accepted."""
    shared: dict[tuple[str, str, str], list[str]] = {}
    for label in labels:
        old, new = baseline.rows[label], row(results, label)
        settings = list(_apart(old.settings, new.settings))
        weights = list(_apart(old.weights, new.weights))
        yield from (Difference(label, f"setting {key}", *sides) for key, *sides in settings)
        yield from (Difference(label, f"weights {key}", *sides) for key, *sides in weights)
        if old.method != new.method or old.preset != new.preset:
            yield Difference(label, "method", _method(old), _method(new))
        if old.fingerprint != new.fingerprint and not settings:
            yield Difference(label, "the method's code, or weights", old.fingerprint, new.fingerprint)
        for key in ("fits", "seeds"):
            if getattr(old, key) != getattr(new, key):
                yield Difference(label, key, *(_range(getattr(side, key)) for side in (old, new)))
        for what, before, after in _environment(old, new):
            shared.setdefault((what, before, after), []).append(label)
    for (what, before, after), those in shared.items():
        yield Difference("" if len(those) == len(labels) else ", ".join(those), what, before, after)
    for signature, metric in baseline.metrics.items():
        info = results.columns.get(signature)
        if info is not None and info.source != metric.source:
            yield Difference("", f"code of {signature}", metric.source[:12], info.source[:12])


def _rows(baseline: Baseline, results: Results, labels: Sequence[str]) -> Iterator[str]:
    for label in labels:
        if label not in baseline.rows:
            yield f"row {label} is not in the baseline, which has {_listed(baseline.rows)}; accept a run with it, or name another"
        elif label not in results.rows:
            yield f"row {label} is not in the run, which has {_listed(results.rows)}; run it, or name the rows to check"


def _scenes(baseline: Baseline, results: Results) -> Iterator[str]:
    new = {name: info.digests for name, info in results.scenes.items() if info.digests}
    for name, digests in baseline.scenes.items():
        if name not in new:
            yield f"scene {name} is in the baseline and not in the run"
        elif new[name] != digests:
            parts = [part for part in {**digests, **new[name]} if digests.get(part) != new[name].get(part)]
            # The task is made of the other parts.
            yield f"scene {name} is not the one of the baseline: another {_listed([part for part in parts if part != 'task'] or parts)}"
    for name in new:
        if name not in baseline.scenes:
            yield f"scene {name} is in the run and not in the baseline; accept a run of the whole suite"


def _metrics(baseline: Baseline, results: Results, labels: Sequence[str]) -> Iterator[str]:
    wanted = dict.fromkeys(signature for label in labels for signature in baseline.scores.get(label, ()))
    for signature in wanted:
        if signature not in results.columns:
            name = baseline.metrics[signature].metric
            others = [other for other, info in results.columns.items() if info.metric == name]
            has = f"; the run has {_listed(others)}" if others else f"; the run was not scored with {name}"
            yield f"metric {signature} is in the baseline and not in the run{has}"


def _environment(old: BaselineRow, new: BaselineRow) -> Iterator[tuple[str, str, str]]:
    if old.environment is None or new.environment is None:
        return
    for name in ("device_name", "dtype", "threads", "python", "platform"):
        before, after = (str(getattr(side.environment, name)) for side in (old, new))
        if before != after:
            yield name.replace("_", " "), before, after
    yield from ((f"version of {key}", before, after) for key, before, after in _apart(old.environment.versions, new.environment.versions))


def _apart(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for key in {**old, **new}:
        if old.get(key) != new.get(key):
            before, after = (str(side[key]) if key in side else "none" for side in (old, new))
            yield key, before, after


def _method(side: BaselineRow) -> str:
    return f"{side.method}:{side.preset}" if side.preset else side.method


def _classes(devices: Any) -> set[str]:
    return {str(device).partition(":")[0] for device in devices}


def _range(numbers: Sequence[int]) -> str:
    whole = len(numbers) > 1 and [*numbers] == [*range(numbers[0], numbers[-1] + 1)]
    return f"{numbers[0]}–{numbers[-1]}" if whole else ", ".join(map(str, numbers))


def _listed(names: Any) -> str:
    found = sorted(map(str, names))
    return ", ".join(found[:8]) + (f" and {len(found) - 8} more" if len(found) > 8 else "") if found else "none"
