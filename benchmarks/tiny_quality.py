"""What the small model is good for: every figure of docs/tiny.md.

    python -m benchmarks.tiny_quality --scenes ../shared/scenes --photos ../shared/photos --out build/quality [--part main inpainter …]

`--scenes` is a suite whose scenes with ground truth are measured on, `--photos` a folder of photographs with photos.csv beside it, of
which those whose licence says `evaluation` are used. Everything is kept in `--out` as ordinary run folders: the same command goes on
where it stopped.
Figures are means over seeds, fits, scenes; in brackets the 95 % interval of the nested bootstrap, of differences paired by scene.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import realbench
import realbench.filtering
from realbench.bench import Machine
from realbench.bootstrap import Nest, difference, nests
from realbench.cli.screen import Screen
from realbench.costs import costs
from realbench.filtering import filtering
from realbench.results import Results
from realbench.statistics import ends
from tools.train_tiny.evaluate import photographs

from . import tiny_suites as suites

METRICS = ("psnr", "ssim", "lpips", "lpips-full")
FITS, SEEDS = 2, 8
STEPS = (25, 75, 150, 500)
"""Beside the preset's own, for the curve of quality against steps."""
TRICK_SCENES = 2
"""Of the scenes with truth, the first ones, for the tricks."""
SAME_SIZE = "prompt-inpaint at 128 px"
TRICKS: dict[str, tuple[str, ...]] = {
    "no pool of crops": ("pool=0",),
    "schedule constant": ("schedule=constant",),
    "sampler dpm++": ("sampler=dpm++",),
    "sampler ddpm, 20 steps": ("sampler=ddpm", "inference_steps=20"),
    "half precision": ("precision=bfloat16",),
    "early stop": ("stop_every=50",),
    "text encoder trained, every 4th step": ("text_lr=4e-5", "text_every=4"),
    "fused AdamW": ("accelerate=true",),
}
"""What preset `fast` does beside the paper, one by one, turned on or off in `tiny`."""


@dataclass(frozen=True)
class Asked:
    """The command line."""

    scenes: Path
    photos: Path
    out: Path
    machine: Machine
    count: int

    def run(self, name: str, suite: Path, methods: Sequence[str], **more: object) -> Results:
        """A run folder of this name, finished."""
        folder = self.out / "runs" / name
        with Screen() as watch:
            realbench.run(methods, scenes=suite, out=folder, on=self.machine, watch=watch, **{"metrics": METRICS, **more})  # type: ignore[arg-type]
        return realbench.load_run(folder)

    def suite(self, name: str, references: Callable[[int, list[Path]], Sequence[Path]]) -> Path:
        """The scenes with truth, with other references."""
        return suites.copied(self.scenes, suites.with_truth(self.scenes), self.out / "suites" / name, references)


def main() -> None:
    """Run the parts asked for and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--count", type=int, default=200, help="photographs of the part inpainter")
    parser.add_argument("--workers", type=int, default=1, help="with more than one, times are those of fits beside each other")
    parser.add_argument("--threads", type=int, default=2, help="of each worker")
    asked = parser.parse_args()
    given = Asked(asked.scenes, asked.photos, asked.out, Machine(workers=asked.workers, threads=asked.threads, device="cpu"), asked.count)
    for part in asked.part:
        print(f"\n## {part}: {(PARTS[part].__doc__ or '').splitlines()[0]}\n", flush=True)
        PARTS[part](given)


def measured(asked: Asked) -> Results:
    """The run that most parts read."""
    methods = ("realfill", "prompt-inpaint", "paint-by-example", "telea", "mean-color", "reference-warp", f"prompt-inpaint={SAME_SIZE}")
    settings, metrics = [f"{SAME_SIZE}.size=128"], (*METRICS, "matches")
    return asked.run("main", asked.suite("scenes", suites.own()), methods, settings=settings, fits=FITS, seeds=SEEDS, metrics=metrics)


def quality(asked: Asked) -> None:
    """The scenes, 2 fits × 8 seeds: is RealFill better than a prompt, an example than a foreign one?"""
    results = measured(asked)
    foreign = asked.run("foreign", asked.suite("foreign", suites.anothers), ("paint-by-example",), seeds=SEEDS)
    table({"": results, "another scene's example: ": foreign})
    against("realfill:tiny − prompt-inpaint:tiny", (results, "realfill:tiny"), (results, "prompt-inpaint:tiny"))
    against(f"realfill:tiny − {SAME_SIZE}", (results, "realfill:tiny"), (results, SAME_SIZE))
    against("realfill:tiny − telea", (results, "realfill:tiny"), (results, "telea"))
    against("paint-by-example:tiny − with another scene's example", (results, "paint-by-example:tiny"), (foreign, "paint-by-example:tiny"))


def inpainter(asked: Asked) -> None:
    """Photographs with thick random masks of 20-40 % at 256 px: is it an inpainter?"""
    suite = photographs(asked.photos, asked.count, asked.out / "suites" / f"photographs-{asked.count}")
    results = asked.run(f"inpainter-{asked.count}", suite, ("prompt-inpaint", "telea", "mean-color"))
    table({"": results})
    for other in ("telea", "mean-color"):
        against(f"prompt-inpaint:tiny − {other}", (results, "prompt-inpaint:tiny"), (results, other))


def speed(asked: Asked) -> None:
    """Seconds and memory of a scene, from the records of the main run."""
    print_costs(measured(asked))


def curve(asked: Asked) -> None:
    """RealFill's quality against training steps, 1 fit × 4 seeds."""
    suite = asked.suite("scenes", suites.own())
    for steps in STEPS:
        label = f"steps {steps}"
        results = asked.run("curve", suite, (f"realfill={label}",), settings=[f"{label}.steps={steps}"], seeds=4)
    table({"": results, "the preset: ": measured(asked)})


def references(asked: Asked) -> None:
    """RealFill with fewer references, and with those of another scene; 1 fit × 4 seeds."""
    found = {"all: ": measured(asked)}
    for most in (1, 2):
        suite = asked.suite(f"first-{most}", suites.own(most))
        found[f"{most}: "] = asked.run(f"references-{most}", suite, ("realfill",), seeds=4)
    found["another scene's: "] = asked.run("shuffled", asked.suite("foreign", suites.anothers), ("realfill",), seeds=4)
    table(found, only="realfill:tiny")
    for name, results in found.items():
        if name != "all: ":
            against(f"all − {name.rstrip(': ')}", (found["all: "], "realfill:tiny"), (results, "realfill:tiny"))


def filtered(asked: Asked) -> None:
    """Seeds of the main run, filtered by match count."""
    found = filtering(measured(asked))
    assert found is not None
    print("| row | metric | dropped, % | mean | change from all seeds |\n| --- | --- | --- | --- | --- |")
    frame = realbench.filtering.frame(found, measured(asked))
    for line in frame.itertuples():
        low, high = line.change_low, line.change_high
        print(f"| {line.label} | {line.metric} | {line.dropped_percent} | {line.mean:.3f} | {line.change:+.3f} [{low:+.3f}, {high:+.3f}] |")


def tricks(asked: Asked) -> None:
    """What preset fast does, one by one, in preset tiny, on the first scenes; 1 fit × 4 seeds."""
    suite = asked.suite("scenes", suites.own())
    scenes = suites.with_truth(asked.scenes)[:TRICK_SCENES]
    main_run = asked.run("tricks", suite, ("realfill",), scene=scenes, seeds=4)
    for name, changes in TRICKS.items():
        label = name.replace(",", "")
        results = asked.run(
            "tricks", suite, (f"realfill={label}",), settings=[f"{label}.{change}" for change in changes], scene=scenes, seeds=4
        )
    table({"": results, "the preset: ": main_run}, only=("realfill:tiny", *(name.replace(",", "") for name in TRICKS)))
    for name in TRICKS:
        against(f"{name} − the preset", (results, name.replace(",", "")), (main_run, "realfill:tiny"), ("psnr", "lpips"))
    print_costs(results)


def repeat(asked: Asked) -> None:
    """Two runs of one scene at equal threads and batch: are their fills byte for byte the same?"""
    suite = asked.suite("scenes", suites.own())
    digests = []
    for name in ("first", "second"):
        asked.run(
            f"repeat-{name}",
            suite,
            ("realfill", "prompt-inpaint", "paint-by-example"),
            scene=["kermit"],
            settings=["realfill.steps=40"],
            seeds=2,
        )
        fills = sorted((asked.out / "runs" / f"repeat-{name}").rglob("raw.png"))
        digests.append([hashlib.sha256(fill.read_bytes()).hexdigest() for fill in fills])
    print(f"{len(digests[0])} fills, byte-equal: {digests[0] == digests[1]}")


PARTS: dict[str, Callable[[Asked], None]] = {
    "main": quality,
    "inpainter": inpainter,
    "speed": speed,
    "repeat": repeat,
    "references": references,
    "filtered": filtered,
    "curve": curve,
    "tricks": tricks,
}


def table(runs: dict[str, Results], only: str | Sequence[str] = ()) -> None:
    """Means with their intervals, one line a row."""
    wanted = (only,) if isinstance(only, str) else tuple(only)
    print(f"| row | scenes | {' | '.join(METRICS)} |\n| {' | '.join('---' for _ in range(len(METRICS) + 2))} |")
    for prefix, results in runs.items():
        for label in dict.fromkeys(results.scores()["label"]):
            if not wanted or label in wanted:
                found = [nest(results, label, metric) for metric in METRICS]
                cells = [f"{one.means.mean():.3f} {span(one.interval(one.scenes))}" for one in found]
                print(f"| {prefix}{label} | {len(found[0].scenes)} | {' | '.join(cells)} |")
    print(flush=True)


def against(title: str, one: tuple[Results, str], other: tuple[Results, str], metrics: Sequence[str] = METRICS) -> None:
    """The difference of two rows, paired by scene."""
    parts = []
    for metric in metrics:
        first, second = nest(*one, metric), nest(*other, metric)
        common = [scene for scene in first.scenes if scene in second.scenes]
        resampled = difference(first, second, common)
        parts.append(f"{metric} {resampled.mean():+.3f} {span(ends(resampled))}")
    print(f"- {title}: {', '.join(parts)}", flush=True)


def nest(results: Results, label: str, metric: str) -> Nest:
    """One row under one metric. Its draws of fits and seeds are its own, also where another run has a row of this label."""
    scores: pd.DataFrame = results.scores()
    lines = scores[(scores["label"] == label) & (scores["metric"] == metric)].assign(label=f"{results.runs[0][0]} {label}")
    (found,) = nests(lines).values()
    return found


def span(interval: tuple[float, float] | None) -> str:
    """An interval in brackets."""
    return "" if interval is None else f"[{interval[0]:.3f}, {interval[1]:.3f}]"


def print_costs(results: Results) -> None:
    """Seconds of a fit and of a fill, alone and together, and the largest peak of memory."""
    print("| row | fit, s | fill, s | fit + 1 seed, s | fit + 8 seeds, s | peak memory, GB |\n| --- | --- | --- | --- | --- | --- |")
    for label, cost in costs(results).items():
        fit, fill, peak = cost.fit_seconds or 0.0, cost.fill_seconds or 0.0, (cost.host_bytes or 0) / 1e9
        print(f"| {label} | {fit:.1f} | {fill:.1f} | {fit + fill:.0f} | {fit + 8 * fill:.0f} | {peak:.2f} |")


if __name__ == "__main__":
    main()
