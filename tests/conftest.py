"""Shared fixtures: small scene folders, and plug-ins that are found the way any third party's are."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # models here are tiny: a second thread only waits, above all beside other test processes

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_scenes() -> Path:
    """Eight real scenes that are no part of this project; tests that use them skip where they are not."""
    folder = SHARED / "scenes"
    if not folder.is_dir():
        pytest.skip(f"no real scenes at {folder}")
    return folder


def photograph(seed: int, width: int = 48, height: int = 32) -> np.ndarray:
    """A smooth coloured picture, H×W×3, 0–255, another one for each seed."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def write_scene(
    folder: Path,
    *,
    seed: int = 0,
    size: tuple[int, int] = (48, 32),
    references: int = 2,
    truth: bool = True,
    hole: tuple[slice, slice] = (slice(8, 20), slice(10, 30)),
) -> Path:
    """A scene in RealBench layout with a rectangular hole (rows, columns) painted white in the target."""
    width, height = size
    picture = photograph(seed, width, height)
    mask = np.zeros((height, width), np.uint8)
    mask[hole] = 255
    target = picture.copy()
    target[mask > 0] = 255
    (folder / "target").mkdir(parents=True)
    (folder / "ref").mkdir()
    Image.fromarray(target).save(folder / "target" / "target.png")
    Image.fromarray(mask).save(folder / "target" / "mask.png")
    if truth:
        Image.fromarray(picture).save(folder / "target" / "gt.png")
    for index in range(references):
        Image.fromarray(photograph(seed + 100 + index, width + 8 * index, height)).save(folder / "ref" / f"{index}.png")
    return folder


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Three small scenes: `a` and `b` with ground truth, `c` without."""
    root = tmp_path / "suite"
    write_scene(root / "a", seed=1)
    write_scene(root / "b", seed=2, size=(40, 56), hole=(slice(30, 56), slice(0, 40)))
    write_scene(root / "c", seed=3, truth=False)
    return root


Plugins = Callable[..., Path]


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plugins:
    """Install plug-ins for one test: plugins("methods", {"name": "Class"}, source) makes them visible here and in workers."""
    from realbench import registry

    site = tmp_path / "site"
    installed = []

    def install(kind: str, classes: dict[str, str], source: str, *, module: str = "planted") -> Path:
        site.mkdir(exist_ok=True)
        (site / f"{module}.py").write_text(textwrap.dedent(source))
        info = site / f"{module}-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        points = "".join(f"{name} = {module}:{cls}\n" for name, cls in classes.items())
        (info / "entry_points.txt").write_text(f"[realbench.{kind}]\n{points}")
        monkeypatch.syspath_prepend(site)
        registry._points.cache_clear()
        installed.append(module)
        return site / f"{module}.py"

    yield install  # type: ignore[misc]
    registry._points.cache_clear()
    for module in installed:
        sys.modules.pop(module, None)
