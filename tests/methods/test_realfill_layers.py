"""RealFill's LoRA on every layer of the U-Net, its convolutions included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from realbench.method import Context
from realbench.methods._realfill.train import Trainer
from realbench.methods.realfill import RealFill
from realbench.scene import Task
from tests import tiny_models
from tests.conftest import photograph


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., RealFill]:
    folder = tiny_models.stable_diffusion(tmp_path / "model")
    quick = {"backbone": str(folder), "steps": 3, "batch": 2, "rank": 2, "unet_lr": 1e-2, "inference_steps": 2}
    return lambda **changes: RealFill(RealFill.Settings(**{**quick, **changes}))


@pytest.fixture
def task() -> Task:
    mask = np.zeros((50, 77), np.bool_)
    mask[10:30, 50:] = True
    target = photograph(0, 77, 50).copy()
    target[mask] = 127
    return Task("scene", None, (photograph(1, 90, 60),), target, mask)


def fill(method: RealFill, task: Task, work: Path) -> np.ndarray:
    return np.asarray(next(iter(method.fill(task, (0,), context=Context(work=work)))).image)


def test_every_linear_layer_and_convolution_is_adapted(
    make: Callable[..., RealFill], task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain: set[str] = set()
    adapted: set[str] = set()
    run = Trainer.run

    def watched(self: Trainer) -> None:
        for name, module in self.model.pipeline.unet.named_modules():
            if hasattr(module, "lora_A"):
                adapted.add(name)
            elif isinstance(module, torch.nn.Linear | torch.nn.Conv2d) and ".base_layer" not in name and "lora_" not in name:
                plain.add(name)
        run(self)

    monkeypatch.setattr(Trainer, "run", watched)
    make(layers="all").fit(task, seed=0, context=Context(work=tmp_path / "work"))
    assert plain == {"time_embedding.linear_1", "time_embedding.linear_2"}
    assert {"conv_in", "conv_out"} < adapted and any(name.endswith("conv_shortcut") for name in adapted)


def tensors(method: RealFill) -> dict[str, torch.Tensor]:
    """The LoRA inside the model, by name."""
    assert method._model is not None
    pipeline = method._model.pipeline
    models = {"unet": pipeline.unet, "text_encoder": pipeline.text_encoder}
    return {f"{part}.{name}": value for part, model in models.items() for name, value in model.named_parameters() if "lora_" in name}


def test_convolutions_are_saved_and_loaded_like_attention(
    make: Callable[..., RealFill], task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: dict[str, torch.Tensor] = {}
    run = Trainer.run

    def watched(self: Trainer) -> None:
        run(self)
        trained.update({name: value.detach().clone() for name, value in self.parameters.items()})

    monkeypatch.setattr(Trainer, "run", watched)
    method = make(layers="all")
    method.fit(task, seed=0, context=Context(work=tmp_path / "work"))
    first = fill(method, task, tmp_path)
    (tmp_path / "state").mkdir()
    method.save(tmp_path / "state")
    other = make(layers="all")
    other.load(tmp_path / "state")
    assert np.array_equal(fill(other, task, tmp_path), first)
    saved, loaded = (tensors(one) for one in (method, other))
    assert saved.keys() == loaded.keys() == trained.keys()
    assert all(torch.equal(loaded[name], trained[name]) for name in trained)
    monkeypatch.setattr(Trainer, "run", run)
    attention = make()
    attention.fit(task, seed=0, context=Context(work=tmp_path / "attention"))
    assert not np.array_equal(fill(attention, task, tmp_path), first)
