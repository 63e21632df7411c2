"""realbench accept, check, calibrate."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from realbench.cli.guard import guarded, unheard
from realbench.cli.running import Device, Dtype, Methods, Settings, Threads, Timeout, Workers, close
from realbench.errors import Exit, UsageError
from realbench.text import number, p_value, printable, signed, typed

if TYPE_CHECKING:
    from realbench.baseline import Baseline
    from realbench.bench import Summary
    from realbench.gate import Change, Judgement
    from realbench.rerun import Rerun
    from realbench.results import Results
    from realbench.store import Cell

Runs = Annotated[list[Path] | None, typer.Argument(metavar="[RUN]…", help="Run folders; default: the latest below runs/.")]
BaselinePath = Annotated[Path, typer.Option("--baseline", "-b", metavar="FILE", help="What `realbench accept` wrote.")]
Scenes = Annotated[str, typer.Option(metavar="PATH|demo", help="The suite, where --method runs first.")]
OnlyScenes = Annotated[list[str] | None, typer.Option("--scene", metavar="ID", help="Only this scene of the suite; repeatable.")]
Out = Annotated[Path | None, typer.Option(metavar="RUN", help="The run folder, where --method runs first; default: a new one below runs/.")]
Fits = Annotated[
    int | None, typer.Option(min=1, help="Where --method runs first: repeats of the fit; default: the baseline's (calibrate: 8).")
]
Seeds = Annotated[str | None, typer.Option(metavar="N|A-B", help="Where --method runs first: seeds; default: the baseline's.")]
BASELINE = Path("baseline.json")
CANDIDATE = "candidate.json"
CHECK = "check"
"""The folder in a run's own that holds the outcome of its check."""
MOST_BYTES = 2**24
"""A larger check.json is not read."""
ADVICE = {"gain": "to keep the gain", "drop": "if the drop is meant"}
SUMMARY = "GITHUB_STEP_SUMMARY"
"""Names the file that GitHub shows on a job's page."""


@guarded
def accept(
    run: Runs = None,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The baseline to write.")] = BASELINE,
    replace_: Annotated[bool, typer.Option("--replace", help="Keep nothing of an older baseline: no row, no calibration.")] = False,
) -> Exit:
    """Accept a run's scores as the baseline that later runs are checked against."""
    from realbench import baseline as baselines
    from realbench.results import latest_run, load_run
    from realbench.succession import succeed

    runs = run or [latest_run()]
    results = load_run(*runs)
    typer.echo(printable(f"accepting {', '.join(map(str, runs))}"))
    made = baselines.accept(results)
    if out.exists() and not replace_:
        made, kept = succeed(baselines.read(out), made, out)
        for line in kept:
            typer.echo(printable(line))
    for said in filter(None, map(_failed_before, runs)):
        typer.echo(printable(f"note: {said}"))
    for label, row in made.rows.items():
        repeats = row.fits if row.varies == "fits" else row.seeds
        if row.varies != "nothing" and len(repeats) < 2 and label not in made.noise:
            what = f"one {row.varies.removesuffix('s')} a scene"
            typer.echo(
                printable(f"note: {label} has {what}, so a check can hardly tell a drop from chance; calibrate, or accept two or more")
            )
    baselines.write(made, out)
    cells = sum(
        len(seeds) for row in made.scores.values() for scenes in row.values() for fits in scenes.values() for seeds in fits.values()
    )
    typer.echo(printable(f"accepted: {len(made.rows)} rows, {len(made.metrics)} metrics, {len(made.scenes)} scenes, {cells} scores"))
    typer.echo(printable(f"wrote {out}   next: realbench check --baseline {typed(out)}"))
    return Exit.DONE


@guarded
def check(
    run: Runs = None,
    baseline: BaselinePath = BASELINE,
    method: Methods = None,
    set_: Settings = None,
    scenes: Scenes = "demo",
    scene: OnlyScenes = None,
    fits: Fits = None,
    seeds: Seeds = None,
    out: Out = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Tolerances; default: realbench.toml, where there is one.")] = None,
    row: Annotated[list[str] | None, typer.Option(metavar="LABEL", help="Check this row of the baseline alone; repeatable.")] = None,
    strict: Annotated[bool, typer.Option(help="Another class of device (cpu, cuda, mps) is not comparable.")] = False,
    baseline_run: Annotated[list[Path] | None, typer.Option(metavar="RUN", help="The run that was accepted, to show its fills.")] = None,
    to: Annotated[Path | None, typer.Option("-o", metavar="DIR", help="Where the outputs go; default: <first run>/check.")] = None,
    workers: Workers = None,
    threads: Threads = None,
    timeout: Timeout = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> Exit:
    """Compare a run with a baseline: 0 where fill quality holds, 1 where it dropped. With --method, run first."""
    from realbench import bench, gate
    from realbench.rerun import Rerun
    from realbench.results import load_run
    from realbench.tolerance import rules

    judged_by = rules(config)
    held = _baseline(baseline)
    if held is None:
        typer.echo(printable(f"no baseline at {baseline}: what is measured becomes a candidate for one"), err=True)
    on = bench.Machine("local", workers, threads, timeout, device, dtype)
    asked = Rerun(method or (), set_ or (), scenes, scene or (), fits, seeds, on)
    runs, ended = _runs(asked, run, held, out)
    results = load_run(*runs)
    if held is None:
        return _candidate(results, runs[0], baseline)
    labels = [label for label in asked.labels if not row or label in row] or row or ()
    failed = ended is Exit.FAILED_CELLS
    judgement = gate.judge(held, results, judged_by, labels=labels, strict=strict, failed=failed, path=baseline)
    before = load_run(*baseline_run) if baseline_run else None
    folder = to or runs[0] / CHECK
    with unheard():
        _show(judgement)
        _report(results.judged(judgement, before), folder)
        typer.echo(printable(judgement.headline))
        _advise(judgement)
    lacking = ended is Exit.WEIGHTS_MISSING and judgement.exit_code is Exit.FAILED_CELLS
    return Exit.WEIGHTS_MISSING if lacking else judgement.exit_code


def _report(results: Results, folder: Path) -> None:
    """The outputs. Whatever goes wrong with them is told, leaves none of an earlier check, and changes no verdict."""
    from realbench.gate import FILES
    from realbench.report import write_reports

    try:
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        for path in write_reports(results, folder, ["regression"]):
            if path.parent == folder:
                typer.echo(f"wrote {path}")
        _summarise(folder)
    except BrokenPipeError:
        raise
    except Exception as error:
        typer.echo(printable(f"warning: {type(error).__name__}: {error}; the verdict stands"), err=True)


@guarded
def calibrate(
    run: Runs = None,
    baseline: BaselinePath = BASELINE,
    method: Methods = None,
    set_: Settings = None,
    scenes: Scenes = "demo",
    scene: OnlyScenes = None,
    fits: Fits = None,
    seeds: Seeds = None,
    out: Out = None,
    workers: Workers = None,
    threads: Threads = None,
    timeout: Timeout = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> Exit:
    """Measure how much unchanged code's scores vary between fits and seeds, and keep that in the baseline."""
    from realbench import baseline as baselines
    from realbench import bench, calibration
    from realbench.rerun import Rerun
    from realbench.results import load_run

    held = baselines.read(baseline)
    on = bench.Machine("local", workers, threads, timeout, device, dtype)
    asked = Rerun(method or (), set_ or (), scenes, scene or (), fits, seeds, on)
    if method:
        asked.refuse(held)
        fits, seeds = calibration.wanted(held, asked.labels, seeds, fits)
    runs, ended = _runs(replace(asked, fits=fits, seeds=seeds), run, held, out)
    made, told = calibration.calibrate(held, load_run(*runs), asked.labels)
    for line in told:
        typer.echo(printable(f"note: {line}"))
    baselines.write(made, baseline)
    typer.echo(printable(f"calibrated: {', '.join(made.noise)}"))
    typer.echo(f"wrote {baseline}")
    return ended if ended is Exit.FAILED_CELLS else Exit.DONE


def _runs(asked: Rerun, given: Sequence[Path] | None, held: Baseline | None, out: Path | None) -> tuple[list[Path], Exit]:
    """The run folders to look at, and how the run ended where --method asks for one."""
    from realbench.cli.screen import Screen
    from realbench.results import latest_run

    if given and asked.methods:
        raise UsageError("give a RUN to look at, or --method to run first, not both")
    if not asked.methods:
        return list(given or [latest_run()]), Exit.DONE
    # A new folder: cells of an earlier check may have been made by a harness that changed since.
    folder = out or Path("runs") / f"check-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    before = _done(folder)
    with Screen() as watch:
        summary = asked.run(held, folder, watch)
    _refuse_nothing_new(summary, before)
    return [summary.folder], close(summary)


def _done(folder: Path) -> frozenset[tuple[Cell, str]]:
    """Finished cells of a run folder, each with the hash of what it was made of; none where there is no run."""
    from realbench.store import MANIFEST, RunFolder, finished

    run = RunFolder(folder)
    if not (folder / MANIFEST).exists():
        return frozenset()
    return frozenset((cell, record.inputs) for cell, record in finished(run, run.read_manifest()))


def _refuse_nothing_new(summary: Summary, before: frozenset[tuple[Cell, str]]) -> None:
    """Raises UsageError where a run that ended well made no fill: what it holds is an earlier code's."""
    if before and summary.exit_code is Exit.DONE and _done(summary.folder) == before:
        raise UsageError(
            f"{summary.folder}: every fill was there already, so nothing of this code was measured; give another --out, or judge it as it "
            f"is: realbench check {typed(summary.folder)}"
        )


def _failed_before(run: Path) -> str:
    """What an earlier check in a run's folder found, where that was no pass; empty where nobody knows of one."""
    path = run / CHECK / "check.json"
    try:
        if path.stat().st_size > MOST_BYTES:
            return ""
        found = json.loads(path.read_bytes())
        code, headline = found["exit_code"], found["headline"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return ""
    return f"the check of {run} ended with {code} ({headline}); accepting it makes that the baseline" if code else ""


def _baseline(path: Path) -> Baseline | None:
    """The baseline; None where there is none, which is said once there is a run to make one of."""
    from realbench.baseline import BaselineError, read

    with suppress(BaselineError):
        return read(path)
    return None


def _candidate(results: Results, run: Path, missing: Path) -> Exit:
    from realbench import baseline as baselines
    from realbench.gate import accepting

    path = run / CANDIDATE
    baselines.write(baselines.accept(results), path)
    typer.echo(printable(f"wrote {path}: what this run measured. To accept it: {accepting([run], missing)}"))
    return Exit.NO_BASELINE


def _show(judgement: Judgement) -> None:
    from realbench.cli.tables import show

    for text in judgement.mismatches:
        typer.echo(printable(f"not comparable: {text}"))
    for text in judgement.warnings:
        typer.echo(printable(f"warning: {text}"))
    for item in judgement.differences:
        typer.echo(printable(f"changed: {f'{item.label}: ' if item.label else ''}{item.what}: {item.before} → {item.after}"))
    if judgement.changes:
        header = ["row", "metric", "scenes", "baseline", "now", "change", "noise", "p", "verdict"]
        show(header, map(_line, _worth(judgement)), right=range(3, 8))


def _worth(judgement: Judgement) -> Iterator[Change]:
    """The lines of the terminal's table: all means, and the scenes that stand out."""
    for change in judgement.changes:
        if not change.scene or change.verdict in ("worse", "better", "lost"):
            yield change


def _line(change: Change) -> list[str]:
    from rich.markup import escape

    digits = change.digits
    noise = "–" if change.deviation is None else f"±{change.deviation:.{digits}f}"
    values = ["–" if value is None else number(value, digits) for value in (change.before, change.after)]
    difference = "–" if change.difference is None else signed(change.difference, digits)
    p = "–" if change.adjusted is None else p_value(change.adjusted)
    where = escape(change.scene) if change.scene else "all"
    return [escape(change.label), escape(change.metric.title), where, *values, difference, noise, p, change.verdict]


def _summarise(folder: Path) -> None:
    """Append the Markdown to the job's page on GitHub; trouble with that is told and changes nothing."""
    target = os.environ.get(SUMMARY)
    if not target:
        return
    try:
        with Path(target).open("a", encoding="utf-8") as file:
            file.write((folder / "check.md").read_text(encoding="utf-8"))
    except (OSError, UnicodeError) as error:
        typer.echo(printable(f"warning: {SUMMARY}={target} cannot be written ({error}); the verdict stands"), err=True)


def _advise(judgement: Judgement) -> None:
    """What to type next."""
    if judgement.advice:
        typer.echo(printable(f"{ADVICE[judgement.advice]}: {judgement.accepting}"))
