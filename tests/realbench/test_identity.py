"""What makes two numbers the same number: nothing they depend on may change unnoticed, in one run or between two."""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from realbench import bench, composite, registry
from realbench.composite import Feather
from realbench.errors import Exit, UsageError
from realbench.plan import plan_columns, plan_rows
from realbench.results import load_run
from tests.conftest import Plugins, photograph, write_scene


def write_fills(folder: Path, seed: int, scenes: str = "ab") -> Path:
    sizes = {"a": (48, 32), "b": (40, 56)}
    for scene in scenes:
        (folder / scene).mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(seed, *sizes[scene])).save(folder / scene / "0.png")
    return folder


def psnr(run: Path) -> dict[str, float]:
    scores = load_run(run).scores().query("metric == 'psnr' and state == 'ok'")
    return dict(zip(scores["scene"], scores["value"], strict=True))


def test_runs_of_different_fills_never_merge(suite: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 50), ("two", 60)):
        fills = write_fills(tmp_path / name / "fills", seed)
        bench.run(["precomputed"], scenes=suite, scene=["a"], settings=[f"fills={fills}"], metrics=["psnr"], out=tmp_path / name / "run")
    results = load_run(tmp_path / "one" / "run", tmp_path / "two" / "run")
    assert len(results.rows) == 2 and results.scores()["value"].nunique() == 2


def test_a_row_never_mixes_two_folders_of_fills(suite: Path, tmp_path: Path) -> None:
    one, two = write_fills(tmp_path / "one", 50), write_fills(tmp_path / "two", 60)
    options = {"scenes": suite, "metrics": ["psnr"], "out": tmp_path / "run"}
    bench.run(["precomputed"], scene=["a", "b"], settings=[f"fills={one}"], **options)  # type: ignore[arg-type]
    bench.run(["precomputed"], scene=["a"], settings=[f"fills={two}"], **options)  # type: ignore[arg-type]
    assert psnr(tmp_path / "run").keys() == {"a"}


def test_a_changed_file_of_fills_is_scored_anew(suite: Path, tmp_path: Path) -> None:
    fills = write_fills(tmp_path / "fills", 50)
    options = {"scenes": suite, "scene": ["a"], "settings": [f"fills={fills}"], "metrics": ["psnr"], "out": tmp_path / "run"}
    bench.run(["precomputed"], **options)  # type: ignore[arg-type]
    before = psnr(tmp_path / "run")
    write_fills(fills, 61)
    bench.run(["precomputed"], **options)  # type: ignore[arg-type]
    assert psnr(tmp_path / "run")["a"] != before["a"]


PACKAGE = {
    "acme/__init__.py": "",
    "acme/model.py": "LEVEL = 10\n",
    "acme/base.py": "from realbench.method import BaseMethod\nclass Base(BaseMethod): pass\n",
    "acme/methods/__init__.py": "",
    "acme/methods/foo.py": """
        from acme.model import LEVEL
        from acme.base import Base
        from realbench.method import MethodCard
        class Foo(Base):
            card = MethodCard("foo", "Foo", "Paints.")
            def complete(self, task, seed, context):
                image = task.target.copy()
                image[task.mask] = LEVEL
                return image, ()
    """,
}


@pytest.mark.parametrize("file", ["acme/model.py", "acme/base.py", "acme/methods/foo.py", "version"])
def test_every_module_of_a_plug_ins_package_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    for name, text in PACKAGE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(textwrap.dedent(text))
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[realbench.methods]\nfoo = acme.methods.foo:Foo\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme"]:
        del sys.modules[name]
    registry._points.cache_clear()
    before = plan_rows(["foo"])[0].fingerprint
    if file == "version":
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.1\n")
        registry._points.cache_clear()
    else:
        (tmp_path / file).write_text((tmp_path / file).read_text() + "# changed\n")
    assert plan_rows(["foo"])[0].fingerprint != before
    registry._points.cache_clear()


def test_compositing_is_part_of_fills_and_signatures(suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.run(["telea"], scenes=suite, scene=["a"], metrics=["psnr"], out=tmp_path / "run")
    signature = plan_columns(["psnr"], Feather())[0].signature
    monkeypatch.setattr(composite, "VERSION", 2)
    assert plan_columns(["psnr"], Feather())[0].signature != signature
    bench.run(["telea"], scenes=suite, scene=["a"], metrics=["psnr"], out=tmp_path / "run")
    assert len(list((tmp_path / "run").rglob("attempts/*.json"))) == 1


METRIC = """
from dataclasses import dataclass
from realbench.metric import BaseMetric, MetricCard, Score
class Odd(BaseMetric):
    card = MetricCard("odd", "Odd", "A number.", "higher", "full", "raw")
    @dataclass(frozen=True)
    class Config:
        layer: str | None = None
        names: tuple[str, ...] = ("a,b", "c=d")
        rate: float = 1.0
    def prepare(self, scene, *, context):
        return None
    def score(self, prepared, batch):
        return [Score(1.0 if self.config.layer is None else -7.0)] * len(batch)
"""


def test_scores_of_another_formula_are_stale(suite: Path, tmp_path: Path, plugins: Plugins) -> None:
    module = plugins("metrics", {"odd": "Odd"}, METRIC)
    options = {"scenes": suite, "metrics": ["odd"], "out": tmp_path / "run"}
    bench.run(["telea"], **options)  # type: ignore[arg-type]
    shutil.copytree(tmp_path / "run", tmp_path / "old")
    module.write_text(module.read_text().replace("Score(1.0 if", "Score(100.0 if"))
    bench.run(["telea"], scene=["a"], **options)  # type: ignore[arg-type]
    scores = load_run(tmp_path / "run").scores().set_index("scene")
    assert scores.loc["a", "value"] == 100.0 and set(scores.loc[["b", "c"], "state"]) == {"stale"}
    assert len(load_run(tmp_path / "run", tmp_path / "old").columns) == 2


def test_scoring_again_keeps_the_configuration_exactly(suite: Path, tmp_path: Path, plugins: Plugins) -> None:
    plugins("metrics", {"odd": "Odd"}, METRIC)
    bench.run(["telea"], scenes=suite, metrics=["odd"], out=tmp_path / "run")
    bench.score(tmp_path / "run")
    assert set(load_run(tmp_path / "run").scores()["value"]) == {1.0}
    assert len(load_run(tmp_path / "run").columns) == 1


def test_close_numbers_are_different_configurations(plugins: Plugins) -> None:
    plugins("metrics", {"odd": "Odd"}, METRIC)
    assert len(plan_columns(["odd:rate=1.5", "odd:rate=1.5000001"], Feather())) == 2


def test_two_suites_of_one_name_never_share_a_run(tmp_path: Path) -> None:
    for index, parent in enumerate(("x", "y")):
        for scene in "ab":
            write_scene(tmp_path / parent / "scenes" / scene, seed=10 * index + ord(scene))
    options = {"metrics": ["psnr"], "out": tmp_path / "run"}
    bench.run(["telea"], scenes=tmp_path / "x" / "scenes", **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="give another --out"):
        bench.run(["telea"], scenes=tmp_path / "y" / "scenes", **options)  # type: ignore[arg-type]
    shutil.copytree(tmp_path / "x", tmp_path / "z")
    assert bench.run(["telea"], scenes=tmp_path / "z" / "scenes", **options).exit_code == Exit.DONE  # type: ignore[arg-type]


def test_labels_that_would_share_a_folder_are_refused(suite: Path, tmp_path: Path) -> None:
    bench.run(["telea=A:1"], scenes=suite, metrics=["psnr"], out=tmp_path / "run")
    with pytest.raises(UsageError, match="too alike"):
        bench.run(["telea=A.1"], scenes=suite, metrics=["psnr"], out=tmp_path / "run")


def test_a_label_is_no_other_methods_name() -> None:
    with pytest.raises(UsageError, match="name of another method"):
        plan_rows(["telea=patchmatch"])


@pytest.mark.parametrize("order", [("telea.radius=5", "radius=3"), ("radius=3", "telea.radius=5")])
def test_the_more_specific_setting_wins(order: tuple[str, str]) -> None:
    assert plan_rows(["telea"], order)[0].settings["radius"] == 5


def test_what_was_asked_is_remembered_by_scene(suite: Path, tmp_path: Path) -> None:
    options = {"scenes": suite, "metrics": ["drift"], "out": tmp_path / "run"}
    bench.run(["patchmatch"], **options)  # type: ignore[arg-type]
    bench.run(["patchmatch"], scene=["a"], seeds=3, **options)  # type: ignore[arg-type]
    cells = load_run(tmp_path / "run").cells()
    assert len(cells) == 5 and set(cells["state"]) == {"ok"}


def test_fills_of_a_changed_scene_are_not_scored_again(suite: Path, tmp_path: Path) -> None:
    options = {"scenes": suite, "scene": ["a"], "metrics": ["drift"], "out": tmp_path / "run"}
    bench.run(["telea", "mean-color"], **options)  # type: ignore[arg-type]
    shutil.rmtree(suite / "a")
    write_scene(suite / "a", seed=5, size=(60, 40))
    bench.run(["telea"], **options)  # type: ignore[arg-type]
    assert bench.score(tmp_path / "run", metrics=["seam", "drift"]).exit_code == Exit.DONE
    scores = load_run(tmp_path / "run").scores()
    assert set(scores.loc[scores["label"] == "telea", "state"]) == {"ok"}
    assert set(scores.loc[scores["label"] == "mean-color", "state"]) == {"stale"}


def test_a_scene_refused_later_is_stale_not_forgotten(suite: Path, tmp_path: Path) -> None:
    options = {"scenes": suite, "metrics": ["drift"], "out": tmp_path / "run"}
    bench.run(["telea"], **options)  # type: ignore[arg-type]
    (suite / "b" / "target" / "target.png").write_bytes(b"")
    assert bench.run(["telea"], **options).exit_code == Exit.FAILED_CELLS  # type: ignore[arg-type]
    cells = load_run(tmp_path / "run").cells().set_index("scene")
    assert cells.loc["b", "state"] == "stale" and len(cells) == 3
    assert bench.score(tmp_path / "run").exit_code == Exit.FAILED_CELLS


def test_a_scene_that_vanished_is_said(suite: Path, tmp_path: Path) -> None:
    bench.run(["telea"], scenes=suite, metrics=["drift"], out=tmp_path / "run")
    shutil.rmtree(suite / "b")
    summary = bench.score(tmp_path / "run")
    assert summary.refused == ("b",) and summary.exit_code == Exit.FAILED_CELLS


def test_a_scene_that_changes_during_the_run_costs_its_own_cells(suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from realbench.survey import Scenes

    survey = Scenes.survey

    def meddle(self, ids, watch, *, strict):  # type: ignore[no-untyped-def]
        infos = survey(self, ids, watch, strict=strict)
        self._held.clear()
        Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(suite / "b" / "ref" / "0.png")
        return infos

    monkeypatch.setattr(Scenes, "survey", meddle)
    bench.run(["telea"], scenes=suite, metrics=["drift"], out=tmp_path / "run")
    cells = load_run(tmp_path / "run").cells().set_index("scene")
    assert cells["state"].to_dict() == {"a": "ok", "b": "failed", "c": "ok"}
    assert "changed while the run was going on" in cells.loc["b", "reason"]


def test_a_hostile_manifest_leads_nowhere(suite: Path, tmp_path: Path) -> None:
    bench.run(["telea"], scenes=suite, metrics=["drift"], out=tmp_path / "run")
    manifest = tmp_path / "run" / "run.json"
    fingerprint = load_run(tmp_path / "run").rows["telea"].fingerprint
    manifest.write_text(manifest.read_text().replace(fingerprint, "x/../../../outside"))
    with pytest.raises(UsageError, match="broken"):
        bench.score(tmp_path / "run")
