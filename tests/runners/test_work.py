"""The queue that slots share: who takes what, what waits for a fit, what comes back, when a worker is of no more use."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from realbench.runner import Unit
from realbench.runners._work import Job, Release, Work


def unit(word: str, scene: str = "a", seeds: int = 1, *, fits: bool = False, stage: str = "fill") -> Unit:
    items = tuple(str(seed) for seed in range(seeds))
    return Unit(stage, word, scene, items, word, fits=fits)  # type: ignore[arg-type]


def take(work: Work, slot: int = 0) -> Unit:
    job = work.take(slot)
    assert isinstance(job, Job)
    return job.unit


def test_without_chunks_units_come_whole_and_the_slots_word_goes_first() -> None:
    units = [unit("x", "a", 20), unit("y", "a"), unit("x", "b")]
    work = Work(units)
    assert len(work) == 3
    found = []
    for _ in units:
        found.append(take(work))
        work.finished(0)
    assert found == [units[0], units[2], units[1]]
    assert work.take(0) is None


def test_a_queue_to_which_nothing_returns_lets_an_idle_slot_go_while_others_work() -> None:
    work = Work([unit("x")])
    take(work, 0)
    assert work.take(1) is None


def test_seeds_of_what_does_not_fit_are_split_and_free_for_all() -> None:
    work = Work([unit("x", seeds=5)], chunk=2)
    assert [take(work, slot).items for slot in range(3)] == [("0", "1"), ("2", "3"), ("4",)]


def test_scores_are_never_split() -> None:
    whole = unit("score", seeds=5, stage="score")
    assert take(Work([whole], chunk=2)) == whole


def test_chunks_wait_for_the_fit_and_then_go_to_its_slot_first() -> None:
    work = Work([unit("x", "a", 6, fits=True), unit("x", "b"), unit("y", "c")], chunk=2, returns=True)
    first = work.take(0)
    assert isinstance(first, Job) and first.unit.items == ("0", "1") and len(first.rest) == 2
    work.started(0, first.unit)
    work.opened(0)
    assert first.rest == ()
    assert take(work, 1).scene == "b"  # not a chunk of the fit at hand elsewhere
    work.started(1, unit("x"))
    work.finished(0)
    assert take(work, 0).items == ("2", "3")
    work.finished(1)
    assert take(work, 1).scene == "c"  # even another word goes before
    work.started(1, unit("y"))
    work.finished(1)
    assert take(work, 1).items == ("4", "5")  # the last resort: its state travels


def test_chunks_of_a_slot_that_lost_its_worker_are_everybodys() -> None:
    work = Work([unit("x", "a", 4, fits=True), unit("x", "b")], chunk=2, returns=True)
    take(work, 0)
    work.started(0, unit("x"))
    work.opened(0)
    work.discarded(0)
    assert take(work, 1).items == ("2", "3")


def test_chunks_of_a_failed_fit_are_handed_over_and_gone() -> None:
    work = Work([unit("x", "a", 5, fits=True)], chunk=2, returns=True)
    take(work, 0)
    assert [one.items for one in work.refused(0)] == [("2", "3"), ("4",)]
    assert work.finished(0) is True
    assert work.take(0) is None


def test_chunks_of_a_job_that_ended_without_a_word_about_its_fit_are_taken_all_the_same() -> None:
    work = Work([unit("x", "a", 3, fits=True)], chunk=2, returns=True)
    take(work, 0)
    assert work.finished(0) is False
    assert take(work, 1).items == ("2",)


def test_what_comes_back_is_next_and_remembers_why() -> None:
    work = Work([unit("x", "a", 3), unit("x", "b")], returns=True)
    take(work, 0)
    left = unit("x", "a", 1)
    work.back(0, left, "the node it ran on was lost")
    again = work.take(1)
    assert isinstance(again, Job) and again.unit is left
    assert (again.losses, again.lost) == (1, ("the node it ran on was lost",))


def test_what_comes_back_for_want_of_a_place_is_without_what_was_done() -> None:
    """A worker died at the second item, and no other one could be started: the first item has its outcome and is not made again."""
    work = Work([unit("x", "a", 3)], returns=True)
    take(work, 0)
    left = unit("x", "a", 2)
    work.back(0, left)
    again = work.take(0)
    assert isinstance(again, Job) and again.unit is left
    assert (again.losses, again.lost) == (0, ())


def test_a_fit_that_comes_back_keeps_its_waiting_chunks() -> None:
    work = Work([unit("x", "a", 4, fits=True)], chunk=2, returns=True)
    job = work.take(0)
    assert isinstance(job, Job)
    work.back(0, job.unit, "why")
    again = work.take(1)
    assert isinstance(again, Job) and again.rest == job.rest != ()


def test_the_last_job_of_a_scene_says_so() -> None:
    work = Work([unit("x", "a", 3), unit("x", "b"), unit("y", "a")], chunk=2)
    told = []
    for _ in range(4):
        scene = take(work).scene
        told.append((scene, work.finished(0)))
    assert told == [("a", False), ("a", False), ("b", True), ("a", True)]


def room_for(most: int) -> object:
    def room(one: Unit, others: Sequence[Unit]) -> bool:
        return one.worker != "big" or sum(other.worker == "big" for other in others) < most

    return room


def test_a_slot_passes_over_what_there_is_no_room_for() -> None:
    work = Work([unit("big", "a"), unit("big", "b"), unit("small", "c")], room=room_for(1), returns=True)  # type: ignore[arg-type]
    assert take(work, 0).scene == "a"
    work.started(0, unit("big"))
    assert take(work, 1).scene == "c"
    work.finished(0)
    assert take(work, 0).scene == "b"  # with the worker it has


def test_a_worker_that_stands_in_the_way_of_a_waiting_job_is_given_back() -> None:
    work = Work([unit("big", "a"), unit("small", "b")], room=lambda one, others: not others, returns=True)
    assert take(work, 0).scene == "a"
    work.started(0, unit("big"))
    work.finished(0)
    assert take(work, 0).scene == "b"  # its own worker is no obstacle
    work.started(0, unit("small"))
    waiting = Work([unit("big", "a"), unit("big", "b")], room=lambda one, others: not others, returns=True)
    take(waiting, 0)
    waiting.started(0, unit("big"))
    waiting.started(1, unit("small"))
    assert isinstance(waiting.take(1), Release)


def test_an_idle_worker_is_kept_only_where_a_fit_will_release_chunks_for_it() -> None:
    work = Work([unit("x", "a", 4, fits=True)], chunk=2, returns=True)
    take(work, 0)
    work.started(1, unit("y"))
    assert isinstance(work.take(1), Release)
    work.discarded(1)
    work.started(1, unit("x"))
    found: list[object] = []
    slot = threading.Thread(target=lambda: found.append(work.take(1)))
    slot.start()
    work.started(0, unit("x"))
    work.opened(0)
    slot.join(20)
    assert isinstance(found[0], Job) and found[0].unit.items == ("2", "3")


def test_no_worker_is_started_beside_an_idle_one_for_the_same_work() -> None:
    work = Work([unit("x", "a", 4, fits=True)], chunk=2, returns=True)
    take(work, 0)
    work.started(1, unit("x"))
    found: list[object] = []
    slot = threading.Thread(target=lambda: found.append(work.take(1)))
    slot.start()
    for _ in range(2000):  # once it is idle; told so, the one that waits for a place hands its job back
        if work._idle:
            break
        time.sleep(0.01)
    assert work.crowded(unit("x")) is True
    work.back(0, unit("x", "a", 2, fits=True))
    slot.join(20)
    assert isinstance(found[0], Job) and found[0].unit.scene == "a" and found[0].lost == ()


def test_idle_workers_make_room_for_one_that_waits() -> None:
    work = Work([unit("x", "a", 4, fits=True), unit("y", "b")], chunk=2, returns=True)
    take(work, 0)
    take(work, 2)
    work.started(0, unit("x"))
    work.started(1, unit("x"))
    assert work.crowded(unit("y")) is False
    assert isinstance(work.take(1), Release)


def test_a_waiting_slot_ends_with_the_last_job_and_with_a_stopped_run() -> None:
    for end in ("finish", "stop"):
        work = Work([unit("x")], returns=True)
        take(work, 0)
        found: list[object] = []
        slot = threading.Thread(target=lambda work=work, found=found: found.append(work.take(1)))
        slot.start()
        if end == "finish":
            work.finished(0)
        else:
            work.stop()
        slot.join(20)
        assert found == [None]
