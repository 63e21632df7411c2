"""realbench sweep, transfer: a small grid of settings into one table; a fitted model on another image."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from realbench.cli.guard import guarded
from realbench.cli.running import Device, Dtype, Metrics, RunPath, Settings, Threads, Timeout, Workers, close
from realbench.errors import Exit, UsageError
from realbench.specs import LABEL

MAX_ROWS = 256


def grid(method: str, over: list[str]) -> tuple[list[str], list[str]]:
    """Rows and settings for every combination of `key=v1,v2` texts; a further `key=` after a comma starts the next key.

    A value with a comma stands in quotes together with its key: `"prompt=a dog, running",steps=50`. A row is labelled with its values;
    where that makes no label (too long, or two alike), with its number. Raises UsageError for a text without `=`, a key named twice, a
    value given twice, or more than MAX_ROWS combinations.
    """
    axes = _axes(over)
    combinations = list(itertools.product(*([(key, value) for value in values] for key, values in axes.items())))
    if len(combinations) > MAX_ROWS:
        raise UsageError(f"--over asks for {len(combinations)} rows, more than {MAX_ROWS}; sweep fewer values")
    labels = _labels(method.partition("=")[2] or method, combinations)
    settings = [f"{label}.{key}={value}" for label, one in zip(labels, combinations, strict=True) for key, value in one]
    return [f"{method.partition('=')[0]}={label}" for label in labels], settings


def _axes(over: Sequence[str]) -> dict[str, list[str]]:
    axes: dict[str, list[str]] = {}
    for text in over:
        key = ""
        for word in _words(text):
            name, equals, value = word.partition("=")
            if equals and name in axes:
                raise UsageError(f"--over {text!r}: {name} is named twice; put its values together: {name}=a,b")
            if not equals and not key:
                raise UsageError(f"--over {text!r}: expected key=value,value…")
            key = name if equals else key
            axes.setdefault(key, []).append(value if equals else word)
    for key, values in axes.items():
        if len(set(values)) < len(values):
            raise UsageError(f"--over {key}={','.join(values)}: a value is given twice")
    return axes


def _words(text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True)) or [""]
    except csv.Error as error:
        raise UsageError(f"--over {text!r}: {error}") from error


def _labels(base: str, combinations: Sequence[Sequence[tuple[str, str]]]) -> list[str]:
    """`base key:value …` with the last part of each path; numbers where one of these is no label or is another row's too."""
    labels = [" ".join([base, *(f"{key}:{_short(value)}" for key, value in one)]) for one in combinations]
    plain = len(set(labels)) == len(labels) and all(LABEL.fullmatch(label) for label in labels)
    return labels if plain else [f"{base} {number}" for number in range(1, len(labels) + 1)]


def _are_numbered(rows: Sequence[str]) -> bool:
    return all(row.endswith(f" {number}") for number, row in enumerate(rows, 1))


def _short(value: str) -> str:
    """A path's or a hub id's last part; anything else as it is."""
    return value.rstrip("/").rpartition("/")[2] or value


@guarded
def sweep(
    method: Annotated[str, typer.Option("--method", "-m", metavar="NAME[:PRESET]", help="The method to vary.")],
    over: Annotated[list[str], typer.Option(metavar="key=v1,v2[,key=…]", help="Settings to vary; all combinations are run.")],
    scenes: Annotated[str, typer.Option(metavar="PATH|demo", help="A suite's folder, or the embedded suite.")] = "demo",
    scene: Annotated[list[str] | None, typer.Option("--scene", metavar="ID", help="Only this scene; repeatable.")] = None,
    seeds: Annotated[str, typer.Option(metavar="N|A-B", help="How many seeds, or which.")] = "1",
    fits: Annotated[int, typer.Option(min=1, help="Repeats of the fit.")] = 1,
    metric: Metrics = None,
    set_: Settings = None,
    out: Annotated[Path | None, typer.Option(metavar="RUN", help="The run folder; default: runs/<suite's name>-sweep.")] = None,
    workers: Workers = None,
    threads: Threads = None,
    timeout: Timeout = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> Exit:
    """Run one method with every combination of some settings, each a row of one table."""
    from realbench import bench
    from realbench.cli.screen import Screen
    from realbench.suite import open_suite

    rows, settings = grid(method, over)
    folder = out or Path("runs") / f"{open_suite(scenes).name}-sweep"
    on = bench.Machine(workers=workers, threads=threads, timeout=timeout, device=device, dtype=dtype)
    with Screen() as watch:
        watch.say(f"sweep: {len(rows)} rows")
        if _are_numbered(rows):
            for text in settings:
                watch.say(f"  {text}")
        summary = bench.run(
            rows,
            scenes=scenes,
            scene=scene or (),
            metrics=metric,
            settings=[*(set_ or ()), *settings],
            seeds=seeds,
            fits=fits,
            out=folder,
            on=on,
            watch=watch,
        )
    return close(summary)


@guarded
def transfer(
    run: RunPath,
    image: Annotated[Path, typer.Option(help="The photograph to fill.")],
    mask: Annotated[Path, typer.Option(help="Its mask: white is the hole.")],
    row: Annotated[str, typer.Option(metavar="LABEL", help="A row whose method fits.")],
    scene: Annotated[str, typer.Option(metavar="ID", help="The scene it was fitted to.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where to write the fills.")],
    seeds: Annotated[str, typer.Option(metavar="N|A-B", help="How many seeds, or which.")] = "1",
    fit: Annotated[int, typer.Option(min=0, help="Which fit.")] = 0,
    threads: Threads = None,
    timeout: Timeout = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> Exit:
    """Fill an image that was not in the fit with a model that a run fitted to a scene."""
    from realbench import bench
    from realbench.cli.screen import Screen
    from realbench.plan import parse_seeds
    from realbench.transfer import transfer as fill

    on = bench.Machine(threads=threads, timeout=timeout, device=device, dtype=dtype)
    with Screen() as watch:
        for path in fill(run, row, scene, image, mask, out, seeds=parse_seeds(seeds), fit=fit, on=on, watch=watch):
            typer.echo(f"wrote {path}")
    return Exit.DONE
