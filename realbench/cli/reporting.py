"""realbench report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from realbench.cli.guard import guarded
from realbench.errors import Exit
from realbench.text import printable


@guarded
def report(
    run: Annotated[list[Path] | None, typer.Argument(metavar="[RUN]…", help="Run folders; default: the latest below runs/.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="DIR", help="Where to write; default: <first run>/report.")] = None,
    keep: Annotated[
        str | None, typer.Option(metavar="P%", help="Count this share of each scene's seeds only, those with most matches.")
    ] = None,
    reduce: Annotated[
        str | None, typer.Option(metavar="mean|selected|oracle", help="Which seeds count; default: mean (all), selected with --keep.")
    ] = None,
    by: Annotated[
        str | None, typer.Option(metavar="NAME[:key=value]|SIGNATURE", help="What selects seeds; default: the run's only matches.")
    ] = None,
    protocol: Annotated[str | None, typer.Option(metavar="paper", help="Show a paper's table beside the measured one.")] = None,
) -> Exit:
    """Write the leaderboard (HTML, Markdown) and the scores (CSV, Parquet) of one or more runs."""
    from realbench import protocol as protocols
    from realbench import selection
    from realbench.report import write_reports
    from realbench.results import latest_run, load_run
    from realbench.tables import tables

    name = protocols.load(protocol).name if protocol else ""
    runs = run or [latest_run()]
    loaded = load_run(*runs)
    results = replace(loaded, policy=selection.policy(reduce, keep, by, loaded.columns), protocol=name)
    if results.policy.reducer != "mean":
        found = tables(results)
        typer.echo(printable(f"seeds: {found.policy}"))
        for text in found.notes:
            typer.echo(printable(f"note: {text}"))
    for path in write_reports(results, out or runs[0] / "report"):
        typer.echo(f"wrote {path}")
    measured = (results.scores()["state"] == "ok").any()
    return Exit.DONE if measured else Exit.NOTHING_MEASURED
