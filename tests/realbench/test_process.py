"""Worker processes: threads pinned, output kept apart from replies, gone when their driver is gone or their time is up."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from realbench.process import WorkerLost, WorkerProcess
from realbench.wire import Message

REQUEST = {"stage": "fill", "items": ["0"], "method": "none-such", "settings": {}, "device": "cpu", "dtype": "float32", "feather": 4}


def ask(worker: WorkerProcess, **words: object) -> list[Message]:
    return list(worker.ask(Message({**REQUEST, **words}), timeout=30))


def test_a_worker_answers_and_stays() -> None:
    worker = WorkerProcess(threads=1)
    try:
        for _ in range(2):
            (reply,) = ask(worker)
            assert reply.head["state"] == "failed" and "unknown method 'none-such'" in reply.head["reason"]
    finally:
        worker.kill()


def test_a_request_that_makes_no_sense_ends_the_worker_and_its_log_says_why(tmp_path: Path) -> None:
    worker = WorkerProcess(threads=1, log=tmp_path / "log")
    with pytest.raises(WorkerLost, match="ended by itself") as lost:
        ask(worker, stage="dance")
    assert "KeyError: 'dance'" in lost.value.log and not lost.value.timed_out


def test_a_killed_worker_is_lost_not_waited_for() -> None:
    worker = WorkerProcess(threads=1)
    worker.kill()
    with pytest.raises(WorkerLost):
        ask(worker)


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"event": ["end"]},
        {"event": "item", "item": 3},
        {"event": "item", "state": "stale"},
        {"event": "item", "data": []},
    ],
    ids=str,
)
def test_a_worker_that_sends_no_reply_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: dict[str, object]) -> None:
    said = "import sys, time; from realbench.wire import Message, send; "
    program = f"{said}send(sys.stdout.buffer, Message({words!r})); sys.stdin.buffer.read(1); time.sleep(60)"
    popen = subprocess.Popen
    monkeypatch.setattr("realbench.process.subprocess.Popen", lambda args, **keys: popen([args[0], "-c", program], **keys))
    monkeypatch.setattr("realbench.process.ENDING", 0.1)
    with pytest.raises(WorkerLost, match="sent what is no reply"):
        ask(WorkerProcess(threads=1))


def test_workers_end_with_their_driver() -> None:
    program = "import os, sys\nfrom realbench.process import WorkerProcess\nworker = WorkerProcess(threads=1)\n"
    program += "print(worker._process.pid, flush=True)\nos.kill(os.getpid(), 9)"
    driver = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    pid = int(driver.stdout)
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "an orphaned worker lives on"
        time.sleep(0.05)


def test_threads_are_pinned_before_libraries_start() -> None:
    from realbench.process import _environment

    environment = _environment(3)
    for pool in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        assert environment[pool] == "3"
