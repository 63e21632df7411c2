"""One share of a plan for each task of an array job: which cells a shard runs.

Every task deals out the whole plan in the same way, without asking anybody, and keeps its own share.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from realbench import fingerprint
from realbench.errors import UsageError
from realbench.plan import Row

MOST = 100_000
"""Most shards of a plan."""

Asked = Mapping[str, Mapping[str, Sequence[tuple[int, int]]]]
"""(fit, seed) asked for, by label and scene."""


@dataclass(frozen=True)
class Shard:
    """The `index`-th of `count` shares, counted from 1."""

    index: int
    count: int

    def __post_init__(self) -> None:
        """Raises UsageError for a share that there is not."""
        if not 1 <= self.index <= self.count <= MOST:
            raise UsageError(f"--shard {self}: expected I/N with I from 1 to N and N up to {MOST:,}, such as 1/8")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def folder(self, whole: Path) -> Path:
        """The run folder of this share: `x-shard-1-of-8` for `x`, which shards then never write at once; one so named stays as it is."""
        ending = f"-shard-{self.index}-of-{self.count}"
        whole = whole if whole.name not in ("", "..") else whole.resolve()
        return whole if whole.name.endswith(ending) else whole.with_name(whole.name + ending)


def parse_shard(text: str) -> Shard:
    """`3/8` is the third of eight. Raises UsageError."""
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip())
    if match is None:
        raise UsageError(f"--shard {text!r}: expected I/N, such as 1/8 for the first of eight")
    return Shard(int(match[1]), int(match[2]))


def shard_of(asked: str | tuple[int, int] | None) -> Shard | None:
    """A shard from `"1/8"` or `(1, 8)`. Raises UsageError."""
    if asked is None or isinstance(asked, str):
        return None if asked is None else parse_shard(asked)
    if not isinstance(asked, tuple):
        raise UsageError(f"shard={asked!r}: expected (1, 8) or '1/8' for the first of eight")
    return parse_shard("/".join(map(str, asked)))


@dataclass(frozen=True)
class _Piece:
    """What is never divided further: some seeds of one fit (or of a scene, for methods that do not fit), of all rows that share it."""

    labels: tuple[str, ...]
    scene: str
    fit: int
    seeds: Sequence[int]


def share(rows: Sequence[Row], scenes: Sequence[str], fits: int, seeds: Sequence[int], shard: Shard | None = None) -> Asked:
    """What a shard is asked for; without one, everything.

    The shares are disjoint and complete, and depend on what is asked for alone, not on what is finished. Each has the same number of fits,
    of every method, give or take one. The seeds of a fit stay together (rows that share a fit, too), so that a fit is made once; only where
    there are more shards than fits are they divided, and then a fit is made by each shard that has some of its seeds. Neighbouring scenes
    fall to one shard, so that what metrics prepare for a scene serves all its fits.
    """
    found: dict[str, dict[str, list[tuple[int, int]]]] = {row.label: {} for row in rows}
    one = shard or Shard(1, 1)
    for piece in _mine(_dealt(rows, scenes, fits, seeds, one.count), one):
        for label in piece.labels:
            found[label].setdefault(piece.scene, []).extend((piece.fit, seed) for seed in piece.seeds)
    return found


def plan_of(suite: str, rows: Sequence[Row], scenes: Sequence[str], fits: int, seeds: Sequence[int]) -> str:
    """Twelve digits that shards of one plan have in common."""
    return fingerprint.short([suite, str([(row.label, row.fingerprint) for row in rows]), str(list(scenes)), str(fits), str(list(seeds))])


def _mine(families: Iterator[list[_Piece]], shard: Shard) -> Iterator[_Piece]:
    """A run of neighbours of each family; the families' remainders go to one shard after the other."""
    offset = 0
    for pieces in families:
        each, rest = divmod(len(pieces), shard.count)
        sizes = [each + ((at - offset) % shard.count < rest) for at in range(shard.count)]
        first = sum(sizes[: shard.index - 1])
        yield from pieces[first : first + sizes[shard.index - 1]]
        offset = (offset + rest) % shard.count


def _dealt(rows: Sequence[Row], scenes: Sequence[str], fits: int, seeds: Sequence[int], shards: int) -> Iterator[list[_Piece]]:
    """The pieces of each family of rows that share their fits."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        families.setdefault(f"fit {row.fitting or row.fingerprint}" if row.card.fits else f"row {row.label}", []).append(row)
    fitted = sum(len(scenes) * len(family[0].fits(fits)) for family in families.values() if family[0].card.fits)
    before = 0
    for family in families.values():
        first = family[0]
        groups = list(itertools.product(scenes, first.fits(fits)))
        # Seeds of what does not fit are divided at no cost, so its scenes alone are counted against the shards.
        total, start = (fitted, before) if first.card.fits else (len(groups), 0)
        labels = tuple(row.label for row in family)
        yield [
            _Piece(labels, scene, fit, part)
            for at, (scene, fit) in enumerate(groups, start)
            for part in _divided(first.seeds(seeds), shards // total + (at < shards % total) if shards > total else 1)
        ]
        before += len(groups) if first.card.fits else 0


def _divided(seeds: Sequence[int], parts: int) -> Iterator[Sequence[int]]:
    """Seeds in so many runs of neighbours, equal give or take one; none is empty."""
    parts = min(parts, len(seeds))
    for at in range(parts):
        yield seeds[at * len(seeds) // parts : (at + 1) * len(seeds) // parts]
