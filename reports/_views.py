"""The leaderboard as it is seen: one view for each choice of scenes and seeds, each made of finished texts.

The page shows one view, and holds the others as data; its script changes words, marks and order, and computes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any

from realbench.groups import TITLES, group
from realbench.selection import Policy
from realbench.strata import Stratum, policies, strata, tables_for
from realbench.tables import CHOSEN, Entry, TableColumn, TableRow, Tables

from ._site import Site
from ._text import Notes, coverage, mean_rank, mean_rank_span, missing_text, number, place, span

KINDS = {"hole": "Kind of hole", "hole share": "Size of the hole", "references": "Number of references", "tag": "Tag"}
_DIGITS = 9
"""Significant digits that rows are sorted by."""


@dataclass(frozen=True)
class CellView:
    """A row under a metric."""

    mean: str
    sort: float | str | None
    """What the column is sorted by; an infinity as JavaScript spells it, None where there is nothing."""
    mark: str = ""
    """`best`, `tied` or empty."""
    under: tuple[str, ...] = ()
    low: tuple[str, ...] = ()
    """What makes the number less certain: scenes it lacks, a rank over fewer scenes, or none."""
    missing: int = 0
    """Number of the note that says what is missing; 0 for none."""


@dataclass(frozen=True)
class RowView:
    """A row."""

    rank: str
    sort: float | None
    interval: str
    unranked: bool
    cells: tuple[CellView, ...]


@dataclass(frozen=True)
class View:
    """The table for one choice."""

    status: str
    notes: tuple[str, ...]
    rows: Mapping[str, RowView]
    """By label, in this view's order."""


@dataclass(frozen=True)
class Board:
    """What `_board.html.j2` draws."""

    tables: Tables
    groups: tuple[tuple[str, int], ...]
    """Title and number of columns of each group."""
    starts: frozenset[int]
    """The columns, from 0, that a group begins with."""
    view: View
    """The one shown first."""
    ghosts: View | None
    """Each row's best seeds by the scores themselves; None where no row has several seeds, or where that is what is shown."""
    strata: Mapping[str, Sequence[tuple[int, str, int]]]
    """By kind: key in `data`, text, and number of scenes."""
    policies: tuple[tuple[str, str, bool], ...]
    """Key in `data`, words, and whether it is the one shown first."""
    missing: Notes
    """What is missing in the rows that the page holds at first."""
    data: Mapping[str, Any]
    """All views, for the script."""


def board(site: Site) -> Board:
    """The leaderboard in all its views. Raises NothingMeasured when no cell or no metric was asked for."""
    return _Maker(site).board()


class _Maker:
    def __init__(self, site: Site) -> None:
        self.site = site
        self.results = site.results
        self.notes = Notes()
        self.strata = strata(self.results)
        self.default = tables_for(self.results, None, self.results.policy)
        self.columns = self.default.leaderboard.columns
        self.labels = [row.label for row in self.default.leaderboard.rows]

    def board(self) -> Board:
        view = self.view(None, self.results.policy)
        found = {policy.reducer: policy for policy in policies(self.results)}
        ceiling = found.pop("oracle", None)
        shown = found | {self.results.policy.reducer: self.results.policy}
        ghosts = self.view(None, ceiling) if ceiling and self.results.policy.reducer != "oracle" else None
        missing = Notes(list(self.notes.texts))
        views = {f"{at}|{name}": self.packed(self.view(one, policy)) for at, one in self.choices() for name, policy in shown.items()}
        above = {str(at): self.packed(self.view(one, ceiling))["rows"] for at, one in self.choices()} if ghosts and ceiling else {}
        words = tuple((name, _words(policy), name == self.results.policy.reducer) for name, policy in shown.items())
        data = {"views": views, "ghosts": above, "missing": self.notes.texts, "shown": len(missing.texts)}
        groups = self.groups()
        starts = frozenset(accumulate((count for _, count in groups[:-1]), initial=0))
        return Board(self.default, groups, starts, view, ghosts, self.listed(), words, missing, data)

    def choices(self) -> Iterator[tuple[int, Stratum | None]]:
        """All scenes, then every stratum."""
        return enumerate((None, *self.strata))

    def listed(self) -> dict[str, list[tuple[int, str, int]]]:
        """The strata by kind."""
        found: dict[str, list[tuple[int, str, int]]] = {}
        for at, one in enumerate(self.strata, 1):
            found.setdefault(KINDS.get(one.kind, one.kind), []).append((at, self.site.text(one.value), len(one.scenes)))
        return found

    def groups(self) -> tuple[tuple[str, int], ...]:
        names = groupby(group(column.info) for column in self.columns)
        return tuple((TITLES[name], len(list(same))) for name, same in names)

    def view(self, stratum: Stratum | None, policy: Policy) -> View:
        """The table over some scenes under one policy."""
        found = tables_for(self.results, stratum, policy)
        board = found.leaderboard
        at = [[column.info.signature for column in board.columns].index(column.info.signature) for column in self.columns]
        rows = {row.label: self.row(row, [board.columns[one] for one in at], [row.entries[one] for one in at]) for row in board.rows}
        scenes = len(stratum.scenes) if stratum else len(self.default.per_scene[0].scenes)
        where = f"{scenes} scene{'' if scenes == 1 else 's'}" + (
            f" ({KINDS.get(stratum.kind, stratum.kind)}: {stratum.value})" if stratum else ""
        )
        few = [(len(column.scenes), pairs.too_few) for column, pairs in zip(board.columns, found.pairs, strict=True) if pairs.too_few]
        told = "; ≈ means here: too few scenes to tell" if len(few) == sum(1 for pairs in found.pairs if pairs.pairs) else ""
        notes = (*found.notes, *([f"{max(few)[1]}{told}"] if few else []))
        return View(self.site.text(f"{where}; {found.policy}"), tuple(map(self.site.text, notes)), rows)

    def row(self, row: TableRow, columns: Sequence[TableColumn], entries: Sequence[Entry]) -> RowView:
        cells = tuple(self.cell(entry, column, row.info.oracle) for entry, column in zip(entries, columns, strict=True))
        return RowView(mean_rank(row), row.mean_rank, mean_rank_span(row), bool(row.unranked) and not row.info.oracle, cells)

    def cell(self, entry: Entry, column: TableColumn, oracle: bool) -> CellView:
        digits, of = column.info.mean_digits, len(column.scenes)
        mark = "best" if entry.best else "tied" if entry.tied else ""
        partial = entry.scenes != of or entry.fills != entry.asked
        fewer = place(entry, column) if entry.rank is not None and entry.scenes != len(column.common) else ""
        unranked = "unranked" if entry.unranked not in ("", CHOSEN) and entry.mean is not None and not oracle else ""
        low = tuple(filter(None, (coverage(entry, of) if partial else "", fewer, unranked)))
        missing = self.notes.number(self.site.text(missing_text(entry.missing))) if entry.missing else 0
        mean = "–" if entry.mean is None else number(entry.mean, digits)
        return CellView(mean, _sortable(entry.mean), mark, tuple(filter(None, [span(entry, digits)])), low, missing)

    def packed(self, view: View) -> dict[str, Any]:
        """A view as short lists, rows by their number on the page; see leaderboard.js."""
        rows = [[self.labels.index(label), *_packed(row)] for label, row in view.rows.items()]
        return {"status": view.status, "notes": view.notes, "rows": rows}


def _packed(row: RowView) -> list[Any]:
    cells = [[cell.mean, cell.sort, cell.mark, cell.under, cell.low, cell.missing] for cell in row.cells]
    return [row.rank, row.sort, row.interval, row.unranked, cells]


def _sortable(value: float | None) -> float | str | None:
    if value is None or math.isfinite(value):
        return None if value is None else float(f"{value:.{_DIGITS}g}")
    return "Infinity" if value > 0 else "-Infinity"


def _words(policy: Policy) -> str:
    """A policy in the words of its choice."""
    if policy.reducer == "mean":
        return "all of them (mean)"
    if policy.reducer == "selected":
        return f"selected: {policy.percent} with most matches"
    return f"oracle: {policy.percent}"
