"""Whether two workers are nearly twice as fast as one, with `local` and with `ray`, and give the same cells.

    python benchmarks/ray_speed.py [--scenes PATH|demo] [--method NAME …] [--seeds 2] [--metric NAME …] [--repeat 1] [--out FOLDER]

Every worker has one thread. A time is that of `realbench.run` from its call to its return: scenes examined, Ray started and ended, workers
started, fills, scores. "Work" is that time less what there is without any: the same run again, which finds all finished, and the runner
started and ended for nothing. Runs take turns; of several repeats the fastest counts. Two workers need two free cores: the machine's cores
and its load are printed.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import realbench
from realbench.bench import Summary
from realbench.errors import Exit
from realbench.execution import Machine
from realbench.machine import cores
from realbench.results import load_run
from realbench.wire import Message

KINDS = {
    "local, 1 worker": Machine("local", workers=1, threads=1, device="cpu"),
    "local, 2 workers": Machine("local", workers=2, threads=1, device="cpu"),
    "ray, 1 worker": Machine("ray", workers=1, threads=1, device="cpu"),
    "ray, 2 workers": Machine("ray", workers=2, threads=1, device="cpu"),
}
METHODS = ("patchmatch", "reference-warp", "nearest-reference")


def run(asked: argparse.Namespace, on: Machine, out: Path) -> tuple[float, Summary]:
    """Seconds from call to return, and how it ended."""
    start = time.perf_counter()
    summary = realbench.run(asked.method, scenes=asked.scenes, seeds=asked.seeds, metrics=asked.metric, out=out, on=on)
    return time.perf_counter() - start, summary


def nothing(on: Machine, out: Path) -> float:
    """Seconds to start and end a runner that has nothing to do."""
    start = time.perf_counter()
    with on.held():
        on.execute([], lambda unit: Message({}), print, out / "logs", print)
    return time.perf_counter() - start


def cells(root: Path) -> tuple[dict[str, bytes], str]:
    """All that is equal where two runs are: every image, every score to the last digit."""
    images = {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.png"))}
    return images, load_run(root).scores().drop(columns="run").to_csv()


def measure(asked: argparse.Namespace, root: Path) -> tuple[dict[str, float], dict[str, float], list[str]]:
    """For each kind the fastest time of a whole run, and of all in it that is no work; the kinds whose cells differ from the first's."""
    whole: dict[str, float] = {}
    idle: dict[str, float] = {}
    first: tuple[dict[str, bytes], str] | None = None
    different = []
    for repeat in range(asked.repeat):
        for name, on in KINDS.items():
            out = root / f"{name.replace(', ', '-').replace(' ', '-')}-{repeat}"
            shutil.rmtree(out, ignore_errors=True)
            seconds, summary = run(asked, on, out)
            if summary.exit_code != Exit.DONE:
                raise SystemExit(f"{name}: ended with exit code {int(summary.exit_code)}: fills {summary.fills}, scores {summary.scores}")
            whole[name] = min(seconds, whole.get(name, seconds))
            seconds = run(asked, on, out)[0] + nothing(on, out)
            idle[name] = min(seconds, idle.get(name, seconds))
            found = cells(out)
            first = first or found
            different += [name] if found != first else []
    return whole, idle, different


def rows(whole: dict[str, float], idle: dict[str, float], different: Sequence[str]) -> list[str]:
    """A Markdown table: seconds, and how many times as fast as one worker of the same runner."""
    lines = ["| | whole run, s | × 1 worker | work, s | × 1 worker | cells |", "|:--|--:|--:|--:|--:|:--|"]
    for name in KINDS:
        one = f"{name.partition(',')[0]}, 1 worker"
        net = {kind: whole[kind] - idle[kind] for kind in (name, one)}
        same = "differ" if name in different else "equal"
        figures = (f"{whole[name]:.1f}", f"{whole[one] / whole[name]:.2f}", f"{net[name]:.1f}", f"{net[one] / net[name]:.2f}")
        lines.append(f"| {name} | {' | '.join(figures)} | {same} |")
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", default="demo")
    parser.add_argument("--method", action="append")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--metric", action="append")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    asked.method = asked.method or list(METHODS)
    asked.metric = asked.metric or ["psnr", "ssim"]
    with tempfile.TemporaryDirectory() as temporary:
        before = os.getloadavg()[0]
        whole, idle, different = measure(asked, asked.out or Path(temporary))
    print("\n".join(rows(whole, idle, different)))
    place = f"{platform.platform()}, {cores()} cores, load {before:.1f} before"
    print(f"\n{place}; {', '.join(asked.method)} on {asked.scenes}, {asked.seeds} seeds")
    if different:
        raise SystemExit(f"cells differ from those of {next(iter(KINDS))}: {', '.join(different)}")


if __name__ == "__main__":
    main()
