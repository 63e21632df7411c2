"""kill -9 at a random moment of a run, twenty times over: running again ends as an undisturbed run does and redoes no finished cell."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd

from realbench.results import load_run
from realbench.store import RunFolder, finished
from tests.conftest import Plugins, write_scene

KILLS = 20
RECORDS, SCORES = "record.json", "????????????????.json"
SOURCE = """
import time
from pathlib import Path
import numpy as np
from realbench.method import BaseMethod, MethodCard
LOG = Path(__file__).parent / "calls"

class Slow(BaseMethod):
    card = MethodCard("slow", "Slow", "Takes its time.", fits=True, stochastic=True)
    def fit(self, task, *, seed, context):
        time.sleep(0.1)
        self.level = int(task.references[0].mean()) // 2
    def complete(self, task, seed, context):
        with LOG.open("a") as file:
            file.write(f"{task.id} {seed}\\n")
        time.sleep(0.02)
        image = task.target.copy()
        image[task.mask] = np.random.default_rng(seed).integers(0, 128, (int(task.mask.sum()), 3)) + self.level
        return image, ()
    def save(self, folder):
        (folder / "level").write_text(str(self.level))
    def load(self, folder):
        self.level = int((folder / "level").read_text())
"""


SLOW_METRIC = """
import time
from pathlib import Path
from realbench.metric import BaseMetric, MetricCard, Score
LOG = Path(__file__).parent / "scored"

class Brightness(BaseMetric):
    card = MetricCard("brightness", "Brightness", "Mean level.", "higher", "full", "composite")
    def prepare(self, scene, *, context):
        return scene.id
    def score(self, prepared, batch):
        time.sleep(0.1)
        with LOG.open("a") as file:
            file.write(f"{prepared} {len(batch)}\\n")
        return [Score(float(image.mean())) for image in batch.composite]
"""


class Disturbed:
    """A run that is killed again and again, and what was finished at each kill."""

    def __init__(self, command: list[str], root: Path, environment: dict[str, str]) -> None:
        self.command, self.run, self.environment = [*command, str(root)], RunFolder(root), environment

    def files(self, name: str) -> set[Path]:
        while True:
            try:
                return set(self.run.root.rglob(name))
            except FileNotFoundError:  # a folder went away while it was read
                continue

    def until(self, name: str, more: int) -> bool:
        """Start the command and kill it once `more` further files of this name were written; whether it came to that."""
        before = len(self.files(name))
        process = subprocess.Popen(self.command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(self.files(name)) < before + more:
            time.sleep(0.002)
        killed = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(0.05)  # the orphaned worker notices that its driver is gone
        return killed

    def stamps(self) -> dict[Path, int]:
        """When each finished cell and score was written."""
        done = [self.run.cell(cell) for cell, _ in finished(self.run, self.run.read_manifest())]
        files = [folder / "record.json" for folder in done] + [path for folder in done for path in (folder / "scores").glob(SCORES)]
        return {path: path.stat().st_mtime_ns for path in files}


def test_killed_runs_end_like_an_undisturbed_one(tmp_path: Path, plugins: Plugins) -> None:
    site = plugins("methods", {"slow": "Slow"}, SOURCE).parent
    plugins("metrics", {"brightness": "Brightness"}, SLOW_METRIC, module="shining")
    suite = tmp_path / "suite"
    for index in range(4):
        write_scene(suite / str(index), seed=index)
    words = ["run", "-m", "slow", "--scenes", str(suite), "--seeds", "12", "--metric", "brightness", "--metric", "drift", "--out"]
    command, environment = [sys.executable, "-m", "realbench", *words], {**os.environ, "PYTHONPATH": str(site)}
    disturbed = Disturbed(command, tmp_path / "killed", environment)
    rng = random.Random(7)
    kills, written = Counter[str](), {}
    while kills.total() < KILLS:
        # Files of fills as long as some are missing, then files of scores: each kill falls into the midst of writing.
        left = 4 * 12 - len(disturbed.files("fill.png"))
        stage = RECORDS if left else SCORES
        kills[stage] += disturbed.until(stage, min(rng.randint(3, 6), left) if left else rng.randint(1, 12))
        stamps = disturbed.stamps()
        assert {path: stamps.get(path) for path in written} == written, "a finished cell or score was redone or lost"
        written = stamps
        if len(written) == 4 * 12 * 3:
            break
    assert kills[RECORDS] >= 6 and kills[SCORES] >= 3
    told = [one.broke_off for one in disturbed.run.read_manifest().invocations]
    assert not told[0] and sum(told) >= kills.total() - 1, "each command but the last killed one is known to have broken off"
    while kills.total() < KILLS:  # with nothing left to do, a kill must harm nothing either
        process = subprocess.Popen(disturbed.command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0, 0.6))
        process.kill()
        process.wait()
        kills["idle"] += 1
    subprocess.run(disturbed.command, env=environment, check=True, capture_output=True)
    assert {path: stamp for path, stamp in disturbed.stamps().items() if path in written} == written

    subprocess.run([*command, str(tmp_path / "calm")], env=environment, check=True, capture_output=True)
    survived, calm = (load_run(tmp_path / name).scores().drop(columns="run") for name in ("killed", "calm"))
    pd.testing.assert_frame_equal(survived, calm)
    root = disturbed.run.root
    images = {path.relative_to(root): path.read_bytes() for path in root.rglob("*.png") if not path.name.startswith(".tmp-")}
    assert len(images) == 4 * 12 * 2
    assert images == {path.relative_to(tmp_path / "calm"): path.read_bytes() for path in (tmp_path / "calm").rglob("*.png")}
    assert (site / "scored").exists() and (site / "calls").exists()
