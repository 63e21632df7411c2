"""realbench scenes: list a suite, examine it, import the released archive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from realbench.cli.guard import guarded
from realbench.errors import Exit
from realbench.text import printable


class _ListByDefault(TyperGroup):
    """`realbench scenes PATH` means `realbench scenes list PATH`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `list` before a first word that is no command."""
        if args and args[0] not in self.commands and args[0] not in ("--help",):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_ListByDefault, help="List, examine and import suites of scenes.", rich_markup_mode=None, no_args_is_help=True)
Suite = Annotated[str, typer.Argument(metavar="PATH|demo", help="A suite's folder, or the embedded suite.")]


@app.command("list")
@guarded
def list_(path: Suite) -> Exit:
    """List a suite: size, references, hole, ground truth of each scene. `realbench scenes PATH` does the same."""
    from rich.markup import escape

    from realbench.cli.tables import show
    from realbench.errors import SceneError
    from realbench.suite import open_suite
    from realbench.survey import describe

    suite = open_suite(path)
    lines, broken = [], []
    for name in suite.ids:
        try:
            info = describe(suite.load(name))
        except SceneError as error:
            broken.append(name)
            lines.append([escape(name), "broken", "", "", "", "", escape(str(error))])
            continue
        size, truth = f"{info.size[0]} × {info.size[1]}", "yes" if info.truth else "no"
        lines.append([escape(name), size, str(info.references), info.hole_kind, f"{info.hole_share:.1%}", truth, escape(info.title or "")])
    show(["scene", "size", "references", "hole", "share", "truth", "title"], lines, right=(2, 4))
    for name in suite.ignored:
        typer.echo(f"no scene (neither target/ nor ref/ in it): {printable(name)}")
    return Exit.FAILED_CELLS if broken else Exit.DONE


@app.command()
@guarded
def check(path: Suite, strict: Annotated[bool, typer.Option(help="Treat warnings as errors.")] = False) -> Exit:
    """Examine every scene of a suite: a table of what is wrong and how to mend it. Ends with 3 when a scene would be refused."""
    from rich.markup import escape

    from realbench.cli.tables import show
    from realbench.doctor import examine
    from realbench.suite import open_suite

    suite = open_suite(path)
    findings = [finding for _, found in examine(suite) for finding in found]
    if findings:
        show(
            ["scene", "level", "found", "mend"],
            [[escape(one.scene), one.level, escape(one.message), escape(one.mend)] for one in findings],
        )
    refused = {one.scene for one in findings if strict or one.level == "error"}
    typer.echo(f"{len(suite.ids)} scenes: {len(suite.ids) - len(refused)} can be run, {len(refused)} would be refused")
    return Exit.FAILED_CELLS if refused else Exit.DONE


@app.command("import")
@guarded
def import_(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="The released zip file.")],
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="Where to unpack it.")],
) -> Exit:
    """Unpack a released archive safely and examine what was in it. Run it again to resume."""
    from realbench.archive import import_archive
    from realbench.cli.screen import Screen

    with Screen() as watch:
        watch.begin("unpacking, %", 100)
        shown = 0

        def progress(done: float, total: float, text: str) -> None:
            nonlocal shown
            share = int(100 * done / total) if total else 100
            watch.step(text, share - shown)
            shown = share

        suite = import_archive(archive, destination, progress=progress)
    typer.echo(f"unpacked: {suite}   next: realbench run --method telea --scenes {suite}")
    check(str(suite))
    return Exit.DONE
