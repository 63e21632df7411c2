"""What scoring costs: one scene, 16 fills, every metric; ours beside a plain loop over pairs and beside pyiqa, in one run.

    python benchmarks/scoring.py [--size 512] [--fills 16] [--threads 2] [--metric lpips --metric dists …]

The plain loop calls the same packages with the same type, threads and weights, its models loaded once, on one pair of images after
the other: for each fill it computes what the truth or a reference gives anew. pyiqa (`pip install pyiqa`) has some of the metrics and is
called as its manual says; without it those cells stay empty. Models that are not on this machine get random weights: a network's
speed does not depend on their values (but how many pairs a matcher verifies does). Each loop runs once before it is timed, then
`--repeat` times, the loops in turn; the best time counts. Ours is `prepare` and `score`, on images not seen before.

Floating-point operations are those of convolutions and matrix products, counted by torch on our call; "peak" is their rate as a
share of the matmul rate measured in the same run with the same threads. The last line gives all metrics one scene and one batch, so
that what they share is computed once.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

METRICS = (
    *(
        "psnr",
        "psnr-full",
        "ssim",
        "ssim-full",
        "lpips",
        "lpips-crop",
        "lpips-multiply",
        "lpips-full",
        "lpips-full:net=vgg",
    ),
    *("dists", "dreamsim", "dino", "clip", "dino-ref", "clip-ref", "efficientnet"),
    *("matches", "matches:backend=xfeat", "matches:backend=aliked-lightglue", "matches:backend=loftr,size=512"),
)


@dataclass(frozen=True)
class Pictures:
    """The scene's images as arrays, H×W×3 RGB, 0–255, and its fills."""

    truth: Any
    mask: Any
    references: tuple[Any, ...]
    fills: tuple[Any, ...]

    def scene(self) -> Any:
        """A scene that no metric has seen."""
        from realbench.scene import Scene

        target = np.where(self.mask[..., None], np.uint8(127), self.truth)
        return Scene("benchmark", self.references, target, self.mask.copy(), self.truth)

    def batch(self, count: int = 0) -> Any:
        """Its fills, or the first `count` of them, as no metric has seen them."""
        from realbench.metric import Batch

        fills = self.fills[: count or len(self.fills)]
        return Batch(tuple(range(len(fills))), fills, fills)


def pictures(size: int, fills: int) -> Pictures:
    """A photograph, two others of it from nearby, and fills that are the truth with a hole that is more and more blurred and noisy."""
    import cv2
    from skimage import data

    photograph = cv2.resize(data.astronaut(), (size, size), interpolation=cv2.INTER_CUBIC)
    mask = np.zeros((size, size), bool)
    mask[size // 4 : size * 3 // 4, size // 3 : size * 5 // 6] = True
    turned = [cv2.getRotationMatrix2D((size / 2, size / 2), angle, scale) for angle, scale in ((6, 1.1), (-9, 1.2))]
    references = tuple(cv2.warpAffine(photograph, matrix, (size, size), borderMode=cv2.BORDER_REFLECT) for matrix in turned)
    made = []
    for index in range(fills):
        noise = np.random.default_rng(index).normal(0, 4 + index, photograph.shape)
        spoiled = np.clip(cv2.GaussianBlur(photograph, (0, 0), 0.5 + index / 4) + noise, 0, 255).astype(np.uint8)
        made.append(np.where(mask[..., None], spoiled, photograph))
    return Pictures(photograph, mask, references, tuple(made))


class Ours:
    """One metric of this suite."""

    def __init__(self, text: str, device: str, threads: int) -> None:
        from realbench import plan, registry
        from realbench.composite import Feather
        from realbench.method import Context

        column = plan.plan_columns([text], Feather())[0]
        kind = registry.load("metrics", column.metric)
        self.metric = kind(plan.validate(kind.Config, column.config, text))
        self.context = Context(device=device, threads=threads)

    def __call__(self, scene: Any, batch: Any) -> list[float]:
        """The values of a batch. Raises where a fill has none."""
        scores = self.metric.score(self.metric.prepare(scene, context=self.context), batch)
        return [float(score.value) for score in scores]


def matmul_peak(device: str) -> float:
    """Float32 matmul rate in FLOP/s, the best of some."""
    import torch

    best = 0.0
    for size in (1024, 2048):
        a, b = (torch.randn(size, size, device=device) for _ in range(2))
        for _ in range(4):
            best = max(best, 2 * size**3 / timed(lambda a=a, b=b: a @ b, device))  # type: ignore[misc]
    return best


def timed(work: Callable[[], Any], device: str) -> float:
    """Seconds of one call."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def best_of(loops: Sequence[Callable[[], Any] | None], repeat: int, device: str) -> list[float]:
    """The least time of each loop; they take turns, so that a machine that is busy for a while is busy for all."""
    times: list[list[float]] = [[] for _ in loops]
    for _ in range(repeat):
        for found, loop in zip(times, loops, strict=True):
            found.append(timed(loop, device) if loop is not None else math.nan)
    return [min(found) for found in times]


def flops(work: Callable[[], Any]) -> int:
    """Floating-point operations of convolutions and matrix products."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


@dataclass(frozen=True)
class Line:
    """The times of one metric, in seconds; NaN where a peer does not have it."""

    ours: float
    plain: float
    pyiqa: float
    flops: int
    spread: float
    """Largest difference of our values from the plain loop's."""


def measure(text: str, shown: Pictures, device: str, threads: int, repeat: int, peers: Any) -> Line:
    """Time one metric."""
    ours = Ours(text, device, threads)
    values = ours(shown.scene(), shown.batch())  # loads the models too
    pair = peers.plain(text, ours, device)
    plain_values = [pair(shown, fill) for fill in shown.fills] if pair else []
    foreign = peers.pyiqa(text, ours, device)
    if foreign:
        foreign(shown, shown.fills[0])

    def loop(one: Callable[[Any, Any], float] | None) -> Callable[[], Any] | None:
        return (lambda: [one(shown, fill) for fill in shown.fills]) if one else None

    times = best_of([lambda: ours(shown.scene(), shown.batch()), loop(pair), loop(foreign)], repeat, device)
    spread = max((abs(a - b) for a, b in zip(values, plain_values, strict=False)), default=math.nan)
    counted = flops(lambda: ours(shown.scene(), shown.batch()))
    ours.metric.close()
    return Line(*times, counted, spread)


def measure_together(texts: Sequence[str], shown: Pictures, device: str, threads: int, repeat: int) -> float:
    """Seconds for all metrics, one scene and one batch for all."""
    metrics = [Ours(text, device, threads) for text in texts]

    def work() -> None:
        scene, batch = shown.scene(), shown.batch()
        for metric in metrics:
            metric(scene, batch)

    work()
    return best_of([work], repeat, device)[0]


def show(name: str, line: Line, peak: float) -> None:
    """One row of the table."""

    def ratio(peer: float) -> str:
        return "" if math.isnan(peer) else f"{peer / line.ours:.2f}"

    share = f"{line.flops / line.ours / peak:.0%}" if line.flops else ""
    spread = "" if math.isnan(line.spread) else f"{line.spread:.1e}"
    print(f"{name:<34}{line.ours:>9.2f}{line.plain:>9.2f}{ratio(line.plain):>8}{ratio(line.pyiqa):>8}{share:>7}{spread:>10}", flush=True)


def main() -> None:
    """Print one line a metric, then all together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--fills", type=int, default=16)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--metric", action="append", metavar="NAME[:key=value,…]", help="default: all")
    asked = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    import cv2
    import torch

    from benchmarks import scoring_peers, scoring_weights

    torch.set_num_threads(asked.threads)
    cv2.setNumThreads(asked.threads)
    texts = asked.metric or METRICS
    with tempfile.TemporaryDirectory() as temporary:
        random = scoring_weights.complete(Path(temporary), texts)
        shown = pictures(asked.size, asked.fills)
        peak = matmul_peak(asked.device)
        place = torch.cuda.get_device_name() if asked.device.startswith("cuda") else "CPU"
        print(f"{place}, {asked.threads} threads, torch {torch.__version__}, matmul {peak / 1e9:.0f} GFLOP/s")
        print(f"{asked.size} × {asked.size} pixels, {asked.fills} fills, {len(shown.references)} references")
        print(f"random weights: {', '.join(random) or 'none'}")
        print(f"{'':<34}{'ours s':>9}{'plain s':>9}{'ratio':>8}{'pyiqa':>8}{'peak':>7}{'differs':>10}")
        lines = {}
        for text in texts:
            lines[text] = measure(text, shown, asked.device, asked.threads, asked.repeat, scoring_peers)
            show(text, lines[text], peak)
        whole = replace(
            next(iter(lines.values())),
            ours=measure_together(texts, shown, asked.device, asked.threads, asked.repeat),
            plain=math.fsum(line.plain for line in lines.values() if not math.isnan(line.plain)),
            pyiqa=math.nan,
            flops=0,
            spread=math.nan,
        )
        show("all together", whole, peak)
        print(f"median ratio {statistics.median(line.plain / line.ours for line in lines.values() if not math.isnan(line.plain)):.2f}")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
