"""benchmarks/gate.py at a small scale: unchanged code passes the gate, planted faults do not."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks import gate
from benchmarks.gate_faults import FAULTS, plant

SETTINGS = {"rank": 1, "steps": 2, "size": 64, "inference_steps": 2, "pool": 4, "refresh": 1, "warmup": 0}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_can_be_planted(tmp_path: Path, name: str) -> None:
    """The lines that a fault changes are still there, once, and what it makes of them is Python."""
    env = plant(FAULTS[name], tmp_path, scene="coffee")
    planted = tmp_path / "realbench" / FAULTS[name].file
    source = planted.read_text(encoding="utf-8")
    compile(source, str(planted), "exec")
    assert FAULTS[name].new.replace("{scene}", "coffee") in source and env["PYTHONPATH"] == str(tmp_path)


def test_pools_draws_and_verdicts(tmp_path: Path) -> None:
    """Two scenes, six fits of four seeds of a fill that hardly varies; a run is one fit of two seeds, calibrated by four more."""
    scenes = ("coffee", "rocket")
    asked = gate.Asked(
        tmp_path, 1, 1, 1, scenes, SETTINGS, ("psnr",), ("bgr",), fits=2, whole_fits=6, seeds=4, repeats=(1, 2), calibrated=4
    )
    gate.pools(asked)
    gate.judge(asked)
    gate.judge(asked)  # nothing is judged twice
    with (tmp_path / "verdicts.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    found = {(line["condition"], line["case"]): int(line["exit_code"]) for line in lines}
    assert len(lines) == 5 and found["unchanged", "calibrated"] == 0 and found["bgr", "calibrated"] == 1, lines
    gate.reruns(asked)
    with (tmp_path / "reruns.csv").open(newline="") as file:
        ended = {line["condition"]: line["exit_code"] for line in csv.DictReader(file)}
    assert ended == {"unchanged": "0", "bgr": "1"}
