"""scores.csv: every score of the runs in long form, for spreadsheets and for your own analysis; filtering.csv: seeds dropped."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from realbench.errors import NothingMeasured
from realbench.filtering import filtering, frame
from realbench.report import ReportCard
from realbench.results import Results
from realbench.store import write_atomic


class CSV:
    """One line a (cell, metric), UTF-8, columns as `realbench.results.SCORE_FIELDS`.

    `value` is empty unless `state` is ok, and `inf` where infinite; decimals are as many as read back to the same number. Texts
    stand as they are: a scene called `=1+1` is written so, since a quote put before it would be another name. Import the file
    into a spreadsheet with its text columns as text.
    """

    card: ClassVar[ReportCard] = ReportCard("csv", "every score as scores.csv, one line a cell and metric")

    def write(self, results: Results, folder: Path) -> list[Path]:
        """Write scores.csv (all seeds, whatever the policy), and filtering.csv (columns as `realbench.filtering.FIELDS`) where rows have
        several seeds and a metric to select them. Raises NothingMeasured when no cell or no metric was asked for.
        """
        scores = results.scores()
        if scores.empty:
            raise NothingMeasured("no score to write: no cell or no metric was asked for")
        tables = {"scores.csv": scores}
        found = filtering(results)
        if found is not None and found.by is not None:
            tables["filtering.csv"] = frame(found, results)
        write_atomic({folder / name: table.to_csv(index=False, lineterminator="\n").encode() for name, table in tables.items()})
        return [folder / name for name in tables]
