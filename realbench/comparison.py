"""A paper's table and the measured one, beside each other and never in one column. Never imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from realbench import protocol
from realbench.protocol import Protocol
from realbench.results import Results
from realbench.selection import Policy
from realbench.tables import Entry, TableColumn, leaderboard


@dataclass(frozen=True)
class Published:
    """A printed row."""

    label: str
    source: str
    values: tuple[float | None, ...]
    """One a heading of the protocol's table."""


@dataclass(frozen=True)
class Followed:
    """How one run relates to the protocol."""

    run: str
    recorded: bool
    """It was made with this protocol; else its choices and departures are only read off what it was asked for."""
    left_open: dict[str, str]
    departures: list[str]


@dataclass(frozen=True)
class Comparison:
    """Two tables with the same metrics."""

    protocol: Protocol
    columns: Mapping[int, TableColumn]
    """The measured metrics of the printed table, in its order, by number in the leaderboard, from 1; one with several signatures has
    several columns.
    """
    measured: dict[str, tuple[Entry, ...]]
    """By label, one entry a column, over all seeds; rows in the leaderboard's order, oracles left out."""
    lacking: tuple[str, ...]
    """Metrics of the printed table that were not measured."""
    published: tuple[Published, ...]
    runs: tuple[Followed, ...]


def compare(results: Results) -> Comparison | None:
    """Both tables for the results' protocol; None where none is asked for. Raises UsageError for an unknown one."""
    if not results.protocol:
        return None
    wanted = protocol.load(results.protocol)
    board = leaderboard(results, Policy("mean"))
    indices = [at for name in wanted.table for at, column in enumerate(board.columns) if column.info.metric == name]
    measured = {row.label: tuple(row.entries[at] for at in indices) for row in board.rows if not row.info.oracle}
    found = {board.columns[at].info.metric for at in indices}
    printed = tuple(Published(row.label, row.source, tuple(row.scores().get(name) for name in wanted.table)) for row in wanted.published)
    lacking = tuple(name for name in wanted.table if name not in found)
    return Comparison(wanted, {at + 1: board.columns[at] for at in indices}, measured, lacking, printed, _runs(results, wanted))


def _runs(results: Results, wanted: Protocol) -> tuple[Followed, ...]:
    found = []
    for name, _, manifest in results.runs:
        asked = protocol.asked_by(manifest)
        recorded = manifest.protocol is not None and manifest.protocol.protocol == wanted.name
        found.append(Followed(name, recorded, protocol.choices(wanted, asked), protocol.departures(wanted, asked)))
    return tuple(found)
