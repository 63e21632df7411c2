"""realbench plan, export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from realbench.cli.guard import guarded
from realbench.errors import Exit
from realbench.text import printable, signed

if TYPE_CHECKING:
    from realbench.power import Design, PairPlan, Plan

Runs = Annotated[list[Path] | None, typer.Argument(metavar="[RUN]…", help="Run folders; default: the latest below runs/.")]


@guarded
def plan(
    detect: Annotated[float, typer.Option(metavar="D", help="The difference to show, in the metric's unit.")],
    run: Runs = None,
    metric: Annotated[str, typer.Option(metavar="NAME[:key=value]|SIGNATURE", help="Default: psnr, or the run's only one.")] = "",
    power: Annotated[float, typer.Option(help="How often the difference shall be found if it is there.")] = 0.8,
    level: Annotated[float, typer.Option(help="How often one may be found where there is none.")] = 0.05,
    row: Annotated[list[str] | None, typer.Option(metavar="LABEL", help="Compare these two rows alone; given twice.")] = None,
) -> Exit:
    """Say how many scenes, fits and seeds show a difference, from what this run's scores vary by."""
    from realbench import power as planning
    from realbench.results import latest_run, load_run

    results = load_run(*(run or [latest_run()]))
    found = planning.plan(results, detect, metric=metric, power=power, level=level, rows=row or ())
    _show(found)
    return Exit.DONE


@guarded
def export(
    run: Runs = None,
    best: Annotated[bool, typer.Option("--best", help="One fill a row and scene; without, every finished fill.")] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE.zip", help="Default: export.zip in the first run.")] = None,
    oracle: Annotated[str, typer.Option(metavar="METRIC", help="With --best: choose by this metric, which may read the truth.")] = "",
    by: Annotated[str, typer.Option(metavar="NAME[:key=value]|SIGNATURE", help="What chooses otherwise; default: the only matches.")] = "",
    unlicensed: Annotated[
        bool, typer.Option("--unlicensed", help="Put in references and truths whose licence is not known to allow it, too.")
    ] = False,
) -> Exit:
    """Write a zip for a paper's appendix: fills, scenes as far as their licences allow, tables, provenance."""
    from realbench.errors import UsageError
    from realbench.export import Choice
    from realbench.export import export as write
    from realbench.results import latest_run, load_run

    if oracle and (by or not best):
        raise UsageError("--oracle chooses the best fill: give it with --best, and without --by")
    runs = run or [latest_run()]
    path = out or runs[0] / "export.zip"
    for line in write(load_run(*runs), path, Choice(best, oracle, by, unlicensed)):
        typer.echo(printable(line))
    typer.echo(f"wrote {path}")
    return Exit.DONE


def _show(found: Plan) -> None:
    from realbench.cli.tables import show

    unit = f" {found.info.unit}" if found.info.unit else ""
    middle, most = f"in the middle of the {len(found.pairs)} pairs of rows", "the pair of rows that needs the most scenes"
    pairs = {middle: found.typical, most: found.hardest} if len(found.pairs) > 1 else {"the pair of rows": found.typical}
    what = f"a difference of {found.detect:g}{unit} in {found.info.title}, found {100 * found.power:g} % of the time"
    typer.echo(printable(f"{what} at the {100 * found.level:g} % level, paired by scene ({found.info.signature})"))
    for title, pair in pairs.items():
        typer.echo(
            printable(
                f"\n{title}: {pair.first} and {pair.second}, which differ by {signed(pair.mean, found.info.mean_digits)}{unit} "
                f"on the {pair.scenes} scenes of this run"
            )
        )
        typer.echo(printable(f"  standard deviation of the difference on a scene: {_parts(pair, found.info.mean_digits)}"))
        lines = [_line(design, pair, found.info.mean_digits, at == 0) for at, design in enumerate(pair.designs)]
        header = ["fits", "seeds", "scenes needed", "time of both", f"least that {pair.scenes} scenes show", ""]
        show(header, lines, right=range(5))
        for text in pair.unknown:
            typer.echo(printable(f"  unknown: {text}"))
    for text in (*found.skipped, *_caveats(found)):
        typer.echo(printable(f"note: {text}"))


def _parts(pair: PairPlan, digits: int) -> str:
    parts = {"scene × row": pair.scene, "fit": pair.fit, "seed": pair.seed}
    shown = ", ".join(f"{name} {variance**0.5:.{digits}f}" for name, variance in parts.items() if variance > 0)
    return shown or "0, the two rows differ by the same on every scene"


def _line(design: Design, pair: PairPlan, digits: int, own: bool) -> list[str]:
    scenes = "more than a million" if design.scenes is None else str(design.scenes)
    remark = f"as in this run; 95 % interval {_range(pair)}" if own else ""
    smallest = "none" if design.smallest == float("inf") else f"{design.smallest:.{digits}f}"
    return [str(design.fits), str(design.seeds), scenes, _time(design.seconds), smallest, remark]


def _range(pair: PairPlan) -> str:
    """The needed scenes with the variance at the ends of its interval."""
    low, high = (None if end is None else str(end) for end in pair.range)
    return f"{low} to {high or 'more than a million'}" if low else "more than a million"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _caveats(found: Plan) -> Iterator[str]:
    """What no run can tell."""
    if len(found.pairs) > 1:
        yield (
            f"for one comparison decided on beforehand; to hold for all {len(found.pairs)} pairs of rows at once give "
            f"--level {found.level / len(found.pairs):.2g}"
        )
    yield "scenes are taken to vary like this run's; other kinds of scenes may vary more or less"
