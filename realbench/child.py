"""A child process under watch: a bounded time, a bounded memory, a log, and an end for everything that it starts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from realbench.errors import RealbenchError, TimedOut
from realbench.process import FAMILY, end_family
from realbench.text import printable

if TYPE_CHECKING:
    import psutil

LOOK = 0.2
"""Seconds between two looks at a child, at least."""
SPARING = 20.0
"""A look that took long, on a machine with many processes, is followed by a pause of so many times that."""
GIGABYTE = 1_000_000_000
MOST_LOG = 200_000_000
"""Bytes a child may print."""
TAIL = 4000
"""Bytes of the log's end that are kept with a failed cell."""
LINE = 300
"""Characters of a log's last line that a message shows."""


@dataclass(frozen=True)
class Limits:
    """What a child may use; None is no limit."""

    seconds: float | None = None
    memory_gb: float | None = None
    """Resident size of the child and all that it started, in 10⁹ bytes; shared pages count once where the system tells (Linux)."""
    log: int = MOST_LOG
    """Bytes printed."""


class Child:
    """A command run in a folder, its output in a log; a context manager at whose end nothing of it lives any more.

    It stays in this process's group, so that whoever kills the group kills it too, and it carries a family name of its own.
    """

    def __init__(
        self, command: Sequence[str], *, name: str, folder: Path, environment: Mapping[str, str], limits: Limits | None = None
    ) -> None:
        """Start it. `name` is what messages call it. Raises RealbenchError where the command cannot be started."""
        import psutil

        self._name = name
        self._log = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed in __exit__); nameless, so that nothing takes its place
        self._limits = limits or Limits()
        self._family = f"{os.environ.get(FAMILY, '')}/{uuid.uuid4().hex}"
        self._known: dict[int, psutil.Process] = {}
        self._breach: RealbenchError | None = None
        self._ended = threading.Event()
        self._start = time.monotonic()
        try:
            self._process = subprocess.Popen(
                list(command),
                cwd=folder,
                env={**environment, FAMILY: self._family},
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
            )
        except (OSError, ValueError) as error:
            raise RealbenchError(f"{name}: {command[0]!r} cannot be started ({error}); check the command") from error
        with contextlib.suppress(psutil.Error):  # it may have ended already
            self._known[self._process.pid] = psutil.Process(self._process.pid)
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End it and everything that it started, however things went."""
        self._ended.set()
        self._watcher.join()
        self._end()
        self._log.close()

    def wait(self) -> Iterator[float]:
        """Yield the seconds since the start, every LOOK seconds, until it has ended.

        Raises TimedOut past the time limit, and RealbenchError past another limit or for an exit code other than 0; `detail` is the
        end of the log.
        """
        while self._process.poll() is None and self._breach is None:
            yield time.monotonic() - self._start
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(LOOK)
        if self._breach is None and (code := self._process.wait()):
            self._breach = RealbenchError(f"{self._name} {_ending(code)}{self._last_words()}")
        if self._breach is not None:
            self._breach.detail = self.tail()
            raise self._breach

    def tail(self, size: int = TAIL) -> str:
        """The end of what it has printed so far."""
        end = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, max(0, end - size)).decode(errors="replace")  # the place to write at stays as it is

    def last_line(self) -> str:
        """The last line it has printed that is not empty, fit to be shown; a progress bar's latest state counts as a line."""
        lines = [line.strip() for line in self.tail().replace("\r", "\n").split("\n")]
        return printable(next((line for line in reversed(lines) if line), ""))[:LINE]

    def _last_words(self) -> str:
        line = self.last_line()
        return f"; its last line: {line}" if line else "; it printed nothing"

    def _watch(self) -> None:
        """Look until the child has ended or breaks a limit, which ends it."""
        pause = LOOK
        while not self._ended.wait(pause):
            start = time.monotonic()
            try:
                breach = self._look()
            except Exception as error:  # what is not watched must not run on
                breach = RealbenchError(f"{self._name} cannot be watched ({type(error).__name__}: {error}), so it was killed")
            if breach is not None:
                self._breach = breach
                self._end()
                return
            pause = max(LOOK, SPARING * (time.monotonic() - start))

    def _look(self) -> RealbenchError | None:
        limits = self._limits
        if limits.seconds is not None and time.monotonic() - self._start > limits.seconds:
            return TimedOut(f"{self._name} took longer than {limits.seconds:g} s (timeout_s); it was killed")
        if os.fstat(self._log.fileno()).st_size > limits.log:
            return RealbenchError(f"{self._name} printed more than {limits.log:,} bytes; it was killed")
        self._meet()
        if limits.memory_gb is None:
            return None
        if (used := self._memory(limits.memory_gb * GIGABYTE)) > limits.memory_gb * GIGABYTE:
            size = f"used {used / GIGABYTE:.2f} GB, limit {limits.memory_gb:g} GB (memory_gb)"
            return RealbenchError(f"out of memory: {self._name} {size}; it was killed")
        return None

    def _meet(self) -> None:
        """Remember all descendants: those whose parent ends are found again by what was known of them."""
        import psutil

        self._known = {pid: one for pid, one in self._known.items() if one.is_running()}
        for one in list(self._known.values()):
            with contextlib.suppress(psutil.Error):
                if one.pid == self._process.pid or one.ppid() not in self._known:
                    self._known |= {child.pid: child for child in one.children(recursive=True)}

    def _memory(self, limit: float) -> float:
        """Bytes that the family holds; asked for more exactly, which takes longer, only where the quick sum is above the limit."""
        quick = sum(_resident(one) for one in self._known.values())
        return quick if quick <= limit else sum(_resident(one, shared=True) for one in self._known.values())

    def _end(self) -> None:
        self._meet()
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        end_family(self._family, self._known.values())


def _resident(process: psutil.Process, *, shared: bool = False) -> int:
    """Resident bytes of a process; with `shared`, its share of what several processes hold (Linux), else the same."""
    import psutil

    try:
        size = process.memory_full_info() if shared else process.memory_info()
    except psutil.Error:
        return 0
    return int(getattr(size, "pss", size.rss))


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    hint = " (out of memory?)" if code == -signal.SIGKILL else ""
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}{hint}"
    return f"was killed by signal {-code}"
