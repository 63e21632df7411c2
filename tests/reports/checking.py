"""Checks made by hand: judgements of a few changes, and a run beside the one that its baseline was accepted from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from realbench import baseline, gate
from realbench.baseline import BaselineMetric
from realbench.fingerprint import of_bytes
from realbench.gate import Change, Judgement
from realbench.image import encode_png
from realbench.reports._check_words import Check
from realbench.results import Results, load_run
from realbench.tolerance import Rules
from tests.conftest import write_scene
from tests.making import DRIFT, PSNR, Made

HOSTILE = "<img src=x onerror=document.title='owned'>"
CONTROL = "a\x00b\x1b[31m|c\n# d\u202e\uffff"
METRICS = {
    PSNR: BaselineMetric(metric="psnr", config={"range": 255}, title="PSNR", direction="higher", unit="dB", digits=2, source=""),
    DRIFT: BaselineMetric(metric="drift", config={}, title="DRIFT", direction="lower", unit="", digits=3, source=""),
}
Seeds = dict[str, list[float | None]]


def change(scene: str = "", before: float | None = 20.0, after: float | None = 20.0, verdict: str = "same", **fields: Any) -> Change:
    """Of a row `row` under PSNR, unless said otherwise."""
    signature = fields.pop("signature", PSNR)
    standard: dict[str, Any] = {"label": "row", "metric": METRICS[signature], "tolerance": 0.01}
    return Change(signature=signature, scene=scene, before=before, after=after, verdict=verdict, **(standard | fields))


def judgement(*changes: Change, **fields: Any) -> Judgement:
    standard: dict[str, Any] = {
        "mismatches": (), "differences": (), "warnings": (), "rules": Rules(), "suite": "suite",
        "accepted": "2030-01-02 from commit abc", "runs": ("run",), "paths": ("run",),
    }  # fmt: skip
    return Judgement(changes=changes, **(standard | fields))


def empty_run(folder: Path) -> Results:
    """A run that holds nothing but a row and a scene."""
    made = Made(folder)
    made.scene("a")
    made.row("row")
    return load_run(made.write())


def checked(folder: Path, *changes: Change, **fields: Any) -> Check:
    """A judgement of an empty run, ready to print."""
    return Check(replace(empty_run(folder), judgement=judgement(*changes, **fields)))


class Painted(Made):
    """A run whose fills all have one grey."""

    grey = 0

    def fill(self, label: str, scene: str, *, fit: int = 0, seed: int = 0, state: str = "ok", **fields: Any) -> None:
        super().fill(label, scene, fit=fit, seed=seed, state=state, **fields)
        if state != "ok":
            return
        width, height = self.manifest.scenes[scene].size
        data = encode_png(np.full((height, width, 3), self.grey, np.uint8))
        names, cell = ("raw.png", "fill.png"), self.cell(label, scene, fit, seed)
        record = self.folder.read_fill(cell)
        assert record is not None
        update = {"files": dict.fromkeys(names, of_bytes(data)), "sizes": dict.fromkeys(names, len(data))}
        self.folder.write_fill(cell, record.model_copy(update=update), dict.fromkeys(names, data))


OLD: Seeds = {"plain": [20.0, 20.2, 20.4], "down": [20.0, 20.2, 20.4], "up": [20.0, 20.2, 20.4], "gone": [20.0, 20.2, 20.4]}
NEW: Seeds = {"plain": [20.0, 20.2, 20.4], "down": [10.0, 10.2, 10.4], "up": [23.0, 23.2, 23.4], "gone": [20.0, None, 20.4]}
"""PSNR by seed: one scene holds, one drops by ten, one gains three, one lacks a seed."""


def painted(root: Path, suite: Path, scores: Seeds, grey: int, hostile: float) -> Made:
    """A row of three seeds over four scenes, and one of a single seed over a scene with a hostile name."""
    made = Painted(root, suite)
    made.grey = grey
    for name in OLD:
        made.scene(name)
    made.scene("hostile")
    made.manifest.scenes[HOSTILE] = made.manifest.scenes.pop("hostile")
    made.row("many", [*OLD], seeds=[0, 1, 2])
    made.row(HOSTILE, [HOSTILE])
    for scene, values in scores.items():
        for seed, value in enumerate(values):
            if value is None:
                made.fill("many", scene, seed=seed, state="failed", reason=f"RuntimeError: {suite}/{scene}: {HOSTILE}")
            else:
                made.score("many", scene, value, seed=seed)
    made.score(HOSTILE, HOSTILE, hostile)
    made.write()
    return made


def pair(folder: Path) -> tuple[Results, Results]:
    """The run that was accepted, and the run that is checked, judged; their fills are of grey 40 and 200."""
    for seed, name in enumerate((*OLD, "hostile")):
        write_scene(folder / "suite" / name, seed=seed)
    old = load_run(painted(folder / "old", folder / "suite", OLD, 40, 30.0).root)
    new = load_run(painted(folder / "new", folder / "suite", NEW, 200, 29.0).root)
    return old, replace(new, judgement=gate.judge(baseline.accept(old), new))


def having(check: Check, scenes: Iterable[str]) -> dict[str, str]:
    """Verdicts by scene."""
    return {one.scene: one.verdict for one in check.judgement.changes if one.scene in scenes}
