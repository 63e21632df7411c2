"""The commands, gathered."""

from __future__ import annotations

import typer

from realbench import __version__
from realbench.cli import analysis, cards, gating, history, merging, methods, reporting, running, scenes, sweeping, weights

app = typer.Typer(
    name="realbench",
    help="A benchmark suite for reference-driven image completion: methods in, comparison table out.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 regression, 2 usage, 3 failed cells, 4 no baseline, 5 nothing measured, 6 weights missing, "
    "130 interrupted.",
)
app.command()(running.run)
app.command()(running.score)
app.command()(running.status)
app.command()(merging.merge)
app.command(cls=reporting.WithFormats)(reporting.report)
app.command()(gating.accept)
app.command()(gating.check)
app.command()(gating.calibrate)
app.command()(history.history)
app.command()(analysis.plan)
app.command()(analysis.export)
app.command()(sweeping.sweep)
app.command()(sweeping.transfer)
app.command()(cards.metrics)
app.add_typer(methods.app, name="methods")
app.add_typer(scenes.app, name="scenes")
app.add_typer(weights.app, name="weights")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"realbench {__version__}")
        raise typer.Exit


@app.callback()
def top(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version and exit.")) -> None:
    """A benchmark suite for reference-driven image completion: methods in, comparison table out."""
