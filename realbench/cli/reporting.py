"""realbench report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from realbench.cli.guard import guarded
from realbench.errors import Exit


@guarded
def report(
    run: Annotated[list[Path] | None, typer.Argument(metavar="[RUN]…", help="Run folders; default: the latest below runs/.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="DIR", help="Where to write; default: <first run>/report.")] = None,
) -> Exit:
    """Write the leaderboard (HTML, Markdown) and the scores (CSV, Parquet) of one or more runs."""
    from realbench.report import write_reports
    from realbench.results import latest_run, load_run

    runs = run or [latest_run()]
    results = load_run(*runs)
    for path in write_reports(results, out or runs[0] / "report"):
        typer.echo(f"wrote {path}")
    measured = (results.scores()["state"] == "ok").any()
    return Exit.DONE if measured else Exit.NOTHING_MEASURED
