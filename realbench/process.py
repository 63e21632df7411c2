"""Worker processes: started once, asked often, killed when they hang."""

from __future__ import annotations

import contextlib
import io
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from realbench import wire
from realbench.errors import RealbenchError
from realbench.metric import WRITTEN
from realbench.store import refused
from realbench.wire import Message

if TYPE_CHECKING:
    import psutil

POOLS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
"""The environment variables that pin the threads of libraries."""
PREPARING = "preparing"
"""The event of a worker that begins what is done once on a machine, such as building an environment."""
FAMILY = "REALBENCH_FAMILY"
"""The environment variable by which a worker's descendants are known, whatever became of their parents."""
SWEEPS = 20
"""How often descendants are looked for again, where killed ones had started others meanwhile."""
_LEAVING = threading.Lock()
ENDING = 5.0
"""Seconds that a worker which says nothing more has to end."""
POLL = 0.5
"""Seconds between looks at whether a silent worker still lives."""


class WorkerLost(RealbenchError):
    """The worker process died or hung; `state` says which."""

    def __init__(self, message: str, *, timed_out: bool, log: str) -> None:
        super().__init__(message)
        self.timed_out = timed_out
        self.log = log


class WorkerProcess:
    """A child running `python -m realbench.worker`: one request at a time, replies as they come."""

    def __init__(
        self,
        *,
        threads: int,
        log: Path | None = None,
        module: str = "realbench.worker",
        path: Sequence[str] | None = None,
        scratch: Path | None = None,
    ) -> None:
        """Start it. `scratch` is the folder for its temporary files (None: a new one), which ends with it, whoever ends it."""
        self._log = log
        self._family = uuid.uuid4().hex
        with refused(log or Path(tempfile.gettempdir())):
            self._scratch = str(scratch or tempfile.mkdtemp(prefix="realbench-"))
            stderr = log.open("ab") if log else None
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # closing an unbuffered pipe never blocks, whoever else holds the other end
            stderr=stderr,
            # A folder for temporary files of its own: a killed worker cleans nothing up.
            env={**_environment(threads, path), FAMILY: self._family, "TMPDIR": self._scratch},
            start_new_session=True,  # Ctrl-C reaches the driver alone, which then decides
        )
        if stderr:
            stderr.close()
        self._log_start = log.stat().st_size if log else 0
        self._replies: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        threading.Thread(target=self._pump, daemon=True).start()

    def ask(self, request: Message, timeout: float | None = None) -> Iterator[Message]:
        """Send a request and yield replies until the worker says `end`.

        `timeout` bounds, in seconds, the wait for each reply that is no progress report, but for the one after PREPARING. Raises
        WorkerLost; the process is dead then.
        """
        try:
            wire.send(cast(BinaryIO, self._process.stdin), request)
        except (OSError, ValueError):  # ValueError: the pipe was closed here, by kill()
            raise self._lost() from None
        deadline = _deadline(timeout)
        while True:
            reply = self._next(deadline, timeout)
            event = reply.head["event"]
            if event == "end":
                return
            if event != "progress":
                deadline = None if event == PREPARING else _deadline(timeout)
            yield reply

    def kill(self) -> None:
        """End the process and everything it started, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()
        end_family(self._family)
        shutil.rmtree(self._scratch, ignore_errors=True)
        if self._process.stdin:
            self._process.stdin.close()
        # stdout belongs to the reading thread: a child that the worker left behind may hold it open for long.

    def _pump(self) -> None:
        """Read replies for as long as there are any; None says that no more will come, whatever the reason."""
        replies = io.BufferedReader(cast(io.RawIOBase, self._process.stdout), 1 << 16)
        try:
            while (message := wire.receive(replies)) is not None and _is_reply(message):
                self._replies.put(message)
        finally:
            self._replies.put(None)

    def _next(self, deadline: float | None, timeout: float | None) -> Message:
        """The next reply. A dead worker is noticed even where a child of its own keeps the pipe open."""
        while True:
            left = POLL if deadline is None else min(POLL, deadline - time.monotonic())
            try:
                reply = self._replies.get(timeout=max(0.0, left))
            except queue.Empty:
                if self._process.poll() is not None and self._replies.empty():
                    raise self._lost() from None
                if deadline is not None and time.monotonic() >= deadline:
                    log = self._tail()  # first: it may lie in the folder that ends with the worker
                    self.kill()
                    raise WorkerLost(f"took longer than {timeout:g} s; its worker was killed", timed_out=True, log=log) from None
                continue
            if reply is None:
                raise self._lost()
            return reply

    def _lost(self) -> WorkerLost:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDING)
        code, log = self._process.poll(), self._tail()
        self.kill()
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            hint = " (out of memory?)" if name == "SIGKILL" else ""
            reason = f"the worker was killed by {name}{hint}"
        elif code is None:
            reason = "the worker sent what is no reply"
        else:
            reason = f"the worker ended by itself (exit code {code})"
        return WorkerLost(reason, timed_out=False, log=log)

    def _tail(self, size: int = 2000) -> str:
        """The end of what this worker wrote to its log."""
        if self._log is None:
            return ""
        with contextlib.suppress(OSError), self._log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_start, end - size))
            return file.read().decode(errors="replace")
        return ""


def end_family(family: str, known: Iterable[psutil.Process] = ()) -> None:
    """Kill every process whose environment carries the family's name, or one that begins with it, and those known beforehand.

    This finds descendants whose parents are gone, and those in sessions of their own; a process that took the name out of its
    environment and left its parent is not found. This process is spared.
    """
    import psutil

    found = [process for process in known if process.is_running()]
    for _ in range(SWEEPS):
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=5)
        found = members(family)
        if not found:
            return


def leave() -> None:
    """End this worker at once, with all that it started and its folder for temporary files: its driver is gone."""
    with _LEAVING:  # never given back: two threads may notice
        if family := os.environ.get(FAMILY):
            with contextlib.suppress(Exception):
                end_family(family)
            for _ in range(SWEEPS):  # another thread may be writing there still
                shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)
                if not os.path.exists(os.environ["TMPDIR"]):  # noqa: PTH110
                    break
        os._exit(0)


def members(family: str) -> list[psutil.Process]:
    """The living processes of a family but this one."""
    import psutil

    if not family:
        raise ValueError("a family without a name would be everything that runs here")
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(FAMILY, "").startswith(family) and _lives(process):
                found.append(process)
    return found


def _lives(process: psutil.Process) -> bool:
    import psutil

    return bool(process.status() != psutil.STATUS_ZOMBIE)


def _is_reply(message: Message) -> bool:
    """Whether a message is what those who ask expect: an event, and plain words of the right kinds about it."""
    head = message.head
    texts = all(isinstance(head.get(name, ""), str) for name in ("item", "reason", "detail"))
    return isinstance(head.get("event"), str) and head.get("state", "ok") in WRITTEN and texts and isinstance(head.get("data", {}), dict)


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _environment(threads: int, path: Sequence[str] | None = None) -> dict[str, str]:
    """The parent's environment with threads pinned before any library starts, and an import path: the parent's unless one is given."""
    paths = os.pathsep.join(entry for entry in (sys.path if path is None else path) if entry)
    return {**os.environ, **dict.fromkeys(POOLS, str(threads)), "PYTHONPATH": paths}
