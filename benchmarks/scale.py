"""How long many scenes and seeds take on 1, 8 or 64 workers: unit costs replayed through the ray runner's own queue, and through `--shard`.

    python benchmarks/scale.py                                   (unit costs as below: assumptions, in multiples of one fit)
    python benchmarks/scale.py --run RUN [--start-up 5]          (fits, fills and scores as the records of a run folder have them)
    python benchmarks/scale.py --costs COSTS.json                (a JSON object with any of: fit, fill, score, start_up, state)

Nothing is run: this is a simulation. Workers are alike but for stragglers; nodes are lost at random and come back; what was under way there
is begun again. It leaves out what the driver does meanwhile (a few milliseconds a cell: docs/performance.md) and waiting for a shared disk.
A fixed `--seed`: the same command prints the same table.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from realbench.errors import UsageError
from realbench.method import MethodCard
from realbench.plan import Row
from realbench.records import FitRecord
from realbench.runner import Unit
from realbench.runners._slots import RETRIES
from realbench.runners._work import Job, Work
from realbench.runners.ray import FILLS
from realbench.shard import Shard, share
from realbench.store import Cell, RunFolder, finished

CHUNK = 16
"""Fills in a request for scores."""
ROW = Row("realfill", "realfill", None, {}, MethodCard("realfill", "RealFill", "", fits=True, stochastic=True), "0" * 12, "fit")


@dataclass(frozen=True)
class Costs:
    """What one of each takes, all in one unit of time. The defaults are assumptions in multiples of one fit, not measurements: RealFill
    passes 2,000 × 16 images forward and backward through its network (96,000 forward passes' worth) for a fit, and 200 forward for a fill.
    """

    fit: float = 1.0
    fill: float = 200 / 96_000
    score: float = 0.0005
    """All metrics of one fill."""
    start_up: float = 0.02
    """A worker's start, models loaded; once for fills and once for scores."""
    state: float = 0.001
    """Bringing a fitted state to another worker (its size over the bandwidth) and loading it."""


@dataclass(frozen=True)
class Chances:
    """What goes wrong. Times in the unit of the costs."""

    jitter: float = 0.0
    """Standard deviation of the logarithm of each item's time."""
    slow: float = 0.0
    """Share of workers that are stragglers."""
    slowdown: float = 2.0
    """How much longer a straggler takes for everything."""
    between_losses: float = math.inf
    """Mean time between two losses of a node."""
    repair: float = 0.0
    """How long a lost node is away."""


@dataclass(frozen=True)
class Ending:
    """How a simulated run ended."""

    makespan: float
    redone: float
    """Time of work that was lost and begun again, or done by more than one shard."""
    given_up: int = 0
    """Items that were lost too often in a row."""


class Queue(Work):
    """The runner's own queue, asked without waiting."""

    def poll(self, slot: int) -> Job | None:
        """The slot's next job by the runner's rules; None when there is none now."""
        job = self._choose(slot)
        if job is not None:
            self._running[slot] = job
            self._words[slot] = job.unit.worker
        return job


@dataclass
class _Slot:
    node: int
    factor: float
    started: bool = False
    holds: str = ""
    """The scene whose fitted state is loaded."""
    job: Job | None = None
    left: list[str] = field(default_factory=list)
    fitting: bool = False
    since: float = 0.0
    """When the item under way began."""
    life: int = 0
    """Counts losses: what was planned for an earlier life does not happen."""


class Cluster:
    """Slots of nodes that work through queues, one after the other, as events in simulated time."""

    def __init__(self, slots: int, per_node: int, costs: Costs, chances: Chances, random: np.random.Generator) -> None:
        self.costs, self.chances, self.random = costs, chances, random
        factors = np.where(random.random(slots) < chances.slow, chances.slowdown, 1.0)
        self.slots = [_Slot(slot // per_node, float(factor)) for slot, factor in enumerate(factors)]
        self.queue = Queue(())
        self.away: set[int] = set()
        self.stored: set[str] = set()
        """Scenes whose fit reached the driver."""
        self.now = self.redone = 0.0
        self.given_up = 0
        self._events: list[tuple[float, int, str, int, int]] = []
        self._count = itertools.count()
        if math.isfinite(chances.between_losses):
            for node in sorted({slot.node for slot in self.slots}):
                self._plan(random.exponential(chances.between_losses), "lost", node)

    def run(self, queue: Queue) -> Ending:
        """Until nothing is left of a queue; returns how things stand then."""
        self.queue = queue
        for slot in self.slots:
            slot.started, slot.holds = False, ""
        self._give()
        while len(self.queue):
            self.now, _, what, at, life = heapq.heappop(self._events)
            if what == "item":
                if self.slots[at].life == life:
                    self._item(at)
            elif what == "lost":
                self._lose(at)
            else:
                self.away.discard(at)
                self._plan(self.random.exponential(self.chances.between_losses), "lost", at)
                self._give()
        return Ending(self.now, self.redone, self.given_up)

    def _plan(self, after: float, what: str, at: int, life: int = 0) -> None:
        heapq.heappush(self._events, (self.now + after, next(self._count), what, at, life))

    def _give(self) -> None:
        """Idle slots take what they may."""
        for number, slot in enumerate(self.slots):
            if slot.job is None and slot.node not in self.away and (job := self.queue.poll(number)) is not None:
                slot.job, slot.left = job, list(job.unit.items)
                slot.fitting = job.unit.fits and job.unit.scene not in self.stored
                brought = job.unit.fits and not slot.fitting and slot.holds != job.unit.scene
                before = (0.0 if slot.started else self.costs.start_up) + (self.costs.state if brought else 0.0)
                self.queue.started(number, job.unit)
                slot.started, slot.holds = True, job.unit.scene
                self._begin(number, before)

    def _begin(self, number: int, before: float = 0.0) -> None:
        """The next item of a slot's job: its fit, a fill, or scores."""
        slot = self.slots[number]
        assert slot.job is not None
        scoring = slot.job.unit.stage == "score"
        cost = self.costs.fit if slot.fitting else len(slot.job.unit.cells) * self.costs.score if scoring else self.costs.fill
        jitter = math.exp(self.random.normal(0, self.chances.jitter)) if self.chances.jitter else 1.0
        slot.since = self.now
        self._plan((before + cost * jitter) * slot.factor, "item", number, slot.life)

    def _item(self, number: int) -> None:
        """An item is done: fits open their scene, the last item makes the slot free."""
        slot = self.slots[number]
        assert slot.job is not None
        slot.job.losses = 0
        if slot.fitting:
            slot.fitting = False
            self.stored.add(slot.job.unit.scene)
            self.queue.opened(number)
        else:
            slot.left.pop(0)
        if slot.left:
            self._begin(number)
        else:
            self.queue.finished(number)
            slot.job = None
        self._give()

    def _lose(self, node: int) -> None:
        """A node goes: its slots' items are begun again elsewhere, or there once it is back."""
        self.away.add(node)
        for number, slot in enumerate(self.slots):
            if slot.node != node:
                continue
            slot.life += 1
            slot.started, slot.holds = False, ""
            job, slot.job = slot.job, None
            if job is not None:
                self.redone += self.now - slot.since
                self._again(number, job, slot.left, slot.fitting)
            self.queue.discarded(number)
        self._plan(self.chances.repair, "back", node)
        self._give()

    def _again(self, number: int, job: Job, left: Sequence[str], fitting: bool) -> None:
        """What is left goes back to the queue; a job lost too often in a row costs what it was at: the fit and its seeds, or an item."""
        if job.losses >= RETRIES:
            refused = sum(len(unit.items) for unit in self.queue.refused(number)) if fitting else 0
            given_up = len(left) if fitting else 1
            self.given_up += given_up + refused
            left = left[given_up:]
            job.losses = -1
        if left:
            self.queue.back(number, replace(job.unit, items=tuple(left)), "the node was lost")
        else:
            self.queue.finished(number)


def _fills(scenes: int, seeds: int, shard: Shard | None = None) -> list[Unit]:
    """What is left to fill, as the driver asks for it."""
    asked = share([ROW], [str(scene) for scene in range(scenes)], 1, range(seeds), shard)[ROW.label]
    items = {scene: tuple(str(seed) for _, seed in pairs) for scene, pairs in asked.items()}
    return [Unit("fill", ROW.label, scene, seeds_, ROW.label, fits=True) for scene, seeds_ in items.items()]


def _scores(fills: Sequence[Unit]) -> list[Unit]:
    return [
        Unit("score", "score", unit.scene, ("all",), cells=tuple((ROW.label, 0, int(seed)) for seed in unit.items[at : at + CHUNK]))
        for unit in fills
        for at in range(0, len(unit.items), CHUNK)
    ]


@dataclass(frozen=True)
class Asked:
    """What is simulated."""

    scenes: int = 33
    seeds: int = 64
    gpus: int = 8
    per_node: int = 8
    chunk: int = FILLS


def ray(asked: Asked, costs: Costs, chances: Chances, random: np.random.Generator) -> Ending:
    """All fills on all slots, then all scores."""
    fills = _fills(asked.scenes, asked.seeds)
    return _both(fills, asked.gpus, asked, costs, chances, random, asked.chunk)


def shards(asked: Asked, costs: Costs, chances: Chances, random: np.random.Generator) -> Ending:
    """A job of one GPU for each shard; one that is lost starts again when its node is back and goes on from its run folder."""
    parts = [_fills(asked.scenes, asked.seeds, Shard(index, asked.gpus)) for index in range(1, asked.gpus + 1)]
    endings = [_both(part, 1, asked, costs, chances, random, 0) for part in parts if part]
    twice = sum(map(len, parts)) - asked.scenes
    return Ending(
        max(one.makespan for one in endings),
        sum(one.redone for one in endings) + twice * costs.fit,
        sum(one.given_up for one in endings),
    )


def _both(
    fills: Sequence[Unit], slots: int, asked: Asked, costs: Costs, chances: Chances, random: np.random.Generator, chunk: int
) -> Ending:
    cluster = Cluster(slots, asked.per_node, costs, chances, random)
    cluster.run(Queue(fills, chunk=chunk, returns=True))
    return cluster.run(Queue(_scores(fills), returns=True))


RUNNERS = {"ray": ray, "shards": shards}


def useful(asked: Asked, costs: Costs) -> float:
    """Time of the work itself, on one worker that never stops."""
    return asked.scenes * (costs.fit + asked.seeds * (costs.fill + costs.score))


def measured(root: Path, start_up: float, bandwidth: float) -> tuple[Costs, str]:
    """Unit costs in seconds from a run's records, and how many of each there are. Raises UsageError where the run has no finished fit.

    `start_up` is in no record, and neither is `bandwidth` (bytes a second), over which a fitted state's size is divided.
    """
    folder = RunFolder(root)
    manifest = folder.read_manifest()
    done = finished(folder, manifest)
    fits: dict[Cell, FitRecord] = {}
    for cell, _ in done:
        record = folder.read_fit(replace(cell, seed=0))
        if record is not None and record.state == "ok":
            fits[replace(cell, seed=0)] = record
    if not fits:
        raise UsageError(f"{root}: no finished fit; give a run of a method that fits")
    scores = [sum(_score_seconds(folder, cell, [*manifest.columns])) for cell, _ in done]
    sizes = [sum((folder.fit(cell) / "state" / name).stat().st_size for name in record.files) for cell, record in fits.items()]
    costs = Costs(
        fit=statistics.fmean(record.seconds for record in fits.values()),
        fill=statistics.fmean(record.seconds for _, record in done),
        score=statistics.fmean(scores),
        start_up=start_up,
        state=statistics.fmean(sizes) / bandwidth,
    )
    environment = next(iter(fits.values())).environment
    where = f"{environment.device_name}, {environment.threads} threads" if environment else "an unknown device"
    return costs, f"{len(fits)} fits, {len(done)} fills and their {len(manifest.columns)} metrics; {where}"


def _score_seconds(folder: RunFolder, cell: Cell, keys: Sequence[str]) -> Iterator[float]:
    for key in keys:
        record = folder.read_score(cell, key)
        if record is not None and record.state == "ok":
            yield record.seconds


def table(asked: Asked, costs: Costs, gpus: Sequence[int], worlds: dict[str, Chances], repeats: int, seed: int) -> Iterator[str]:
    """The sizing table, line by line: medians over the repetitions, the makespan with its 5 % and 95 % points."""
    yield "| workers | how | what goes wrong | makespan | 5–95 % | efficiency | redone |"
    yield "|--:|:--|:--|--:|--:|--:|--:|"
    for count, (name, runner), (world, chances) in itertools.product(gpus, RUNNERS.items(), worlds.items()):
        now = replace(asked, gpus=count)
        seeds = np.random.SeedSequence([seed, count]).spawn(repeats if world != "nothing" else 1)
        ends = [runner(now, costs, chances, np.random.default_rng(one)) for one in seeds]
        spans = [end.makespan for end in ends]
        low, high = np.quantile(spans, [0.05, 0.95])
        middle, work = statistics.median(spans), useful(now, costs)
        redone = statistics.median(end.redone for end in ends) / work
        lost = sum(end.given_up for end in ends)
        cells = [str(count), name, world, f"{middle:.4g}", f"{low:.4g}–{high:.4g}" if len(ends) > 1 else "–"]
        cells += [f"{100 * work / (count * middle):.0f} %", f"{100 * redone:.1f} %" + (f", {lost} items given up" if lost else "")]
        yield f"| {' | '.join(cells)} |"


def read_costs(path: Path) -> Costs:
    """Unit costs from a JSON object. Raises UsageError that names the file."""
    names = [item.name for item in fields(Costs)]
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as JSON ({error})") from error
    plain = isinstance(found, dict) and all(
        name in names and isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and math.isfinite(value)
        for name, value in found.items()
    )
    if not plain:
        raise UsageError(f"{path}: expected an object of numbers from 0 up, among {', '.join(names)}; found {found!r}")
    return Costs(**found)


def main(words: Sequence[str] | None = None) -> None:
    """Print the table that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--run", type=Path, help="a run folder: unit costs in seconds, from its records")
    source.add_argument("--costs", type=Path, help="a JSON object: unit costs in a unit of your own")
    parser.add_argument("--start-up", type=float, default=0.0, help="with --run: seconds of a worker's start, which no record has")
    parser.add_argument("--bandwidth", type=float, default=1e8, help="with --run: bytes a second between nodes, which no record has")
    parser.add_argument("--scenes", type=int, default=33)
    parser.add_argument("--seeds", type=int, default=64)
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64], help="workers")
    parser.add_argument("--per-node", type=int, default=8, help="workers that are lost together, under ray")
    parser.add_argument("--chunk", type=int, default=FILLS, help="--fills-per-task")
    parser.add_argument("--slow", type=float, default=0.05, help="share of workers that are stragglers")
    parser.add_argument("--slowdown", type=float, default=2.0)
    parser.add_argument("--jitter", type=float, default=0.05)
    parser.add_argument("--between-losses", type=float, default=20.0, help="mean time between two losses of a node, in fits")
    parser.add_argument("--repair", type=float, default=0.5, help="how long a lost node is away, in fits")
    parser.add_argument("--repeat", type=int, default=100)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args(words)
    if given.run:
        costs, what = measured(given.run, given.start_up, given.bandwidth)
        print(f"Unit costs in seconds, means of {what}; start-up and bandwidth as given:")
    else:
        costs = read_costs(given.costs) if given.costs else Costs()
        print(f"Unit costs {f'of {given.costs.name}' if given.costs else 'assumed, not measured, in multiples of one fit'}:")
    print(", ".join(f"{name} {value:.4g}" for name, value in asdict(costs).items()))
    stragglers = Chances(given.jitter, given.slow, given.slowdown)
    losses = replace(stragglers, between_losses=given.between_losses * costs.fit, repair=given.repair * costs.fit)
    asked = Asked(given.scenes, given.seeds, per_node=given.per_node, chunk=given.chunk)
    print(f"{asked.scenes} scenes × {asked.seeds} seeds: {useful(asked, costs):.4g} of work\n")
    for line in table(asked, costs, given.gpus, {"nothing": Chances(), "stragglers, losses": losses}, given.repeat, given.seed):
        print(line, flush=True)


if __name__ == "__main__":
    main()
