"""realbench weights: which models this machine has, and getting them."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from realbench.cli.guard import guarded
from realbench.errors import Exit


class _ListByDefault(TyperGroup):
    """`realbench weights` means `realbench weights list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `list` where no command is named."""
        return super().parse_args(ctx, args or ["list"])


app = typer.Typer(cls=_ListByDefault, help="List the models that methods and metrics load, and get them.", rich_markup_mode=None)


@app.command("list")
@guarded
def list_() -> Exit:
    """List all weights: what this machine has of them and where, size, licence, who uses them. `realbench weights` does the same."""
    from rich.markup import escape

    from realbench.cli.tables import show
    from realbench.weights import catalogue, described, status

    entries, broken = catalogue()
    lines = []
    for entry in entries:
        wanted, found = entry.weights, status(entry.weights)
        size = _size(found.size) if found.state == "present" else wanted.size
        where = f"{found.origin} {found.path}" if found.path else described(wanted)
        commit = found.commit[:12] or ("not recorded" if found.state == "present" else "")
        licence = f"{wanted.licence}{' (gated)' if wanted.gated else ''}"
        note = f": {found.note}" if found.note else ""
        texts = [wanted.name, f"{found.state}{note}", commit, size, licence, ", ".join(entry.used_by), where]
        lines.append([escape(text) for text in texts])
    if lines:
        show(["weights", "state", "commit", "size", "licence", "used by", "where"], lines, right=(3,))
    missing = sum(not line[1].startswith("present") for line in lines)
    typer.echo(
        f"{len(lines)} weights: {len(lines) - missing} present, {missing} not{'; realbench weights pull NAME gets them' if missing else ''}"
    )
    for text in broken:
        typer.echo(f"({text})", err=True)
    return Exit.DONE


def _size(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


@app.command()
@guarded
def pull(
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="Names from the list, hub ids (owner/name), or `all`.")],
) -> Exit:
    """Download weights, or what is lacking of them, and verify them. Ends with 6 when some cannot be had; run it again to resume."""
    from realbench import weights
    from realbench.errors import WeightsMissing

    code = Exit.DONE
    for wanted in weights.named(names):
        before = weights.status(wanted).state
        if before != "present":
            typer.echo(f"{wanted.name}: getting {weights.described(wanted)}{f', {wanted.size}' if wanted.size else ''}", err=True)
        try:
            found = weights.pull(wanted)
        except WeightsMissing as error:
            typer.echo(f"error: {error}", err=True)
            code = Exit.WEIGHTS_MISSING
            continue
        kind = "here already" if before == "present" else "complete"
        typer.echo(f"{wanted.name}: {kind} ({found.origin}, {found.revision}): {found.path}")
    return code
