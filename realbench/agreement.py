"""Whether metrics agree: rank correlations between them, over rows and over fills. Never imports torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from realbench import selection
from realbench.records import ColumnInfo
from realbench.results import Results
from realbench.selection import Policy
from realbench.statistics import Floats
from realbench.tables import Leaderboard, tables

if TYPE_CHECKING:
    import pandas as pd

Matrix: TypeAlias = tuple[tuple[float | None, ...], ...]
"""Square, a line and a column for each metric; None where nothing can be compared."""


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau-b between metrics, each taken in its own direction: 1 is the same order, −1 the reverse."""

    columns: tuple[ColumnInfo, ...]
    rows: int
    """Ranked rows that `by_rows` rests on, at most."""
    by_rows: Matrix
    """Of the means of rows that are ranked under both metrics, over each metric's common scenes."""
    by_fills: Matrix
    """Of the values of all rows' fills of a scene, averaged over scenes, so that a scene that is hard for all shows no agreement."""


def agreement(results: Results, policy: Policy | None = None) -> Agreement:
    """Rank agreement of every two metrics; oracles are left out. Raises what `realbench.tables.tables` raises."""
    how = policy or results.policy
    return results.once(("agreement", how), lambda: _agreement(results, how))


def _agreement(results: Results, policy: Policy) -> Agreement:
    board = tables(results, policy).leaderboard
    columns = tuple(column.info for column in board.columns)
    means = _means(board)
    scores = selection.reduce(results.scores(), policy, results.columns).scores
    scenes = _fills(scores[~scores["label"].isin([label for label, row in results.rows.items() if row.oracle])], columns)
    ranked = max((int(np.isfinite(line).sum()) for line in means), default=0)
    by_fills = _matrix(len(columns), lambda one, other: _average([tau(scene[one], scene[other]) for scene in scenes]))
    return Agreement(columns, ranked, _matrix(len(columns), lambda one, other: tau(means[one], means[other])), by_fills)


def tau(one: Sequence[float] | Floats, other: Sequence[float] | Floats) -> float | None:
    """Kendall's tau-b over what has both values (NaN is none); None for fewer than two of them, and where one does not vary."""
    from scipy.stats import kendalltau

    first, second = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    both = ~(np.isnan(first) | np.isnan(second))
    if both.sum() < 2 or len(set(first[both])) < 2 or len(set(second[both])) < 2:
        return None
    value = round(float(kendalltau(first[both], second[both]).statistic), 12)
    return None if math.isnan(value) else value


def _matrix(size: int, value: Callable[[int, int], float | None]) -> Matrix:
    upper = {(one, other): value(one, other) for one in range(size) for other in range(one, size)}
    return tuple(tuple(upper[min(one, other), max(one, other)] for other in range(size)) for one in range(size))


def _means(board: Leaderboard) -> list[list[float]]:
    """By metric, the ranked rows' common means, larger is better; NaN for a row that is not ranked."""
    signs = [1 if column.info.direction == "higher" else -1 for column in board.columns]
    return [
        [math.nan if (value := row.entries[at].common) is None else sign * value for row in board.rows] for at, sign in enumerate(signs)
    ]


def _fills(scores: pd.DataFrame, columns: Sequence[ColumnInfo]) -> list[Floats]:
    """By scene: metrics × fills, larger is better."""
    keys = ["scene", "label", "fit", "seed"]
    wide = scores.set_index([*keys, "signature"])["value"].unstack("signature").reindex(columns=[info.signature for info in columns])
    signs = [1 if info.direction == "higher" else -1 for info in columns]
    return [(lines.to_numpy() * signs).T for _, lines in wide.groupby(level="scene", sort=True)]


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None
