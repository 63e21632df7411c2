"""benchmarks/soak.py at a small scale: it counts what is there, goes on where it was broken off, and notices what is too much."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.soak import Look, growth

ROOT = Path(__file__).resolve().parents[2]


def soak(out: Path, cells: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "benchmarks/soak.py", "--cells", str(cells), "--out", str(out)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_a_small_soak_goes_on_and_counts(tmp_path: Path) -> None:
    done = soak(tmp_path, 20)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 cells, 40 scores in " in done.stdout and "files, handles and memory as they should be" in done.stdout
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("record.json")}
    assert len(kept) == 10 + 20  # fits and cells

    row = next((tmp_path / "run").glob("soaked-*"))
    (row / "0" / "fit-0" / "seed-00001" / ".tmp-raw.png.1").write_bytes(b"left behind")
    next(row.glob("1/fit-0/seed-00000/scores/*.json")).unlink()
    more = soak(tmp_path, 30)
    assert more.returncode == 1
    found = re.search(r"NOT AS IT SHOULD BE: ([\d,]+) files of cells and fits, expected ([\d,]+)", more.stdout)
    assert found and found.groups() == (str(30 * 5 + 20 + 1), str(30 * 5 + 20))
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_growth_is_that_of_the_worse_stage() -> None:
    filling = [Look("filling", 100 * at, 50 + at / 10, 70, 9, 6) for at in range(40)]  # 0.1 MB in 100 cells
    scoring = [Look("scoring", 100 * at, 60, 52, 9, 6) for at in range(40)]
    assert abs(growth(filling + scoring, "driver") - 1.0) < 1e-9
    assert growth(filling + scoring, "worker") == 0
