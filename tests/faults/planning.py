"""Random fault plans: what goes wrong in which round of a run, drawn from a seed alone."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SCENES, FITS, SEEDS = ("a", "b"), 2, 2
METRICS = ("faulty-level", "faulty-distance")
TIMEOUT = 2.0
"""Seconds given to a stage in rounds in which one hangs."""

LEFT: Mapping[str, tuple[str, str]] = {
    "raise": ("failed", r"RuntimeError: fault {index}"),
    "hostile": ("failed", r"RuntimeError: fault {index} <img"),
    "memory": ("failed", r"out of memory: .*Unable to allocate"),
    "disk": ("failed", r"No space left on device, fault {index}"),
    "child": ("failed", r"'fault {index}' died with <Signals.SIGKILL"),
    "exit": ("failed", r"ended by itself \(exit code 3\)"),
    "kill": ("failed", r"killed by SIGKILL \(out of memory\?\)"),
    "orphan": ("failed", r"killed by SIGKILL"),
    "abort": ("failed", r"killed by SIGABRT"),
    "stop": ("timeout", r"took longer than"),
    "hang": ("timeout", r"took longer than"),
    "shape": ("failed", r"shape|scores for|NaN|AttributeError"),
    "nan": ("failed", r"NaN"),
    "alien": ("failed", r"shape|object|AttributeError"),
    "few": ("failed", r"scores for"),
}
"""The state and the reason that a record holds after each kind of fault; a kind that is not here harms nothing and leaves nothing."""
SLOW = ("stop", "hang")
DEADLY = ("kill", "orphan", "abort", "exit", *SLOW)
"""What costs the item that it strikes, however often it would strike; exceptions are tried once more, without the other seeds."""
COMMON = ("raise", "hostile", "memory", "disk", "child", "exit", "kill", "abort", "kill", "raise", "chatter", "clock")
DAMAGE = ("truncated", "garbage", "zeros", "emptied", "deleted", "longer", "foreign")
TARGETS = ("image", "image", "record", "record", "score", "fit record", "fitted state", "manifest")


@dataclass(frozen=True)
class Round:
    """One call of the run, with all that goes wrong in it."""

    faults: tuple[dict[str, Any], ...]
    """What strikes in workers: stage, place, kind, how many times."""
    driver: dict[str, Any] | None
    """What strikes the driver's own operations on files."""
    damage: tuple[tuple[str, str, int], ...]
    """What is done to files before the round: kind, target, and which of the candidates."""
    command: str
    """`here` in this process, `forked` as a command line of its own, `real` the same, started from nothing."""
    workers: int

    @property
    def timeout(self) -> float | None:
        """A limit where something would otherwise never end."""
        return TIMEOUT if any(fault["kind"] in SLOW for fault in self.faults) else None


def drawn(number: int, base: int = 8) -> list[Round]:
    """The rounds of plan `number`; the same for the same numbers, on every machine."""
    rng = random.Random(f"{base} {number}")
    rounds = [_round(rng, first=at == 0) for at in range(rng.choice((1, 1, 2, 2, 3)))]
    return rounds if any(one.faults or one.driver for one in rounds) else drawn(number, base + 1_000_003)


def _round(rng: random.Random, *, first: bool) -> Round:
    faults = tuple(_fault(rng) for _ in range(rng.choice((0, 1, 1, 2, 3))))
    driver = _driver(rng) if rng.random() < 0.45 else None
    alone = driver is not None and driver["do"] in ("kill", "interrupt", "terminate", "second")
    command = "real" if rng.random() < 0.04 else "forked" if alone or rng.random() < 0.2 else "here"
    damage = () if first else tuple((rng.choice(DAMAGE), rng.choice(TARGETS), rng.randrange(100)) for _ in range(rng.randint(0, 2)))
    if command == "real" and driver and driver["do"] == "second":
        command = "forked"
    return Round(faults, driver, damage, command, rng.choice((1, 1, 2)))


def _fault(rng: random.Random) -> dict[str, Any]:
    stage = rng.choice(("fit", "fill", "fill", "fill", "prepare", "score", "score"))
    at: dict[str, Any] = {"scene": rng.choice(SCENES)}
    if stage in ("fit", "fill"):
        at["fit"] = rng.randrange(FITS)
        at |= {"seed": rng.randrange(SEEDS)} if stage == "fill" else {}
    else:
        at["metric"] = rng.choice(METRICS)
    odd = {"fill": ("shape", "nan", "alien"), "score": ("nan", "alien", "few")}.get(stage, ())
    kind = rng.choice(SLOW) if rng.random() < 0.05 else "orphan" if rng.random() < 0.04 else rng.choice((*COMMON, *odd))
    return {"stage": stage, "at": at, "kind": kind, "times": rng.choice((1, 9))}


def _driver(rng: random.Random) -> dict[str, Any]:
    do = rng.choice(("kill", "kill", "kill", "full", "full", "read-only", "broken", "interrupt", "terminate", "second", "clock", "clock"))
    errors = do in ("full", "read-only", "broken")
    op = rng.choice(("open", "fsync", "replace", "mkdir", "write") if errors or do == "kill" else ("open", "fsync", "replace"))
    most = {"mkdir": 45, "fsync": 70, "open": 60, "replace": 60, "write": 60}[op]
    return {"op": op, "nth": rng.randint(1, most), "do": do, "rest": errors and rng.random() < 0.6}


def expected(fault: Mapping[str, Any], index: int) -> tuple[str, re.Pattern[str]] | None:
    """What a record must hold after this fault; None for one that leaves nothing."""
    if fault["kind"] not in LEFT:
        return None
    state, reason = LEFT[fault["kind"]]
    return state, re.compile(reason.format(index=index), re.DOTALL)
