"""A method and two metrics that meet with faults where a plan says so. Copied into a package of its own, found by entry points.

What they compute depends on (scene, fit, seed) alone. The plan is a file named by FAULT_PLAN; every fault that strikes leaves a mark
in the folder beside it before it does its work, so that a test knows what happened even where a process did not live to tell.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from realbench.method import BaseMethod, MethodCard
from realbench.metric import BaseMetric, MetricCard, Score


def strike(stage: str, **where: object) -> str:
    """Do what the plan says for this place; the word for an answer that is to be spoilt, or nothing."""
    path = os.environ.get("FAULT_PLAN")
    for index, fault in enumerate(json.loads(Path(path).read_text())["faults"] if path else ()):
        if fault["stage"] == stage and fault["at"] == where and _mark(Path(path or ""), index, fault):
            if fault["kind"] in ("shape", "nan", "alien", "few"):
                return str(fault["kind"])
            KINDS[fault["kind"]](index)
    return ""


def _mark(plan: Path, index: int, fault: dict[str, object]) -> bool:
    """Whether the fault still has a strike left; uses it up."""
    folder = plan.with_suffix(".struck")
    folder.mkdir(exist_ok=True)
    for time_ in range(int(str(fault["times"]))):
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(folder / f"{index}-{time_}", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            os.write(descriptor, str(time.monotonic_ns()).encode())
            os.close(descriptor)
            return True
    return False


def _raise(index: int) -> None:
    raise RuntimeError(f"fault {index}")


def _hostile(index: int) -> None:
    raise RuntimeError(f"fault {index} <img src=x onerror=alert(1)> | \x1b[31m\n\udcff\ud800\x00" + "x" * 5000)


def _memory(index: int) -> None:
    np.empty(1 << 62, np.uint8)


def _disk(index: int) -> None:
    raise OSError(errno.ENOSPC, f"No space left on device, fault {index}")


def _child(index: int) -> None:
    child = subprocess.Popen(["sleep", "60"])
    child.send_signal(signal.SIGKILL)
    if child.wait():
        raise subprocess.CalledProcessError(child.returncode, f"fault {index}")


def _orphan(index: int) -> None:
    subprocess.Popen(["sleep", "4"], start_new_session=True)  # holds the worker's pipes open
    os.kill(os.getpid(), signal.SIGKILL)


def _chatter(index: int) -> None:
    for _ in range(200):
        print("chatter " * 20)
        os.write(1, b"\xff\x00" * 40)


def _clock(index: int) -> None:
    shift = 3e8 if index % 2 else -3e8
    real = time.time
    time.time = lambda: real() + shift


KINDS = {
    "raise": _raise,
    "hostile": _hostile,
    "memory": _memory,
    "disk": _disk,
    "child": _child,
    "orphan": _orphan,
    "chatter": _chatter,
    "clock": _clock,
    "exit": lambda index: sys.exit(3),
    "kill": lambda index: os.kill(os.getpid(), signal.SIGKILL),
    "abort": lambda index: os.abort(),
    "stop": lambda index: os.kill(os.getpid(), signal.SIGSTOP),
    "hang": lambda index: time.sleep(3600),
}


class Faulty(BaseMethod):
    """Noise around the first reference's level."""

    card = MethodCard("faulty", "Faulty", "Meets with faults.", fits=True, stochastic=True)
    fitted: tuple[int, int] = (0, 0)

    def fit(self, task, *, seed, context):  # type: ignore[no-untyped-def]
        (context.work / "checkpoint").write_bytes(b"c" * 2000)
        strike("fit", scene=task.id, fit=seed)
        self.fitted = seed, int(task.references[0].mean()) // 2 + 3 * seed

    def complete(self, task, seed, context):  # type: ignore[no-untyped-def]
        fit, level = self.fitted
        spoilt = strike("fill", scene=task.id, fit=fit, seed=seed)
        image = task.target.copy()
        image[task.mask] = np.random.default_rng([fit, seed]).integers(0, 100, (int(task.mask.sum()), 3)) + level
        if spoilt == "shape":
            return image[1:], ()
        if spoilt == "nan":
            return np.full(image.shape, np.nan), ()
        return (object(), ()) if spoilt == "alien" else (image, (f"level {level}",))

    def save(self, folder):  # type: ignore[no-untyped-def]
        (folder / "fitted.json").write_text(json.dumps(self.fitted))

    def load(self, folder):  # type: ignore[no-untyped-def]
        self.fitted = tuple(json.loads((folder / "fitted.json").read_text()))


class _Metric(BaseMetric):
    def prepare(self, scene, *, context):  # type: ignore[no-untyped-def]
        strike("prepare", scene=scene.id, metric=self.card.id)
        return scene

    def score(self, prepared, batch):  # type: ignore[no-untyped-def]
        spoilt = strike("score", scene=prepared.id, metric=self.card.id)
        if spoilt == "alien":
            return [object()] * len(batch)
        values = [Score(float("nan") if spoilt == "nan" else value) for value in self.values(prepared, batch)]
        return values[1:] if spoilt == "few" else values

    def values(self, scene, batch) -> Iterator[float]:  # type: ignore[no-untyped-def]
        raise NotImplementedError


class Level(_Metric):
    """Mean level of the composite."""

    card = MetricCard("faulty-level", "Level", "Mean level.", "higher", "full", "composite")

    def values(self, scene, batch) -> Iterator[float]:  # type: ignore[no-untyped-def]
        return (float(image.mean()) for image in batch.composite)


class Distance(_Metric):
    """Mean distance of the raw fill from the truth."""

    card = MetricCard("faulty-distance", "Distance", "Mean distance.", "lower", "hole", "raw", ("truth",))

    def values(self, scene, batch) -> Iterator[float]:  # type: ignore[no-untyped-def]
        return (float(np.abs(image.astype(float) - scene.truth)[scene.mask].mean()) for image in batch.raw)
