"""realbench history."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from realbench.cli.guard import guarded
from realbench.errors import Exit, UsageError
from realbench.text import number, printable, signed

if TYPE_CHECKING:
    from realbench.history import Entry, History, Series
    from realbench.points import Point

BASELINE = Path("baseline.json")


@guarded
def history(
    run: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUN]…", help="Run folders, and baseline files that `realbench accept` wrote.")
    ] = None,
    baseline: Annotated[Path | None, typer.Option("--baseline", "-b", metavar="FILE", help="A baseline file too.")] = None,
    git: Annotated[
        bool,
        typer.Option("--git", help="All versions of the baseline file in git; default: baseline.json. Commits are those that changed it."),
    ] = False,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", metavar="NAME[:key=value]|SIGNATURE", help="This metric alone (repeat for several).")
    ] = None,
    row: Annotated[list[str] | None, typer.Option("--row", metavar="LABEL", help="This row alone (repeat for several).")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="Write history.md, history.csv and history-<metric>.svg there.")
    ] = None,
) -> Exit:
    """Show each metric over commits, and where it changed its level."""
    from realbench import history as histories
    from realbench.report import write_reports
    from realbench.results import Results

    points, notes = _points(run or (), baseline or (BASELINE if git else None), git)
    found = histories.history(points, metrics=metric or (), rows=row or (), notes=notes)
    for series in found.series:
        _show(series)
    for text in _told(found):
        typer.echo(printable(text))
    if out is not None:
        for path in write_reports(Results((), history=found), out, ["history"]):
            typer.echo(printable(f"wrote {path}"))
    measured = any(entry.mean is not None for series in found.series for entry in series.entries)
    return Exit.DONE if measured else Exit.NOTHING_MEASURED


def _points(runs: Sequence[Path], baseline: Path | None, git: bool) -> tuple[list[Point], list[str]]:
    """What was given, each once, and what to tell the user of it."""
    from realbench import points

    if not runs and baseline is None:
        raise UsageError("nothing to show: give run folders (`realbench history runs/*`), baseline files, or --git")
    once = {path.resolve(): path for path in runs}
    found = [points.of_path(path) for path in once.values()]
    if baseline is not None and not git and baseline.resolve() not in once:
        found.append(points.of_file(baseline))
    older, notes = points.of_git(baseline) if baseline is not None and git else ([], [])
    return [*older, *found], notes


def _show(series: Series) -> None:
    from realbench.cli.tables import show

    title = f"{series.label}: {series.metric.title}" + (f" ({series.metric.unit})" if series.metric.unit else "")
    count = len(series.scenes)
    typer.echo(printable(f"{title}, {series.metric.direction} is better, {count} scene{'' if count == 1 else 's'}   {series.signature}"))
    show(["commit", "date", "run", "mean", "95 %", "change", ""], (_line(series, entry) for entry in series.entries), right=range(3, 6))
    for scene, reason in series.left_out.items():
        typer.echo(printable(f"left out: scene {scene}: {reason}"))
    if series.note:
        typer.echo(printable(f"note: {series.note}"))
    typer.echo("")


def _line(series: Series, entry: Entry) -> list[str]:
    from rich.markup import escape

    point, digits = entry.point, series.digits
    mean = "–" if entry.mean is None else number(entry.mean, digits)
    span = "–" if entry.interval is None else " to ".join(number(end, digits) for end in entry.interval)
    change = "–" if entry.change is None else signed(entry.change, digits)
    return [escape(point.title) if point.commit else "–", point.day, escape(point.name), mean, span, change, escape(series.words(entry))]


def _told(found: History) -> list[str]:
    """What the tables do not say."""
    steps = [f"{series.label}: {series.metric.title}: {series.words(entry)}" for series in found.series for entry in series.steps]
    notes = [f"note: {text}" for text in found.notes]
    return [*steps, *notes, *([f"note: {found.chance}"] if found.chance else [])]
