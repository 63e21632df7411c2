"""Rows that differ in nothing the fit reads share their fits; a terminal that is none hears of a long fit."""

from __future__ import annotations

from pathlib import Path

import pytest

import realbench
from realbench.cli import screen
from tests.conftest import Plugins

TUNED = """
from dataclasses import dataclass, field
from pathlib import Path
from realbench.method import BaseMethod, MethodCard

LOG = Path(__file__).parent / "calls"

class Tuned(BaseMethod):
    card = MethodCard("tuned", "Tuned", "Fits with a rate, fills with a number of steps.", fits=True)
    @dataclass(frozen=True)
    class Settings:
        rate: int = 1
        steps: int = field(default=1, metadata={"stage": "fill"})
    def fit(self, task, *, seed, context):
        with LOG.open("a") as log:
            log.write(f"fit {task.id} {self.settings.rate}\\n")
        self.level = self.settings.rate
    def complete(self, task, seed, context):
        image = task.target.copy()
        image[task.mask] = self.level * 10 + self.settings.steps
        return image, ()
    def save(self, folder):
        (folder / "level").write_text(str(self.level))
    def load(self, folder):
        self.level = int((folder / "level").read_text())
"""


@pytest.fixture
def fits(plugins: Plugins) -> Path:
    """Where the planted method logs its fits."""
    return plugins("methods", {"tuned": "Tuned"}, TUNED).parent / "calls"


def run(suite: Path, out: Path, *rows: str, settings: tuple[str, ...]) -> None:
    realbench.run(rows, scenes=suite, scene=["a"], metrics=["drift"], settings=settings, out=out)


def test_a_setting_that_only_filling_reads_costs_no_fit(suite: Path, tmp_path: Path, fits: Path) -> None:
    run(suite, tmp_path / "run", "tuned=A", "tuned=B", settings=("A.steps=2", "B.steps=3"))
    assert fits.read_text().splitlines() == ["fit a 1"]
    states = sorted((tmp_path / "run").glob("*/a/fit-0/state/level"))
    assert len(states) == 2 and len({path.read_text() for path in states}) == 1  # each row keeps a whole fit of its own
    assert {path.parts[-5][0] for path in states} == {"A", "B"}


def test_a_setting_that_the_fit_reads_costs_one(suite: Path, tmp_path: Path, fits: Path) -> None:
    run(suite, tmp_path / "run", "tuned=A", "tuned=B", settings=("A.rate=2", "B.rate=3"))
    assert fits.read_text().splitlines() == ["fit a 2", "fit a 3"]


def test_the_fills_of_rows_that_share_a_fit_are_their_own(suite: Path, tmp_path: Path, fits: Path) -> None:
    run(suite, tmp_path / "run", "tuned=A", settings=("steps=2",))
    run(suite, tmp_path / "run", "tuned=A", settings=("steps=3",))
    assert fits.read_text().splitlines() == ["fit a 1"]
    records = realbench.load_run(tmp_path / "run").cells()
    assert list(records["state"]) == ["ok"]
    digests = {path.read_bytes() for path in (tmp_path / "run").glob("A-*/a/fit-0/seed-00000/raw.png")}
    assert len(digests) == 2


def test_a_damaged_fit_is_shared_with_nobody(suite: Path, tmp_path: Path, fits: Path) -> None:
    run(suite, tmp_path / "run", "tuned=A", settings=("steps=2",))
    next((tmp_path / "run").glob("A-*/a/fit-0/state/level")).write_text("9")
    run(suite, tmp_path / "run", "tuned=B", settings=("steps=3",))
    assert fits.read_text().splitlines() == ["fit a 1"] * 2


def test_a_long_step_is_heard_of_without_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    monkeypatch.setattr(screen.time, "monotonic", lambda: now[0])
    with screen.Screen() as watch:
        watch.begin("filling", 3)
        for now[0] in (1.0, 31.0, 32.0, 62.5):
            watch.detail("loss 0.1", now[0], 100)
    assert capsys.readouterr().err.split("\n")[:-2] == ["filling: 0 of 3; loss 0.1 31/100", "filling: 0 of 3; loss 0.1 62.5/100"]
