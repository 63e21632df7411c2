"""realbench run, score, status."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from realbench.cli.guard import guarded
from realbench.errors import Exit
from realbench.text import printable

if TYPE_CHECKING:
    from realbench.bench import Summary

Methods = Annotated[
    list[str] | None, typer.Option("--method", "-m", metavar="NAME[:PRESET][=LABEL]|all", help="A row of the table; repeatable.")
]
Metrics = Annotated[
    list[str] | None, typer.Option("--metric", metavar="NAME[:key=value,…]", help="A column; default: all without weights.")
]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="[NAME.]key=value", help="A method's setting; repeatable.")]
Workers = Annotated[
    int | None, typer.Option(min=1, max=256, help="Worker processes; default: 1, with `--runner ray` what the cluster has room for.")
]
Threads = Annotated[
    int | None, typer.Option(min=1, max=256, help="CPU threads of each worker; default: cores / workers, with `--runner ray` 1.")
]
Runner = Annotated[str, typer.Option(help="Where work executes: local or ray.")]
Address = Annotated[str | None, typer.Option(metavar="ADDR", help="ray: the cluster (`auto`, HOST:PORT); default: one started here.")]
Gpus = Annotated[float | None, typer.Option(metavar="N", help="ray: GPUs of a worker that runs on torch; default: 1.")]
Chunk = Annotated[int | None, typer.Option(min=1, metavar="N", help="ray: seeds of a fit that a worker fills at a time; default: 8.")]
Timeout = Annotated[float | None, typer.Option(min=0.1, metavar="S", help="Seconds any one fit, fill or metric may take.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps: for methods and metrics that run on torch.")]
Dtype = Annotated[str, typer.Option(help="Floating-point type for methods that run on torch; auto: theirs.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]


@guarded
def run(
    method: Methods = None,
    scenes: Annotated[str, typer.Option(metavar="PATH|demo", help="A suite's folder, or the embedded suite.")] = "demo",
    scene: Annotated[list[str] | None, typer.Option("--scene", metavar="ID", help="Only this scene; repeatable.")] = None,
    seeds: Annotated[str | None, typer.Option(metavar="N|A-B", help="How many seeds, or which; default: 1.")] = None,
    fits: Annotated[int, typer.Option(min=1, help="Repeats of the fit, for methods that adapt to a scene.")] = 1,
    metric: Metrics = None,
    set_: Settings = None,
    out: Annotated[Path | None, typer.Option(metavar="RUN", help="The run folder; default: runs/<suite's name>.")] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Only the I-th of N shares, in the folder OUT-shard-I-of-N; see `realbench merge`.")
    ] = None,
    runner: Runner = "local",
    workers: Workers = None,
    threads: Threads = None,
    timeout: Timeout = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    feather: Annotated[float | None, typer.Option(help="Blend outside the hole, in pixels for a shorter side of 512; default 4.")] = None,
    strict: Annotated[bool, typer.Option(help="Refuse scenes that come with warnings.")] = False,
    fail_fast: Annotated[bool, typer.Option(help="Stop at the first failed cell.")] = False,
    protocol: Annotated[
        str | None, typer.Option(metavar="paper", help="Methods, metrics and seeds of a paper; what is given beside it goes before.")
    ] = None,
    address: Address = None,
    gpus_per_fit: Gpus = None,
    fills_per_task: Chunk = None,
) -> Exit:
    """Run methods over scenes and score their fills. Run it again to resume: what is finished is kept."""
    from realbench import bench
    from realbench import protocol as protocols
    from realbench.cli.following import Request, follow
    from realbench.cli.screen import Screen
    from realbench.shard import parse_shard
    from realbench.suite import open_suite

    on = bench.Machine(runner, workers, threads, timeout, device, dtype, fail_fast, address, gpus_per_fit, fills_per_task)
    wanted = protocols.load(protocol) if protocol else None
    part = parse_shard(shard) if shard is not None else None
    if part:
        out = part.folder(out or Path("runs") / open_suite(scenes).name)
    asked = Request(method, metric, seeds, scenes, scene or (), set_ or (), fits, feather, out).completed(wanted)
    with Screen() as watch, follow(wanted, asked, watch):
        summary = bench.run(
            asked.methods or (),
            scenes=scenes,
            scene=asked.scene,
            metrics=asked.metrics,
            settings=asked.settings,
            seeds=asked.seeds or "1",
            fits=fits,
            out=out,
            feather=feather,
            strict=strict,
            shard=shard,
            on=on,
            watch=watch,
        )
    return close(summary, f"realbench merge, once the other shards of {part.count} are done" if part else "")


@guarded
def score(
    run: RunPath,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", metavar="NAME[:key=value,…]", help="A column; default: those the run has.")
    ] = None,
    runner: Runner = "local",
    workers: Workers = None,
    threads: Threads = None,
    timeout: Timeout = None,
    device: Device = "auto",
    address: Address = None,
    gpus_per_fit: Gpus = None,
) -> Exit:
    """Score the finished fills of a run again, or with further metrics; no fill is made."""
    from realbench import bench
    from realbench.cli.screen import Screen

    with Screen() as watch:
        on = bench.Machine(runner, workers, threads, timeout, device, address=address, gpus_per_fit=gpus_per_fit)
        summary = bench.score(run, metrics=metric, on=on, watch=watch)
    return close(summary)


@guarded
def status(
    run: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="A run folder; default: the latest below runs/.")] = None,
) -> Exit:
    """Count a run's cells and scores by state."""
    from rich.markup import escape

    from realbench.cli.tables import show
    from realbench.results import latest_run, load_run

    folder = run or latest_run()
    if run is None:
        typer.echo(printable(f"run: {folder}"))
    results = load_run(folder)
    cells, scores = results.cells(), results.scores()
    lines = []
    for label in results.rows:
        fills = Counter(cells.loc[cells["label"] == label, "state"])
        values = Counter(scores.loc[scores["label"] == label, "state"])
        lines.append([escape(label), *(_count(fills, state) for state in STATES), *(_count(values, state) for state in ("ok", "missing"))])
    show(["row", *STATES, "scores", "not scored"], lines, right=range(1, 9))
    refused = {name: info.refused for name, info in results.scenes.items() if info.refused}
    for name, reason in refused.items():
        typer.echo(printable(f"refused: scene {name}: {reason}"))
    states = Counter([*cells["state"], *scores["state"]])
    bad = states["failed"] or states["timeout"] or refused
    return Exit.FAILED_CELLS if bad else Exit.DONE if (scores["state"] == "ok").any() else Exit.NOTHING_MEASURED


STATES = ("ok", "failed", "timeout", "unsupported", "missing", "stale")


def _count(counts: Counter[str], state: str) -> str:
    return str(counts[state]) if counts[state] else "–"


def close(summary: Summary, then: str = "") -> Exit:
    """The last lines of a run: what was done, what was not, what to type next."""
    if summary.idle:
        typer.echo("no cell falls to this shard: there are more shards than cells")
    for what, counts in (("fills", summary.fills), ("scores", summary.scores)):
        words = ", ".join(f"{counts[state]} {state}" for state in STATES if counts.get(state))
        typer.echo(f"{what}: {words or 'none'}")
    if summary.refused:
        typer.echo(printable(f"refused scenes: {', '.join(summary.refused)} (see `realbench scenes check`)"))
    if summary.stopped:
        typer.echo("stopped at the first failure (--fail-fast); the same command goes on from here")
    typer.echo(f"run: {summary.folder}   next: {then or f'realbench report {summary.folder}'}")
    return summary.exit_code
