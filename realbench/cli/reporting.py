"""realbench report."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer
from typer.core import TyperCommand

from realbench import registry
from realbench.cli.guard import guarded
from realbench.errors import Exit, RealbenchError, UsageError
from realbench.text import printable

if TYPE_CHECKING:
    from realbench.results import Results

P = ParamSpec("P")


def _uncollected(command: Callable[P, Exit]) -> Callable[P, Exit]:
    """Without garbage collection: nearly all that a report makes is kept; with 200,000 scores that saves a fifth of the time."""

    @wraps(command)
    def wrapper(*words: P.args, **named: P.kwargs) -> Exit:
        before = gc.isenabled()
        gc.disable()
        try:
            return command(*words, **named)
        finally:
            if before:
                gc.enable()

    return wrapper


class WithFormats(TyperCommand):
    """The command, whose help ends with the reports that are installed and what each needs."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Formats by name: those that are written without being named, then the others."""
        lines: dict[bool, list[tuple[str, str]]] = {False: [], True: []}
        for name in registry.names("reports"):
            try:
                card = registry.load("reports", name).card
            except RealbenchError as error:  # one broken plug-in, and still a help
                lines[True].append((name, str(error)))
            else:
                lines[card.on_request].append((name, card.summary + (f"; needs {card.needs}" if card.needs else "")))
        for title, found in (
            ("Formats written where none is named", lines[False]),
            ("Formats written only where they are named", lines[True]),
        ):
            with formatter.section(title):
                formatter.write_dl(found)


@guarded
@_uncollected
def report(
    run: Annotated[list[Path] | None, typer.Argument(metavar="[RUN]…", help="Run folders; default: the latest below runs/.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="DIR", help="Where to write; default: <first run>/report.")] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", metavar="NAME", help="Write this report alone (repeat for several); which there are stands below."),
    ] = None,
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
    single_file: Annotated[
        bool, typer.Option("--single-file", help="Also write the page as one file to send, with a bounded gallery.")
    ] = False,
    blind: Annotated[
        bool, typer.Option("--blind", help="Also write a page on which people judge pairs without knowing whose they are.")
    ] = False,
    blind_pairs: Annotated[int, typer.Option(metavar="N", min=1, help="Most pairs on the blind page.")] = 60,
    blind_seed: Annotated[int, typer.Option(metavar="N", help="Another one gives another order and other sides.")] = 0,
    blind_oracles: Annotated[bool, typer.Option("--blind-oracles", help="Rows that read the ground truth take part.")] = False,
    votes: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Count these votes from blind pages (repeat for several files).")
    ] = None,
) -> Exit:
    """Write the leaderboard (HTML, Markdown, LaTeX) and the scores (CSV, Parquet) of one or more runs."""
    from realbench import protocol as protocols
    from realbench import selection
    from realbench.report import begin, standard, write_reports
    from realbench.results import latest_run, load_run
    from realbench.votes import BlindOptions, tally

    chosen = protocols.load(protocol).name if protocol else ""
    runs = run or [latest_run()]
    loaded = load_run(*runs)
    policy = selection.policy(reduce, keep, by, loaded.columns)
    options = BlindOptions(blind_pairs, blind_seed, blind_oracles)
    results = replace(loaded, policy=policy, protocol=chosen, votes=tuple(votes or ()), blind=options)
    _tell(results)
    wanted = [*(formats or standard()), *(["single-file"] if single_file else []), *(["blind"] if blind else [])]
    folder = out or runs[0] / "report"
    if votes and not {"html", "markdown"} & {*wanted}:
        raise UsageError("--votes: expected the format html or markdown beside it, which show them")
    tally(results)  # before anything is written: a broken file of votes is the user's to mend
    begin(results, wanted)
    for name in dict.fromkeys(wanted):
        for path in write_reports(results, folder, [name]):
            if folder not in path.parent.parents:  # A site's further pages and pictures are not worth a line each.
                typer.echo(f"wrote {path}")
    measured = (results.scores()["state"] == "ok").any()
    return Exit.DONE if measured else Exit.NOTHING_MEASURED


def _tell(results: Results) -> None:
    """Which seeds count, where that is not all of them."""
    from realbench.tables import tables

    if results.policy.reducer != "mean":
        found = tables(results)
        typer.echo(printable(f"seeds: {found.policy}"))
        for text in found.notes:
            typer.echo(printable(f"note: {text}"))
