"""realbench: a benchmark suite for reference-driven image completion.

The Python API is what this module lists; docs/python.md shows it. Names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Machine": "bench",
    "Results": "results",
    "Scene": "scene",
    "Suite": "suite",
    "Summary": "bench",
    "load_run": "results",
    "merge_runs": "merge",
    "open_suite": "suite",
    "run": "bench",
    "score": "bench",
    "write_reports": "report",
}

if TYPE_CHECKING:
    from realbench.bench import Machine as Machine
    from realbench.bench import Summary as Summary
    from realbench.bench import run as run
    from realbench.bench import score as score
    from realbench.merge import merge_runs as merge_runs
    from realbench.report import write_reports as write_reports
    from realbench.results import Results as Results
    from realbench.results import load_run as load_run
    from realbench.scene import Scene as Scene
    from realbench.suite import Suite as Suite
    from realbench.suite import open_suite as open_suite

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'realbench' has no attribute {name!r}")
    return getattr(import_module(f"realbench.{_HOMES[name]}"), name)
