"""What a score belongs to: the weights that made it, the parts of the scene its metric reads, the libraries of its worker."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from realbench import bench
from realbench.errors import Exit
from realbench.metrics import _torch
from realbench.results import load_run
from realbench.watch import Silent
from tests.conftest import Plugins

PEEKING = """
from realbench.method import Weights
from realbench.metric import BaseMetric, MetricCard, Score

WEIGHTS = Weights("made", "nobody/made", size="1 B", licence="none", files=("value.txt", "config.json"))

class Peeking(BaseMetric):
    card = MetricCard("peeking", "Peeking", "Says what it can see.", "higher", "full", "composite", ("references",))
    def prepare(self, scene, *, context):
        return float(scene.truth is not None) + 2 * float((scene.target[scene.mask] != 127).any())
    def score(self, prepared, batch):
        return [Score(prepared) for _ in batch.seeds]

class Reading(Peeking):
    card = MetricCard("reading", "Reading", "Reads all.", "higher", "full", "composite", ("truth", "target"))

class Heavy(BaseMetric):
    card = MetricCard("heavy", "Heavy", "Returns its weights.", "higher", "full", "composite", weights=(WEIGHTS,))
    def prepare(self, scene, *, context):
        from realbench.weights import resolve
        return float((resolve(WEIGHTS).path / "value.txt").read_text())
    def score(self, prepared, batch):
        import torch
        return [Score(prepared) for _ in batch.seeds]
"""
CLASSES = {"peeking": "Peeking", "reading": "Reading", "heavy": "Heavy"}


class Listener(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def planted(plugins: Plugins) -> None:
    plugins("metrics", CLASSES, PEEKING, module="peeking")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file whose content is the model."""
    folder = tmp_path / "weights" / "made"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "value.txt").write_text("1")
    monkeypatch.setenv("REALBENCH_WEIGHTS", str(tmp_path / "weights"))
    return folder / "value.txt"


def values(run: Path) -> dict[str, float]:
    scores = load_run(run).scores().query("state == 'ok'")
    return {str(row.metric): float(row.value) for row in scores.itertuples()}


@pytest.mark.usefixtures("planted")
def test_a_metric_sees_what_its_card_says_it_reads(suite: Path, tmp_path: Path) -> None:
    bench.run(["telea"], scenes=suite, scene=["a"], metrics=["peeking", "reading"], out=tmp_path / "run")
    assert values(tmp_path / "run") == {"peeking": 0, "reading": 3}


@pytest.mark.usefixtures("planted")
def test_other_weights_under_the_same_name_score_anew(suite: Path, tmp_path: Path, made: Path) -> None:
    bench.run(["telea"], scenes=suite, scene=["a"], metrics=["heavy"], out=tmp_path / "run")
    assert values(tmp_path / "run") == {"heavy": 1}
    made.write_text("2")
    assert bench.score(tmp_path / "run").exit_code == Exit.DONE
    assert values(tmp_path / "run") == {"heavy": 2}
    made.write_text("3")
    bench.run(["telea"], scenes=suite, scene=["a"], metrics=["heavy"], out=tmp_path / "other")
    both = load_run(tmp_path / "run", tmp_path / "other").scores()
    assert both["signature"].nunique() == 2  # never one column


@pytest.mark.usefixtures("planted")
def test_a_score_names_the_libraries_that_its_metric_loaded(suite: Path, tmp_path: Path, made: Path) -> None:
    bench.run(["telea"], scenes=suite, scene=["a"], metrics=["psnr", "heavy"], out=tmp_path / "run")
    records = [json.loads(path.read_text()) for path in (tmp_path / "run").rglob("scores/*.json")]
    versions = {record["metric"]: record["environment"]["versions"] for record in records}
    assert "numpy" in versions["psnr"] and "torch" in versions["heavy"]


def test_a_metric_that_cannot_be_planned_any_more_leaves_the_others(suite: Path, tmp_path: Path, plugins: Plugins) -> None:
    source = """
from dataclasses import dataclass
from pathlib import Path
from realbench.errors import UsageError
from realbench.metric import BaseMetric, MetricCard, Score

@dataclass(frozen=True)
class Config:
    file: str = ""
    def __post_init__(self):
        if not Path(self.file).is_file():
            raise UsageError(f"expected a file at {self.file!r}, found none")

class Filed(BaseMetric):
    card = MetricCard("filed", "Filed", "Needs a file.", "higher", "full", "composite")
    Config = Config
    def prepare(self, scene, *, context): ...
    def score(self, prepared, batch):
        return [Score(1.0) for _ in batch.seeds]
"""
    plugins("metrics", {"filed": "Filed"}, source, module="filed")
    file = tmp_path / "file"
    file.touch()
    bench.run(["telea"], scenes=suite, scene=["a"], metrics=["psnr", f"filed:file={file}"], out=tmp_path / "run")
    file.unlink()
    shutil.rmtree(next((tmp_path / "run").rglob("scores")))
    listener = Listener()
    bench.score(tmp_path / "run", watch=listener)
    assert set(values(tmp_path / "run")) == {"psnr"}
    assert any(text.startswith("left as it is: filed|") and "found none" in text for text in listener.said)


def test_products_are_float32_whatever_other_code_has_set() -> None:
    kernels = [torch.backends.cuda.matmul, torch.backends.mkldnn.matmul, torch.backends.cudnn.conv, torch.backends.mkldnn.conv]
    torch.set_float32_matmul_precision("medium")
    try:
        before = [getattr(kernel, "fp32_precision", None) for kernel in kernels]
        with _torch.exact():
            if before[0] is None:  # an older torch
                assert not torch.backends.cuda.matmul.allow_tf32
            else:
                assert [kernel.fp32_precision for kernel in kernels] == ["ieee"] * 4  # type: ignore[attr-defined]
        assert [getattr(kernel, "fp32_precision", None) for kernel in kernels] == before
    finally:
        torch.set_float32_matmul_precision("highest")
