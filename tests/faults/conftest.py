"""A suite of two tiny scenes, plug-ins that meet with faults, and what an undisturbed run of them makes."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import write_scene

pytest.register_assert_rewrite("tests.faults.disturbing")

from tests.faults import nursery  # noqa: E402
from tests.faults.disturbing import Ground, calm_run  # noqa: E402
from tests.faults.observing import space  # noqa: E402

PLANS = 200


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--plans", type=int, default=PLANS, help="How many random fault plans are carried out.")
    parser.addoption("--first-plan", type=int, default=0, help="The number of the first of them.")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "plan_number" in metafunc.fixturenames:
        first = metafunc.config.getoption("first_plan", 0)
        metafunc.parametrize("plan_number", range(first, first + metafunc.config.getoption("plans", PLANS)))


@pytest.fixture
def ground(grounds: Ground) -> Iterator[Ground]:
    """Where plans are carried out: suite, plug-ins, nursery, and the undisturbed run. Other tests see nothing of the plug-ins."""
    with planted(grounds.root):
        yield grounds


@contextmanager
def planted(root: Path) -> Iterator[None]:
    """With the plug-ins and the nursery below a folder."""
    from realbench import registry

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "site")
        patch.setenv("NURSERY", str(root / "nursery"))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(root / "site"), str(nursery.ROOT)]))
        registry._points.cache_clear()
        try:
            yield
        finally:
            registry._points.cache_clear()
            sys.modules.pop("faulty", None)


@pytest.fixture(scope="session")
def grounds() -> Iterator[Ground]:
    """See `ground`."""
    if sys.platform != "linux":
        pytest.skip("processes are forked, signalled and counted as Linux does it")
    root = Path(tempfile.mkdtemp(prefix="faults-", dir=space()))
    for name, seed in (("a", 1), ("b", 2)):
        write_scene(root / "suite" / name, seed=seed, size=(16, 12), hole=(slice(3, 8), slice(4, 11)), references=1)
    site = root / "site"
    info = site / "faulty-1.0.dist-info"
    info.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("faulty.py"), site)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    metrics = "faulty-level = faulty:Level\nfaulty-distance = faulty:Distance\n"
    (info / "entry_points.txt").write_text(f"[realbench.methods]\nfaulty = faulty:Faulty\n[realbench.metrics]\n{metrics}")
    parent = nursery.start(str(root / "nursery"))
    try:
        with planted(root):
            calm = calm_run(root)
        yield calm
    finally:
        parent.communicate()
        shutil.rmtree(root, ignore_errors=True)
