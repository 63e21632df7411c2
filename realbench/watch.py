"""Who watches a run: the driver tells a Watcher what happens; the command line draws it, a library user need not care."""

from __future__ import annotations

from typing import Protocol


class Watcher(Protocol):
    """What can be told of a run as it happens."""

    def say(self, text: str) -> None:
        """A sentence for the user: a plan, a warning, a failure."""

    def begin(self, stage: str, total: int) -> None:
        """A stage of `total` steps begins."""

    def step(self, what: str, steps: int = 1) -> None:
        """Steps of the stage are done; `what` names the last one."""

    def detail(self, text: str, done: float, total: float) -> None:
        """How far the work inside a step is."""

    def end(self) -> None:
        """The stage is over."""


class Silent:
    """Nobody watches."""

    def say(self, text: str) -> None: ...

    def begin(self, stage: str, total: int) -> None: ...

    def step(self, what: str, steps: int = 1) -> None: ...

    def detail(self, text: str, done: float, total: float) -> None: ...

    def end(self) -> None: ...
