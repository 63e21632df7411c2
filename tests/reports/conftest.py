"""A run with everything that is awkward in it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.conftest import write_scene
from tests.making import DRIFT, Made

EVIL = "<script>alert(1)</script>"
MARKUP = "a|b `c` <img src=x onerror=alert(2)> *d* [e](http://evil.example)\n# f"


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Three rows over four scenes: one without truth, one with a hostile name, one failed fill, one failed score, an oracle at ∞ dB."""
    suite = tmp_path / "suite"
    write_scene(suite / "tall", seed=1, size=(40, 56), references=1)
    write_scene(suite / "wide", seed=2, size=(400, 100), hole=(slice(0, 100), slice(0, 150)))
    write_scene(suite / "no truth", seed=3, truth=False)
    write_scene(suite / "=1+1", seed=4)
    run = Made(tmp_path / "run", suite)
    run.column(DRIFT, direction="lower", region="known", image="raw", reads=["target"], summary=MARKUP)
    run.scene("tall", title=EVIL, tags=[MARKUP], licence='"><b onclick=alert(3)>', warnings=[f"{suite}/tall: {MARKUP}"])
    run.scene("wide")
    run.scene("no truth")
    run.scene("=1+1")
    run.row("good:fast", method="good", preset="fast", title=MARKUP, summary=EVIL)
    run.row(EVIL)
    run.row("truth", oracle=True)
    run.scores("good:fast", {"tall": 20.5, "wide": 22.25, "=1+1": 1 / 3})
    run.scores(EVIL, {"tall": 10, "=1+1": 11})
    run.fill(EVIL, "wide", state="failed", reason=f"RuntimeError: {MARKUP} in {suite}/wide")
    run.fill("truth", "no truth", state="unsupported", reason="the scene has no ground truth")
    run.scores("truth", {"tall": math.inf, "wide": math.inf, "=1+1": math.inf})
    for label in ("good:fast", EVIL):
        run.fill(label, "no truth", notes=["2 of 4 references matched", EVIL])
        run.score(label, "no truth", None, state="unsupported", reason="the scene has no ground truth")
        run.scores(label, {"tall": 1.0, "no truth": 2.0}, DRIFT)
    run.score("good:fast", "wide", None, signature=DRIFT, state="failed", reason=MARKUP)
    run.manifest.scenes["refused"] = run.manifest.scenes["tall"].model_copy(
        update={"refused": f"{suite}/refused/mask.png: {EVIL}", "digests": {}}
    )
    run.write()
    return run
