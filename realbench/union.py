"""What several runs were asked for, as one: manifests without their cells. The order in which runs are given never counts."""

from __future__ import annotations

import heapq
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from realbench import protocol as protocols
from realbench.errors import UsageError
from realbench.records import Adopted, ColumnInfo, Invocation, Manifest, RowInfo, SceneInfo
from realbench.store import check_labels
from realbench.suite import natural

SHOWN = 5
"""Contradictions that an error lists; it counts the others."""
Named = Sequence[tuple[str, Manifest]]
"""Manifests with the run's name for messages."""
M = TypeVar("M", bound=BaseModel)


def union(runs: Named) -> Manifest:
    """One manifest that asks for what all of these ask for.

    Raises UsageError, which names what is contradicted and both runs: another suite, feather or protocol, a scene with other content, a
    label with other settings, a metric with another source.
    """
    found: list[str] = []
    for what in ("suite", "feather"):
        _alike(what, [(name, str(getattr(manifest, what))) for name, manifest in runs], found)
    by_scene: dict[str, list[tuple[str, SceneInfo]]] = _by_name(runs, "scenes")
    scenes = {name: _scene(name, by_scene[name], found) for name in sorted(by_scene, key=natural)}
    by_label: dict[str, list[tuple[str, RowInfo]]] = _by_name(runs, "rows")
    rows = {label: _row(label, by_label[label], found) for label in _order([[*manifest.rows] for _, manifest in runs])}
    by_key: dict[str, list[tuple[str, ColumnInfo]]] = _by_name(runs, "columns")
    columns = {key: _column(by_key[key], found) for key in _order([[*manifest.columns] for _, manifest in runs])}
    followed = [(name, manifest.protocol) for name, manifest in runs if manifest.protocol]
    _alike("protocol", [(name, adopted.protocol) for name, adopted in followed], found)
    refuse(found)
    one = runs[0][1]
    path = min((manifest.suite_path for _, manifest in runs), key=lambda path: (not Path(path).is_dir(), path))
    made = Manifest(suite=one.suite, suite_path=path, feather=one.feather, scenes=scenes, rows=rows, columns=columns)
    made.invocations = _invocations(manifest for _, manifest in runs)
    made.protocol = _protocol([adopted for _, adopted in followed], made)
    check_labels(made)
    return made


def refuse(found: Sequence[str]) -> None:
    """Raises UsageError where there are contradictions."""
    if found:
        more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise UsageError(f"these runs contradict each other, and nothing was merged: {'; '.join(found[:SHOWN])}{more}")


def absent(manifest: Manifest) -> list[str]:
    """What the shards that worked on a run lack of their plans, one sentence a plan."""
    plans: dict[tuple[str, int], set[int]] = {}
    for made in manifest.invocations:
        match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9}) of ([0-9a-f]{12})", made.shard)
        if match:
            plans.setdefault((match[3], int(match[2])), set()).add(int(match[1]))
    texts = []
    for (plan, count), have in plans.items():
        lacking = [f"{index}/{count}" for index in range(1, min(count, 100_000) + 1) if index not in have]
        if lacking:
            few = ", ".join(lacking[:SHOWN]) + (f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else "")
            texts.append(f"of the {count} shards of plan {plan}, {few} {'is' if len(lacking) == 1 else 'are'} not here")
    return texts


def _alike(what: str, values: Iterable[tuple[str, str]], found: list[str]) -> None:
    """Note a contradiction where two runs have different values."""
    (first, one), *others = list(values) or [("", "")]
    found += [f"{what}: {one} in {first}, {other} in {name}" for name, other in others if other != one][:1]


def _by_name(runs: Named, part: str) -> dict[str, list[tuple[str, M]]]:
    """The entries of a manifest's mapping over all runs, by their key."""
    entries: dict[str, list[tuple[str, M]]] = {}
    for name, manifest in runs:
        held: Mapping[str, M] = getattr(manifest, part)
        for key, info in held.items():
            entries.setdefault(key, []).append((name, info))
    return entries


def _scene(scene: str, infos: list[tuple[str, SceneInfo]], found: list[str]) -> SceneInfo:
    """One description of a scene: of a run that did not refuse it, where there is one; of those that differ in words only, any."""
    known = [(name, info) for name, info in infos if info.digests]
    for name, info in known[1:]:
        first, one = known[0]
        parts = [part for part in sorted({*one.digests, *info.digests}) if one.digests.get(part) != info.digests.get(part)]
        if parts:
            found.append(f"scene {scene}: its {', '.join(parts)} differ between {first} and {name}")
            break
    return min((info for _, info in infos), key=lambda info: (bool(info.refused), not info.digests, info.model_dump_json()))


def _row(label: str, infos: list[tuple[str, RowInfo]], found: list[str]) -> RowInfo:
    """One row that asks for the cells of all."""
    # The fingerprint covers the source, which earlier versions did not write by itself.
    asked: dict[str, Any] = {"scenes": [], "fits": [], "seeds": [], "cells": {}, "source": ""}
    first, one = infos[0]
    for name, info in infos[1:]:
        if info.model_copy(update=asked) != one.model_copy(update=asked):
            found.append(f"row {label}: {_difference(one, info)} in {first} and {name}; give one of them another label and run it again")
            break
    cells: dict[str, set[tuple[int, int]]] = {}
    for _, info in infos:
        for scene in info.scenes:
            cells.setdefault(scene, set()).update(info.cells.get(scene) or itertools.product(info.fits, info.seeds))
    every = {pair for pairs in cells.values() for pair in pairs}
    return one.model_copy(
        update={
            "scenes": sorted(cells, key=natural),
            "fits": sorted({fit for fit, _ in every}),
            "seeds": sorted({seed for _, seed in every}),
            "cells": {scene: sorted(cells[scene]) for scene in sorted(cells, key=natural)},
            "source": max(info.source for _, info in infos),
        }
    )


def _difference(one: RowInfo, other: RowInfo) -> str:
    """In what two rows of one label differ: settings by name, else the first field."""
    keys = [key for key in sorted({*one.settings, *other.settings}) if one.settings.get(key) != other.settings.get(key)]
    if keys:
        return "; ".join(f"{key} is {one.settings.get(key)!r} and {other.settings.get(key)!r}" for key in keys[:SHOWN])
    for name in ("method", "preset", "fingerprint"):
        if getattr(one, name) != getattr(other, name):
            return f"{name} is {getattr(one, name)} and {getattr(other, name)}"
    return "the method's card differs"


def _column(infos: list[tuple[str, ColumnInfo]], found: list[str]) -> ColumnInfo:
    first, one = infos[0]
    for name, info in infos[1:]:
        if info != one:
            what = "source or weights" if info.source != one.source else "card"
            found.append(
                f"metric {one.signature}: its {what} differ between {first} and {name}; `realbench score` both with one version and weights"
            )
            break
    return one


def _invocations(manifests: Iterable[Manifest]) -> list[Invocation]:
    """Every command once, the earliest first."""
    made = {item.model_dump_json(): item for manifest in manifests for item in manifest.invocations}
    return [item for _, item in sorted(made.items(), key=lambda pair: (pair[1].started, pair[0]))]


def _protocol(followed: Sequence[Adopted], made: Manifest) -> Adopted | None:
    """The protocol that runs follow, compared with what all of them ask for together."""
    return protocols.adopt(protocols.load(followed[0].protocol), made) if followed else None


def _order(lists: Iterable[Sequence[str]]) -> list[str]:
    """All names in an order that each list agrees with; in natural order what the lists leave open, and all of it where they contradict."""
    after: dict[str, set[str]] = {}
    for names in lists:
        for name in names:
            after.setdefault(name, set())
        for one, other in itertools.pairwise(names):
            after[one].add(other)
    waits = {name: sum(name in others for others in after.values()) for name in after}
    free = [(natural(name), name) for name, count in waits.items() if not count]
    heapq.heapify(free)
    order: list[str] = []
    while free:
        _, name = heapq.heappop(free)
        order.append(name)
        for other in after[name]:
            waits[other] -= 1
            if not waits[other]:
                heapq.heappush(free, (natural(other), other))
    return order if len(order) == len(after) else sorted(after, key=natural)
