"""Whole runs through the Python API, with planted methods and metrics that misbehave in every way the harness promises to bear."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from realbench import bench
from realbench.bench import Machine
from realbench.errors import Exit, UsageError
from realbench.results import load_run
from realbench.watch import Silent
from tests.conftest import Plugins, write_scene

METHODS = """
import os, time
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from realbench.errors import Unsupported, WeightsMissing
from realbench.method import BaseMethod, Fill, MethodCard

LOG = Path(__file__).parent / "calls"

def note(text):
    with LOG.open("a") as file:
        file.write(text + "\\n")

class Good(BaseMethod):
    card = MethodCard("good", "Good", "Paints the hole in a grey of its own.", stochastic=True)
    @dataclass(frozen=True)
    class Settings:
        level: int = 100
    def complete(self, task, seed, context):
        note(f"good {task.id} {seed}")
        image = task.target.copy()
        image[task.mask] = self.settings.level + seed
        return image, ("painted",)

class Fitting(Good):
    card = MethodCard("fitting", "Fitting", "Learns the mean of the first reference.", fits=True, stochastic=True)
    def fit(self, task, *, seed, context):
        note(f"fit {task.id} {seed}")
        (context.work / "checkpoint").write_text("half way")
        self.level = int(task.references[0].mean()) + seed
    def complete(self, task, seed, context):
        if seed == 2 and (LOG.parent / "die").exists():
            os.kill(os.getpid(), 9)
        image = task.target.copy()
        image[task.mask] = self.level
        return image, ()
    def save(self, folder):
        (folder / "level").write_text(str(self.level))
    def load(self, folder):
        note("load")
        self.level = int((folder / "level").read_text())

class Bad(BaseMethod):
    card = MethodCard("bad", "Bad", "Does what it is told not to do.", stochastic=True)
    @dataclass(frozen=True)
    class Settings:
        how: str = "raise"
    def complete(self, task, seed, context):
        how = self.settings.how if seed == 1 else "work"
        image = task.target.copy()
        image[task.mask] = 90
        if how == "raise": raise ValueError("no luck <b>today</b>")
        if how == "hang": time.sleep(600)
        if how == "size": return image[:-1], ()
        if how == "nan": return np.full(image.shape, np.nan, np.float32), ()
        if how == "range": return np.full(image.shape, 7.0, np.float32), ()
        if how == "type": return image.astype(np.int32), ()
        if how == "memory": raise MemoryError
        if how == "kill": os.kill(os.getpid(), 9)
        if how == "exit": os._exit(7)
        if how == "unsupported": raise Unsupported("not for me")
        if how == "weights": raise WeightsMissing("weights x are missing; get them")
        if how == "print": print("noise on stdout")
        return image, ()

class Lazy(BaseMethod):
    card = MethodCard("lazy", "Lazy", "Returns fewer fills than asked.", stochastic=True)
    def complete(self, task, seed, context): ...
    def fill(self, task, seeds, *, context):
        yield Fill(seeds[0], task.target / 255.0)

class NoFit(Good):
    card = MethodCard("nofit", "No fit", "Fails to fit.", fits=True, stochastic=True)
    def fit(self, task, *, seed, context):
        raise RuntimeError("diverged")
"""
CLASSES = {"good": "Good", "fitting": "Fitting", "bad": "Bad", "lazy": "Lazy", "nofit": "NoFit"}


@pytest.fixture
def planted(plugins: Plugins) -> Path:
    """The folder of the planted methods, where they log their calls."""
    return plugins("methods", CLASSES, METHODS).parent


class Listener(Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def calls(planted: Path) -> list[str]:
    log = planted / "calls"
    return log.read_text().splitlines() if log.exists() else []


METRICS = ("psnr", "drift")


def test_a_run_ends_with_cells_scores_and_notes(suite: Path, planted: Path, tmp_path: Path) -> None:
    summary = bench.run(["good"], scenes=suite, metrics=METRICS, seeds=2, out=tmp_path / "run")
    assert summary.exit_code == Exit.DONE
    assert summary.fills == {"ok": 6, "failed": 0}
    results = load_run(tmp_path / "run")
    scores = results.scores()
    states = Counter(zip(scores["metric"], scores["scene"], scores["state"], strict=True))
    assert states["psnr", "a", "ok"] == 2
    assert states["psnr", "c", "unsupported"] == 2  # shown without truth-based scores, not dropped
    assert states["drift", "c", "ok"] == 2
    assert set(results.cells()["notes"]) == {"painted"}
    fill = np.asarray(Image.open(tmp_path / "run" / f"good-{results.rows['good'].fingerprint}" / "a" / "fit-0" / "seed-00001" / "fill.png"))
    mask = np.asarray(Image.open(suite / "a" / "target" / "mask.png")) > 0
    assert (fill[mask] == 101).all()


def test_running_again_redoes_nothing(suite: Path, planted: Path, tmp_path: Path) -> None:
    bench.run(["good"], scenes=suite, metrics=METRICS, out=tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.json") if path.name != "run.json"}
    bench.run(["good"], scenes=suite, metrics=METRICS, out=tmp_path / "run")
    assert calls(planted) == ["good a 0", "good b 0", "good c 0"]
    assert before == {path: path.stat().st_mtime_ns for path in before}
    bench.run(["good"], scenes=suite, metrics=METRICS, seeds=2, out=tmp_path / "run")
    assert calls(planted)[3:] == ["good a 1", "good b 1", "good c 1"]


def test_a_changed_scene_redoes_only_what_is_downstream(suite: Path, planted: Path, tmp_path: Path) -> None:
    def again() -> list[str]:
        start = len(calls(planted))
        bench.run(["good"], scenes=suite, metrics=METRICS, out=tmp_path / "run")
        return calls(planted)[start:]

    def psnr(scene: str) -> float:
        scores = load_run(tmp_path / "run").scores()
        return float(scores.query("scene == @scene and metric == 'psnr'")["value"].iloc[0])

    again()
    old = psnr("a"), psnr("b")
    truth = Image.open(suite / "a" / "target" / "gt.png")
    Image.fromarray(255 - np.asarray(truth)).save(suite / "a" / "target" / "gt.png")
    assert again() == []  # the fill never depended on the truth …
    assert psnr("a") != old[0]  # … but the score does
    assert psnr("b") == old[1]
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(suite / "b" / "ref" / "0.png")
    assert again() == ["good b 0"]
    target = np.asarray(Image.open(suite / "a" / "target" / "target.png")).copy()
    target[np.asarray(Image.open(suite / "a" / "target" / "mask.png")) > 0] = 7
    Image.fromarray(target).save(suite / "a" / "target" / "target.png")
    assert again() == []  # what the target shows inside the hole is nobody's input


def test_new_settings_are_a_new_row_and_the_old_one_stays_on_disk(suite: Path, planted: Path, tmp_path: Path) -> None:
    bench.run(["good"], scenes=suite, metrics=METRICS, out=tmp_path / "run")
    bench.run(["good"], scenes=suite, metrics=METRICS, settings=["level=50"], out=tmp_path / "run")
    assert len(list((tmp_path / "run").glob("good-*"))) == 2
    results = load_run(tmp_path / "run")
    assert results.rows["good"].settings == {"level": 50}
    assert len(results.cells()) == 3


def test_the_source_of_a_method_is_part_of_its_row(suite: Path, plugins: Plugins, tmp_path: Path) -> None:
    from realbench.plan import plan_rows

    module = plugins("methods", CLASSES, METHODS)
    before = plan_rows(["good"])[0].fingerprint
    module.write_text(module.read_text().replace("level: int = 100", "level: int = 100 "))
    assert plan_rows(["good"])[0].fingerprint != before


@pytest.mark.parametrize(
    ("how", "state", "reason", "code"),
    [
        ("raise", "failed", "ValueError: no luck <b>today</b>", Exit.FAILED_CELLS),
        ("hang", "timeout", "took longer than 2 s", Exit.FAILED_CELLS),
        ("size", "failed", "shape (31, 48, 3), expected (32, 48, 3)", Exit.FAILED_CELLS),
        ("nan", "failed", "NaN or infinite", Exit.FAILED_CELLS),
        ("range", "failed", "expected 0–1", Exit.FAILED_CELLS),
        ("type", "failed", "int32", Exit.FAILED_CELLS),
        ("memory", "failed", "out of memory", Exit.FAILED_CELLS),
        ("kill", "failed", "SIGKILL (out of memory?)", Exit.FAILED_CELLS),
        ("exit", "failed", "exit code 7", Exit.FAILED_CELLS),
        ("unsupported", "unsupported", "not for me", Exit.DONE),
        ("weights", "unsupported", "weights x are missing; get them", Exit.WEIGHTS_MISSING),
        ("print", "ok", "", Exit.DONE),
    ],
)
def test_misbehaviour_costs_its_own_cell_only(
    suite: Path, planted: Path, tmp_path: Path, how: str, state: str, reason: str, code: Exit
) -> None:
    summary = bench.run(
        ["bad", "good"], scenes=suite, scene=["a"], metrics=["drift"], seeds=3, settings=[f"how={how}"],
        out=tmp_path / "run", on=Machine(timeout=2),
    )  # fmt: skip
    assert summary.exit_code == code
    cells = load_run(tmp_path / "run").cells().set_index(["label", "seed"])
    assert cells.loc[("bad", 1), "state"] == state
    assert reason in cells.loc[("bad", 1), "reason"]
    others = cells.drop(("bad", 1))
    assert set(others["state"]) == {"ok"} and len(others) == 5
    scores = load_run(tmp_path / "run").scores().set_index(["label", "seed"])
    assert scores.loc[("bad", 1), "state"] == state
    assert pd.isna(scores.loc[("bad", 1), "value"]) == (state != "ok")


def test_failed_cells_are_retried_and_their_records_kept(suite: Path, planted: Path, tmp_path: Path) -> None:
    options = {"scenes": suite, "scene": ["a"], "metrics": ["drift"], "out": tmp_path / "run"}
    assert bench.run(["nofit"], **options).exit_code == Exit.FAILED_CELLS  # type: ignore[arg-type]
    cells = load_run(tmp_path / "run").cells()
    assert list(cells["state"]) == ["failed"]
    assert "fit: RuntimeError: diverged" in cells["reason"][0]
    bench.run(["nofit"], **options)  # type: ignore[arg-type]
    attempts = sorted(path.parent.parent.name for path in (tmp_path / "run").rglob("attempts/000.json"))
    assert attempts == ["fit-0", "seed-00000"]


def test_a_method_that_returns_too_little_is_asked_again_one_by_one(suite: Path, planted: Path, tmp_path: Path) -> None:
    bench.run(["lazy"], scenes=suite, scene=["a"], metrics=["drift"], seeds=3, out=tmp_path / "run")
    assert list(load_run(tmp_path / "run").cells()["state"]) == ["ok", "ok", "ok"]


def test_a_fit_is_kept_when_its_worker_dies_later(suite: Path, planted: Path, tmp_path: Path) -> None:
    (planted / "die").touch()
    options = {"scenes": suite, "scene": ["a"], "metrics": ["drift"], "seeds": 4, "fits": 2, "out": tmp_path / "run"}
    bench.run(["fitting"], **options)  # type: ignore[arg-type]
    assert calls(planted) == ["fit a 0", "load", "fit a 1", "load"]
    cells = load_run(tmp_path / "run").cells()
    assert list(cells["state"]) == ["ok", "ok", "failed", "ok"] * 2
    (planted / "die").unlink()
    assert bench.run(["fitting"], **options).exit_code == Exit.DONE  # type: ignore[arg-type]
    assert calls(planted)[4:] == ["load", "load"]
    assert not list((tmp_path / "run").rglob("work-*"))


def test_fit_state_that_rotted_is_fitted_again(suite: Path, planted: Path, tmp_path: Path) -> None:
    options = {"scenes": suite, "scene": ["a"], "metrics": ["drift"], "out": tmp_path / "run"}
    bench.run(["fitting"], **options)  # type: ignore[arg-type]
    next((tmp_path / "run").rglob("state/level")).write_text("9999")
    bench.run(["fitting"], seeds=2, **options)  # type: ignore[arg-type]
    assert calls(planted) == ["fit a 0", "fit a 0"]


def test_fail_fast_stops_at_the_first_failure(suite: Path, planted: Path, tmp_path: Path) -> None:
    summary = bench.run(["bad"], scenes=suite, metrics=METRICS, seeds="1-2", out=tmp_path / "run", on=Machine(fail_fast=True))
    assert summary.stopped and summary.exit_code == Exit.FAILED_CELLS
    assert Counter(load_run(tmp_path / "run").cells()["state"]) == {"failed": 1, "missing": 5}


def test_two_workers_give_the_same_as_one(suite: Path, planted: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        bench.run(
            ["good", "fitting"],
            scenes=suite,
            metrics=METRICS,
            seeds=2,
            out=tmp_path / f"run{workers}",
            on=Machine(workers=workers, threads=1),
        )
    one, two = (load_run(tmp_path / f"run{workers}").scores().drop(columns="run") for workers in (1, 2))
    pd.testing.assert_frame_equal(one, two)


def test_a_broken_scene_is_refused_and_the_others_go_on(suite: Path, planted: Path, tmp_path: Path) -> None:
    (suite / "b" / "ref" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    listener = Listener()
    summary = bench.run(["good"], scenes=suite, metrics=METRICS, out=tmp_path / "run", watch=listener)
    assert summary.refused == ("b",) and summary.exit_code == Exit.FAILED_CELLS
    assert any("refused: scene b" in text and "0.png" in text for text in listener.said)
    assert set(load_run(tmp_path / "run").cells()["scene"]) == {"a", "c"}


def test_strict_refuses_scenes_with_warnings(suite: Path, planted: Path, tmp_path: Path) -> None:
    mask = Image.open(suite / "a" / "target" / "mask.png")
    mask.putpixel((0, 0), 40)
    mask.save(suite / "a" / "target" / "mask.png")
    assert bench.run(["good"], scenes=suite, metrics=METRICS, out=tmp_path / "lax").refused == ()
    assert bench.run(["good"], scenes=suite, metrics=METRICS, out=tmp_path / "run", strict=True).refused == ("a",)


def test_images_that_rotted_are_found_and_made_again(suite: Path, planted: Path, tmp_path: Path) -> None:
    bench.run(["good"], scenes=suite, scene=["a"], metrics=["drift"], out=tmp_path / "run")
    before = load_run(tmp_path / "run").scores()["value"].tolist()
    image = next((tmp_path / "run").rglob("seed-00000/raw.png"))
    data, times = bytearray(image.read_bytes()), (image.stat().st_atime_ns, image.stat().st_mtime_ns)
    data[60] ^= 255
    image.write_bytes(data)
    listener = Listener()
    bench.score(tmp_path / "run", metrics=["drift", "psnr"], watch=listener)  # written to after its record: noticed unread
    assert [text for text in listener.said if text.startswith("corrupt:")] == [
        "corrupt: 1 fills are not what their records vouch for; run again to refill them"
    ]
    os.utime(image, ns=times)
    listener = Listener()
    summary = bench.score(tmp_path / "run", metrics=["drift", "psnr"], watch=listener)  # rotted in its place: noticed when it is read
    assert summary.exit_code == Exit.FAILED_CELLS
    assert any(text.startswith("corrupt:") and "seed-00000" in text for text in listener.said)
    bench.run(["good"], scenes=suite, scene=["a"], metrics=["drift"], out=tmp_path / "run")
    scores = load_run(tmp_path / "run").scores()
    assert scores.loc[scores["metric"] == "drift", "value"].tolist() == before


@pytest.mark.parametrize("damage", ["", "{", '{"schema_version": 99}', "null", '{"state": "ok"}'])
def test_a_broken_record_is_a_missing_cell(suite: Path, planted: Path, tmp_path: Path, damage: str) -> None:
    bench.run(["good"], scenes=suite, scene=["a"], metrics=["drift"], out=tmp_path / "run")
    next((tmp_path / "run").rglob("seed-00000/record.json")).write_text(damage)
    assert list(load_run(tmp_path / "run").cells()["state"]) == ["missing"]
    assert bench.run(["good"], scenes=suite, scene=["a"], metrics=["drift"], out=tmp_path / "run").exit_code == Exit.DONE
    assert calls(planted) == ["good a 0"] * 2


def test_score_adds_a_metric_without_filling(suite: Path, planted: Path, tmp_path: Path) -> None:
    bench.run(["good"], scenes=suite, metrics=["psnr"], out=tmp_path / "run")
    assert bench.score(tmp_path / "run", metrics=["drift"]).exit_code == Exit.DONE
    assert len(calls(planted)) == 3
    scores = load_run(tmp_path / "run").scores()
    assert set(scores.loc[scores["state"] == "ok", "metric"]) == {"psnr", "drift"}


def test_a_metric_that_fails_costs_its_own_scores(suite: Path, planted: Path, plugins: Plugins, tmp_path: Path) -> None:
    source = """
    import os
    from dataclasses import dataclass
    from realbench.metric import BaseMetric, MetricCard, Score
    class Wild(BaseMetric):
        card = MetricCard("wild", "Wild", "Fails.", "higher", "full", "raw")
        @dataclass(frozen=True)
        class Config:
            how: str = "raise"
        def prepare(self, scene, *, context):
            return None
        def score(self, prepared, batch):
            if self.config.how == "raise": raise KeyError("x")
            if self.config.how == "kill": os.kill(os.getpid(), 9)
            if self.config.how == "few": return []
            if self.config.how == "nan": return [Score(float("nan"))] * len(batch)
            return [Score(float(seed)) for seed in batch.seeds]
    """
    plugins("metrics", {"wild": "Wild"}, source, module="wilderness")
    wild = [f"wild:how={how}" for how in ("raise", "kill", "few", "nan", "work")]
    summary = bench.run(["good"], scenes=suite, scene=["a"], metrics=[*wild, "drift"], out=tmp_path / "run")
    assert summary.exit_code == Exit.FAILED_CELLS
    scores = load_run(tmp_path / "run").scores()
    states = {
        signature.split("how:")[-1].split("|")[0]: state for signature, state in zip(scores["signature"], scores["state"], strict=True)
    }
    assert {how: states[how] for how in ("raise", "kill", "few", "nan", "work")} == {
        "raise": "failed", "kill": "failed", "few": "failed", "nan": "failed", "work": "ok",
    }  # fmt: skip
    assert scores.loc[scores["metric"] == "drift", "state"].tolist() == ["ok"]


def test_nothing_measured_is_said_by_the_exit_code(suite: Path, planted: Path, tmp_path: Path) -> None:
    summary = bench.run(["bad"], scenes=suite, metrics=METRICS, seeds="1-1", settings=["how=unsupported"], out=tmp_path / "run")
    assert summary.exit_code == Exit.NOTHING_MEASURED
    only_truth = bench.run(["good"], scenes=suite, scene=["c"], metrics=["psnr"], out=tmp_path / "other")
    assert only_truth.exit_code == Exit.NOTHING_MEASURED


def test_another_suite_or_feather_needs_another_folder(suite: Path, planted: Path, tmp_path: Path) -> None:
    bench.run(["good"], scenes=suite, metrics=METRICS, out=tmp_path / "run")
    write_scene(tmp_path / "elsewhere" / "a", seed=9)
    with pytest.raises(UsageError, match="holds a run on suite"):
        bench.run(["good"], scenes=tmp_path / "elsewhere", metrics=METRICS, out=tmp_path / "run")
    with pytest.raises(UsageError, match="another --out"):
        bench.run(["good"], scenes=suite, metrics=METRICS, feather=9, out=tmp_path / "run")


def test_two_commands_never_share_a_folder(suite: Path, planted: Path, tmp_path: Path) -> None:
    from realbench.store import RunFolder

    with RunFolder(tmp_path / "run").lock(), pytest.raises(UsageError, match="another command is working"):
        bench.run(["good"], scenes=suite, metrics=METRICS, out=tmp_path / "run")


def test_records_hold_what_a_number_needs(suite: Path, planted: Path, tmp_path: Path) -> None:
    bench.run(["fitting"], scenes=suite, scene=["a"], metrics=["drift"], out=tmp_path / "run", on=Machine(threads=1))
    record = json.loads(next((tmp_path / "run").rglob("seed-00000/record.json")).read_text())
    environment = record["environment"]
    assert environment["device"] == "cpu" and environment["threads"] == 1
    assert {"realbench", "numpy", "pillow"} <= environment["versions"].keys()
    assert record["seconds"] >= 0 and record["peak_memory"]["host"] > 1_000_000
    fit = json.loads(next((tmp_path / "run").rglob("fit-0/record.json")).read_text())
    assert fit["files"].keys() == {"level"} and fit["environment"]["threads"] == 1


def test_missing_suite_later_is_an_error_that_says_so(suite: Path, planted: Path, tmp_path: Path) -> None:
    bench.run(["good"], scenes=suite, metrics=METRICS, out=tmp_path / "run")
    shutil.move(suite, tmp_path / "moved")
    with pytest.raises(Exception, match="suite"):
        bench.score(tmp_path / "run")
