"""`pytest --realbench baseline.json` and the fixture `realbench_check` (docs/ci.md).

pytest loads this file wherever realbench is installed, asked for or not: it imports nothing else of realbench until it is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from realbench.pytest_check import Checker

_FURTHER = ("run", "row", "method", "set", "scenes", "seeds", "fits", "config", "strict")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options; all but the first say how."""
    group = parser.getgroup("realbench", "fill quality against an accepted baseline")
    group.addoption("--realbench", metavar="FILE", help="Check against this baseline: a test for each row, metric and scene.")
    group.addoption("--realbench-run", metavar="RUN", action="append", help="A run folder; default: the latest below runs/.")
    group.addoption("--realbench-row", metavar="LABEL", action="append", help="Compare this row of the baseline alone; repeatable.")
    group.addoption(
        "--realbench-method", metavar="NAME[:PRESET][=LABEL]", action="append", help="Run this first, in place of a run folder."
    )
    group.addoption("--realbench-set", metavar="[NAME.]key=value", action="append", help="A setting of the methods that run first.")
    group.addoption("--realbench-scenes", metavar="PATH|demo", help="The suite for the methods that run first; default: demo.")
    group.addoption("--realbench-seeds", metavar="N|A-B", help="Their seeds; default: the baseline's.")
    group.addoption("--realbench-fits", metavar="N", type=int, help="Repeats of the fit; default: as many as the baseline has.")
    group.addoption("--realbench-config", metavar="FILE", help="Tolerances; default: realbench.toml, where there is one.")
    group.addoption("--realbench-strict", action="store_true", default=None, help="Another class of device is not comparable.")


def pytest_configure(config: pytest.Config) -> None:
    """Nothing, unless a baseline is given."""
    if config.getoption("realbench") is None:
        alone = [name for name in _FURTHER if config.getoption(f"realbench_{name}") is not None]
        if alone:
            raise pytest.UsageError(f"--realbench-{alone[0]} says how to check; --realbench FILE says against which baseline")
        return
    from realbench.pytest_gate import Gate

    config.addinivalue_line("markers", "realbench: fill quality against an accepted baseline")
    config.pluginmanager.register(Gate.of(config), "realbench-gate")


@pytest.fixture
def realbench_check(pytestconfig: pytest.Config) -> Checker:
    """Compare a run with a baseline and fail the test on a regression: `realbench_check(run, baseline="baseline.json", strict=False)`.

    Takes a run folder, several of them, or Results; returns a Judgement. The baseline is that of --realbench where none is given, else
    baseline.json in the root folder.
    """
    from realbench.pytest_check import Checker

    given = pytestconfig.getoption("realbench")
    return Checker(pytestconfig.invocation_params.dir / given if given else Path(pytestconfig.rootpath) / "baseline.json")
