"""How often the gate is wrong: false alarms on unchanged code, and faults missed (docs/ci.md).

    python -m benchmarks.gate --out build/gate [--workers 2] [--step pools judge reruns table]

A pool of fits × seeds of RealFill on the small model is made for the unchanged code and for each planted fault. Run folders drawn from
the pools are accepted, calibrated and checked through the command line. Each fault is also run once from end to end.
Everything is kept in --out; the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from realbench.records import FillRecord, Manifest
from realbench.store import Cell, RunFolder, finished
from realbench.suite import open_suite

from .gate_faults import FAULTS, plant

METHOD, LABEL = "realfill:tiny", "gate"
SETTINGS = {"rank": 8, "steps": 40, "inference_steps": 5}
"""A fit that a CI runner has time for."""
METRICS = ("psnr", "psnr-full", "lpips")
FITS, SEEDS = 8, 8
"""Of a fault's pool."""
WHOLE_FITS = 16
"""Of the unchanged code's pool: accepted, calibrated and checked fits are others."""
REPEATS = 2, 4
"""Fits and seeds of a run that is accepted or checked: the command's own."""
CALIBRATED = 8
"""Fits of the calibration: the command's own."""
WHOLE = "unchanged"
CASES = ("calibrated", "not calibrated", "other seeds")
"""The run has the baseline's seeds, as with `check --method`, or (calibrated) other ones."""
FIELDS = ("condition", "case", "draw", "exit_code", "headline")
OK, REGRESSION = 0, 1


@dataclass(frozen=True)
class Asked:
    """The command line."""

    out: Path
    workers: int
    resamples: int
    per_fault: int
    scenes: Sequence[str] = ()
    settings: Mapping[str, int] = field(default_factory=lambda: SETTINGS)
    metrics: Sequence[str] = METRICS
    faults: Sequence[str] = tuple(FAULTS)
    fits: int = FITS
    whole_fits: int = WHOLE_FITS
    seeds: int = SEEDS
    repeats: tuple[int, int] = REPEATS
    calibrated: int = CALIBRATED

    def words(self) -> list[str]:
        """The method as it is asked for, always in the same words."""
        settings = [word for key, value in self.settings.items() for word in ("--set", f"{LABEL}.{key}={value}")]
        return ["--method", f"{METHOD}={LABEL}", *settings, "--workers", str(self.workers), "--threads", "1", "--device", "cpu"]

    @property
    def conditions(self) -> list[str]:
        """The unchanged code, and the faults."""
        return [WHOLE, *self.faults]

    def held(self, condition: str) -> int:
        """Fits of a pool."""
        return self.whole_fits if condition == WHOLE else self.fits

    def draws(self, condition: str, case: str) -> int:
        """How many checks."""
        whole = self.resamples if condition == WHOLE else self.per_fault
        return whole if case == CASES[0] else -(-whole // 4) if case == CASES[1] or condition == WHOLE else 0

    def pool(self, condition: str) -> Path:
        return self.out / "pools" / condition


def main() -> None:
    """Make what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--resamples", type=int, default=400, help="checks of unchanged code; a quarter as many of each other case")
    parser.add_argument("--per-fault", type=int, default=40)
    parser.add_argument("--step", nargs="+", choices=STEPS, default=list(STEPS))
    given = parser.parse_args()
    asked = Asked(given.out.resolve(), given.workers, given.resamples, given.per_fault)
    asked.out.mkdir(parents=True, exist_ok=True)
    for step in given.step:
        STEPS[step](asked)


def pools(asked: Asked) -> None:
    """Run every condition at full repeats; faults outside the fit take the fits of the unchanged code."""
    for condition in asked.conditions:
        folder = asked.pool(condition)
        if not folder.exists() and condition != WHOLE and not FAULTS[condition].refit:
            _fits_of(asked.pool(WHOLE), folder)
        words = ["run", *asked.words(), "--fits", str(asked.held(condition)), "--seeds", str(asked.seeds), "--out", str(folder)]
        words += [word for metric in asked.metrics for word in ("--metric", metric)]
        words += [word for scene in asked.scenes for word in ("--scene", scene)]
        print(f"pool {condition}", flush=True)
        code = command(asked, condition, words)
        if code:
            sys.exit(f"pool {condition}: exit code {code}")


def command(asked: Asked, condition: str, words: Sequence[str]) -> int:
    """`realbench` with a condition's code; its output goes to a log."""
    env = environment(asked, condition)
    with (asked.out / f"{condition}.log").open("a", encoding="utf-8") as log:
        return subprocess.run(
            [sys.executable, "-m", "realbench", *words], env=env, cwd=asked.out, stdout=log, stderr=log, check=False
        ).returncode


def environment(asked: Asked, condition: str) -> dict[str, str]:
    """The environment in which `python -m realbench` has the condition's code."""
    if condition == WHOLE:
        return {**os.environ}
    scene = asked.scenes[0] if asked.scenes else open_suite("demo").ids[0]
    site = asked.out / "sites" / condition
    return {**os.environ, "PYTHONPATH": str(site)} if site.exists() else plant(FAULTS[condition], site, scene=scene)


def _fits_of(whole: Path, folder: Path) -> None:
    """A run folder with another one's fits and no fills."""
    shutil.copytree(whole, folder, copy_function=_link, ignore=shutil.ignore_patterns("seed-*", "report", "logs", ".lock"))


def _link(source: str, target: str) -> None:
    if Path(source).name == "run.json":
        shutil.copy2(source, target)  # it will be written to
    else:
        os.link(source, target)


def judge(asked: Asked) -> None:
    """Draw baselines, calibrations and runs, and check them through the command line."""
    path = asked.out / "verdicts.csv"
    done = {(line["condition"], line["case"], line["draw"]) for line in _verdicts(path)}
    with path.open("a", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        if not done:
            table.writerow(FIELDS)
        for condition in asked.conditions:
            for case in CASES:
                for draw in range(asked.draws(condition, case)):
                    if (condition, case, str(draw)) not in done:
                        table.writerow([condition, case, draw, *verdict(asked, condition, draw, case)])
                        file.flush()


def verdict(asked: Asked, condition: str, draw: int, case: str) -> tuple[int, str]:
    """The exit code and last words of one check. Baseline, calibration and run share no fit where both are of the unchanged code."""
    from typer.testing import CliRunner

    from realbench.cli.app import app

    random = np.random.default_rng([draw, *condition.encode()])
    scratch = asked.out / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    fits, count = asked.repeats
    whole = {scene: random.permutation(asked.whole_fits) for scene in _scenes(asked)}
    seeds = [int(seed) for seed in random.permutation(asked.seeds)]
    same, others = sorted(seeds[:count]), sorted(seeds[-count:])

    def drawn(pool: str, name: str, start: int, count: int, seeds: Sequence[int]) -> str:
        orders = whole if pool == WHOLE else {scene: random.permutation(asked.fits) for scene in whole}
        chosen = {scene: [int(fit) for fit in order[start : start + count]] for scene, order in orders.items()}
        return str(resample(asked.pool(pool), scratch / name, chosen, seeds))

    def run(*words: str) -> tuple[int, str]:
        found = CliRunner().invoke(app, list(words))
        return found.exit_code, found.output

    baseline = str(scratch / "baseline.json")
    code, said = run("accept", drawn(WHOLE, "old", 0, fits, same), "-o", baseline)
    if code == 0 and case != "not calibrated":
        code, said = run("calibrate", drawn(WHOLE, "repeats", fits, asked.calibrated, same), "-b", baseline)
    if code != 0:
        raise SystemExit(said)
    start = fits + asked.calibrated if condition == WHOLE else 0
    new = drawn(condition, "new", start, fits, others if case == "other seeds" else same)
    code, said = run("check", new, "-b", baseline, "-o", str(asked.out / "check"))
    headline = next((line for line in said.splitlines() if line.startswith(("regression", "fill quality", "not ", "nothing"))), "")
    return code, headline


def _scenes(asked: Asked) -> list[str]:
    return list(RunFolder(asked.pool(WHOLE)).read_manifest().scenes)


def resample(pool: Path, into: Path, fits: Mapping[str, Sequence[int]], seeds: Sequence[int]) -> Path:
    """A run folder of some of a pool's fits, numbered anew, and some of their seeds; images are links."""
    source, target = RunFolder(pool), RunFolder(into)
    manifest, records = _finished(pool)
    row = manifest.rows[LABEL]
    most = max(len(chosen) for chosen in fits.values())
    drawn = row.model_copy(update={"fits": [*range(most)], "seeds": [*seeds], "cells": {}})
    target.root.mkdir(parents=True)
    target.write_manifest(manifest.model_copy(update={"rows": {LABEL: drawn}}))
    for scene, chosen in fits.items():
        for new_fit, fit in enumerate(chosen):
            for seed in seeds:
                old, new = (Cell(LABEL, row.fingerprint, scene, number, seed) for number in (fit, new_fit))
                _copy(source, target, records, old, new)
    return target.root


@cache
def _finished(pool: Path) -> tuple[Manifest, dict[Cell, FillRecord]]:
    """A pool's manifest and cells, read once."""
    folder = RunFolder(pool)
    manifest = folder.read_manifest()
    return manifest, dict(finished(folder, manifest))


def _copy(source: RunFolder, target: RunFolder, records: Mapping[Cell, FillRecord], old: Cell, new: Cell) -> None:
    record = records[old].model_copy(update={"fit": new.fit})
    folder, into = source.cell(old), target.cell(new)
    (into / "scores").mkdir(parents=True)
    for path in [*(folder / name for name in record.files), *(folder / "scores").iterdir()]:
        os.link(path, into / path.relative_to(folder))
    (into / "record.json").write_text(record.model_dump_json(), encoding="utf-8")


def reruns(asked: Asked) -> None:
    """Every fault once from end to end: accept the unchanged code, run the faulty code, check."""
    baseline = asked.out / "baseline.json"
    fits, seeds = asked.repeats
    if not baseline.exists():
        words = {"accept": ("accepted", 0, fits, "-o"), "calibrate": ("calibrated", fits, asked.calibrated, "-b")}
        for verb, (name, start, count, option) in words.items():
            chosen = {scene: [*range(start, start + count)] for scene in _scenes(asked)}
            shutil.rmtree(asked.out / name, ignore_errors=True)
            folder = resample(asked.pool(WHOLE), asked.out / name, chosen, range(seeds))
            if command(asked, WHOLE, [verb, str(folder), option, str(baseline)]):
                sys.exit(f"{verb}: see {asked.out / WHOLE}.log")
    path = asked.out / "reruns.csv"
    done = {line["condition"] for line in _verdicts(path)}
    with path.open("a", newline="", encoding="utf-8") as file:
        if not done:
            csv.writer(file).writerow(("condition", "exit_code"))
        for condition in asked.conditions:
            if condition not in done:
                out = asked.out / "reruns" / condition
                only = [word for scene in asked.scenes for word in ("--scene", scene)]
                # Unchanged code would repeat what was accepted to the byte: it gets other seeds.
                again = [*only, *(["--seeds", f"100-{99 + seeds}"] if condition == WHOLE else []), "--out", str(out)]
                csv.writer(file).writerow((condition, command(asked, condition, ["check", "-b", str(baseline), *asked.words(), *again])))
                file.flush()


def table(asked: Asked) -> None:
    """Markdown: what each condition changes over its whole pool, and how often it was caught."""
    from scipy.stats import binomtest

    found, ended = (
        list(_verdicts(asked.out / "verdicts.csv")),
        {line["condition"]: line["exit_code"] for line in _verdicts(asked.out / "reruns.csv")},
    )
    means = {condition: _means(asked, condition) for condition in asked.conditions}
    metrics = list(means[WHOLE])
    print(f"| condition | {' | '.join(metrics)} | case | checks | exit code 1 | 95 % interval | end to end |")
    print(f"| {' | '.join(['---'] * (len(metrics) + 6))} |")
    for condition in asked.conditions:
        title = FAULTS[condition].title if condition in FAULTS else condition
        moved = [means[condition][name] - means[WHOLE][name] if condition != WHOLE else means[WHOLE][name] for name in metrics]
        shown = [f"{value:+.3f}" if condition != WHOLE else f"{value:.3f}" for value in moved]
        for case in CASES:
            codes = [int(line["exit_code"]) for line in found if line["condition"] == condition and line["case"] == case]
            if codes:
                caught = codes.count(REGRESSION)
                ends = binomtest(caught, len(codes)).proportion_ci(method="exact")
                cells = [
                    case,
                    str(len(codes)),
                    f"{100 * caught / len(codes):.1f} %",
                    f"{100 * ends.low:.1f}–{100 * ends.high:.1f} %",
                ]
                print(f"| {' | '.join([title, *shown, *cells, ended.get(condition, '–')])} |")


def _means(asked: Asked, condition: str) -> dict[str, float]:
    """Over all of a pool."""
    from realbench.results import load_run

    scores = load_run(asked.pool(condition)).scores()
    return {str(name): float(lines["value"].mean()) for name, lines in scores.groupby("metric", sort=False)}


def _verdicts(path: Path) -> Iterator[dict[str, str]]:
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)


STEPS = {"pools": pools, "judge": judge, "reruns": reruns, "table": table}

if __name__ == "__main__":
    main()
