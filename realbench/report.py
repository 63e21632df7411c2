"""What a report is: it writes files from results. Reports live in the folder reports/."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from realbench.results import Results


@dataclass(frozen=True)
class ReportCard:
    """What `realbench report --help` says of a report."""

    id: str
    summary: str


class Report(Protocol):
    """The interface of every report."""

    card: ClassVar[ReportCard]

    def write(self, results: Results, folder: Path) -> list[Path]:
        """Write files into an existing folder; returns them, the one to open first."""
