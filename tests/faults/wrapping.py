"""Faults of the driver's side: what it writes goes through wrappers that fail, stop, or end the process at the n-th operation."""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

ERRORS = {"full": errno.ENOSPC, "read-only": errno.EROFS, "broken": errno.EIO}
SIGNALS = {"kill": signal.SIGKILL, "interrupt": signal.SIGINT, "terminate": signal.SIGTERM}


class Wrapped:
    """One fault in the operations on files below a folder: at the n-th one, and with `rest` at all that follow."""

    def __init__(self, root: Path, fault: dict[str, Any], struck: Path, second: Callable[[], None] = lambda: None) -> None:
        self.root, self.fault, self.struck, self.second = str(root), fault, struck, second
        self.count = 0
        self.lock = threading.Lock()
        self.real = {"open": io.open, "fsync": os.fsync, "replace": Path.replace, "mkdir": Path.mkdir}

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Within it the fault is armed."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch("io.open", self.open))
            stack.enter_context(mock.patch("os.fsync", self.fsync))
            stack.enter_context(mock.patch.object(Path, "replace", self.bound("replace")))
            stack.enter_context(mock.patch.object(Path, "mkdir", self.bound("mkdir")))
            yield

    def open(self, file: Any, mode: str = "r", *args: Any, **words: Any) -> Any:
        """What pathlib opens files with."""
        inside = not isinstance(file, int) and str(os.fspath(file)).startswith(self.root) and mode[0] in "wxa"
        if inside:
            self.at("open", str(file))
        opened = self.real["open"](file, mode, *args, **words)
        return Torn(opened, self) if inside and "b" in mode and self.fault["op"] == "write" else opened

    def fsync(self, descriptor: int) -> None:
        self.at("fsync")
        self.real["fsync"](descriptor)

    def bound(self, name: str) -> Callable[..., Any]:
        """A method of Path, guarded."""

        def guarded(path: Path, *args: Any, **words: Any) -> Any:
            if str(path).startswith(self.root):
                self.at(name, str(path))
            return self.real[name](path, *args, **words)

        return guarded

    def at(self, operation: str, name: str = "") -> None:
        """Count an operation and strike when it is the one."""
        with self.lock:
            if self.fault["op"] != operation:
                return
            self.count += 1
            due = self.count == self.fault["nth"] or (self.fault["rest"] and self.count > self.fault["nth"])
        if due:
            self.strike(name)

    def strike(self, name: str) -> None:
        """Do it, leaving a mark first."""
        self.struck.mkdir(exist_ok=True)
        with builtins.open(self.struck / "driver", "w") as file:  # noqa: PTH123 — pathlib opens through the wrapper
            file.write(json.dumps(self.fault))
        do = self.fault["do"]
        if do in ERRORS:
            raise OSError(ERRORS[do], os.strerror(ERRORS[do]), name or None)
        if do in SIGNALS:
            os.kill(os.getpid(), SIGNALS[do])
        elif do == "clock":
            jump(self.fault["nth"] % 2 == 0)
        elif do == "second":
            self.second()


class Torn:
    """A file of which the fatal write leaves a half behind."""

    def __init__(self, file: Any, wrapped: Wrapped) -> None:
        self._file, self._wrapped = file, wrapped

    def write(self, data: bytes) -> int:
        half = len(data) // 2
        self._file.write(data[:half])
        self._file.flush()
        self._wrapped.at("write", self._file.name)
        self._file.write(data[half:])
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Torn:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def jump(forwards: bool) -> None:
    """The wall clock is set ten years on or back, as far as this process can tell; it stays so until `steady`."""
    from realbench import records

    shift = timedelta(days=3650 if forwards else -3650)
    real = time.time

    class Jumped(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(UTC) + shift

    time.time = lambda: real() + shift.total_seconds()
    records.datetime = Jumped


@contextmanager
def steady() -> Iterator[None]:
    """Afterwards the clock is right again."""
    from realbench import records

    kept = time.time, records.datetime
    try:
        yield
    finally:
        time.time, records.datetime = kept
