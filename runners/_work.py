"""What is left to do and who takes it next: the queue that slots share."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from realbench.runner import Unit

Room = Callable[[Unit, Sequence[Unit]], bool]
"""Whether a worker for a unit can be had beside the workers that were started for other units."""
PATIENCE = 1.0
"""Seconds between looks at whether room has come."""


@dataclass
class Job:
    """A unit, or the first chunk of one, on its way."""

    unit: Unit
    rest: tuple[Unit, ...] = ()
    """Chunks that wait for the fit that comes with this one."""
    losses: int = 0
    """Workers lost in a row without anything finished."""
    lost: tuple[str, ...] = ()
    """Why earlier attempts were lost."""


class Release:
    """Told to a slot whose worker is of no more use."""


def _always(unit: Unit, others: Sequence[Unit]) -> bool:
    return True


class Work:
    """Jobs, taken by slots (numbers) in this order:

    a chunk whose fit the slot's worker holds; the first job for the slot's worker (the same word); the first job for which there is room
    to start a worker; a chunk whose fit another slot's worker holds. Safe to use from many threads.
    """

    def __init__(self, units: Iterable[Unit], *, chunk: int = 0, room: Room = _always, returns: bool = False) -> None:
        """`chunk` seeds at a time (0: all); `returns`: jobs may come back, so a slot with nothing to take waits for those under way."""
        self.stopped = False
        self._room = room
        self._returns = returns
        self._waiting = deque(_jobs(units, chunk))
        self._left = Counter(part.scene for job in self._waiting for part in (job.unit, *job.rest))
        self._home: dict[int, deque[Job]] = {}
        self._running: dict[int, Job] = {}
        self._workers: dict[int, Unit] = {}
        self._words: dict[int, str] = {}
        self._idle: set[int] = set()
        self._crowded = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """Jobs and the chunks that wait for them."""
        return self._left.total()

    def take(self, slot: int) -> Job | Release | None:
        """The slot's next job; Release when it should give its worker back and ask again; None when nothing will come any more."""
        with self._changed:
            while not self.stopped:
                job = self._choose(slot)
                if job is not None:
                    self._running[slot] = job
                    self._words[slot] = job.unit.worker
                    return job
                if not self._returns or not (self._running or self._waiting or any(self._home.values())):
                    return None
                if slot in self._workers and not self._worth_keeping(slot):
                    return Release()
                self._idle.add(slot)
                self._changed.wait(PATIENCE)
                self._idle.discard(slot)
            return None

    def started(self, slot: int, unit: Unit) -> None:
        """A slot has a worker now, started for this unit."""
        with self._changed:
            self._workers[slot] = unit
            self._crowded = False

    def crowded(self, unit: Unit) -> bool:
        """Told again and again while a worker for a unit waits for its place, though there seemed to be room.

        True where an idle slot has such a worker, and should have the job. Otherwise idle workers are given back, to make room.
        """
        with self._changed:
            if self._is_idle(unit):
                return True
            self._crowded = True
            self._changed.notify_all()
            return False

    def discarded(self, slot: int) -> None:
        """A slot has no worker any more; what it held is nobody's."""
        with self._changed:
            self._workers.pop(slot, None)
            self._waiting.extendleft(reversed(self._home.pop(slot, deque())))
            self._changed.notify_all()

    def opened(self, slot: int) -> None:
        """The fit that a slot's job came with is done and stored: its other chunks may be taken, by this slot first."""
        with self._changed:
            job = self._running[slot]
            self._home.setdefault(slot, deque()).extend(Job(unit) for unit in job.rest)
            job.rest = ()
            self._changed.notify_all()

    def refused(self, slot: int) -> tuple[Unit, ...]:
        """The fit that a slot's job came with failed: its other chunks, which nobody will take."""
        with self._changed:
            job = self._running[slot]
            rest, job.rest = job.rest, ()
            self._left.subtract(unit.scene for unit in rest)
            return rest

    def finished(self, slot: int) -> bool:
        """A slot is done with its job, whatever became of it; True when it was the scene's last."""
        with self._changed:
            job = self._running.pop(slot)
            self._waiting.extend(Job(unit) for unit in job.rest)  # no fit was reported: they find out for themselves
            self._left[job.unit.scene] -= 1
            self._changed.notify_all()
            return self._left[job.unit.scene] == 0

    def back(self, slot: int, left: Unit, reason: str = "") -> None:
        """What is left of a slot's job is taken again, by whoever is free; with a reason, it was lost."""
        with self._changed:
            job = self._running.pop(slot)
            again = replace(job, unit=left)  # without what has its outcome already
            if reason:
                again = replace(again, losses=job.losses + 1, lost=(*job.lost, reason))
            self._waiting.appendleft(again)
            self._changed.notify_all()

    def stop(self) -> None:
        """Nothing is taken any more."""
        with self._changed:
            self.stopped = True
            self._changed.notify_all()

    def _choose(self, slot: int) -> Job | None:
        if self._home.get(slot):
            return self._home[slot].popleft()
        job = self._first(slot)
        if job is not None:
            self._waiting.remove(job)
            return job
        for other, held in self._home.items():
            if held and self._fits(slot, held[0].unit) and other != slot:
                return held.popleft()
        return None

    def _first(self, slot: int) -> Job | None:
        """The first waiting job for the slot's worker, else the first for which there is room."""
        word = self._words.get(slot)
        same = next((job for job in self._waiting if job.unit.worker == word), None) if word else None
        if same is not None and self._fits(slot, same.unit):
            return same
        full: set[str] = set()  # words without room: units that share one need the same
        for job in self._waiting:
            if job.unit.worker not in full:
                if self._fits(slot, job.unit):
                    return job
                full.add(job.unit.worker)
        return None

    def _fits(self, slot: int, unit: Unit) -> bool:
        """Whether the slot has the worker for a unit, or could start it."""
        own = self._workers.get(slot)
        if own is not None and own.worker == unit.worker:
            return True
        if self._is_idle(unit):
            return False
        return self._room(unit, [held for other, held in self._workers.items() if other != slot])

    def _is_idle(self, unit: Unit) -> bool:
        """Whether some slot waits with a worker for a unit at hand."""
        return any(self._workers[slot].worker == unit.worker for slot in self._idle if slot in self._workers)

    def _worth_keeping(self, slot: int) -> bool:
        """Whether a fit under way will release chunks for this slot's worker, and nobody waits for its room."""
        word = self._workers[slot].worker
        return not self._waiting and not self._crowded and any(job.rest and job.unit.worker == word for job in self._running.values())


def _jobs(units: Iterable[Unit], chunk: int) -> Iterable[Job]:
    for unit in units:
        size = chunk or len(unit.items)
        if unit.stage != "fill" or len(unit.items) <= size:
            yield Job(unit)
            continue
        first, *rest = (replace(unit, items=unit.items[start : start + size]) for start in range(0, len(unit.items), size))
        if unit.fits:
            yield Job(first, tuple(rest))
        else:
            yield from map(Job, (first, *rest))
