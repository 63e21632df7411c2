"""Turning whatever goes wrong into one line for the user and the exit code it stands for."""

from __future__ import annotations

import functools
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, ParamSpec

import typer

from realbench.errors import Exit, RealbenchError
from realbench.text import printable

P = ParamSpec("P")


def guarded(command: Callable[P, Exit | None]) -> Callable[P, None]:
    """A command that ends with an exit code, never with a bare traceback."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            code = command(*args, **kwargs) or Exit.DONE
        except RealbenchError as error:
            _say(f"error: {error}")
            code = error.exit_code
        except KeyboardInterrupt:
            _say("interrupted: what was finished is kept; the same command goes on from here")
            code = Exit.INTERRUPTED
        except BrokenPipeError:
            # The reader of our output has gone (`realbench … | head`): nothing went wrong.
            sys.stderr.close()
            code = Exit.DONE
        except typer.Exit:
            raise
        except Exception as error:
            code = Exit.FAILED_CELLS
            _say(f"error: {type(error).__name__}: {error} (a fault of realbench; please report it with {_keep(error)})")
        raise typer.Exit(int(code))

    return wrapper


@contextmanager
def unheard() -> Iterator[None]:
    """Nobody need listen to the end (`realbench … | head`): what is printed is dropped then, and the command ends with its own code."""
    try:
        yield
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # rich ends the program where its pipe is broken
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr)


def _keep(error: Exception) -> Path:
    """Write the traceback where a report can quote it."""
    with tempfile.NamedTemporaryFile("w", prefix="realbench-", suffix=".log", delete=False) as file:
        traceback.print_exception(error, file=file)
    return Path(file.name)
