"""scores.csv, leaderboard.csv, pairs.csv and filtering.csv: the numbers in long form, for spreadsheets and for your own analysis."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from realbench.report import ReportCard
from realbench.results import Results
from realbench.store import write_atomic

from ._data import tables


class CSV:
    """UTF-8; columns as `realbench.results.SCORE_FIELDS`, `realbench.frames.LEADERBOARD_FIELDS` and `PAIR_FIELDS`, and
    `realbench.filtering.FIELDS`.

    A number is empty where there is none, and `inf` where infinite; decimals are as many as read back to the same number. Texts
    stand as they are: a scene called `=1+1` is written so, since a quote put before it would be another name. Import the file
    into a spreadsheet with its text columns as text.
    """

    card: ClassVar[ReportCard] = ReportCard("csv", "scores, leaderboard and pairs of rows as CSV")

    def write(self, results: Results, folder: Path) -> list[Path]:
        """Write the tables there are; scores.csv first. Raises NothingMeasured when no cell or no metric was asked for."""
        files = {folder / f"{name}.csv": table.to_csv(index=False, lineterminator="\n").encode() for name, table in tables(results).items()}
        write_atomic(files)
        return [*files]
