"""Two sections of leaderboard.md: seeds filtered by correspondences, and a paper's table beside the measured one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from realbench.comparison import Comparison, Followed
from realbench.filtering import Filtering, Line, Step
from realbench.tables import Entry, TableColumn

from ._text import change, coverage, missing_text, number, numbered, plain, span

Escape = Callable[[str], str]
"""Makes a text of the run safe in Markdown."""
Note = Callable[[str], str]
"""Gives the mark of a footnote."""


def line(cells: Iterable[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def code(text: str) -> str:
    """A code span, fenced by more backticks than the text has in a row."""
    line = plain(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    return f"{fence}{line}{fence}" if len(fence) == 1 else f"{fence} {line} {fence}"


def filtered(found: Filtering, text: Escape, note: Note) -> Iterator[str]:
    """The section on filtered seeds."""
    yield from ("## Seeds filtered by correspondences", "")
    if found.by is None:
        yield from (f"Not shown: {text(found.absent)}", "")
        return
    yield line(["row", "dropped", "seeds kept", *(numbered(column, at, text) for at, column in enumerate(found.columns, 1))])
    yield line([":--", "--:", "--:", *["--:"] * len(found.columns)])
    for label, steps in found.rows.items():
        yield from (_step_line(label, one, found.columns, text, note) for one in steps)
    yield ""
    yield (
        f"The seeds of each row, scene and fit are ranked by {text(found.by.title)}{_numbers(found)}, never by the ground truth, and "
        "the lowest share is dropped. In brackets the 95 % bootstrap interval over scenes; Δ is the change from all seeds, averaged over "
        "scenes, its interval paired by scene. Whether filtering helps is for this table to show: more matches need not mean a better "
        "score."
    )
    yield from ("", *(f"- {text(words)}" for words in found.notes), *([""] if found.notes else []))


def _numbers(found: Filtering) -> str:
    """The number that leads to the signature of the metric that selects, among the metrics above."""
    return "".join(f" <sup>{at}</sup>" for at, column in enumerate(found.columns, 1) if column.info == found.by)


def _step_line(label: str, one: Line, columns: tuple[TableColumn, ...], text: Escape, note: Note) -> str:
    cells = (_step(step, column, text, note) for step, column in zip(one.steps, columns, strict=True))
    return line([text(label), f"{one.dropped} %", one.kept, *cells])


def _step(step: Step, column: TableColumn, text: Escape, note: Note) -> str:
    changes = text(" ".join(change(step, column.info.mean_digits)))
    return "<br>".join(filter(None, [*_value(step.entry, column, text, note), changes]))


def _value(entry: Entry, column: TableColumn, text: Escape, note: Note) -> list[str]:
    """Mean with its interval, and coverage where something is missing."""
    digits, of = column.info.mean_digits, len(column.scenes)
    mark = note(missing_text(entry.missing)) if entry.missing else ""
    cover = coverage(entry, of) if entry.scenes != of or entry.missing else ""
    return [("–" if entry.mean is None else number(entry.mean, digits)) + mark, text(span(entry, digits)), cover]


def compared(found: Comparison, text: Escape, note: Note) -> Iterator[str]:
    """The section that shows measured and published numbers, as two tables."""
    yield from ("## Measured and published", "", text(found.protocol.caution), "", "### Measured here, over all seeds", "")
    yield line(["row", *(numbered(column, at, text) for at, column in found.columns.items())])
    yield line([":--", *["--:"] * len(found.columns)])
    for label, entries in found.measured.items():
        pairs = zip(entries, found.columns.values(), strict=True)
        yield line([text(label), *("<br>".join(filter(None, _value(entry, column, text, note))) for entry, column in pairs)])
    yield from ("", *([f"Not measured: {', '.join(found.lacking)}.", ""] if found.lacking else []), "### Published, as printed", "")
    yield line(["row", *found.protocol.table.values(), "source"])
    yield line([":--", *["--:"] * len(found.protocol.table), ":--"])
    for row in found.published:
        values = ("–" if value is None else number(value, 3 if at else 2) for at, value in enumerate(row.values))
        yield line([text(row.label), *values, text(row.source)])
    yield from ("", "What the paper states:", "")
    yield from (f"- {text(what)}: {text(words)}" for what, words in found.protocol.stated.items())
    yield ""
    for run in found.runs:
        yield from _followed(run, text)


def _followed(run: Followed, text: Escape) -> Iterator[str]:
    yield from (f"Run {text(run.run)}: what the paper leaves open, and the choice made:", "")
    yield from (f"- {text(what)}: {text(words)}" for what, words in run.left_open.items())
    remark = "" if run.recorded else " (it was not made with this protocol; they are read off what it was asked for)"
    yield from ("", f"Run {text(run.run)}: departures from the protocol{remark}:", "")
    yield from (f"- {text(words)}" for words in run.departures or ["none"])
    yield ""
