"""Slots with workers made of plain Python: each item gets one outcome, lost machines cost nothing, lost workers what they were at."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from realbench.errors import RealbenchError
from realbench.process import WorkerLost
from realbench.runner import Outcome, RunnerOptions, Unit
from realbench.runners._slots import RETRIES, Crowded, SlotRunner, WorkerGone
from realbench.runners._work import Work
from realbench.wire import Message

Script = Callable[[str, str], None]
"""Called with a scene and an item (`fit` or a seed) before each reply; may raise what a worker raises."""


@dataclass
class Fake:
    """A worker that answers at once, and a journal of what it was asked."""

    number: int
    script: Script
    journal: list[tuple[int, str, str]]
    killed: bool = False

    def ask(self, request: Message, timeout: float | None = None) -> Iterator[Message]:
        head = request.head
        if head["fits"]:
            self._step(head["scene"], "fit" if head["state"] is None else "load")
            yield Message(
                {"event": "fit", "state": head.get("fit_state", "ok"), "reason": head.get("fit_reason", ""), "data": {"seconds": 1}}
            )
            if head.get("fit_state", "ok") != "ok":
                for item in head["items"]:
                    yield Message({"event": "item", "item": item, "state": head["fit_state"], "reason": f"fit: {head['fit_reason']}"})
                return
        for item in head["items"]:
            self._step(head["scene"], item)
            yield Message({"event": "item", "item": item, "state": "ok", "data": {}})

    def kill(self) -> None:
        self.killed = True

    def _step(self, scene: str, item: str) -> None:
        self.journal.append((self.number, scene, item))
        self.script(scene, item)


def quiet(scene: str, item: str) -> None:
    """Nothing goes wrong."""


@dataclass
class Board:
    """A runner of fakes, what it emitted, and the fits that were stored, as the driver would."""

    script: Script = quiet
    slots: int = 1
    chunk: int = 0
    request: dict[str, Any] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    journal: list[tuple[int, str, str]] = field(default_factory=list)
    started: list[Fake] = field(default_factory=list)
    spent: list[str] = field(default_factory=list)
    stored: set[str] = field(default_factory=set)

    def supply(self, unit: Unit) -> Message:
        state = [] if unit.scene in self.stored else None
        return Message({"items": unit.items, "scene": unit.scene, "fits": unit.fits, "state": state, **self.request})

    def emit(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if outcome.kind == "fit" and outcome.state == "ok":
            self.stored.add(outcome.unit.scene)

    def run(self, units: Iterable[Unit]) -> list[tuple[str, str, str, str]]:
        """(scene, item, state, reason), in the order of emission."""
        board = self

        class Runner(SlotRunner):
            def start(self, unit: Unit) -> Fake:
                board.started.append(Fake(len(board.started), board.script, board.journal))
                return board.started[-1]

            def arrange(self, units: Iterable[Unit]) -> Work:
                return Work(units, chunk=board.chunk, returns=True)

            def slots(self) -> int:
                return board.slots

            def spent(self, scene: str) -> None:
                board.spent.append(scene)

        Runner(RunnerOptions(self.supply)).run(units, self.emit)
        return [(one.unit.scene, one.item or one.kind, one.state, one.reason) for one in self.outcomes]


def unit(scene: str = "a", seeds: int = 3, word: str = "x", *, fits: bool = False) -> Unit:
    return Unit("fill", word, scene, tuple(str(seed) for seed in range(seeds)), word, fits=fits)


def failing(at: dict[tuple[str, str], list[Exception]]) -> Script:
    """Raises what is listed for (scene, item), one exception at each visit until the list is empty."""

    def script(scene: str, item: str) -> None:
        if at.get((scene, item)):
            raise at[scene, item].pop(0)

    return script


def gone() -> WorkerGone:
    return WorkerGone("the node it ran on was lost")


def died(timed_out: bool = False) -> WorkerLost:
    return WorkerLost("the worker was killed", timed_out=timed_out, log="last words")


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("chunk", [0, 2])
@pytest.mark.parametrize("fits", [False, True])
def test_every_item_gets_one_outcome(slots: int, chunk: int, fits: bool) -> None:
    board = Board(slots=slots, chunk=chunk)
    units = [unit(scene, 5, word, fits=fits) for scene in "abc" for word in "xy"]
    found = Counter((one.unit.worker, one.unit.scene, one.item) for one in _run(board, units) if one.kind == "item")
    assert found == Counter((word, scene, str(seed)) for scene in "abc" for word in "xy" for seed in range(5))
    assert sorted(board.spent) == ["a", "b", "c"]
    assert all(fake.killed for fake in board.started)


def _run(board: Board, units: Iterable[Unit]) -> list[Outcome]:
    board.run(units)
    return board.outcomes


def test_a_slot_keeps_its_worker_for_the_same_word_and_starts_another_for_another() -> None:
    board = Board()
    board.run([unit("a", 1), unit("b", 1, "y"), unit("c", 1)])
    assert board.journal == [(0, "a", "0"), (0, "c", "0"), (1, "b", "0")]


def test_a_lost_worker_costs_the_item_it_was_at_and_the_rest_goes_on_in_another() -> None:
    board = Board(failing({("a", "1"): [died(timed_out=True)]}))
    assert board.run([unit()]) == [("a", "0", "ok", ""), ("a", "1", "timeout", "the worker was killed"), ("a", "2", "ok", "")]
    assert board.outcomes[1].detail == "last words"
    assert [fake.killed for fake in board.started] == [True, True]


def test_a_lost_machine_costs_nothing_and_is_told_of_in_what_was_left() -> None:
    board = Board(failing({("a", "1"): [gone()]}))
    assert board.run([unit()]) == [("a", "0", "ok", ""), ("a", "1", "ok", ""), ("a", "2", "ok", "")]
    assert [one.data.get("retried") for one in board.outcomes] == [None, ["the node it ran on was lost"], ["the node it ran on was lost"]]
    assert board.journal == [(0, "a", "0"), (0, "a", "1"), (1, "a", "1"), (1, "a", "2")]


def test_a_machine_lost_amid_a_fit_has_it_made_again_with_its_chunks() -> None:
    board = Board(failing({("a", "fit"): [gone(), gone()]}), chunk=2)
    found = board.run([unit("a", 5, fits=True)])
    assert found[0] == ("a", "fit", "ok", "")
    assert [one for one in found if one[1] != "fit"] == [("a", str(seed), "ok", "") for seed in range(5)]
    assert board.outcomes[0].data["retried"] == ["the node it ran on was lost"] * 2
    assert [item for _, _, item in board.journal] == ["fit", "fit", "fit", "0", "1", "load", "2", "3", "load", "4"]


def test_a_machine_lost_after_the_fit_has_it_loaded_not_made_again() -> None:
    board = Board(failing({("a", "1"): [gone()]}))
    board.run([unit(fits=True)])
    assert [item for _, _, item in board.journal] == ["fit", "0", "1", "load", "1", "2"]


def test_an_item_that_loses_every_machine_fails_and_the_rest_goes_on() -> None:
    board = Board(failing({("a", "1"): [gone() for _ in range(RETRIES + 1)]}))
    reason = f"lost {RETRIES + 1} times, the last time because the node it ran on was lost"
    assert board.run([unit()]) == [("a", "0", "ok", ""), ("a", "1", "failed", reason), ("a", "2", "ok", "")]
    assert len(board.outcomes[1].data["retried"]) == RETRIES


def test_losses_count_only_without_progress_between_them() -> None:
    board = Board(failing({("a", str(seed)): [gone(), gone()] for seed in range(3)}))
    assert board.run([unit()]) == [("a", str(seed), "ok", "") for seed in range(3)]


def test_a_fit_that_fails_costs_the_seeds_of_its_other_chunks_too() -> None:
    board = Board(chunk=2, slots=2, request={"fit_state": "unsupported", "fit_reason": "no weights"})
    found = board.run([unit("a", 5, fits=True)])
    assert sorted(found) == [
        *(("a", str(seed), "unsupported", "fit: no weights") for seed in range(5)),
        ("a", "fit", "unsupported", "no weights"),
    ]
    assert [item for _, _, item in board.journal] == ["fit"]
    assert board.spent == ["a"]


def test_a_worker_lost_amid_a_fit_costs_the_seeds_of_its_other_chunks_too() -> None:
    board = Board(failing({("a", "fit"): [died()]}), chunk=2)
    found = board.run([unit("a", 3, fits=True)])
    assert [(item, state) for _, item, state, _ in found] == [("fit", "failed"), ("2", "failed"), ("0", "failed"), ("1", "failed")]
    assert {reason for _, item, _, reason in found if item != "fit"} == {"fit: the worker was killed"}


def test_a_scene_that_broke_costs_its_own_cells_only() -> None:
    board = Board(chunk=2)

    def supply(one: Unit) -> Message:
        if one.scene == "a":
            raise RealbenchError("scene a: changed")
        return Board.supply(board, one)

    board.supply = supply  # type: ignore[method-assign]
    found = board.run([unit("a", 3, fits=True), unit("b", 1)])
    assert sorted(found) == [*(("a", str(seed), "failed", "scene a: changed") for seed in range(3)), ("b", "0", "ok", "")]


def test_an_error_of_the_driver_ends_the_run_and_every_worker() -> None:
    board = Board(slots=2)

    def emit(outcome: Outcome) -> None:
        raise RuntimeError("disk full")

    board.emit = emit  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="disk full"):
        board.run([unit(scene, 2) for scene in "abcdef"])
    assert board.started and all(fake.killed for fake in board.started)


def test_outcomes_are_emitted_by_one_thread_at_a_time() -> None:
    board = Board(slots=4)
    busy = threading.Lock()
    plain = board.emit

    def emit(outcome: Outcome) -> None:
        assert busy.acquire(blocking=False)
        plain(outcome)
        busy.release()

    board.emit = emit  # type: ignore[method-assign]
    board.run([unit(str(scene), 20) for scene in range(8)])
    assert len(board.outcomes) == 160


@pytest.mark.parametrize("words", ["xxx", "xyz"])
def test_a_worker_that_has_no_place_though_there_seemed_to_be_room_holds_nobody_up(words: str) -> None:
    """Three slots, and room for two workers in truth: idle ones do its job, or make room for it."""
    started: list[Fake] = []

    class Tight(SlotRunner):
        def start(self, unit: Unit) -> Fake:
            while sum(not fake.killed for fake in started) >= 2:
                if self.stopped or self.crowded(unit):
                    raise Crowded
                time.sleep(0.01)
            started.append(Fake(len(started), quiet, board.journal))
            return started[-1]

        def arrange(self, units: Iterable[Unit]) -> Work:
            return Work(units, chunk=1, returns=True)

        def slots(self) -> int:
            return 3

    board = Board()
    Tight(RunnerOptions(board.supply)).run([unit(scene, 3, word, fits=True) for scene, word in zip("abc", words, strict=True)], board.emit)
    found = Counter((one.unit.scene, one.item) for one in board.outcomes if one.kind == "item")
    assert found == Counter((scene, item) for scene in "abc" for item in ("0", "1", "2"))
    assert not any(one.data.get("retried") for one in board.outcomes)


def test_slots_are_added_where_room_comes_and_never_more_than_jobs() -> None:
    """One slot is held up until another worker has done the rest: with a fixed number this would never end."""
    board = Board(slots=1)
    others = threading.Event()

    def script(scene: str, item: str) -> None:
        if scene == "a":
            board.slots = 99
            assert others.wait(30)
        elif sum(entry[1] != "a" for entry in board.journal) == 2:
            others.set()

    board.script = script
    found = board.run([unit(scene, 1) for scene in "abc"])
    assert sorted(found) == [(scene, "0", "ok", "") for scene in "abc"]
    assert 2 <= len(board.started) <= 3


def test_what_went_lost_again_and_again_while_the_run_was_stopped_is_nobodys() -> None:
    board = Board()

    def script(scene: str, item: str) -> None:
        if item == "1":
            raise KeyboardInterrupt

    board.script = script
    with pytest.raises(KeyboardInterrupt):
        board.run([unit()])
    assert [one.item for one in board.outcomes] == ["0"]
