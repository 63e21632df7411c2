"""Worker processes: started once, asked often, killed when they hang."""

from __future__ import annotations

import contextlib
import io
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from realbench import wire
from realbench.errors import RealbenchError
from realbench.wire import Message

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

    def __init__(self, *, threads: int, log: Path | None = None) -> None:
        self._log = log
        stderr = log.open("ab") if log else None
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "realbench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # closing an unbuffered pipe never blocks, whoever else holds the other end
            stderr=stderr,
            env=_environment(threads),
            start_new_session=True,  # Ctrl-C reaches the driver alone, which then decides
        )
        if stderr:
            stderr.close()
        self._log_start = log.stat().st_size if log else 0
        self._replies: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        threading.Thread(target=self._pump, daemon=True).start()

    def ask(self, request: Message, timeout: float | None = None) -> Iterator[Message]:
        """Send a request and yield replies until the worker says `end`.

        `timeout` bounds, in seconds, the wait for each reply that is no progress report. Raises WorkerLost; the process is dead then.
        """
        try:
            wire.send(cast(BinaryIO, self._process.stdin), request)
        except (OSError, ValueError):  # ValueError: the pipe was closed here, by kill()
            raise self._lost() from None
        deadline = _deadline(timeout)
        while True:
            reply = self._next(deadline, timeout)
            if reply.head["event"] == "end":
                return
            if reply.head["event"] != "progress":
                deadline = _deadline(timeout)
            yield reply

    def kill(self) -> None:
        """End the process and everything it started, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
        # stdout belongs to the reading thread: a child that the worker left behind may hold it open for long.

    def _pump(self) -> None:
        """Read replies for as long as there are any; None says that no more will come, whatever the reason."""
        replies = io.BufferedReader(cast(io.RawIOBase, self._process.stdout), 1 << 16)
        try:
            while (message := wire.receive(replies)) is not None:
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
                    self.kill()
                    raise WorkerLost(f"took longer than {timeout:g} s; its worker was killed", timed_out=True, log=self._tail()) from None
                continue
            if reply is None:
                raise self._lost()
            return reply

    def _lost(self) -> WorkerLost:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.poll()
        self.kill()
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            hint = " (out of memory?)" if name == "SIGKILL" else ""
            reason = f"the worker was killed by {name}{hint}"
        else:
            reason = f"the worker ended by itself (exit code {code})"
        return WorkerLost(reason, timed_out=False, log=self._tail())

    def _tail(self, size: int = 2000) -> str:
        """The end of what this worker wrote to its log."""
        if self._log is None:
            return ""
        with contextlib.suppress(OSError), self._log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_start, end - size))
            return file.read().decode(errors="replace")
        return ""


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _environment(threads: int) -> dict[str, str]:
    """The parent's environment with threads pinned before any library starts, and the parent's import path."""
    pools = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {**os.environ, **{pool: str(threads) for pool in pools}, "PYTHONPATH": path}
