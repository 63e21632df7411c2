"""Ten thousand tiny cells in one run: does memory stay flat, is every file there and no other, is every handle given back?

    python benchmarks/soak.py [--cells 10000] [--out FOLDER]

A method that fits and fills with noise, and two metrics, run through the real driver, worker processes and run folder. Resident memory,
open files and threads of the driver and of its workers are looked at after each cell's turn. With --out the run stays there, and the
same command goes on where it was broken off; without, it is made in a temporary folder and removed. Exit code 1 where anything is not
as it should be.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

PLUGIN = """
import numpy as np
from realbench.method import BaseMethod, MethodCard
from realbench.metric import BaseMetric, MetricCard, Score

class Soaked(BaseMethod):
    card = MethodCard("soaked", "Soaked", "Noise.", fits=True, stochastic=True)
    def fit(self, task, *, seed, context):
        (context.work / "checkpoint").write_bytes(bytes(10_000))
        self.level = int(task.references[0].mean()) // 2
    def complete(self, task, seed, context):
        image = task.target.copy()
        image[task.mask] = np.random.default_rng(seed).integers(0, 100, (int(task.mask.sum()), 3)) + self.level
        return image, ("noise",)
    def save(self, folder):
        (folder / "level").write_text(str(self.level))
    def load(self, folder):
        self.level = int((folder / "level").read_text())

class Level(BaseMetric):
    card = MetricCard("soaked-level", "Level", "Mean level.", "higher", "full", "composite")
    def prepare(self, scene, *, context):
        return None
    def score(self, prepared, batch):
        return [Score(float(image.mean())) for image in batch.composite]

class Spread(BaseMetric):
    card = MetricCard("soaked-spread", "Spread", "Standard deviation.", "higher", "full", "raw")
    def prepare(self, scene, *, context):
        return None
    def score(self, prepared, batch):
        return [Score(float(image.std())) for image in batch.raw]
"""
METRICS = ("soaked-level", "soaked-spread")
SCENES = 10
CELL_FILES = 3 + len(METRICS)
"""raw.png, fill.png, record.json and the scores."""
FIT_FILES = 2
"""The record and one file of state."""
KILOBYTES_A_CELL = {"driver": 2.0, "worker": 0.5}
"""Most that resident memory may grow by, per cell: the driver knows the hashes of all its cells' images, a worker keeps nothing."""


@dataclass
class Look:
    """What was held at one moment of one stage."""

    stage: str
    done: int
    driver: float
    worker: float
    handles: int
    worker_handles: int


@dataclass
class Observer:
    """A watcher of the run that looks at its processes."""

    total: int = 0
    stage: str = ""
    done: int = 0
    looks: list[Look] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.said.append(text)

    def begin(self, stage: str, total: int) -> None:
        self.stage, self.total, self.done = stage, total, 0

    def step(self, what: str, steps: int = 1) -> None:
        self.done += steps
        if self.done % max(1, self.total // 40) < steps and self.stage != "examining scenes":
            self.look()

    def detail(self, text: str, done: float, total: float) -> None: ...

    def end(self) -> None: ...

    def look(self) -> None:
        """Driver and workers, in MB and in open handles."""
        here = psutil.Process()
        workers = [process for process in here.children() if _is_worker(process)]
        resident = [process.memory_info().rss / 1e6 for process in workers]
        handles = [process.num_fds() for process in workers]
        self.looks.append(
            Look(self.stage, self.done, here.memory_info().rss / 1e6, max(resident, default=0), here.num_fds(), max(handles, default=0))
        )


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "realbench.worker" in process.cmdline()
    except psutil.Error:
        return False


def install(folder: Path) -> None:
    """The plug-ins, found through entry points like any other."""
    info = folder / "soaked-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (folder / "soaked.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: soaked\nVersion: 1.0\n")
    points = "[realbench.methods]\nsoaked = soaked:Soaked\n"
    points += "[realbench.metrics]\nsoaked-level = soaked:Level\nsoaked-spread = soaked:Spread\n"
    (info / "entry_points.txt").write_text(points)
    sys.path.insert(0, str(folder))


def write_suite(folder: Path, scenes: int) -> None:
    """Scenes of 16 × 12 noise with a hole."""
    random = np.random.default_rng(0)
    for scene in range(scenes):
        picture = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        mask = np.zeros((12, 16), np.uint8)
        mask[3:8, 4:11] = 255
        for part, image in (("target/target", picture), ("target/mask", mask), ("ref/0", picture[::-1])):
            path = folder / str(scene) / f"{part}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                Image.fromarray(image).save(path)


def soak(folder: Path, cells: int) -> tuple[Observer, list[str]]:
    """Run, and what is not as it should be."""
    from realbench import bench

    install(folder / "site")
    scratch = folder / "tmp"
    scratch.mkdir(exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
    write_suite(folder / "suite", SCENES)
    once = {"scenes": folder / "suite", "metrics": METRICS}
    bench.run(["soaked"], **once, scene=["0"], seeds=40, out=folder / "warm")  # what is loaded and started once counts for nothing
    before = psutil.Process().num_fds(), psutil.Process().num_threads()
    observer = Observer()
    summary = bench.run(["soaked"], **once, out=folder / "run", seeds=cells // SCENES, watch=observer)
    time.sleep(1)  # threads that read from killed workers end by themselves
    after = psutil.Process().num_fds(), psutil.Process().num_threads()
    faults = [f"exit code {summary.exit_code}: {observer.said[-1]}"] if summary.exit_code else []
    held = zip(("handles", "threads"), before, after, strict=True)
    faults += [f"{what}: {old} before, {new} after" for what, old, new in held if new > old]
    left = [str(path.relative_to(folder)) for path in scratch.rglob("*")]
    faults += [f"{len(left)} temporary files left, such as {left[0]}"] if left else []
    return observer, faults + miscounted(folder / "run", cells)


def miscounted(run: Path, cells: int) -> list[str]:
    """Files that are missing, or too many."""
    found = [path.relative_to(run).parts for path in run.rglob("*") if path.is_file()]
    rows = sum(parts[0].startswith("soaked-") for parts in found)
    expected = cells // SCENES * SCENES * CELL_FILES + SCENES * FIT_FILES
    other = sorted({parts[0] for parts in found if not parts[0].startswith("soaked-")} - {"run.json", ".lock", "logs"})
    wrong = [f"{rows:,} files of cells and fits, expected {expected:,}"] if rows != expected else []
    return wrong + [f"unexpected: {name}" for name in other]


def growth(looks: list[Look], who: str) -> float:
    """Kilobytes by which a process grows with each cell: between the second and the last quarter of each stage's looks, the larger."""
    found = [0.0]
    for stage in dict.fromkeys(look.stage for look in looks):
        mine = [look for look in looks if look.stage == stage]
        quarter = len(mine) // 4
        if quarter:
            early, late = mine[quarter : 2 * quarter], mine[-quarter:]
            steps = statistics.mean(look.done for look in late) - statistics.mean(look.done for look in early)
            gained = statistics.median(getattr(look, who) for look in late) - statistics.median(getattr(look, who) for look in early)
            found.append(gained * 1000 / steps)
    return max(found)


def main() -> int:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        folder = asked.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        observer, faults = soak(folder.resolve(), asked.cells)
        tempfile.tempdir = None
    print(f"{'stage':<8} {'done':>7} {'driver MB':>10} {'worker MB':>10} {'handles':>8} {'worker handles':>15}")
    for look in observer.looks[:: max(1, len(observer.looks) // 20)]:
        print(f"{look.stage:<8} {look.done:>7,} {look.driver:>10.1f} {look.worker:>10.1f} {look.handles:>8} {look.worker_handles:>15}")
    for who, most in KILOBYTES_A_CELL.items():
        grown = growth(observer.looks, who)
        print(f"{who}: {grown:.2f} kB a cell or score")
        if grown > most and asked.cells >= 1000:
            faults.append(f"{who} grows by {grown:.2f} kB with each, at most {most} were expected")
    print(f"{asked.cells:,} cells, {asked.cells * len(METRICS):,} scores in {time.perf_counter() - start:.0f} s")
    print("\n".join(f"NOT AS IT SHOULD BE: {fault}" for fault in faults) or "files, handles and memory as they should be")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
