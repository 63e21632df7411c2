"""What the harness itself costs a cell: everything but the method, the metrics and the encoding of images.

    python benchmarks/overhead.py [--scenes 10] [--seeds 50] [--size 64]

A method that returns a ready image and metrics that return a ready number run through the real driver, worker processes and run
folder. The time they and the PNG encoder take is measured in the same run and subtracted; the rest, divided by the number of
cells, is the overhead. Start-up (two worker processes) is reported separately.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

METRICS = 7
PLUGIN = """
from realbench.method import BaseMethod, MethodCard
from realbench.metric import BaseMetric, MetricCard, Score

class Ready(BaseMethod):
    card = MethodCard("ready", "Ready", "Returns the blanked target.", stochastic=True)
    def complete(self, task, seed, context):
        return task.target, ()
"""
METRIC = """
class Ready{0}(BaseMetric):
    card = MetricCard("ready-{0}", "Ready", "Returns a number.", "higher", "full", "composite", ("truth",))
    def prepare(self, scene, *, context):
        return None
    def score(self, prepared, batch):
        return [Score(1.0)] * len(batch)
"""


def install(folder: Path) -> None:
    """Plug-ins that do nothing, found through entry points like any other."""
    (folder / "ready.py").write_text(PLUGIN + "".join(METRIC.format(index) for index in range(METRICS)))
    info = folder / "ready-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ready\nVersion: 1.0\n")
    metrics = "".join(f"ready-{index} = ready:Ready{index}\n" for index in range(METRICS))
    (info / "entry_points.txt").write_text(f"[realbench.methods]\nready = ready:Ready\n[realbench.metrics]\n{metrics}")
    sys.path.insert(0, str(folder))


def write_suite(folder: Path, scenes: int, size: int) -> None:
    """Scenes of noise with a square hole."""
    rng = np.random.default_rng(0)
    for scene in range(scenes):
        picture = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        mask = np.zeros((size, size), np.uint8)
        mask[size // 4 : size // 2, size // 4 : size // 2] = 255
        for part, image in (("target", np.where(mask[..., None] > 0, 255, picture)), ("mask", mask), ("gt", picture)):
            (folder / str(scene) / "target").mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.astype(np.uint8)).save(folder / str(scene) / "target" / f"{part}.png")
        (folder / str(scene) / "ref").mkdir()
        Image.fromarray(picture[::-1].copy()).save(folder / str(scene) / "ref" / "0.png")


def encoding_seconds(size: int, cells: int) -> float:
    """Time to encode a cell's two images and to decode them again for scoring, per cell."""
    from realbench.image import decode_png, encode_png

    picture = np.random.default_rng(1).integers(0, 256, (size, size, 3), dtype=np.uint8)
    start = time.perf_counter()
    for _ in range(cells):
        decode_png(encode_png(picture))
        decode_png(encode_png(picture))
    return (time.perf_counter() - start) / cells


def main() -> None:
    """Run and print one line of figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--size", type=int, default=64)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        (root / "site").mkdir()
        install(root / "site")
        from realbench import bench

        write_suite(root / "suite", asked.scenes, asked.size)
        metrics = [f"ready-{index}" for index in range(METRICS)]

        def run(seeds: int, out: str) -> float:
            start = time.perf_counter()
            summary = bench.run(["ready"], scenes=root / "suite", metrics=metrics, seeds=seeds, out=root / out)
            assert summary.exit_code == 0, summary
            return time.perf_counter() - start

        one, many, again = run(1, "one"), run(asked.seeds, "many"), run(asked.seeds, "many")
        cells = asked.scenes * asked.seeds
        start_up = one / asked.scenes
        encoding = encoding_seconds(asked.size, 200)
        overhead = (many - one) / (cells - asked.scenes) - encoding
        print(f"cells {cells}, metrics {METRICS}, size {asked.size}: {1e3 * overhead:.1f} ms a cell")
        print(f"not counted: encoding and decoding its two images, {1e3 * encoding:.1f} ms a cell")
        print(f"run with 1 seed a scene: {one:.2f} s in all ({1e3 * start_up:.0f} ms a scene, start-up included)")
        print(f"running again with nothing to do: {again:.2f} s")


if __name__ == "__main__":
    main()
