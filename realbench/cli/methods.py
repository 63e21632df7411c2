"""realbench methods: list them, show a card, check one, begin one."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from realbench.cli import cards
from realbench.cli.guard import guarded
from realbench.cli.running import Device, Dtype, Settings
from realbench.errors import Exit
from realbench.text import printable


class _ShowByDefault(TyperGroup):
    """`realbench methods [NAME]` means `realbench methods show [NAME]`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `show` before a first word that is no command."""
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["show", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ShowByDefault,
    help="List the methods; show a card (`realbench methods NAME`); check a method; begin one of your own.",
    rich_markup_mode=None,
)
app.command("show")(cards.methods)


@app.command()
@guarded
def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A method.")],
    preset: Annotated[str | None, typer.Option(help="One of its presets; default: the card's.")] = None,
    set_: Settings = None,
    scenes: Annotated[str | None, typer.Option(metavar="PATH|demo", help="A suite; default: a made-up scene of 96 × 64 pixels.")] = None,
    scene: Annotated[str | None, typer.Option(metavar="ID", help="The suite's scene to check on; default: its first.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="S", help="Seconds that any one fit or fill may take.")] = 600.0,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> Exit:
    """Check that a method keeps what a run relies on: card, settings, fills that depend on scene, fit and seed alone.

    Ends with 3 where something fails, 6 where weights are missing, 5 where nothing could be filled.
    """
    from realbench import conformance

    found = []
    for one in conformance.findings(name, preset, set_ or (), _conditions(scenes, scene, device, dtype, timeout)):
        found.append(one)
        typer.echo(printable(f"{one.state:<12} {one.check:<20} {' '.join(one.message.split())}"))
    counts = Counter(one.state for one in found)
    typer.echo(f"{name}: {', '.join(f'{counts[state]} {state}' for state in ('ok', 'failed', 'not checked') if counts[state])}")
    return conformance.exit_code(found)


def _conditions(scenes: str | None, scene: str | None, device: str, dtype: str, timeout: float) -> Any:
    from realbench import bench, conformance
    from realbench.conformance_scenes import first
    from realbench.suite import open_suite

    bench.Machine(device=device, dtype=dtype)  # says what no machine can be
    shown = first()
    if scenes or scene:
        suite = open_suite(scenes or "demo")
        shown = suite.load(scene or suite.ids[0])
    return conformance.Conditions(shown, device, dtype, 1, timeout)


@app.command()
@guarded
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The method's name: small letters, digits, single hyphens.")],
    isolated: Annotated[bool, typer.Option("--isolated", help="A script in an environment of its own, with a method.toml.")] = False,
    into: Annotated[Path | None, typer.Option(metavar="DIR", help="The package's folder, new or empty; default: realbench-NAME.")] = None,
) -> Exit:
    """Write the package of a method, with its test. It fills something at once; nothing is overwritten."""
    from realbench import scaffold

    folder = scaffold.new(name, into, isolated=isolated)
    place = printable(shlex.quote(str(folder)))
    typer.echo(f"written: {place}   next: pip install -e {place} && realbench methods check {name} && pytest {place}")
    return Exit.DONE
