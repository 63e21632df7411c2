"""DINO on timm's own ViT-S/16; what all embedding metrics have in common is in test_embedding.py."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config

from realbench import weights
from realbench.errors import WeightsMissing
from realbench.metrics._dino_models import DINOS
from realbench.metrics.dino import DINO, MODEL, Config, DINOReferences
from realbench.weights import resolve
from tests.metrics.embeddings import TOLERANCE, cosine, photograph, randomised, saved, scene, score, values


@pytest.mark.parametrize("name", DINOS)
def test_preprocessing_and_repository_are_timms(name):
    known, ours = timm.models.get_pretrained_cfg(name), DINOS[name]
    config = resolve_data_config(pretrained_cfg=known.to_dict())
    assert (config["interpolation"], config["crop_mode"]) == (ours.square.filter, {"centre": "center"}[ours.square.crop])
    assert ours.square.size == config["input_size"][1]
    assert ours.square.side == int(config["input_size"][1] / config["crop_pct"])
    assert ours.square.norm == (config["mean"], config["std"])
    assert ours.weights.id == known.hf_hub_id + (name if known.hf_hub_id.endswith("/") else "")


def test_pull_knows_every_model():
    known = [model.weights for model in DINOS.values()]
    assert weights.named([wanted.name for wanted in known]) == known
    assert DINO.card.weights == DINOReferences.card.weights == tuple(known)


def own(model, images):
    """timm's own embeddings by its own data configuration."""
    transform = create_transform(**resolve_data_config({}, model=model))
    with torch.inference_mode():
        return [model(transform(Image.fromarray(image))[None]) for image in images]


def test_equals_timms_own_call_on_random_weights(tmp_path, monkeypatch):
    model = randomised(timm.create_model(MODEL, pretrained=False, num_classes=0))
    saved(model.state_dict(), tmp_path / DINOS[MODEL].weights.id / "model.safetensors")
    monkeypatch.setenv("REALBENCH_WEIGHTS", str(tmp_path))
    fill, truth, reference = photograph(1, 500, 333), photograph(2, 500, 333), photograph(3, 260, 320)
    where = scene(truth, [reference])
    one, other, third = own(model, [fill, truth, reference])
    assert values(score(DINO(), where, fill)) == pytest.approx([cosine(one, other)], abs=TOLERANCE / 10)
    assert values(score(DINOReferences(), where, fill)) == pytest.approx([cosine(one, third)], abs=TOLERANCE / 10)
    assert cosine(one, other) < 0.9


def test_the_embedding_is_the_class_token_after_the_last_norm():
    model = randomised(timm.create_model(MODEL, pretrained=False, num_classes=0))
    with torch.inference_mode():
        image = torch.rand(1, 3, 224, 224)
        assert torch.equal(model(image), model.forward_features(image)[:, 0])


@pytest.mark.parametrize("name", [MODEL, "vit_base_patch14_dinov2.lvd142m"])
def test_true_weights(name):
    """Runs where the weights are: equals timm's own call."""
    try:
        folder = resolve(DINOS[name].weights).path
    except WeightsMissing as reason:
        pytest.skip(str(reason)[:200])
    data = pytest.importorskip("skimage.data")
    truth = data.astronaut()
    changed = truth.copy()
    changed[100:300, 150:350] = changed[100:300, 150:350].mean(axis=(0, 1)).astype(np.uint8)
    found = values(score(DINO(Config(name)), scene(truth), truth, changed))
    model = timm.create_model(name, pretrained=False, num_classes=0, checkpoint_path=str(folder / "model.safetensors")).eval()
    one, two = own(model, [truth, changed])
    assert found[0] == 1.0
    assert found[1] == pytest.approx(cosine(one, two), abs=TOLERANCE)
    assert 0.2 < found[1] < 0.999
