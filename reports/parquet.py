"""scores.parquet: every score of the runs in long form, typed; filtering.parquet: seeds dropped."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from realbench.errors import NothingMeasured
from realbench.filtering import filtering, frame
from realbench.report import ReportCard
from realbench.results import Results
from realbench.store import write_atomic

if TYPE_CHECKING:
    import pandas as pd

_INTEGERS = ("fit", "seed", "dropped_percent", "scenes", "of_scenes", "change_scenes")
_NUMBERS = ("value", "mean", "low", "high", "change", "change_low", "change_high")


class Parquet:
    """One line a (cell, metric), columns as `realbench.results.SCORE_FIELDS`: text, whole numbers, and `value` as float64 or null."""

    card: ClassVar[ReportCard] = ReportCard("parquet", "every score as scores.parquet, one line a cell and metric")

    def write(self, results: Results, folder: Path) -> list[Path]:
        """Write scores.parquet (all seeds, whatever the policy), and filtering.parquet (columns as `realbench.filtering.FIELDS`) where
        rows have several seeds and a metric to select them. Raises NothingMeasured when no cell or no metric was asked for.
        """
        scores = results.scores()
        if scores.empty:
            raise NothingMeasured("no score to write: no cell or no metric was asked for")
        tables = {"scores.parquet": scores}
        found = filtering(results)
        if found is not None and found.by is not None:
            tables["filtering.parquet"] = frame(found, results)
        write_atomic({folder / name: _encode(table) for name, table in tables.items()})
        return [folder / name for name in tables]


def _encode(table: pd.DataFrame) -> bytes:
    import pyarrow as arrow
    from pyarrow import parquet

    types = dict.fromkeys(_INTEGERS, arrow.int64()) | dict.fromkeys(_NUMBERS, arrow.float64())
    schema = arrow.schema([(name, types.get(name, arrow.string())) for name in table.columns])
    buffer = io.BytesIO()
    parquet.write_table(arrow.Table.from_pandas(table, schema=schema, preserve_index=False), buffer)
    return buffer.getvalue()
