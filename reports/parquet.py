"""scores.parquet: every score of the runs in long form, typed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import ClassVar

from realbench.errors import NothingMeasured
from realbench.report import ReportCard
from realbench.results import Results
from realbench.store import write_atomic

_TYPES = {"fit": "int64", "seed": "int64", "value": "float64"}


class Parquet:
    """One line a (cell, metric), columns as `realbench.results.SCORE_FIELDS`: text, whole numbers, and `value` as float64 or null."""

    card: ClassVar[ReportCard] = ReportCard("parquet", "every score as scores.parquet, one line a cell and metric")

    def write(self, results: Results, folder: Path) -> list[Path]:
        """Write scores.parquet. Raises NothingMeasured when no cell or no metric was asked for."""
        import pyarrow as arrow
        from pyarrow import parquet

        scores = results.scores()
        if scores.empty:
            raise NothingMeasured("no score to write: no cell or no metric was asked for")
        schema = arrow.schema([(name, getattr(arrow, _TYPES.get(name, "string"))()) for name in scores.columns])
        buffer = io.BytesIO()
        parquet.write_table(arrow.Table.from_pandas(scores, schema=schema, preserve_index=False), buffer)
        path = folder / "scores.parquet"
        write_atomic({path: buffer.getvalue()})
        return [path]
