"""The small model in the box: what it consists of, and that three methods run on it through the same code as on any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from realbench import bench, weights
from realbench.method import Context
from realbench.methods._diffusion.backbones import TINY, TINY_EXAMPLE
from realbench.plan import plan_rows
from realbench.registry import load
from realbench.results import load_run
from realbench.scene import Task
from realbench.suite import open_suite
from realbench.weights import resolve
from tests.methods.diffusing import fills

MODELS = (TINY, TINY_EXAMPLE)
METHODS = ("prompt-inpaint", "paint-by-example", "realfill")


@pytest.fixture(scope="module")
def task() -> Task:
    return open_suite("demo").load("coffee").task()


def make(name: str, **settings: Any) -> Any:
    method = load("methods", name)
    return method(method.Settings(**(method.card.presets["tiny"] | settings)))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_its_folder_is_the_one_that_the_card_pins(model: Any) -> None:
    found = resolve(model)
    assert (found.origin, found.revision) == ("installed package", model.revision)
    assert weights.pull(model).path == found.path


def test_it_is_small_and_nothing_but_safetensors_and_text() -> None:
    files = [path for model in MODELS for path in resolve(model).path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".md", ".safetensors"}
    assert sum(path.stat().st_size for path in files) <= 30_000_000


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_its_licence_and_the_photographs_authors_go_with_it(model: Any) -> None:
    folder = resolve(model).path
    card = (folder / "README.md").read_text()
    for word in ("license: cc-by-4.0", "**Data.**", "**Training.**", "hours", "**Losses**", "PSNR", "**Attempts.**", "**Limits.**"):
        assert word in card
    assert "google/dreambooth" in (folder / "ATTRIBUTION.md").read_text()


@pytest.mark.parametrize("name", METHODS)
def test_a_preset_that_is_not_named_is_tiny(name: str) -> None:
    (row,) = plan_rows([name])
    assert (row.label, row.preset) == (f"{name}:tiny", "tiny")
    assert load("methods", name).card.paper_preset in row.card.presets


@pytest.mark.parametrize("name", METHODS[:2])
def test_seeds_give_different_fills_that_keep_what_is_known(name: str, task: Task) -> None:
    method = make(name, steps=6)
    one, other = (fill.image for fill in fills(method, task, (0, 1)))
    assert one.shape == task.target.shape
    assert (one[task.mask] != other[task.mask]).mean() > 0.5
    known = ~task.mask
    assert np.abs(one[known].astype(float) - task.target[known]).mean() < 12, "the autoencoder's error, not another picture"


def test_its_fills_are_nearer_to_the_truth_than_noise(task: Task) -> None:
    scene = open_suite("demo").load("coffee")
    assert scene.truth is not None
    (fill,) = fills(make("prompt-inpaint"), task, (0,))
    truth = scene.truth[task.mask].astype(float)
    noise = np.random.default_rng(0).integers(0, 256, truth.shape)
    assert np.square(fill.image[task.mask] - truth).mean() < 0.5 * np.square(noise - truth).mean()


def test_a_fit_learns(task: Task, tmp_path: Path) -> None:
    """The loss on what is held out of the target falls: a model that learns nothing from a scene would show nothing at all."""
    method = make("realfill", steps=40, batch=2, pool=16, refresh=0, size=128, stop_every=20)
    method.fit(task, seed=0, context=Context(work=tmp_path))
    (fill,) = fills(method, task, (0,))
    assert fill.image.shape == task.target.shape
    assert "of step 40" in " ".join(fill.notes) or "of step 20" in " ".join(fill.notes)


def test_one_command_fits_fills_and_scores(tmp_path: Path) -> None:
    """Byte for byte the same fills in a second run."""
    asked = {"scene": ["coffee"], "settings": ["realfill.steps=2", "realfill.pool=8", "steps=2", "inference_steps=2"], "metrics": ["psnr"]}
    for name in ("one", "two"):
        summary = bench.run(METHODS, out=tmp_path / name, on=bench.Machine(threads=1, device="cpu"), **asked)
        assert summary.fills["ok"] == 3
    assert list(load_run(tmp_path / "one").rows) == [f"{name}:tiny" for name in METHODS]
    first, second = ([path.read_bytes() for path in sorted((tmp_path / name).rglob("raw.png"))] for name in ("one", "two"))
    assert len(first) == 3
    assert first == second
