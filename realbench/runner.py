"""What a runner is: it takes units of work to workers and hands outcomes back. Runners live in the folder runners/."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol

from realbench.metric import State
from realbench.wire import Array, Message

Stage = Literal["fill", "score"]


@dataclass(frozen=True)
class Unit:
    """Work that belongs together, as plain data: some seeds of one fit, or some metrics on some fills of one scene."""

    stage: Stage
    worker: str
    """Units with the same word can share one long-lived worker, whose models stay loaded."""
    scene: str
    items: tuple[str, ...]
    """What is left to do, in order: seeds for `fill`, metric keys for `score`."""
    label: str = ""
    fit: int = 0
    cells: tuple[tuple[str, int, int], ...] = ()
    """For `score`: (label, fit, seed) of the fills to score."""
    fits: bool = False
    """For `fill`: a fit comes before the first seed unless the supplied message carries a fitted state."""
    torch: bool = False
    """Some of it runs on torch, so the device asked for applies."""
    needs: tuple[str, ...] = ()
    """What the method's card says that it needs, for runners that share out machines."""

    def __str__(self) -> str:
        what = f"{self.label}, fit {self.fit}" if self.stage == "fill" else f"{len(self.cells)} fills"
        return f"{self.stage} {self.scene}: {what}, {len(self.items)} left"


@dataclass(frozen=True)
class Outcome:
    """What became of one item of a unit (or of its fit)."""

    unit: Unit
    kind: Literal["fit", "item", "progress"]
    item: str = ""
    state: State = "ok"
    reason: str = ""
    detail: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)


def _silent(text: str) -> None:
    """Nobody listens."""


Supply = Callable[[Unit], Message]
"""Gives the request for a unit's remaining items (images, settings, fitted state); called just before the unit is sent."""


@dataclass(frozen=True)
class RunnerOptions:
    """How to execute, independent of what."""

    supply: Supply
    workers: int | None = None
    """Workers at a time; None: the runner's choice."""
    threads: int | None = None
    """CPU threads of each worker; None: the runner's choice."""
    timeout: float | None = None
    """Seconds that any one fit, fill or metric may take; None means no limit."""
    log: str | None = None
    """A folder for the workers' logs."""
    device: str = "auto"
    """The torch device asked for; each request says it too."""
    special: Mapping[str, Any] = field(default_factory=dict)
    """Options that the runner's card names, where they were given."""
    say: Callable[[str], None] = _silent
    """Tells the user a sentence."""


class Runner(Protocol):
    """The interface of every runner.

    A runner that keeps something between calls of `run` (a connection) gives it back in a class method `release`.
    """

    card: ClassVar[RunnerCard]

    def __init__(self, options: RunnerOptions) -> None: ...

    def run(self, units: Iterable[Unit], emit: Callable[[Outcome], None]) -> None:
        """Execute all units, in order where one worker does them; `emit` is called from one thread at a time.

        Each item of each unit gets exactly one outcome. A worker that dies or exceeds the timeout costs the item it was at.
        Stops early when `emit` raises; on KeyboardInterrupt workers are killed before it passes on.
        """


@dataclass(frozen=True)
class RunnerCard:
    """What `realbench run --help` says of a runner."""

    id: str
    summary: str
    options: tuple[str, ...] = ()
    """Names of the options that this runner alone has, fields of realbench.Machine."""
    requires: tuple[str, ...] = ()
    """Modules it cannot do without; the extra that brings them has the runner's name."""
    elsewhere: bool = False
    """Workers may be on other machines: what methods prepare is prepared there."""


class Ledger:
    """What is left of a unit while a worker is at it: turns its messages into outcomes, each item once."""

    def __init__(self, unit: Unit, *, fitted: bool) -> None:
        self.left = unit
        self._fitting = unit.fits and not fitted

    def settle(self, message: Message) -> Outcome | None:
        """The outcome a message reports; None for an item that is not (or no longer) asked for, and for what is none."""
        head = message.head
        kind, item = head["event"], head.get("item", "")
        if kind == "fit":
            self._fitting = False
        elif kind == "item":
            if item not in self.left.items:
                return None
            self.left = replace(self.left, items=tuple(other for other in self.left.items if other != item))
        elif kind != "progress":
            return None
        words = {name: head[name] for name in ("state", "reason", "detail", "data") if name in head}
        return Outcome(self.left, kind, item, **words, arrays=message.arrays)

    def fail(self, state: State, reason: str, detail: str = "") -> list[Outcome]:
        """Charge a lost worker to what it was at: the fit and with it every item, or the first item left."""
        if self._fitting:
            self._fitting = False
            lost, first = self.left.items, [Outcome(self.left, "fit", "", state, reason, detail)]
            reason = f"fit: {reason}"
        else:
            lost, first = self.left.items[:1], []
        self.left = replace(self.left, items=tuple(item for item in self.left.items if item not in lost))
        return [*first, *(Outcome(self.left, "item", item, state, reason, detail) for item in lost)]
