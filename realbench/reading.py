"""Scores of many cells, read fast: what tables need of each record, and nothing of what pages draw (a run may have 200,000 of them)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from realbench.metric import State
from realbench.records import SCHEMA, Environment

THREADS = 2
"""Readers at a time: a second one hides the waiting for a disk; with more, they wait for each other."""


class ScoreLine(BaseModel):
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


def read_many(cells: Sequence[tuple[Path, Sequence[str]]]) -> Iterator[list[ScoreLine | None]]:
    """The scores of many cells, each given as its folder and column keys, in this order."""
    with ThreadPoolExecutor(THREADS, thread_name_prefix="read") as pool:
        yield from pool.map(lambda cell: read_lines(*cell), cells)


def read_lines(cell: Path, keys: Iterable[str]) -> list[ScoreLine | None]:
    """The scores of a cell's folder, one a column key; None for one that is not there, is broken or is of another version."""
    folder = os.path.join(cell, "scores")  # noqa: PTH118 — pathlib takes longer to join two names than it takes to read the file
    return [_read(f"{folder}{os.sep}{key}.json") for key in keys]


def _read(path: str) -> ScoreLine | None:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            line = ScoreLine.model_validate_json(file.read())
    except (OSError, ValidationError):
        return None
    return line if line.schema_version == SCHEMA else None
