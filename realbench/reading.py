"""Scores of many cells, read fast: what tables need of each record, and nothing of what pages draw (a run may have 200,000 of them)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from realbench.aside import aside, is_safe
from realbench.metric import State
from realbench.records import SCHEMA, Environment

MANY = 4_000
"""Scores from which on two processes read them; below, beginning a second one takes longer than it saves."""
THREADS = 2
"""Readers at a time in a process: a second one hides the waiting for a disk; with more, they wait for each other."""
TOGETHER = 64
"""Cells that a thread reads at a time."""
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)
_BLOCK = 16_384
"""Bytes asked for at a time: nearly all scores are shorter."""


class _Score(BaseModel):
    """The fields of a `realbench.records.ScoreRecord` that tables read; the others are passed over unread."""

    model_config = ConfigDict(extra="ignore")

    schema_version: int
    state: State
    reason: str
    image: str
    scene: str
    source: str
    value: float | None
    environment: Environment | None


class ScoreLine(NamedTuple):
    """What tables need of a `realbench.records.ScoreRecord`; see there."""

    state: State
    reason: str
    image: str
    scene: str
    source: str
    value: float | None
    environment: Environment | None
    """Scores read together that were made alike share one."""


Cells = Sequence[tuple[Path, Sequence[str]]]
"""Folders of cells, each with the column keys of its scores."""


def read_many(cells: Cells) -> Iterator[list[ScoreLine | None]]:
    """The scores of many cells, in this order; None for one that is not there, is broken or is of another version."""
    half = len(cells) // 2 if sum(len(keys) for _, keys in cells) >= MANY and is_safe() else len(cells)
    others = aside(lambda: [*_read(cells[half:])]) if half < len(cells) else list
    yield from _read(cells[:half])
    yield from others()


def _read(cells: Cells) -> Iterator[list[ScoreLine | None]]:
    reader = _Reader()
    parts = [cells[start : start + TOGETHER] for start in range(0, len(cells), TOGETHER)]
    with ThreadPoolExecutor(THREADS, thread_name_prefix="read") as pool:
        for part in pool.map(lambda part: [reader.lines(*cell) for cell in part], parts):
            yield from part


class _Reader:
    """Reads scores, and keeps each text and environment once: most of them are the same in thousands of scores."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.environments: dict[tuple[object, ...], Environment] = {}

    def lines(self, cell: Path, keys: Iterable[str]) -> list[ScoreLine | None]:
        """The scores of a cell's folder, one a column key."""
        folder = os.path.join(cell, "scores")  # noqa: PTH118 — pathlib takes longer to join two names than it takes to read the file
        return [self.line(f"{folder}{os.sep}{key}.json") for key in keys]

    def line(self, path: str) -> ScoreLine | None:
        try:
            found = _Score.model_validate_json(_content(path))
        except (OSError, ValidationError):
            return None
        if found.schema_version != SCHEMA:
            return None
        reason, image, scene, source = (
            self.texts.setdefault(text, text) for text in (found.reason, found.image, found.scene, found.source)
        )
        return ScoreLine(found.state, reason, image, scene, source, found.value, self.shared(found.environment))

    def shared(self, made: Environment | None) -> Environment | None:
        return None if made is None else self.environments.setdefault(parts(made), made)


def parts(made: Environment) -> tuple[object, ...]:
    """What tells environments apart."""
    return made.device, made.device_name, made.dtype, made.threads, made.python, made.platform, *made.versions.items()


def _content(path: str) -> bytes:
    """A file's bytes with four calls of the system; `open` makes eight."""
    descriptor = os.open(path, _READ)
    try:
        data = os.read(descriptor, _BLOCK)
        while block := os.read(descriptor, _BLOCK):
            data += block
        return data
    finally:
        os.close(descriptor)
