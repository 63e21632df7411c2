"""Kinds of scenes: a leaderboard over those with one hole kind, hole share, number of references or tag. Never imports torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from realbench import selection
from realbench.errors import UsageError
from realbench.records import SceneInfo
from realbench.results import Results
from realbench.selection import BEST_ONE, KEEP, Policy
from realbench.tables import Tables, tables

SHARES = (0.1, 0.25, 0.5)
"""Where bins of the hole's share of the target's pixels end; the lower end belongs to a bin, the upper one to the next."""
MANY = 5
"""So many references and more are one stratum."""


@dataclass(frozen=True)
class Stratum:
    """Scenes with something in common."""

    kind: str
    """`hole`, `hole share`, `references` or `tag`."""
    value: str
    scenes: tuple[str, ...]
    """In the results' order."""

    @property
    def title(self) -> str:
        """One phrase: `hole: outpainting`."""
        return f"{self.kind}: {self.value}"


def strata(results: Results) -> tuple[Stratum, ...]:
    """The strata that hold some of the scenes with cells and not all of them: by kind, then by value (tags by name)."""
    present = set(results.cells()["scene"])
    scenes = {scene: info for scene, info in results.scenes.items() if scene in present}
    found: dict[tuple[int, str], list[str]] = {}
    order = [(kind, place, value, scene) for scene, info in scenes.items() for kind, place, value in _kinds(info)]
    for kind, _, value, scene in sorted(order, key=lambda item: item[:3]):
        found.setdefault((kind, value), []).append(scene)
    return tuple(Stratum(_KINDS[kind], value, tuple(own)) for (kind, value), own in found.items() if len(own) < len(scenes))


def share_bin(share: float) -> tuple[int, str]:
    """The number and the name of a hole share's bin: `10–25 %`."""
    edges = (0.0, *SHARES, 1.0)
    at = sum(share >= edge for edge in SHARES)
    return at, f"{100 * edges[at]:g}–{100 * edges[at + 1]:g} %"


def policies(results: Results) -> tuple[Policy, ...]:
    """The policies that this run can have, the mean first: `selected` and `oracle` need several seeds, `selected` also one clear metric
    to select by. The results' own policy stands for its reducer.
    """
    own = results.policy
    found = [Policy(by=own.by)]
    counts = results.scores().groupby([*selection.GROUP], sort=False)["seed"].nunique()
    if counts.max() > 1:
        try:
            by = selection.choose(results.columns, own.by or None).signature
            found.append(Policy("selected", KEEP, by))
        except UsageError:
            pass
        found.append(Policy("oracle", BEST_ONE, own.by))
    return tuple(own if policy.reducer == own.reducer else policy for policy in found)


def tables_for(results: Results, stratum: Stratum | None = None, policy: Policy | None = None) -> Tables:
    """All tables of one stratum (None: all scenes) under one policy of seeds, made once."""
    return tables(results if stratum is None else results.within(stratum.scenes), policy)


_KINDS = ("hole", "hole share", "references", "tag")


def _kinds(info: SceneInfo) -> Iterator[tuple[int, int, str]]:
    """What a scene belongs to: number of the kind, place of the value in it, value."""
    if info.hole_kind:
        yield 0, 0, info.hole_kind
    yield 1, *share_bin(info.hole_share)
    count = min(info.references, MANY)
    yield 2, count, f"{count} or more" if count == MANY else str(count)
    yield from _tags(info.tags)


def _tags(tags: Iterable[str]) -> Iterator[tuple[int, int, str]]:
    for tag in dict.fromkeys(tags):
        yield 3, 0, tag
