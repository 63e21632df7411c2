"""How to execute: the runner and what it is told, checked before anything starts."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realbench import registry
from realbench.errors import UsageError
from realbench.runner import RunnerOptions, Supply, Unit

MOST = 256
"""Most worker processes, and most threads of each."""
SPECIAL = ("address", "gpus_per_fit", "fills_per_task")
"""Options that only some runners have."""
DTYPES = ("auto", "float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Machine:
    """How to execute: nothing here changes what is measured (device, type and threads are recorded with every number)."""

    runner: str = "local"
    workers: int | None = None
    """Worker processes; None: one (`local`), or as many as the cluster has room for (`ray`)."""
    threads: int | None = None
    """CPU threads of each worker; None shares the cores among the workers (`local`), or gives each one (`ray`)."""
    timeout: float | None = None
    """Seconds that any one fit, fill or metric may take."""
    device: str = "auto"
    dtype: str = "auto"
    """Floating-point type of work on torch; `auto` is the method's choice for the device."""
    fail_fast: bool = False
    address: str | None = None
    """Where the Ray cluster is; None starts one on this machine."""
    gpus_per_fit: float | None = None
    """GPUs of a Ray worker whose method or metric runs on torch; None: 1."""
    fills_per_task: int | None = None
    """Seeds of a fit that a Ray worker fills at a time; None: 8."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no machine can be."""
        for name, value in (("workers", self.workers), ("threads", self.threads)):
            if value is not None and not 1 <= value <= MOST:
                raise UsageError(f"{name}={value}: expected 1 to {MOST}")
        if self.fills_per_task is not None and self.fills_per_task < 1:
            raise UsageError(f"fills_per_task={self.fills_per_task}: expected at least 1")
        gpus = self.gpus_per_fit
        if gpus is not None and not (0 <= gpus <= 1 or (gpus <= MOST and gpus == int(gpus))):
            raise UsageError(f"gpus_per_fit={gpus:g}: expected a share of one GPU (0 to 1) or a whole number of them")
        if self.timeout is not None and not self.timeout > 0:
            raise UsageError(f"timeout={self.timeout}: expected a number of seconds above 0")
        if self.dtype not in DTYPES:
            raise UsageError(f"dtype={self.dtype!r}: expected one of {', '.join(DTYPES)}")
        if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]+)?", self.device):
            raise UsageError(f"device={self.device!r}: expected auto, cpu, mps, cuda or cuda:N")

    def kind(self) -> Any:
        """The runner's class. Raises UsageError where there is none, where it lacks a module, and for options that are not its own."""
        kind = registry.load("runners", self.runner)
        for name in self._special():
            if name not in kind.card.options:
                known = ", ".join(f"--{option.replace('_', '-')}" for option in kind.card.options) or "none of its own"
                raise UsageError(f"--{name.replace('_', '-')}: the runner {self.runner} does not know it; it knows {known}")
        for module in kind.card.requires:
            if importlib.util.find_spec(module) is None:
                raise UsageError(f"--runner {self.runner}: {module} is not installed; pip install 'realbench[{self.runner}]'")
        return kind

    @contextmanager
    def held(self) -> Iterator[None]:
        """What the runner keeps from stage to stage (a connection) is given back at the end."""
        kind = self.kind()
        try:
            yield
        finally:
            if hasattr(kind, "release"):
                kind.release()

    def execute(self, units: Sequence[Unit], supply: Supply, emit: Any, log: Path, say: Callable[[str], None]) -> None:
        """Run units on the runner asked for."""
        options = RunnerOptions(supply, self.workers, self.threads, self.timeout, str(log), self.device, self._special(), say)
        self.kind()(options).run(units, emit)

    def _special(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in SPECIAL if getattr(self, name) is not None}
