"""Faults that a gate should notice, planted in a copy of realbench as a bug would be: the command line and settings stay as they are."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import realbench

PARTS = ("methods", "metrics", "runners", "reports")
SHUFFLED = """

def _shuffled(task: Task) -> Task:
    from dataclasses import replace

    from realbench.suite import open_suite

    suite = open_suite("demo")
    other = suite.ids[(suite.ids.index(task.id) + 1) % len(suite.ids)]
    return replace(task, references=suite.load(other).references)
"""


@dataclass(frozen=True)
class Fault:
    """One bug."""

    title: str
    file: str
    """Below the package."""
    old: str
    """Stands there once."""
    new: str
    refit: bool
    """It is in the fit; else the fits of the whole code serve."""
    more: str = ""
    """Put at the file's end."""


FAULTS: dict[str, Fault] = {
    "rank": Fault(
        "LoRA rank 8 → 1", "methods/_realfill/fitting.py", "lora.add(pipeline, rank=settings.rank,", "lora.add(pipeline, rank=1,", True
    ),
    "steps": Fault(
        "fit steps ÷ 4",
        "methods/realfill.py",
        "super().__init__(settings)",
        "super().__init__(settings and replace(settings, steps=settings.steps // 4))",
        True,
    ),
    "mask": Fault(
        "mask off by 8 px",
        "worker.py",
        "method.fill(task, asked,",
        "method.fill(replace(task, mask=np.roll(task.mask, 8, axis=1)), asked,",
        False,
    ),
    "bgr": Fault(
        "colours swapped to BGR",
        "worker.py",
        "raw = _checked(fill.image, task)",
        "raw = _checked(fill.image, task)[..., ::-1].copy()",
        False,
    ),
    "composite": Fault("compositing skipped", "worker.py", "laid = composite(raw, task.target, task.mask, feather)", "laid = raw", False),
    "references": Fault(
        "references of another scene",
        "methods/_realfill/fitting.py",
        "    settings = model.settings\n    pipeline",
        "    task = _shuffled(task)\n    settings = model.settings\n    pipeline",
        True,
        SHUFFLED,
    ),
    "scene": Fault(
        "one scene upside down",
        "worker.py",
        "raw = _checked(fill.image, task)",
        'raw = _checked(fill.image, task)\n    raw = raw[::-1].copy() if task.id == "{scene}" else raw',
        False,
    ),
}


def plant(fault: Fault | None, site: Path, *, scene: str = "") -> dict[str, str]:
    """A copy of realbench with the fault in `site`, and the environment that makes `python -m realbench` take it.

    Raises ValueError where the code has changed, so that the fault cannot be planted as described.
    """
    root = Path(realbench.__file__).parent
    shutil.rmtree(site, ignore_errors=True)
    shutil.copytree(root, site / "realbench", ignore=shutil.ignore_patterns("__pycache__"))
    for part in PARTS:
        source = root / part if (root / part).is_dir() else root.parent / part  # installed, or in a clone
        shutil.copytree(source, site / "realbench" / part, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    if fault is not None:
        path = site / "realbench" / fault.file
        text = path.read_text(encoding="utf-8")
        if text.count(fault.old) != 1:
            raise ValueError(f"{fault.title}: expected once in {fault.file}: {fault.old!r}")
        path.write_text(text.replace(fault.old, fault.new.replace("{scene}", scene)) + fault.more, encoding="utf-8")
    return {**os.environ, "PYTHONPATH": str(site)}
