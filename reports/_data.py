"""The tables that are written as CSV and as Parquet, by file name without its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realbench.errors import NothingMeasured
from realbench.filtering import filtering, frame
from realbench.frames import leaderboard_frame, pairs_frame
from realbench.results import Results

if TYPE_CHECKING:
    import pandas as pd


def tables(results: Results) -> dict[str, pd.DataFrame]:
    """`scores` (all seeds, whatever the policy), `leaderboard`, `pairs` where there are two rows, and `filtering` where rows have several
    seeds and a metric to select them; made once. Raises NothingMeasured when no cell or no metric was asked for.
    """
    return results.once("data files", lambda: _tables(results))


def _tables(results: Results) -> dict[str, pd.DataFrame]:
    scores = results.scores()
    if scores.empty:
        raise NothingMeasured("no score to write: no cell or no metric was asked for")
    found = {"scores": scores, "leaderboard": leaderboard_frame(results), "pairs": pairs_frame(results)}
    seeds = filtering(results)
    if seeds is not None and seeds.by is not None:
        found["filtering"] = frame(seeds, results)
    return {name: table for name, table in found.items() if len(table)}
