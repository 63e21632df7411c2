"""What a new baseline keeps of the one that it takes the place of, and what it must not lose unsaid (docs/ci.md)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from realbench.baseline import Baseline, BaselineMetric, BaselineRow, Cells, Noise
from realbench.errors import UsageError
from realbench.text import listed

_BY_ROW = ("rows", "scores", "noise")


def succeed(old: Baseline, new: Baseline, path: Path) -> tuple[Baseline, list[str]]:
    """The new baseline with what it may keep of the older one in the same file, and what to tell the user.

    It keeps rows that the new one lacks, and the noise of rows (by fingerprint), metrics and scenes that are the same. Raises UsageError
    where the older one has what would be lost.
    """
    if lost := [*_lost(old, new)]:
        raise UsageError(f"{path} has what this run lacks: {listed(lost)}; accept a run of all, or give --replace")
    told = []
    made = new.model_copy(update={"noise": _kept_noise(old, new)})
    if made.noise:
        told.append(f"kept: the noise that `realbench calibrate` measured of {', '.join(made.noise)}")
    kept = [label for label in old.rows if label not in new.rows]
    if kept:
        told.append(f"kept: {', '.join(kept)}, which this run lacks")
        parts = {name: {label: part for label, part in getattr(old, name).items() if label in kept} for name in _BY_ROW}
        metrics = {**old.metrics, **{name: _scored_twice(old.metrics.get(name), metric) for name, metric in new.metrics.items()}}
        made = made.model_copy(update={"metrics": metrics} | {name: {**parts[name], **getattr(made, name)} for name in _BY_ROW})
    return made, told


def _lost(old: Baseline, new: Baseline) -> Iterator[str]:
    """What an older baseline has and its successor could not keep, in words."""
    yield from (f"scene {name}" for name in old.scenes if name not in new.scenes)
    shared = [label for label in old.rows if label in new.rows]
    there = {signature for label in shared for signature in old.scores.get(label, ())}
    yield from (f"metric {signature}" for signature in sorted(there - {*new.metrics}))
    for label in shared:
        for signature, scenes in old.scores.get(label, {}).items():
            has = new.scores.get(label, {}).get(signature, {})
            gone = [name for name, cells in scenes.items() if name in new.scenes and name not in has and any(_values(cells))]
            yield from (f"{signature} of {label} on scene {name}" for name in gone if signature in new.metrics)
    gone = [label for label in old.rows if label not in new.rows]
    if old.scenes != new.scenes:
        yield from (f"row {label} (the scenes are others)" for label in gone)
    elif old.feather != new.feather:
        yield from (f"row {label} (its fills have another feather)" for label in gone)
    elif any(old.metrics[name].source != metric.source for name, metric in new.metrics.items() if name in old.metrics):
        yield from (f"row {label} (it was scored by other code of the metrics)" for label in gone)


def _kept_noise(old: Baseline, new: Baseline) -> dict[str, dict[str, dict[str, Noise]]]:
    same = {scene for scene, parts in new.scenes.items() if old.scenes.get(scene) == parts}
    found = {
        label: {
            signature: {scene: noise for scene, noise in scenes.items() if scene in same}
            for signature, scenes in metrics.items()
            if signature in new.scores[label]
        }
        for label, metrics in old.noise.items()
        if label in new.rows and _same(old.rows[label], new.rows[label])
    }
    return {label: metrics for label, metrics in found.items() if any(metrics.values())}


def _same(old: BaselineRow, new: BaselineRow) -> bool:
    return old.fingerprint == new.fingerprint and old.varies == new.varies


def _scored_twice(old: BaselineMetric | None, new: BaselineMetric) -> BaselineMetric:
    """A metric whose scores were made now for some rows, and then for others."""
    return new if old is None else new.model_copy(update={"devices": sorted({*old.devices, *new.devices})})


def _values(cells: Cells) -> Iterator[bool]:
    return (value is not None for seeds in cells.values() for value in seeds.values())
