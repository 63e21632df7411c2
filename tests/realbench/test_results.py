"""Reading runs: missing and stale scores are lines of their own, and two runs never mix what differs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import realbench
from realbench.errors import NothingMeasured, UsageError
from realbench.results import CELL_FIELDS, SCORE_FIELDS, latest_run, load_run
from tests.conftest import write_scene


def test_every_cell_and_metric_has_a_line(suite: Path, tmp_path: Path) -> None:
    realbench.run(["telea", "mean-color"], scenes=suite, metrics=["psnr", "drift"], out=tmp_path / "run")
    results = load_run(tmp_path / "run")
    scores, cells = results.scores(), results.cells()
    assert tuple(scores.columns) == SCORE_FIELDS and tuple(cells.columns) == CELL_FIELDS
    assert len(cells) == 2 * 3 and len(scores) == 2 * 3 * 2
    next((tmp_path / "run").glob("telea-*/a/fit-0/seed-00000/record.json")).unlink()
    again = load_run(tmp_path / "run").scores().query("label == 'telea' and scene == 'a'")
    assert set(again["state"]) == {"missing"} and again["value"].isna().all() and set(again["reason"]) == {"not run yet"}


def test_scores_of_a_changed_image_are_stale(suite: Path, tmp_path: Path) -> None:
    realbench.run(["telea"], scenes=suite, scene=["a"], metrics=["psnr"], out=tmp_path / "run")
    for path in (tmp_path / "run").rglob("record.json"):
        path.write_text(path.read_text().replace('"fill.png": "', '"fill.png": "0'))
    assert list(load_run(tmp_path / "run").scores()["state"]) == ["stale"]


def test_a_run_read_twice_counts_once(suite: Path, tmp_path: Path) -> None:
    realbench.run(["telea"], scenes=suite, metrics=["psnr"], out=tmp_path / "one")
    realbench.run(["telea", "mean-color"], scenes=suite, metrics=["psnr"], out=tmp_path / "two")
    results = load_run(tmp_path / "one", tmp_path / "two")
    assert list(results.rows) == ["telea", "mean-color"]
    assert len(results.cells()) == 6


def test_the_finished_one_of_two_equal_cells_counts(suite: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        realbench.run(["telea"], scenes=suite, scene=["a"], metrics=["psnr"], out=tmp_path / name)
    next((tmp_path / "one").rglob("record.json")).unlink()
    for order in (("one", "two"), ("two", "one")):
        assert list(load_run(*(tmp_path / name for name in order)).cells()["state"]) == ["ok"]


def test_equal_labels_for_different_rows_are_told_apart(suite: Path, tmp_path: Path) -> None:
    realbench.run(["telea"], scenes=suite, metrics=["psnr"], out=tmp_path / "one")
    realbench.run(["telea"], scenes=suite, metrics=["psnr"], settings=["radius=9"], out=tmp_path / "two")
    assert list(load_run(tmp_path / "one", tmp_path / "two").rows) == ["telea @one", "telea @two"]


def test_equal_ids_of_different_scenes_are_told_apart(tmp_path: Path) -> None:
    for index, name in enumerate(("one", "two")):
        write_scene(tmp_path / name / "suite" / "a", seed=index)
        realbench.run(["telea"], scenes=tmp_path / name / "suite", metrics=["psnr"], out=tmp_path / "runs" / name)
    results = load_run(tmp_path / "runs" / "one", tmp_path / "runs" / "two")
    assert list(results.scenes) == ["a @one", "a @two"]
    assert len(results.cells()) == 2


def test_runs_of_one_name_are_told_apart(suite: Path, tmp_path: Path) -> None:
    for parent in ("x", "y"):
        realbench.run(["telea"], scenes=suite, metrics=["psnr"], out=tmp_path / parent / "run")
    assert [name for name, _, _ in load_run(tmp_path / "x" / "run", tmp_path / "y" / "run").runs] == ["x/run", "y/run"]


def test_the_latest_run_is_the_one_worked_on_last(suite: Path, tmp_path: Path) -> None:
    for name in ("b", "a"):
        realbench.run(["telea"], scenes=suite, scene=["a"], metrics=["psnr"], out=tmp_path / "runs" / name)
    assert latest_run(tmp_path / "runs").name == "a"
    with pytest.raises(NothingMeasured, match="no run in"):
        latest_run(tmp_path / "nowhere")


def test_paths_that_are_no_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run here"):
        load_run(tmp_path)


def test_the_documented_five_lines(suite: Path, tmp_path: Path) -> None:
    """docs/python.md, with a small suite in place of the embedded one."""
    summary = realbench.run(["telea", "mean-color"], scenes=suite, seeds=1, out=tmp_path / "mine")
    results = realbench.load_run(tmp_path / "mine")
    table = results.scores().groupby(["label", "metric"])["value"].mean().unstack()
    written = realbench.write_reports(results, tmp_path / "site")
    assert summary.exit_code == 0
    assert np.isfinite(table.loc["telea", "psnr"])
    assert {path.name for path in written} >= {"leaderboard.html", "leaderboard.md", "scores.csv", "scores.parquet"}


def test_artefacts_come_back(suite: Path, tmp_path: Path) -> None:
    from realbench.store import Cell

    picture = np.asarray(Image.open(suite / "a" / "target" / "gt.png"))
    Image.fromarray(picture).save(suite / "a" / "ref" / "0.png")
    realbench.run(["ground-truth"], scenes=suite, scene=["a"], metrics=["matches"], out=tmp_path / "run")
    results = load_run(tmp_path / "run")
    ((signature, _),) = results.columns.items()
    cell = Cell("ground-truth", results.rows["ground-truth"].fingerprint, "a", 0, 0)
    assert results.artefacts(cell, signature, "run").keys() >= {"counts", "lines"}
    assert results.artefacts(cell, "other", "run") == {}


def test_an_ok_score_without_a_value_is_a_failed_one(suite: Path, tmp_path: Path) -> None:
    realbench.run(["telea"], scenes=suite, scene=["a"], metrics=["psnr"], out=tmp_path / "run")
    path = next((tmp_path / "run").rglob("scores/*.json"))
    path.write_text(re.sub(r'"value": [\d.]+', '"value": null', path.read_text()))
    assert list(load_run(tmp_path / "run").scores()["state"]) == ["failed"]
