"""What a report is: it writes files from results. Reports live in the folder reports/."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from realbench import registry
from realbench.errors import UsageError

if TYPE_CHECKING:
    from realbench.results import Results


@dataclass(frozen=True)
class ReportCard:
    """What `realbench report --help` says of a report."""

    id: str
    summary: str
    on_request: bool = False
    """Written only where it is named."""
    needs: str = ""
    """What it takes beside a run, or the command that writes it instead; empty: nothing."""


class Report(Protocol):
    """The interface of every report."""

    card: ClassVar[ReportCard]

    def write(self, results: Results, folder: Path) -> list[Path]:
        """Write files into an existing folder; returns them, the one to open first."""


@runtime_checkable
class Begins(Protocol):
    """A report that can begin its work in a second process (realbench.aside) while those before it are written."""

    def begin(self, results: Results) -> None:
        """Begin; may be called more than once. Raises nothing that `write` would not."""


def begin(results: Results, reports: Sequence[str]) -> None:
    """Begin what the named reports can make beside others."""
    for name in reports:
        report = registry.load("reports", name)()
        if isinstance(report, Begins):
            report.begin(results)


def write_reports(results: Results, folder: str | Path, reports: Sequence[str] | None = None) -> list[Path]:
    """Write reports (all that are installed but those on request, or the named ones) of results into a folder, made where it is missing."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: expected a folder to write to ({error.strerror}); give another -o") from error
    names = standard() if reports is None else reports
    begin(results, names)
    try:
        return [path for name in names for path in registry.load("reports", name)().write(results, folder)]
    except OSError as error:
        raise UsageError(f"{folder}: a report cannot be written there ({error.strerror or error}); make room or give another -o") from error


def standard() -> list[str]:
    """The reports that are written where none is named."""
    return [name for name in registry.names("reports") if not registry.load("reports", name).card.on_request]
