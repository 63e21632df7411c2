"""A second process: what it gives, what becomes of its errors, and when there is none."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from realbench import aside

ON_LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux forks safely")
BEGIN = "import os, sys; sys.path.insert(0, os.getcwd()); os.sched_getaffinity = lambda _: {0, 1}\nfrom realbench.aside import aside\n"


def run(script: str) -> str:
    """What a process of its own prints: this one may have loaded OpenCV or torch."""
    done = subprocess.run([sys.executable, "-c", BEGIN + script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.strip()


@ON_LINUX
def test_the_work_is_done_by_another_process_that_knows_what_has_been_read() -> None:
    script = "read = bytearray(b'x' * 5_000_000)\nfound = aside(lambda: (os.getpid(), bytes(read)))\nread[:] = b'changed'\n"
    script += "pid, data = found()\nprint(pid != os.getpid(), data == b'x' * 5_000_000)"
    assert run(script) == "True True"


@ON_LINUX
@pytest.mark.parametrize(
    "trouble", ["os._exit(9)", "os.kill(os.getpid(), 9)", "raise ValueError", "sys.exit()", "return lambda: 0", "raise KeyboardInterrupt"]
)
def test_work_that_a_second_process_does_not_finish_is_done_here(trouble: str) -> None:
    script = (
        f"first = os.getpid()\ndef work():\n    if os.getpid() != first:\n        {trouble}\n    return 'done here'\nprint(aside(work)())"
    )
    assert run(script) == "done here"


@ON_LINUX
def test_an_error_is_that_of_this_process() -> None:
    script = "def work():\n    raise ValueError(os.getpid())\ntry:\n    aside(work)()\n"
    script += "except ValueError as error:\n    print(error.args[0] == os.getpid())"
    assert run(script) == "True"


@ON_LINUX
def test_a_second_process_that_nobody_asks_does_not_keep_this_one_from_ending() -> None:
    assert run("import time\naside(lambda: time.sleep(1000))\nprint('ended')") == "ended"


@ON_LINUX
def test_files_can_be_written_in_a_second_process_after_they_were_in_the_first(tmp_path: Path) -> None:
    script = f"from pathlib import Path\nfrom realbench.store import write_atomic\nfolder = Path({str(tmp_path)!r})\n"
    script += "write_atomic({folder / 'one': b'1'})\nchild = os.fork()\n"
    script += "if not child:\n    write_atomic({folder / 'two': b'2'})\n    os._exit(0)\n"
    script += "print(os.waitpid(child, 0)[1])"
    assert run(script) == "0" and (tmp_path / "two").read_bytes() == b"2"


def allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside.sys, "platform", "linux")
    monkeypatch.setattr(aside.threading, "active_count", lambda: 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    for name in ("cv2", "torch"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [
        (aside.sys, "platform", "darwin"),
        (aside.sys, "platform", "win32"),
        (aside.threading, "active_count", lambda: 2),
        (os, "sched_getaffinity", lambda _: {3}),
        (aside.multiprocessing, "current_process", lambda: type("Process", (), {"daemon": True})),
    ],
)
def test_where_a_fork_is_not_safe_the_work_is_done_here_when_it_is_asked_for(
    where: Any, name: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(monkeypatch)
    assert aside.is_safe()
    monkeypatch.setattr(where, name, value)
    assert not aside.is_safe()
    done: list[int] = []
    found = aside.aside(lambda: done.append(os.getpid()))
    assert not done
    found()
    assert done == [os.getpid()]


@pytest.mark.parametrize("name", ["cv2", "torch"])
def test_libraries_with_threads_of_their_own_forbid_a_fork(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch)
    monkeypatch.setitem(sys.modules, name, threading)
    assert not aside.is_safe()
