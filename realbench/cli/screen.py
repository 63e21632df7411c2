"""What a run looks like in a terminal: lines as they come, and one progress bar with the time left."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from realbench.text import printable

QUIET_SECONDS = 30.0
"""Without a terminal, how often a line says how far the stage is."""


class Screen:
    """A Watcher on stderr; without a terminal it prints plain lines instead of a bar."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        columns = (TextColumn("{task.description:>16}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, TextColumn("{task.fields[what]}"), console=self._console, transient=True)
        self._task: TaskID | None = None
        self._stage, self._done, self._total, self._last = "", 0, 0, 0.0

    def __enter__(self) -> Screen:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """Print a line; its markup is text, since scene names and reasons are anyone's."""
        self._console.print(escape(printable(text)))

    def begin(self, stage: str, total: int) -> None:
        """Start a bar."""
        self._stage, self._done, self._total, self._last = stage, 0, total, time.monotonic()
        self._task = self._progress.add_task(stage, total=total, what="")

    def step(self, what: str, steps: int = 1) -> None:
        """Move the bar."""
        self._done += steps
        if self._task is not None:
            self._progress.update(self._task, advance=steps, what=escape(printable(what)))
        self._say_now_and_then(f"{self._stage}: {self._done} of {self._total}")

    def detail(self, text: str, done: float, total: float) -> None:
        """Show how far the work inside a step is."""
        if self._task is not None and total:
            self._progress.update(self._task, what=escape(printable(f"{text} {done:g}/{total:g}")))
            self._say_now_and_then(f"{self._stage}: {self._done} of {self._total}; {text} {done:g}/{total:g}")

    def _say_now_and_then(self, text: str) -> None:
        """Without a terminal, a line every QUIET_SECONDS: an hour's fit is not to look like a run that hangs."""
        if not self._console.is_terminal and time.monotonic() - self._last > QUIET_SECONDS:
            self._last = time.monotonic()
            self.say(text)

    def end(self) -> None:
        """Take the bar away."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = None
