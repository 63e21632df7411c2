"""The tables as pandas DataFrames: for files, for notebooks, for your own analysis. Never imports torch."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from realbench.results import Results
from realbench.selection import Policy
from realbench.tables import Leaderboard, tables

if TYPE_CHECKING:
    import pandas as pd

LEADERBOARD_FIELDS = (
    "label", "method", "preset", "metric", "signature", "mean", "low", "high", "rank", "best", "tied", "common_mean", "common_scenes",
    "scenes", "of_scenes", "fills", "asked", "unranked", "mean_rank", "mean_rank_low", "mean_rank_high",
)  # fmt: skip
PAIR_FIELDS = (
    "metric", "signature", "first", "second", "scenes", "difference", "low", "high", "p", "adjusted", "exact",
    "wins", "ties", "losses", "better",
)  # fmt: skip
_NUMBERS = ("mean", "low", "high", "common_mean", "mean_rank", "mean_rank_low", "mean_rank_high", "difference", "p", "adjusted")


def leaderboard_frame(results: Results, policy: Policy | None = None) -> pd.DataFrame:
    """One line a (row, metric), columns as LEADERBOARD_FIELDS; NaN, or None in `rank`, where there is nothing."""
    board = tables(results, policy).leaderboard
    lines = []
    for row in board.rows:
        head = [row.label, row.info.method, row.info.preset]
        span = row.mean_rank_interval or (None, None)
        for entry, column in zip(row.entries, board.columns, strict=True):
            low, high = entry.interval or (None, None)
            own = [column.info.metric, column.info.signature, entry.mean, low, high, entry.rank, entry.best, entry.tied]
            counts = [entry.common, len(column.common), entry.scenes, len(column.scenes), entry.fills, entry.asked]
            lines.append([*head, *own, *counts, entry.unranked, row.mean_rank, *span])
    return _typed(LEADERBOARD_FIELDS, lines)


def pairs_frame(results: Results, policy: Policy | None = None) -> pd.DataFrame:
    """One line a metric and pair of rows that are no oracles, columns as PAIR_FIELDS; `difference` is that of first − second."""
    lines = []
    for found in tables(results, policy).pairs:
        for pair in found.pairs:
            low, high = pair.interval or (None, None)
            head = [found.info.metric, found.info.signature, pair.first, pair.second, len(pair.scenes), pair.mean, low, high]
            lines.append([*head, pair.p, pair.adjusted, pair.exact, pair.wins, pair.ties, pair.losses, pair.better])
    return _typed(PAIR_FIELDS, lines)


def wide(results: Results, policy: Policy | None = None, *, intervals: bool = False) -> pd.DataFrame:
    """See `realbench.results.Results.table`."""
    import pandas as pd

    board = tables(results, policy).leaderboard
    names = titles(board)
    index = pd.Index([row.label for row in board.rows], name="row")
    if not intervals:
        return pd.DataFrame([[entry.mean for entry in row.entries] for row in board.rows], index, names, dtype="float64")
    columns = pd.MultiIndex.from_product([names, ["mean", "low", "high"]], names=["metric", "value"])
    lines = [[value for entry in row.entries for value in (entry.mean, *(entry.interval or (None, None)))] for row in board.rows]
    return pd.DataFrame(lines, index, columns, dtype="float64")


def titles(board: Leaderboard) -> list[str]:
    """One name a column: the metric's, or its signature where two columns share the name."""
    count = Counter(column.info.metric for column in board.columns)
    return [column.info.metric if count[column.info.metric] == 1 else column.info.signature for column in board.columns]


def _typed(fields: tuple[str, ...], lines: list[list[object]]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(lines, columns=list(fields))
    types = dict.fromkeys((name for name in _NUMBERS if name in fields), "float64") | ({"rank": "Int64"} if "rank" in fields else {})
    return frame.astype(types)
