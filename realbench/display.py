"""Results as a terminal and a notebook show them: the leaderboard, in plain columns. Never imports torch."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import TYPE_CHECKING

from realbench.errors import NothingMeasured, UsageError
from realbench.frames import titles
from realbench.redaction import redact, redactions
from realbench.results import Results
from realbench.tables import Entry, Leaderboard, tables
from realbench.text import RANK_DIGITS, number, printable

if TYPE_CHECKING:
    from rich.table import Table

KEY = "bold: best · ≈ not shown to differ from the best · [95 % interval]"
_ARROWS = {"higher": "↑", "lower": "↓"}


def rich_table(results: Results) -> Table:
    """For `rich.print(results)`: rows by mean rank, the best in bold."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, caption=KEY, caption_justify="left")
    header, lines = _parts(results)
    for at, name in enumerate(header):
        table.add_column(escape(name), justify="right" if at else "left", overflow="fold")
    for line in lines:
        table.add_row(*(f"[bold]{escape(text)}[/bold]" if best else escape(text) for text, best in line))
    return table


def html_table(results: Results) -> str:
    """For a notebook: an HTML table without styles or scripts; every text is escaped."""
    header, lines = _parts(results)
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in header)
    body = "".join(f"<tr>{''.join(_cell(at, *cell) for at, cell in enumerate(line))}</tr>" for line in lines)
    return f"<table><caption>{html.escape(KEY)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(at: int, text: str, best: bool) -> str:
    shown = html.escape(text)
    return f'<th scope="row">{shown}</th>' if at == 0 else f"<td>{f'<strong>{shown}</strong>' if best else shown}</td>"


def _parts(results: Results) -> tuple[list[str], list[list[tuple[str, bool]]]]:
    """Header and lines: texts, each with whether it is the best. What cannot be shown is said in place of the table."""
    pairs = redactions(results)
    try:
        board = tables(results).leaderboard
    except (NothingMeasured, UsageError) as error:
        return [printable(redact(str(error), pairs))], []
    names = zip(titles(board), board.columns, strict=True)
    header = ["row", "mean rank", *(printable(f"{name} {_ARROWS[column.info.direction]}") for name, column in names)]
    return header, [list(_line(board, at, pairs)) for at in range(len(board.rows))]


def _line(board: Leaderboard, at: int, pairs: list[tuple[str, str]]) -> Iterator[tuple[str, bool]]:
    row = board.rows[at]
    mark = " (oracle)" if row.info.oracle else " (unranked)" if row.unranked else ""
    yield printable(redact(row.label, pairs)) + mark, False
    yield "–" if row.mean_rank is None else _spanned(row.mean_rank, row.mean_rank_interval, RANK_DIGITS), False
    for entry, column in zip(row.entries, board.columns, strict=True):
        yield _entry(entry, column.info.mean_digits), entry.best


def _entry(entry: Entry, digits: int) -> str:
    if entry.mean is None:
        return "–"
    return ("≈ " if entry.tied else "") + _spanned(entry.mean, entry.interval, digits)


def _spanned(value: float, interval: tuple[float, float] | None, digits: int) -> str:
    """A number, and behind it its interval where there is one, with the same decimals."""
    ends = "" if interval is None else f" [{number(interval[0], digits)}, {number(interval[1], digits)}]"
    return number(value, digits) + ends
