"""A section of leaderboard.md: every row compared with the best one of each metric."""

from __future__ import annotations

from collections.abc import Iterator

from realbench.pairs import EXACT_SCENES, SIGNIFICANCE, Pair, Pairs
from realbench.statistics import RESAMPLES
from realbench.tables import Tables

from ._seeds import Escape, line
from ._text import p_value, signed


def paired(tables: Tables, text: Escape) -> Iterator[str]:
    """The section; nothing where no metric has a best row."""
    board = tables.leaderboard
    lines = [
        cells
        for at, found in enumerate(tables.pairs)
        for best in [next((row.label for row in board.rows if row.entries[at].best), None)]
        if best is not None
        for row in board.rows
        if (pair := found.get(row.label, best)) is not None
        for cells in [_cells(at + 1, found, pair, text)]
    ]
    if not lines:
        return
    yield from ("## Compared with the best", "")
    yield line(["metric", "row", "best", "difference", "p", "adjusted p", "wins, ties, losses", "verdict"])
    yield line([":--", ":--", ":--", "--:", "--:", "--:", "--:", ":--"])
    yield from map(line, lines)
    few = dict.fromkeys(found.too_few for found in tables.pairs if found.too_few)
    yield from ("", *(f"- {words}." for words in few), *([""] if few else []))
    yield (
        "Over the scenes that both rows have a score for: the mean of row − best with its 95 % bootstrap interval, paired by scene; the "
        f"two-sided sign-flip test, with all sign flips for up to {EXACT_SCENES} scenes and {RESAMPLES:,} random ones for more; its "
        "p-value adjusted by Holm's method over all pairs of rows of the metric. A difference is shown where that is at most "
        f"{SIGNIFICANCE:g}; where none is shown, the rows need not be equal."
    )
    yield ""


def _cells(metric: int, found: Pairs, pair: Pair, text: Escape) -> list[str]:
    digits = found.info.mean_digits
    span = "" if pair.interval is None else f" [{', '.join(signed(end, digits) for end in pair.interval)}]"
    difference = "–" if pair.mean is None else signed(pair.mean, digits) + span
    verdict = "better" if pair.better == pair.first else "worse" if pair.better else "not shown to differ"
    counts = f"{pair.wins}, {pair.ties}, {pair.losses}"
    head = [f"{text(found.info.title)} <sup>{metric}</sup>", text(pair.first), text(pair.second), text(difference)]
    return [*head, *("–" if p is None else text(p_value(p)) for p in (pair.p, pair.adjusted)), counts, verdict]
