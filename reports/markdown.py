"""leaderboard.md: the comparison table for a README, an issue or a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

from realbench.comparison import compare
from realbench.filtering import filtering
from realbench.report import ReportCard
from realbench.results import Results
from realbench.statistics import COVERAGE_PERCENT, LEAST_SCENES
from realbench.store import write_atomic
from realbench.tables import Entry, Leaderboard, SceneEntry, SceneTable, TableColumn, TableRow, tables
from realbench.votes import tally

from ._pairs import paired
from ._provenance import provenance
from ._seeds import code, compared, filtered, line
from ._text import (
    BETTER,
    Notes,
    coverage,
    heading,
    mean_rank,
    mean_rank_span,
    missing_text,
    number,
    numbered,
    place,
    plain,
    redact,
    redactions,
    repeats,
    settings,
    span,
)
from ._votes import voted

_STRUCTURE = re.compile(r"[\\`*_\[\]{}~#!$|]")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class Markdown:
    """One file without images; every text of a run is escaped for Markdown, tables and HTML."""

    card: ClassVar[ReportCard] = ReportCard("markdown", "the comparison table as leaderboard.md")

    def write(self, results: Results, folder: Path) -> list[Path]:
        """Write leaderboard.md. Raises NothingMeasured when no cell or no metric was asked for."""
        path = folder / "leaderboard.md"
        write_atomic({path: "\n".join(_Page(results).lines()).encode() + b"\n"})
        return [path]


def escape(text: str) -> str:
    """Text that Markdown shows as it is, also inside a table: no markup, no HTML, no link, on one line."""
    shown = _STRUCTURE.sub(r"\\\g<0>", plain(text).translate(_ENTITIES))
    return shown.replace("://", ":\\//").replace("www.", "www\\.")


class _Page:
    """The page of one set of runs."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.tables = tables(results)
        self.pairs = redactions(results)
        self.missing = Notes()

    def lines(self) -> Iterator[str]:
        """The page, line by line."""
        board = self.tables.leaderboard
        suites = sorted({manifest.suite for _, _, manifest in self.results.runs})
        yield from (f"# Leaderboard: {self.text(', '.join(suites))}", "")
        yield from self.board(board)
        yield from self.explanations(board)
        yield from paired(self.tables, self.text)
        yield from ("## Scene by scene", "")
        for index, table in enumerate(self.tables.per_scene, 1):
            yield from self.scenes(index, table)
        yield from self.sections()
        yield from _listed("Missing scores", (f"- m{index}: {text}" for index, text in enumerate(self.missing.texts, 1)))
        refused = ((scene, info.refused) for scene, info in self.results.scenes.items() if info.refused)
        yield from _listed("Refused scenes", (f"- **{self.text(scene)}**: {self.text(reason)}" for scene, reason in refused))
        yield from self.provenance()

    def sections(self) -> Iterator[str]:
        """What there is to say of filtered seeds, of a paper's numbers and of votes."""
        seeds, paper, votes = filtering(self.results), compare(self.results), tally(self.results)
        if seeds is not None:
            yield from filtered(seeds, self.text, self.note)
        if paper is not None:
            yield from compared(paper, self.text, self.note)
        if votes is not None:
            yield from voted(votes, self.text)

    def text(self, text: str) -> str:
        """A text of the run, escaped."""
        return escape(redact(text, self.pairs))

    def board(self, board: Leaderboard) -> Iterator[str]:
        """The comparison table."""
        titles = [numbered(column, index, self.text) for index, column in enumerate(board.columns, 1)]
        yield line(["row", "mean rank", *titles])
        yield line([":--", "--:", *["--:"] * len(titles)])
        for row in board.rows:
            cells = (self.entry(entry, column) for entry, column in zip(row.entries, board.columns, strict=True))
            rank = "<br>".join(filter(None, [mean_rank(row), escape(mean_rank_span(row))]))
            yield line([self.label(row), rank, *cells])
        yield ""

    def label(self, row: TableRow) -> str:
        marks = ["oracle"] if row.info.oracle else ["unranked"] if row.unranked else []
        marks += ["mixed devices"] if len(row.devices) > 1 else []
        return self.text(row.label) + "".join(f" *({mark})*" for mark in marks)

    def entry(self, entry: Entry, column: TableColumn) -> str:
        """Mean (bold when best), interval, coverage and rank of one row under one metric."""
        cover = coverage(entry, len(column.scenes))
        note = self.note(missing_text(entry.missing)) if entry.missing else ""
        if entry.mean is None:
            return f"–{note}<br>{cover}"
        value = number(entry.mean, column.info.mean_digits)
        value = f"**{value}**" if entry.best else f"≈ {value}" if entry.tied else value
        return "<br>".join(filter(None, [f"{value}{note}", escape(span(entry, column.info.mean_digits)), cover, place(entry, column)]))

    def note(self, text: str) -> str:
        return f" <sup>m{self.missing.number(self.text(text))}</sup>"

    def explanations(self, board: Leaderboard) -> Iterator[str]:
        """What the table's numbers are, the metrics' signatures, and the rows' settings."""
        tied = ", ".join(info.title for info in board.tied)
        yield (
            f"Mean over seeds ({self.text(self.tables.policy)}), then fits, then scenes; in brackets its 95 % bootstrap interval over "
            f"scenes, fits and seeds, where there are {LEAST_SCENES} scenes or more; then the scenes with a score of those where the "
            "metric applies. A row needs "
            f"scores for {COVERAGE_PERCENT} % of them to be ranked. Ranks rest on the scenes common to all ranked rows; where these are "
            "not the row's own scenes, its mean over them stands beside the rank. In the mean rank equal means share the mean of their "
            "places"
            + (f", and metrics under which all ranked rows tie are left out: {self.text(tied)}" if tied else "")
            + ". Bold: the best, oracles apart; ≈: ranked behind it and not shown to differ from it. Oracles read the ground truth and "
            "are never ranked."
        )
        yield from (f"\n- {self.text(words)}" for words in self.tables.notes)
        yield from ("", "Metrics:", "")
        for index, column in enumerate(board.columns, 1):
            what = f"{self.text(column.info.summary)} ({BETTER[column.info.direction]})"
            yield f"{index}. {code(column.info.signature)}: {what}. {self.scope(column)}{self.doubt(column)}"
        yield from ("", "Rows:", "", *map(self.details, board.rows), "")

    def details(self, row: TableRow) -> str:
        """What a row is, and why it is unranked or doubtful."""
        parts = [self.text(row.info.title), code(row.info.fingerprint), repeats(row)]
        parts += [f"preset {self.text(row.info.preset)}"] if row.info.preset else []
        parts += [self.text(settings(row))] if row.settings else []
        parts += [self.text(row.unranked)] if row.unranked else []
        parts += [f"**mixed devices**: {self.text(' and '.join(row.devices))}"] if len(row.devices) > 1 else []
        return f"- **{self.text(row.label)}**: {'; '.join(parts)}"

    def scope(self, column: TableColumn) -> str:
        """Where a metric applies, and what its ranks rest on."""
        common = f"Ranked over {len(column.common)} of {len(column.scenes)} scenes." if column.common else "Nothing is ranked."
        outside = "; ".join(f"{self.text(scene)}: {self.text(reason)}" for scene, reason in column.outside.items())
        return f"{common} Does not apply to {outside}." if outside else common

    def doubt(self, column: TableColumn) -> str:
        """Why a metric's scores may not compare with each other; empty where nothing is known."""
        return f" **Mixed devices**: {self.text(' and '.join(column.devices))}." if len(column.devices) > 1 else ""

    def scenes(self, index: int, table: SceneTable) -> Iterator[str]:
        """One metric scene by scene."""
        oracles = {label for label, row in self.results.rows.items() if row.oracle}
        yield from (f"### {self.text(heading(table.info))} <sup>{index}</sup>", "")
        yield line(["scene", *(self.text(label) for label in table.rows)])
        yield line([":--", *["--:"] * len(table.rows)])
        for at, scene in enumerate(table.scenes):
            cells = (self.scene_entry(row[at], table, None if label in oracles else table.best[at]) for label, row in table.rows.items())
            yield line([self.text(scene), *cells])
        yield ""

    def scene_entry(self, entry: SceneEntry, table: SceneTable, best: float | None) -> str:
        value = "–" if entry.value is None else number(entry.value, table.info.mean_digits)
        value = f"**{value}**" if entry.value is not None and entry.value == best else value
        return value + (self.note(missing_text(entry.missing)) if entry.missing else "")

    def provenance(self) -> Iterator[str]:
        """Versions, runs and devices."""
        found = provenance(self.results)
        yield from ("## Provenance", "", f"- realbench {self.text(', '.join(found.versions))}")
        yield from (f"- {self.text(line)}" for line in (*found.runs, *found.devices, ", ".join(found.libraries)) if line)


def _listed(title: str, lines: Iterable[str]) -> Iterator[str]:
    """A section; nothing when it is empty."""
    found = list(lines)
    if found:
        yield from (f"## {title}", "", *found, "")
