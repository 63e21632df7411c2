"""Everything that can go wrong in words a user can act on, and the exit code each of them ends with."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command (docs/architecture.md, "Exit codes")."""

    DONE = 0
    REGRESSION = 1
    USAGE = 2
    FAILED_CELLS = 3
    NO_BASELINE = 4
    NOTHING_MEASURED = 5
    WEIGHTS_MISSING = 6
    INTERRUPTED = 130


class RealbenchError(Exception):
    """An error whose message alone tells the user what was expected, what was found and what to do."""

    exit_code: Exit = Exit.FAILED_CELLS
    detail: str = ""
    """What is kept with a failed cell beside the message, for example the end of a log."""


class TimedOut(RealbenchError):
    """Something took longer than it is given; the cell is a `timeout`, not `failed`."""


class UsageError(RealbenchError):
    """The command line, a setting or a call asks for something that does not exist or contradicts itself."""

    exit_code = Exit.USAGE


class SceneError(RealbenchError):
    """A scene or suite cannot be used as it is: unreadable, incomplete, inconsistent or unsafe."""

    exit_code = Exit.USAGE


class NothingMeasured(RealbenchError):
    """There is no cell to show, rank or compare."""

    exit_code = Exit.NOTHING_MEASURED


class Unsupported(RealbenchError):
    """Raised by a method or metric that cannot do what is asked by its nature (no truth, no reference, …)."""

    exit_code = Exit.DONE


class WeightsMissing(Unsupported):
    """Raised where a model's weights cannot be had on this machine; the message says how to get them."""

    exit_code = Exit.WEIGHTS_MISSING
