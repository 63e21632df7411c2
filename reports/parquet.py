"""The tables of reports/csv.py, typed: scores.parquet, leaderboard.parquet, pairs.parquet, filtering.parquet."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from realbench.report import ReportCard
from realbench.results import Results
from realbench.store import write_atomic

from ._data import tables

if TYPE_CHECKING:
    import pandas as pd

_INTEGERS = (
    "fit", "seed", "rank", "common_scenes", "scenes", "of_scenes", "fills", "asked", "wins", "ties", "losses",
    "dropped_percent", "change_scenes",
)  # fmt: skip
_NUMBERS = (
    "value", "mean", "low", "high", "common_mean", "mean_rank", "mean_rank_low", "mean_rank_high", "difference", "p", "adjusted",
    "change", "change_low", "change_high",
)  # fmt: skip
_FLAGS = ("best", "tied", "exact")


class Parquet:
    """Columns as in the CSV files: text, whole numbers, true or false, and numbers as float64; null where there is nothing."""

    card: ClassVar[ReportCard] = ReportCard("parquet", "the same as the CSV files, typed")

    def write(self, results: Results, folder: Path) -> list[Path]:
        """Write the tables there are; scores.parquet first. Raises NothingMeasured when no cell or no metric was asked for."""
        files = {folder / f"{name}.parquet": _encode(table) for name, table in tables(results).items()}
        write_atomic(files)
        return [*files]


def _encode(table: pd.DataFrame) -> bytes:
    import pyarrow as arrow
    from pyarrow import parquet

    types = dict.fromkeys(_INTEGERS, arrow.int64()) | dict.fromkeys(_NUMBERS, arrow.float64()) | dict.fromkeys(_FLAGS, arrow.bool_())
    schema = arrow.schema([(name, types.get(name, arrow.string())) for name in table.columns])
    buffer = io.BytesIO()
    parquet.write_table(arrow.Table.from_pandas(table, schema=schema, preserve_index=False), buffer)
    return buffer.getvalue()
