"""kill -9 at a random moment of a run, twenty times over: running again ends as an undisturbed run does and redoes no finished cell."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from realbench.results import load_run
from realbench.store import RunFolder, finished
from tests.conftest import Plugins, write_scene

KILLS = 20
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


def test_killed_runs_end_like_an_undisturbed_one(tmp_path: Path, plugins: Plugins) -> None:
    site = plugins("methods", {"slow": "Slow"}, SOURCE).parent
    suite = tmp_path / "suite"
    for index in range(4):
        write_scene(suite / str(index), seed=index)
    command = [sys.executable, "-m", "realbench", "run", "--method", "slow", "--scenes", str(suite), "--seeds", "12", "--out"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    rng = random.Random(7)
    killed, redone = 0, []
    run = RunFolder(tmp_path / "killed")
    calls = site / "calls"
    calls.touch()
    while killed < KILLS:
        done = (
            {f"{cell.scene} {cell.seed}" for cell, _ in finished(run, run.read_manifest())} if (run.root / "run.json").exists() else set()
        )
        start = len(calls.read_text().splitlines())
        process = subprocess.Popen([*command, str(run.root)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.3, 1.6))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        killed += 1
        time.sleep(0.05)  # the orphaned worker notices that its driver is gone
        redone += [call for call in calls.read_text().splitlines()[start:] if call in done]
    subprocess.run([*command, str(run.root)], env=environment, check=True, capture_output=True)
    assert redone == []

    subprocess.run([*command, str(tmp_path / "calm")], env=environment, check=True, capture_output=True)
    survived, calm = (load_run(tmp_path / name).scores().drop(columns="run") for name in ("killed", "calm"))
    pd.testing.assert_frame_equal(survived, calm)
    images = {path.relative_to(run.root): path.read_bytes() for path in run.root.rglob("*.png")}
    assert len(images) == 4 * 12 * 2
    assert images == {path.relative_to(tmp_path / "calm"): path.read_bytes() for path in (tmp_path / "calm").rglob("*.png")}
    assert [path for path in run.root.rglob(".tmp-*") if path.name != ".tmp-run.json"] == []
