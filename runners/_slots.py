"""What all runners share: slots that take jobs to workers one after the other, and what becomes of a worker that is lost."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from realbench.errors import RealbenchError
from realbench.process import WorkerLost
from realbench.runner import Ledger, Outcome, RunnerOptions, Unit
from realbench.wire import Message

from ._work import Job, Release, Work

Emit = Callable[[Outcome], None]
RETRIES = 3
"""How often what was under way is tried again after its worker's machine was lost."""


class Worker(Protocol):
    """What a slot asks: realbench.process.WorkerProcess, or something that stands for one elsewhere."""

    def ask(self, request: Message, timeout: float | None = None) -> Iterator[Message]:
        """Replies to a request. Raises WorkerLost where the worker died or hung, WorkerGone where its machine went away."""

    def kill(self) -> None:
        """End it, at once."""


class WorkerGone(Exception):
    """A worker was lost through no fault of its work; the message says in a few words what happened."""


class Crowded(Exception):
    """A worker that was to be started has no place, and an idle one can do its job."""


class SlotRunner(ABC):
    """Slots, each a thread: take a job, ask the worker, hand outcomes on. A runner says what a worker is and how many slots there are."""

    def __init__(self, options: RunnerOptions) -> None:
        self.options = options
        self._work = Work(())
        self._lock = threading.Lock()
        self._emitting = threading.Lock()
        self._error: BaseException | None = None
        self._workers: dict[int, Worker] = {}
        self._units: dict[int, Unit] = {}

    @abstractmethod
    def start(self, unit: Unit) -> Worker:
        """A worker for units with this word."""

    @abstractmethod
    def arrange(self, units: Iterable[Unit]) -> Work:
        """The queue of a run."""

    @abstractmethod
    def slots(self) -> int:
        """How many slots are to work on it now, at least 1; where that grows, slots are added, never more than there are jobs."""

    def spent(self, scene: str) -> None:
        """Nothing of this scene is left to do."""

    @property
    def stopped(self) -> bool:
        """Whether the run is to end; a worker that is being started is of no use then."""
        return self._work.stopped

    def crowded(self, unit: Unit) -> bool:
        """See Work.crowded; for `start` to ask while it waits, and to raise Crowded."""
        return self._work.crowded(unit)

    def run(self, units: Iterable[Unit], emit: Emit) -> None:
        """See realbench.runner.Runner."""
        self._work = self.arrange(units)
        most = len(self._work)
        slots: list[threading.Thread] = []
        try:
            while True:
                for slot in range(len(slots), min(self.slots(), most)):
                    slots.append(threading.Thread(target=self._serve, args=(slot, emit), daemon=True))
                    slots[-1].start()
                busy = next((thread for thread in slots if thread.is_alive()), None)
                if busy is None:
                    break
                busy.join(0.5)  # without timeout it would not let Ctrl-C through on every platform
        finally:
            self._stop()
        if self._error is not None:
            raise self._error

    def _stop(self, error: BaseException | None = None) -> None:
        """Kill all workers; slots notice and end."""
        with self._lock:
            self._work.stop()
            self._error = self._error or error
            workers = list(self._workers.values())
            self._workers.clear()
        with ThreadPoolExecutor(len(workers) or 1) as pool:
            list(pool.map(lambda worker: worker.kill(), workers))

    def _serve(self, slot: int, emit: Emit) -> None:
        """One slot: take jobs until none is left, keeping the worker as long as it fits the next one."""
        try:
            while (job := self._work.take(slot)) is not None:
                if isinstance(job, Release):
                    self._discard(slot)
                    continue
                held = self._units.get(slot)
                if held is not None and held.worker != job.unit.worker:
                    self._discard(slot)
                self._perform(slot, job, emit)
        except BaseException as error:
            self._stop(error)
        self._discard(slot)

    def _perform(self, slot: int, job: Job, emit: Emit) -> None:
        """Bring every item of a job to an outcome, with as many workers as it takes, or hand it back where its worker went away."""
        unit = job.unit
        while unit.items and not self.stopped:
            try:
                request = self.options.supply(unit)
            except RealbenchError as error:  # a scene that broke since it was examined costs its own cells only
                self._give_up(job, unit, str(error), emit)
                break
            ledger = Ledger(unit, fitted=request.head.get("state") is not None)
            try:
                lost = self._ask(slot, job, ledger, request, emit)
            except Crowded:
                self._work.back(slot, unit)
                return
            except WorkerGone as gone:
                self._discard(slot)
                if self._work.stopped:
                    return
                if job.losses < RETRIES:
                    self._work.back(slot, ledger.left, str(gone))
                    return
                lost = ledger.fail("failed", f"lost {RETRIES + 1} times, the last time because {gone}")
                job.losses = 0
            for outcome in lost:
                self._pass_on(slot, job, outcome, emit)
            unit = ledger.left
        if not self.stopped and self._work.finished(slot):
            self.spent(unit.scene)

    def _ask(self, slot: int, job: Job, ledger: Ledger, request: Message, emit: Emit) -> list[Outcome]:
        """Have a worker work on a request; what it is to be charged with in the end."""
        try:
            worker = self._worker(slot, ledger.left)
            for message in worker.ask(request, self.options.timeout):
                outcome = ledger.settle(message)
                if outcome is not None:
                    self._pass_on(slot, job, outcome, emit)
            return ledger.fail("failed", "the worker gave no outcome for it") if ledger.left.items else []
        except WorkerLost as error:
            self._discard(slot)
            return ledger.fail("timeout" if error.timed_out else "failed", str(error), error.log)

    def _give_up(self, job: Job, unit: Unit, reason: str, emit: Emit) -> None:
        ledger = Ledger(unit, fitted=True)
        while ledger.left.items:
            for outcome in ledger.fail("failed", reason):
                self._emit(job, outcome, emit)

    def _pass_on(self, slot: int, job: Job, outcome: Outcome, emit: Emit) -> None:
        """Emit an outcome; a fit's also decides what becomes of the chunks that wait for it."""
        self._emit(job, outcome, emit)
        if outcome.kind == "progress":
            return
        job.losses = 0
        if outcome.kind == "fit" and job.rest:
            if outcome.state == "ok":
                self._work.opened(slot)
                return
            reason = f"fit: {outcome.reason}"
            for unit in self._work.refused(slot):
                for item in unit.items:
                    self._emit(job, replace(outcome, unit=unit, kind="item", item=item, reason=reason, arrays={}), emit)

    def _emit(self, job: Job, outcome: Outcome, emit: Emit) -> None:
        """Outcomes of workers that were killed because the run stopped are nobody's."""
        if job.lost and outcome.kind != "progress":
            outcome = replace(outcome, data={**outcome.data, "retried": list(job.lost)})
        with self._emitting:
            if not self.stopped:
                emit(outcome)

    def _worker(self, slot: int, unit: Unit) -> Worker:
        """The slot's worker, started where it has none."""
        with self._lock:
            worker = self._workers.get(slot)
        if worker is None:
            worker = self.start(unit)
            with self._lock:
                if not self.stopped:
                    self._workers[slot] = worker
            if self.stopped:
                worker.kill()
            self._units[slot] = unit
            self._work.started(slot, unit)
        return worker

    def _discard(self, slot: int) -> None:
        with self._lock:
            worker = self._workers.pop(slot, None)
        self._units.pop(slot, None)
        self._work.discarded(slot)
        if worker is not None:
            worker.kill()
