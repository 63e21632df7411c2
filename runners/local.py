"""Runs units on this machine: one long-lived worker process a slot, killed when it hangs, replaced when it dies."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

from realbench.errors import RealbenchError
from realbench.process import WorkerLost, WorkerProcess
from realbench.runner import Ledger, Outcome, RunnerCard, RunnerOptions, Unit


class LocalRunner:
    """`--workers N` slots; a slot keeps its worker while units with the same worker word follow each other."""

    card: ClassVar[RunnerCard] = RunnerCard("local", "worker processes on this machine")

    def __init__(self, options: RunnerOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._emitting = threading.Lock()
        self._stopped = False
        self._error: BaseException | None = None
        self._workers: set[WorkerProcess] = set()

    def run(self, units: Iterable[Unit], emit: Callable[[Outcome], None]) -> None:
        """See realbench.runner.Runner."""
        waiting = deque(units)
        count = min(self._options.workers, len(waiting))
        slots = [threading.Thread(target=self._serve, args=(waiting, emit), daemon=True) for _ in range(count)]
        try:
            for slot in slots:
                slot.start()
            for slot in slots:
                while slot.is_alive():  # a join without timeout would not let Ctrl-C through on every platform
                    slot.join(0.5)
        finally:
            self._stop()
        if self._error is not None:
            raise self._error

    def _stop(self, error: BaseException | None = None) -> None:
        """Kill all workers; slots notice and end."""
        with self._lock:
            self._stopped = True
            self._error = self._error or error
            for worker in self._workers:
                worker.kill()
            self._workers.clear()

    def _serve(self, waiting: deque[Unit], emit: Callable[[Outcome], None]) -> None:
        """One slot: take units until none is left, keeping the worker as long as it fits the next one."""
        worker: WorkerProcess | None = None
        word = ""
        try:
            while (unit := self._take(waiting, word)) is not None:
                if worker is not None and unit.worker != word:
                    self._discard(worker)
                    worker = None
                word = unit.worker
                worker = self._perform(unit, worker, emit)
        except BaseException as error:
            self._stop(error)
        if worker is not None:
            self._discard(worker)

    def _take(self, waiting: deque[Unit], word: str) -> Unit | None:
        """The next unit, one for the worker at hand first; none once the run was stopped."""
        with self._lock:
            if self._stopped or not waiting:
                return None
            unit = next((unit for unit in waiting if unit.worker == word), waiting[0])
            waiting.remove(unit)
            return unit

    def _perform(self, unit: Unit, worker: WorkerProcess | None, emit: Callable[[Outcome], None]) -> WorkerProcess | None:
        """Bring every item of a unit to an outcome, with as many workers as it takes."""
        while unit.items and not self._stopped:
            try:
                request = self._options.supply(unit)
            except RealbenchError as error:  # a scene that broke since it was examined costs its own cells only
                self._give_up(Ledger(unit, fitted=True), str(error), emit)
                return worker
            ledger = Ledger(unit, fitted=request.head.get("state") is not None)
            worker = worker or self._start()
            lost: list[Outcome] = []
            try:
                for message in worker.ask(request, self._options.timeout):
                    self._pass_on(ledger.settle(message), emit)
                if ledger.left.items:
                    lost = ledger.fail("failed", "the worker gave no outcome for it")
            except WorkerLost as error:
                self._discard(worker)
                worker = None
                lost = ledger.fail("timeout" if error.timed_out else "failed", str(error), error.log)
            for outcome in lost:
                self._pass_on(outcome, emit)
            unit = ledger.left
        return worker

    def _give_up(self, ledger: Ledger, reason: str, emit: Callable[[Outcome], None]) -> None:
        while ledger.left.items:
            for outcome in ledger.fail("failed", reason):
                self._pass_on(outcome, emit)

    def _pass_on(self, outcome: Outcome | None, emit: Callable[[Outcome], None]) -> None:
        """Outcomes of workers that were killed because the run stopped are nobody's."""
        with self._emitting:
            if outcome is not None and not self._stopped:
                emit(outcome)

    def _start(self) -> WorkerProcess:
        log = Path(self._options.log) / f"worker-{threading.get_ident()}.log" if self._options.log else None
        if log:
            log.parent.mkdir(parents=True, exist_ok=True)
        worker = WorkerProcess(threads=self._options.threads, log=log)
        with self._lock:
            self._workers.add(worker)
        return worker

    def _discard(self, worker: WorkerProcess) -> None:
        with self._lock:
            self._workers.discard(worker)
        worker.kill()
