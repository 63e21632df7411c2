"""EfficientNet-Lite0 with its true weights, wherever they resolve; what all embedding metrics have in common is in test_embedding.py."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config

from realbench.composite import Feather
from realbench.errors import WeightsMissing
from realbench.metrics._packaged import EFFICIENTNET_LITE0
from realbench.metrics.efficientnet import ARCHITECTURE, Config, EfficientNet
from realbench.weights import resolve
from tests.metrics.embeddings import TOLERANCE, cosine, photograph, randomised, saved, scene, score, values


@pytest.fixture
def own(tmp_path, monkeypatch):
    """timm's own embeddings of random weights, by its own data configuration; realbench finds the same weights."""
    model = randomised(timm.create_model(ARCHITECTURE, pretrained=False))
    saved(model.state_dict(), tmp_path / EFFICIENTNET_LITE0.name / "model.safetensors")
    monkeypatch.setenv("REALBENCH_WEIGHTS", str(tmp_path))
    transform = create_transform(**resolve_data_config({}, model=model))

    def embed(image):
        with torch.inference_mode():
            return model.forward_head(model.forward_features(transform(Image.fromarray(image))[None]), pre_logits=True)

    return embed


@pytest.mark.parametrize(("height", "width"), [(200, 300), (301, 120), (256, 256)])
def test_equals_timms_own_call(own, height, width):
    fill, truth = photograph(1, width, height), photograph(2, width, height)
    expected = cosine(own(fill), own(truth))
    assert values(score(EfficientNet(), scene(truth), fill)) == pytest.approx([expected], abs=TOLERANCE / 10)
    assert expected < 0.999


def test_the_embedding_is_all_features_before_the_classifier(own):
    assert own(photograph(1)).shape == (1, 1280)


def test_signature_names_the_resize():
    head = "efficientnet|region:full|image:composite|feather:4/512"
    tail = "filter:bicubic|antialias:pillow"
    assert EfficientNet().signature(Feather(4)) == f"{head}|crop:centre|{tail}|resize:256|size:224|v:1"
    assert EfficientNet(Config("squash")).signature(Feather(4)) == f"{head}|crop:squash|{tail}|size:224|v:1"


def test_card_says_what_it_is_not():
    words = EfficientNet.card.summary
    assert all(name in words for name in ("not DINO's", "CLIP's", "DreamSim's"))
    assert not any(name in EfficientNet.card.id + EfficientNet.card.title for name in ("dino", "DINO", "clip", "CLIP"))


def changed(image, kind):
    """The truth with its middle spoilt."""
    height, width = image.shape[:2]
    rows, columns = slice(height // 4, 3 * height // 4), slice(width // 4, 3 * width // 4)
    fill = image.copy()
    fill[rows, columns] = {"grey": np.uint8(127), "mirrored": image[rows, columns][:, ::-1]}[kind]
    return fill


GOLDEN = [
    ("astronaut", "same", 1.0),
    ("astronaut", "grey", 0.715502),
    ("astronaut", "mirrored", 0.866403),
    ("coffee", "grey", 0.544622),
    ("coffee", "mirrored", 0.915052),
    ("chelsea", "grey", 0.70835),
    ("chelsea", "mirrored", 0.925588),
]
"""scikit-image's photographs and the cosine that efficientnet_lite_pytorch 0.1.0, which these weights are of, gives."""


@pytest.mark.parametrize(("name", "kind", "value"), GOLDEN)
def test_true_weights(name, kind, value):
    try:
        resolve(EFFICIENTNET_LITE0)
    except WeightsMissing as reason:
        pytest.skip(str(reason)[:200])
    truth = np.asarray(getattr(pytest.importorskip("skimage.data"), name)())
    fill = truth.copy() if kind == "same" else changed(truth, kind)
    assert values(score(EfficientNet(), scene(truth), fill)) == pytest.approx([value], abs=TOLERANCE)
