"""Runs units on this machine: one long-lived worker process a slot, killed when it hangs, replaced when it dies."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from realbench import machine
from realbench.process import WorkerProcess
from realbench.runner import RunnerCard, RunnerOptions, Unit
from realbench.store import refused

from ._slots import SlotRunner
from ._work import Work


class LocalRunner(SlotRunner):
    """`--workers N` slots, 1 by default; a slot keeps its worker while units with the same worker word follow each other."""

    card: ClassVar[RunnerCard] = RunnerCard("local", "worker processes on this machine")

    def __init__(self, options: RunnerOptions) -> None:
        super().__init__(options)
        self._count = options.workers or 1
        self._threads = options.threads or max(1, machine.cores() // self._count)

    def arrange(self, units: Iterable[Unit]) -> Work:
        """Units whole and in order: the cores are shared by as many workers as there are."""
        return Work(units)

    def slots(self) -> int:
        """One a worker."""
        return self._count

    def start(self, unit: Unit) -> WorkerProcess:
        """A worker process, which logs into the run's folder."""
        log = Path(self.options.log) / f"worker-{threading.get_ident()}.log" if self.options.log else None
        if log:
            with refused(log.parent):
                log.parent.mkdir(parents=True, exist_ok=True)
        return WorkerProcess(threads=self._threads, log=log)
