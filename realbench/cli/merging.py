"""realbench merge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from realbench.cli.guard import guarded
from realbench.errors import Exit
from realbench.text import printable


@guarded
def merge(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Run folders, such as those of the shards of one plan.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="RUN", help="The run folder to merge into, new or not.")],
    mixed_fits: Annotated[
        bool, typer.Option("--mixed-fits", help="Keep one of two different fits of one number, and the seeds of both.")
    ] = False,
) -> Exit:
    """Bring the valid cells of several runs, with their scores, into one run. Runs that contradict each other are refused."""
    from realbench.cli.running import STATES
    from realbench.cli.screen import Screen
    from realbench.merge import merge_runs

    with Screen() as watch:
        merged = merge_runs(runs, out, mixed_fits=mixed_fits, watch=watch)
    for folder in merged.corrupt:
        typer.echo(printable(f"corrupt: {folder}: its files are not what its record vouches for; not merged, so run that run again"))
    for text in merged.absent:
        typer.echo(f"not whole: {text}; their cells are not asked for in {merged.folder}")
    words = ", ".join(f"{merged.cells[state]} {state}" for state in STATES if merged.cells.get(state))
    typer.echo(f"fills: {words or 'none'}; {merged.carried} of them came in now")
    typer.echo(f"run: {merged.folder}   next: realbench report {merged.folder}")
    return merged.exit_code
