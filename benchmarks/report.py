"""What a report costs at the paper's scale: a made run of 10 rows × 33 scenes × 64 seeds × 10 metrics, 211,200 score files.

    python benchmarks/report.py FOLDER [--rows 10] [--scenes 33] [--seeds 64] [--side 1024] [--only-make]

The run is made first where FOLDER has none: records as the project's own classes write them, fills as hard links to 64 pictures
that were drawn here. Then `realbench report` runs in a process of its own, once without small copies and twice with them; wall time,
processor time, the peak of its memory and the size of the first page are printed.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PICTURES = 64
WHEN = "2030-01-02T03:04:05+00:00"
FAILED = 97
"""Every so many-th score has failed, so that the report has reasons to print."""


@dataclass(frozen=True)
class Column:
    """A metric of the made run: its mean, the effects of row and scene on it, and the seeds' spread."""

    name: str
    direction: str
    region: str
    image: str
    reads: tuple[str, ...]
    unit: str
    digits: int
    mean: float
    effect: float
    spread: float


COLUMNS = (
    Column("psnr", "higher", "hole", "composite", ("truth",), "dB", 2, 14.0, 2.0, 0.8),
    Column("ssim", "higher", "hole", "composite", ("truth",), "", 3, 0.40, 0.06, 0.02),
    Column("lpips", "lower", "hole", "composite", ("truth",), "", 3, 0.45, 0.08, 0.03),
    Column("dreamsim", "lower", "full", "composite", ("truth",), "", 3, 0.12, 0.05, 0.02),
    Column("dino", "higher", "full", "composite", ("truth",), "", 3, 0.90, 0.03, 0.01),
    Column("clip", "higher", "full", "composite", ("truth",), "", 3, 0.92, 0.02, 0.01),
    Column("psnr-full", "higher", "full", "composite", ("truth",), "dB", 2, 21.0, 2.0, 0.8),
    Column("matches", "higher", "hole", "composite", ("references",), "matches", 0, 180.0, 60.0, 30.0),
    Column("seam", "lower", "border", "composite", ("target",), "", 3, 1.20, 0.10, 0.05),
    Column("drift", "lower", "known", "raw", ("target",), "", 2, 3.00, 1.00, 0.10),
)


def main() -> None:
    """Make the run where it is missing, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name, value in (("rows", 10), ("scenes", 33), ("seeds", 64), ("side", 1024)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--only-make", action="store_true")
    asked = parser.parse_args()
    if not (asked.folder / "run" / "run.json").exists():
        begun = time.perf_counter()
        make(asked.folder, asked.rows, asked.scenes, asked.seeds, asked.side)
        print(f"made in {time.perf_counter() - begun:.0f} s")
    for name in () if asked.only_make else ("first report", "again", "and again"):
        measure(asked.folder, name)


def measure(folder: Path, name: str) -> None:
    """Write the report in a process of its own and print what it took."""
    command = [sys.executable, "-m", "realbench", "report", str(folder / "run"), "-o", str(folder / "report")]
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    page = (folder / "report" / "leaderboard.html").stat().st_size
    scenes = [path.stat().st_size for path in (folder / "report" / "scenes").glob("*.html")]
    print(
        f"{name}: {wall:.1f} s wall, {cpu:.1f} s processor, peak {after.ru_maxrss / 1024:.0f} MiB (so far); first page "
        f"{page / 1e6:.2f} MB, {len(scenes)} scene pages of at most {max(scenes, default=0) / 1e6:.2f} MB"
    )


def make(folder: Path, rows: int, scenes: int, seeds: int, side: int) -> None:
    """A suite, a run of it, and the pictures that both link to."""
    from realbench.store import RunFolder

    pictures = draw(folder / "pictures", side)
    suite = folder / "suite"
    for number in range(scenes):
        write_scene(suite / str(number), pictures, number, side)
    run = RunFolder(folder / "run")
    manifest = describe_run(suite, rows, scenes, seeds)
    for label in manifest.rows:
        for number in range(scenes):
            write_cells(run, manifest, label, str(number), pictures)
    run.write_manifest(manifest)


def draw(folder: Path, side: int) -> list[tuple[Path, str]]:
    """Distinct pictures with some grain, and their hashes."""
    from PIL import Image

    from realbench import fingerprint
    from realbench.image import encode_png

    folder.mkdir(parents=True)
    found = []
    for number in range(PICTURES):
        generator = np.random.default_rng(number)
        coarse = Image.fromarray(generator.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
        grain = generator.integers(-6, 7, (side, side, 1))
        data = encode_png(np.clip(np.asarray(coarse).astype(int) + grain, 0, 255).astype(np.uint8))
        path = folder / f"{number}.png"
        path.write_bytes(data)
        found.append((path, fingerprint.of_bytes(data)))
    return found


def write_scene(folder: Path, pictures: list[tuple[Path, str]], number: int, side: int) -> None:
    """A scene in RealBench's layout with one to five references; every third hole touches the border."""
    from realbench.image import encode_png

    (folder / "target").mkdir(parents=True)
    (folder / "ref").mkdir()
    mask = np.zeros((side, side), bool)
    mask[side // 4 : side // 4 * 3, (0 if number % 3 else side // 4) : side // 2 + side // 80 * (number % 10)] = True
    (folder / "target" / "mask.png").write_bytes(encode_png(mask))
    os.link(pictures[number % PICTURES][0], folder / "target" / "target.png")
    os.link(pictures[number % PICTURES][0], folder / "target" / "gt.png")
    for at in range(1 + number % 5):
        os.link(pictures[(number + at + 1) % PICTURES][0], folder / "ref" / f"{at}.png")


def describe_run(suite: Path, rows: int, scenes: int, seeds: int) -> Any:
    """run.json's content."""
    from realbench import fingerprint
    from realbench.records import ColumnInfo, Invocation, Manifest, RowInfo
    from realbench.suite import open_suite
    from realbench.survey import describe

    opened = open_suite(suite)
    manifest = Manifest(suite=suite.name, suite_path=str(suite.resolve()), feather=4)
    manifest.invocations = [Invocation(started=WHEN, command=["realbench", "run"], version="0")]
    manifest.scenes = {str(number): describe(opened.load(str(number))) for number in range(scenes)}
    for column in COLUMNS:
        signature = f"{column.name}|region:{column.region}|image:{column.image}|v:1"
        manifest.columns[fingerprint.of_bytes(signature.encode())[:16]] = ColumnInfo(
            metric=column.name, config={}, signature=signature, source="0" * 64, title=column.name.upper(), summary="Made up.",
            direction=column.direction, region=column.region, image=column.image, reads=list(column.reads), unit=column.unit,
            digits=column.digits,
        )  # fmt: skip
    for number in range(rows):
        label = f"method-{number}"
        manifest.rows[label] = RowInfo(
            method=label, preset=None, settings={}, fingerprint=fingerprint.of_bytes(label.encode())[:12], title=f"Method {number}",
            summary="Made up.", licence="", paper="", oracle=False, scenes=list(manifest.scenes), fits=[0], seeds=list(range(seeds)),
        )  # fmt: skip
    return manifest


def write_cells(run: Any, manifest: Any, label: str, scene: str, pictures: list[tuple[Path, str]]) -> None:
    """All seeds of a row on a scene: records, links to pictures, scores. Without the syncs that a run does."""
    from realbench.records import FillRecord
    from realbench.store import Cell, _encode

    row, info = manifest.rows[label], manifest.scenes[scene]
    for seed in row.seeds:
        cell = Cell(label, row.fingerprint, scene, 0, seed)
        path, digest = pictures[(seed * 7 + int(scene) + len(label)) % PICTURES]
        folder = run.cell(cell)
        (folder / "scores").mkdir(parents=True)
        for name in ("raw.png", "fill.png"):
            os.link(path, folder / name)
        size = path.stat().st_size
        record = FillRecord(
            state="ok", inputs="", seconds=8.5, peak_memory={"host": 4 << 30}, label=label, method=row.method, preset=None, scene=scene,
            fit=0, seed=seed, files={"raw.png": digest, "fill.png": digest}, sizes={"raw.png": size, "fill.png": size},
            task=info.seen(False), notes=["made up"], environment=environment(), finished=WHEN,
        )  # fmt: skip
        (folder / "record.json").write_bytes(_encode(record))
        for key, score in scores(manifest, cell, digest):
            (folder / "scores" / f"{key}.json").write_bytes(_encode(score))


def scores(manifest: Any, cell: Any, digest: str) -> Iterator[tuple[str, Any]]:
    """A score a metric: effects of row, scene and seed, one in a hundred failed; matches come with their lines."""
    from realbench.records import ScoreRecord

    row, scene = int(cell.label.rpartition("-")[2]), int(cell.scene)
    generator = np.random.default_rng([row, scene, cell.seed])
    luck = generator.normal()
    for (key, info), column in zip(manifest.columns.items(), COLUMNS, strict=True):
        sign = 1 if column.direction == "higher" else -1
        shift = column.effect * ((row - 5) / 5 + np.sin(scene * 1.7)) + column.spread * (0.6 * luck + 0.8 * generator.normal())
        value = max(0.0, float(column.mean + sign * shift))
        lines = np.round(generator.uniform(0, 1024, (int(min(200, value)), 4)), 1).tolist() if column.name == "matches" else []
        failed = generator.integers(FAILED) == 0
        yield (
            key,
            ScoreRecord(
                state="failed" if failed else "ok", reason="RuntimeError: made up" if failed else "", inputs="0" * 64,
                metric=column.name, signature=info.signature, image=digest, scene=manifest.scenes[cell.scene].read(info.reads),
                source="0" * 64, value=None if failed else round(value) if column.name == "matches" else value,
                artefacts={"counts": [value], "lines": [[0, *line] for line in lines]} if lines and not failed else {},
                environment=environment(), finished=WHEN,
            ),
        )  # fmt: skip


def environment() -> Any:
    """Where a real run would have been."""
    from realbench.records import Environment

    versions = {"realbench": "0", "numpy": "2.4", "opencv": "5.0", "torch": "2.15", "diffusers": "0.42", "transformers": "5.23"}
    name = "NVIDIA A100-SXM4-80GB"
    return Environment(device="cuda", device_name=name, dtype="bfloat16", threads=8, python="3.11", platform="Linux", versions=versions)


if __name__ == "__main__":
    main()
