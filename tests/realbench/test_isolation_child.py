"""A watched child: its time, its memory, its output, its environment, and the end of everything that it started."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from realbench import process
from realbench.child import Child, Limits
from realbench.errors import RealbenchError, TimedOut

SLEEPER = "import subprocess, sys, time; print(subprocess.Popen(['sleep', '100'], start_new_session={session}).pid, flush=True); {then}"
HOG = "import time; held = b'x' * 300_000_000; time.sleep(100)"
"""Holds 0.3 GB."""


def run(folder: Path, program: str, *, limits: Limits | None = None, environment: dict[str, str] | None = None) -> str:
    """What a program prints."""
    words = [sys.executable, "-Iu", "-c", program]
    with Child(words, name="the fill of X", folder=folder, environment=environment or {}, limits=limits) as child:
        for _ in child.wait():
            pass
        return child.tail()


def gone(pid: int) -> bool:
    """Whether a process has ended, at once or within a few seconds."""
    for _ in range(100):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    yield


@pytest.fixture
def chatter() -> Iterator[None]:
    """Something to read on this process's standard input."""
    kept, (reading, writing) = os.dup(0), os.pipe()
    os.write(writing, b"requests")
    os.dup2(reading, 0)
    yield
    os.dup2(kept, 0)
    for handle in (kept, reading, writing):
        os.close(handle)


def test_a_child_sees_the_given_environment_and_no_more(tmp_path: Path, secrets: None, chatter: None) -> None:
    text = run(tmp_path, "import os; print(sorted(os.environ)); print(os.getcwd()); print(repr(os.read(0, 9)))", environment={"ONE": "1"})
    names, folder, standard_input = text.splitlines()
    assert set(eval(names)) - {"LC_CTYPE"} == {"ONE", process.FAMILY}
    assert Path(folder).samefile(tmp_path) and standard_input == "b''"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("print('first'); print('last  '); print(); raise SystemExit(3)", "the fill of X ended with exit code 3; its last line: last"),
        ("raise SystemExit(1)", "ended with exit code 1; it printed nothing"),
        (
            "print('10%\\r90%', end='\\r', flush=True); import os; os.kill(os.getpid(), 9)",
            r"killed by SIGKILL \(out of memory\?\); its last line: 90%",
        ),
        ("import os; os.kill(os.getpid(), 11)", "killed by SIGSEGV; it printed nothing"),
        ("import sys; sys.exit('\\x1b[31m bad \\u202e')", r"exit code 1; its last line: \\x1b\[31m bad \\u202e"),
    ],
)
def test_a_failure_says_how_and_its_last_words(tmp_path: Path, program: str, words: str) -> None:
    with pytest.raises(RealbenchError, match=words) as caught:
        run(tmp_path, program)
    assert not isinstance(caught.value, TimedOut)


def test_the_end_of_the_log_is_the_detail(tmp_path: Path) -> None:
    with pytest.raises(RealbenchError) as caught:
        run(tmp_path, "print('a' * 5000); print('b' * 3000); raise ValueError('x')")
    assert "b" * 3000 in caught.value.detail and "ValueError: x" in caught.value.detail
    assert len(caught.value.detail) <= 4000


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RealbenchError, match="'none-such' cannot be started"):
        Child(["none-such"], name="X", folder=tmp_path, environment={})


def test_time_is_limited(tmp_path: Path) -> None:
    with pytest.raises(TimedOut, match=r"took longer than 0.5 s \(timeout_s\); it was killed") as caught:
        run(tmp_path, SLEEPER.format(session=False, then="time.sleep(100)"), limits=Limits(seconds=0.5))
    assert gone(int(caught.value.detail))


@pytest.mark.parametrize(
    "program",
    [HOG, f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOG!r}])"],
    ids=["child", "grandchild"],
)
def test_memory_of_the_whole_tree_is_limited(tmp_path: Path, program: str) -> None:
    with pytest.raises(RealbenchError, match=r"out of memory: the fill of X used 0\.[2-4][0-9]* GB, limit 0\.2 GB \(memory_gb\)"):
        run(tmp_path, program, limits=Limits(seconds=60, memory_gb=0.2))


def test_an_orphan_counts_and_shared_pages_count_once(tmp_path: Path) -> None:
    orphan = "import os, time; time.sleep(1); held = b'x' * 300_000_000; time.sleep(100)"
    leaver = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {orphan!r}], start_new_session=True); time.sleep(0.7)"
    program = f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {leaver!r}]); time.sleep(100)"
    with pytest.raises(RealbenchError, match="out of memory"):
        run(tmp_path, program, limits=Limits(seconds=60, memory_gb=0.2))
    forks = "import os, time; held = b'x' * 100_000_000\nfor _ in range(3): os.fork() or (time.sleep(1), os._exit(0))\n"
    forks += "time.sleep(1); print('fine')"
    if hasattr(psutil.Process().memory_full_info(), "pss"):
        assert run(tmp_path, forks, limits=Limits(memory_gb=0.3)) == "fine\n"


def test_output_is_limited(tmp_path: Path) -> None:
    with pytest.raises(RealbenchError, match="printed more than 1,000,000 bytes"):
        run(tmp_path, "while True: print('x' * 1000)", limits=Limits(seconds=60, log=1_000_000))


@pytest.mark.parametrize("session", [False, True])
def test_what_it_leaves_behind_ends_with_it(tmp_path: Path, session: bool) -> None:
    assert gone(int(run(tmp_path, SLEEPER.format(session=session, then="pass"))))


def test_nothing_lives_on_when_the_watcher_is_left_early(tmp_path: Path) -> None:
    words = [sys.executable, "-c", SLEEPER.format(session=True, then="time.sleep(100)")]
    with Child(words, name="X", folder=tmp_path, environment={}) as child:
        for _ in child.wait():
            if child.last_line():
                break
        pid = int(child.last_line())
        assert psutil.pid_exists(pid)
    assert gone(pid)


def test_a_child_stays_in_the_group_of_its_worker(tmp_path: Path) -> None:
    assert int(run(tmp_path, "import os; print(os.getpgrp())")) == os.getpgrp()


WORKER = """
import sys
from pathlib import Path
from realbench.child import Child
words = [sys.executable, "-c", {program!r}]
with Child(words, name="X", folder=Path("."), environment={{}}) as child:
    for _ in child.wait():
        print(child.last_line(), flush=True)
"""


def test_a_family_has_a_name() -> None:
    for ask in (process.members, process.end_family):
        with pytest.raises(ValueError, match="without a name"):
            ask("")


def test_a_family_ends_though_its_head_was_killed(tmp_path: Path) -> None:
    """A worker that is killed cannot end its child; whoever started the worker ends the family, also what is in other sessions."""
    program = WORKER.format(program=SLEEPER.format(session=True, then="time.sleep(100)"))
    environment = {**os.environ, process.FAMILY: "test-family-1"}
    worker = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path)
    assert worker.stdout is not None
    pid = next(int(line) for line in worker.stdout if line.strip())
    worker.kill()
    worker.wait()
    assert len(process.members("test-family-1")) == 2 and psutil.pid_exists(pid)
    assert process.members("test-family-2") == []
    process.end_family("test-family-1")
    assert gone(pid) and process.members("test-family-1") == []
    worker.stdout.close()
