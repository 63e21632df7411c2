"""Scores of many cells: the same whoever reads them, and None for what is no score."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from realbench import reading
from realbench.records import Environment, ScoreRecord

MADE = Environment(device="cpu", device_name="Some", dtype="float32", threads=1, python="3.11", platform="Linux", versions={"numpy": "2"})


def write(folder: Path, key: str, **fields: object) -> None:
    standard = {
        "state": "ok",
        "inputs": "i",
        "metric": "m",
        "signature": "s",
        "image": "im",
        "scene": "sc",
        "source": "so",
        "environment": MADE,
    }
    (folder / "scores").mkdir(parents=True, exist_ok=True)
    (folder / "scores" / f"{key}.json").write_bytes(ScoreRecord(**(standard | fields)).model_dump_json(indent=1).encode())


def values(lines: list[reading.ScoreLine | None]) -> list[float | None]:
    return [line and line.value for line in lines]


def test_a_line_holds_what_tables_need(tmp_path: Path) -> None:
    write(tmp_path, "a", value=1.5, reason="why", state="failed")
    ((line,),) = reading.read_many([(tmp_path, ["a"])])
    assert line == ("failed", "why", "im", "sc", "so", 1.5, MADE)


def test_scores_come_in_the_order_asked_for_and_infinities_are_numbers(tmp_path: Path) -> None:
    for at in range(300):
        write(tmp_path / str(at), "a", value=at)
        write(tmp_path / str(at), "b", value=math.inf if at % 2 else -math.inf)
    found = list(reading.read_many([(tmp_path / str(at), ["b", "a"]) for at in range(300)]))
    assert [values(lines) for lines in found] == [[math.inf if at % 2 else -math.inf, at] for at in range(300)]


def test_what_is_absent_broken_or_of_another_version_is_none(tmp_path: Path) -> None:
    for key in ("good", "cut", "newer", "lacking", "folder"):
        write(tmp_path, key, value=1)
    scores = tmp_path / "scores"
    (scores / "cut.json").write_bytes((scores / "cut.json").read_bytes()[:-3])
    (scores / "newer.json").write_text((scores / "newer.json").read_text().replace('"schema_version": 1', '"schema_version": 2'))
    known = json.loads((scores / "lacking.json").read_text())
    (scores / "lacking.json").write_text(json.dumps({key: value for key, value in known.items() if key != "image"}))
    (scores / "folder.json").unlink()
    (scores / "folder.json").mkdir()
    (found,) = reading.read_many([(tmp_path, ["cut", "good", "absent", "newer", "lacking", "folder"])])
    assert values(found) == [None, 1, None, None, None, None]


@pytest.mark.parametrize("more", [-1, 0, 1, 40_000])
def test_a_long_score_is_read_to_its_end(tmp_path: Path, more: int) -> None:
    write(tmp_path, "a", value=2)
    path = tmp_path / "scores" / "a.json"
    text = path.read_text().replace('"detail": ""', f'"detail": "{"x" * (reading._BLOCK + more - len(path.read_bytes()))}"')
    path.write_text(text)
    assert len(text) == reading._BLOCK + more and values(next(reading.read_many([(tmp_path, ["a"])]))) == [2]


def test_scores_that_are_alike_share_their_texts_and_environment(tmp_path: Path) -> None:
    write(tmp_path, "a", value=1)
    write(tmp_path, "b", value=2)
    write(tmp_path, "c", value=2, environment=MADE.model_copy(update={"versions": {"numpy": "3"}}))
    ((one, other, third),) = reading.read_many([(tmp_path, ["a", "b", "c"])])
    assert one and other and third and one.environment is other.environment and one.image is other.image
    assert third.environment is not None and third.environment.versions == {"numpy": "3"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux forks safely")
def test_two_processes_read_what_one_reads(tmp_path: Path) -> None:
    for at in range(7):
        write(tmp_path / str(at), "a", value=at, environment=MADE.model_copy(update={"threads": at % 3}))
    script = f"""
import os
from pathlib import Path
from realbench import reading
os.sched_getaffinity = lambda _: {{0, 1}}
cells = [(Path({str(tmp_path)!r}) / str(at), ["a", "absent"]) for at in range(8)]
alone = [*reading.read_many(cells)]
begun, whole = [], reading.aside
reading.aside = lambda work: begun.append(1) or whole(work)
reading.MANY = 16
together = [*reading.read_many(cells)]
reading.MANY = 17
[*reading.read_many(cells)]
print(alone == together, len(begun), [line and line.value for line, _ in together])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "True 1 [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, None]"
