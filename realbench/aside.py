"""Work in a second process while this one goes on: a fork, which knows all that has been read. Where forking is not safe there is none.

A thread would not do: reading records and making tables is work for Python itself, which one thread does at a time.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkProcess

T = TypeVar("T")

UNSAFE = ("cv2", "torch")
"""Libraries whose threads and locks a fork would copy as they stand."""


def aside(work: Callable[[], T]) -> Callable[[], T]:
    """Begin work that computes and writes nothing; what is returned waits for its result. To be asked once.

    Where there can be no second process, or it is lost, or the work raises an error in it, the work is done here, when its result is
    asked for: the result and the error are the same, whichever process did it.
    """
    found = _begin(work) if is_safe() else None
    return work if found is None else lambda: _result(*found, work)


def is_safe() -> bool:
    """Whether to fork: on Linux, from a process without further threads or libraries that keep some, if there is a second processor."""
    if sys.platform != "linux" or threading.active_count() > 1 or multiprocessing.current_process().daemon:
        return False
    return len(os.sched_getaffinity(0)) > 1 and not any(name in sys.modules for name in UNSAFE)


def _begin(work: Callable[[], object]) -> tuple[ForkProcess, Connection] | None:
    """The process, and the end of a pipe that its pickled result comes through; None where the system refuses."""
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(work, reader, writer), daemon=True)
    try:
        with warnings.catch_warnings():
            # Python warns of threads that a library's own handlers have already stopped (OpenBLAS) or start anew (Arrow).
            warnings.simplefilter("ignore", DeprecationWarning)
            child.start()
    except OSError:
        reader.close()
        return None
    finally:
        writer.close()
    return child, reader


def _work(work: Callable[[], object], reader: Connection, writer: Connection) -> None:
    """In the second process: nothing is sent where the work fails."""
    reader.close()  # else a first process that is gone would leave this one waiting for a reader
    with suppress(BaseException):
        writer.send_bytes(pickle.dumps(work(), pickle.HIGHEST_PROTOCOL))


def _result(child: ForkProcess, reader: Connection, work: Callable[[], T]) -> T:
    try:
        with reader:
            data = reader.recv_bytes()
    except (EOFError, OSError):
        return work()
    finally:
        child.join()
    return cast("T", pickle.loads(data))  # noqa: S301 — from this very program, through a pipe that it has made
