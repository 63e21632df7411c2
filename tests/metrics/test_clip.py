"""CLIP on a small model of open_clip's own class; what all embedding metrics have in common is in test_embedding.py."""

from __future__ import annotations

import json
import re

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from realbench import weights
from realbench.composite import Feather
from realbench.errors import RealbenchError, UsageError, WeightsMissing
from realbench.metrics import _clip_models
from realbench.metrics._clip_models import FILE, LISTED
from realbench.metrics.clip import CLIP, CLIPReferences, Config, ReferenceConfig
from realbench.weights import resolve
from tests.metrics.embeddings import TOLERANCE, cosine, photograph, randomised, saved, scene, score, values

SMALL = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1},
}
TAGS = {
    "quick": {"quick_gelu": True},
    "plain": {},
    "squashed": {"resize_mode": "squash", "interpolation": "bilinear", "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)},
    "longest": {"resize_mode": "longest"},
    "bin": {"hf_hub": "tests/small/weights.bin"},
}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A small model in open_clip's tables with several tags; returns a way to build it as open_clip does."""
    from open_clip import factory, pretrained

    config = tmp_path / "configs" / "Small-16.json"
    config.parent.mkdir()
    config.write_text(json.dumps(SMALL))
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", [*factory._MODEL_CONFIG_PATHS, config])
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
    factory._rescan_model_configs()
    tags = {tag: pretrained._pcfg(**{"hf_hub": "tests/small/", **changes}) for tag, changes in TAGS.items()}
    monkeypatch.setitem(pretrained._PRETRAINED, "Small-16", tags)
    monkeypatch.setenv("REALBENCH_WEIGHTS", str(tmp_path))
    _clip_models._found.cache_clear()
    model = randomised(open_clip.create_model("Small-16"))
    file = saved(model.state_dict(), tmp_path / "tests" / "small" / FILE)

    def build(tag):
        """The model and its preprocessing as a user of open_clip gets them from this file."""
        keys = ("mean", "std", "interpolation", "resize_mode")
        preprocess = {f"image_{key}": tags[tag][key] for key in keys}
        quick = tags[tag].get("quick_gelu", False)
        made, _, transform = open_clip.create_model_and_transforms("Small-16", str(file), force_quick_gelu=quick, **preprocess)
        return made.eval(), transform

    yield build
    _clip_models._found.cache_clear()


def own(model, transform, images):
    """open_clip's own embeddings."""
    with torch.inference_mode():
        return [model.encode_image(transform(Image.fromarray(image))[None]) for image in images]


@pytest.mark.parametrize("tag", ["quick", "plain", "squashed"])
@pytest.mark.parametrize(("height", "width"), [(90, 210), (210, 90), (64, 64)])
def test_equals_open_clips_own_call(small, tag, height, width):
    fill, truth, reference = photograph(1, width, height), photograph(2, width, height), photograph(3, 120, 100)
    where = scene(truth, [reference])
    one, other, third = own(*small(tag), [fill, truth, reference])
    assert values(score(CLIP(Config("Small-16", tag)), where, fill)) == pytest.approx([cosine(one, other)], abs=TOLERANCE / 10)
    found = values(score(CLIPReferences(ReferenceConfig("Small-16", tag)), where, fill))
    assert found == pytest.approx([cosine(one, third)], abs=TOLERANCE / 10)
    assert cosine(one, other) < 0.95


def test_the_right_gelu_makes_a_difference(small):
    fill, truth = photograph(1), photograph(2)
    found = [values(score(CLIP(Config("Small-16", tag)), scene(truth), fill))[0] for tag in ("quick", "plain")]
    assert abs(found[0] - found[1]) > 3 * TOLERANCE


@pytest.mark.parametrize(("model", "tag"), LISTED)
def test_what_cards_list_is_what_open_clip_says(model, tag):
    ours, theirs = LISTED[model, tag], _clip_models._found(model, tag)
    assert (ours.square, ours.quick_gelu, ours.weights.id) == (theirs.square, theirs.quick_gelu, theirs.weights.id)
    assert ours.weights.files == theirs.weights.files == (FILE,)


@pytest.mark.parametrize(
    ("model", "tag", "words"),
    [
        ("ViT-B-33", "openai", "no model 'ViT-B-33'"),
        ("local-dir:/tmp", "openai", "no model"),
        ("ViT-B-32", "openia", "no weights 'openia' for ViT-B-32; the known ones are openai"),
        ("roberta-ViT-B-32", "laion2b_s12b_b32k", "another repository"),
        ("coca_ViT-B-32", "laion2b_s13b_b90k", "CoCa"),
        ("Small-16", "longest", "'longest'"),
        ("Small-16", "bin", "tests/small/weights.bin is not a hub repository"),
    ],
)
def test_what_cannot_be_loaded_is_a_usage_error(small, model, tag, words):
    with pytest.raises(UsageError, match=words):
        Config(model, tag)


def test_signatures_name_the_resize():
    head = "region:full|image:composite|feather:4/512|model:ViT-B-32|pretrained:openai"
    tail = "filter:bicubic|antialias:pillow"
    assert CLIP().signature(Feather(4)) == f"clip|{head}|crop:centre|{tail}|resize:224|size:224|v:1"
    found = CLIPReferences(ReferenceConfig(crop="squash", combine="best")).signature(Feather(4))
    assert found == f"clip-ref|{head}|crop:squash|combine:best|{tail}|size:224|v:1"


def test_official_crop_is_the_tags(small):
    assert Config("Small-16", "squashed").crop == "squash"
    assert Config("Small-16", "plain").crop == "centre"
    assert "filter:bilinear" in CLIP(Config("Small-16", "squashed")).signature(Feather(4))


def test_weights_of_another_model_are_refused(small, tmp_path):
    saved({"logit_scale": torch.zeros(()), "visual.proj": torch.zeros(3, 3)}, tmp_path / "tests" / "small" / FILE)
    with pytest.raises(RealbenchError, match="expected the weights of open_clip's Small-16"):
        score(CLIP(Config("Small-16", "plain")), scene(photograph(1)), photograph(2))


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("visual.positional_embedding", lambda tensor: torch.cat([tensor, tensor[:20]])),  # open_clip would resize these two
        ("positional_embedding", lambda tensor: torch.cat([tensor, tensor])),
        ("visual.proj", lambda tensor: tensor[:, :8]),
        ("visual.more", lambda tensor: torch.zeros(1)),
    ],
)
def test_nothing_is_made_to_fit(small, tmp_path, name, changed):
    file = tmp_path / "tests" / "small" / FILE
    state = weights.load_state(file)
    saved({**state, name: changed(state.get(name))}, file)
    with pytest.raises(RealbenchError, match=f"open_clip's Small-16, found others: .*{name}"):
        score(CLIP(Config("Small-16", "plain")), scene(photograph(1)), photograph(2))


def test_a_scale_with_a_dimension_is_the_same_scale(small, tmp_path):
    file = tmp_path / "tests" / "small" / FILE
    found = [values(score(CLIP(Config("Small-16", "plain")), scene(photograph(1)), photograph(2)))]
    state = weights.load_state(file)
    saved({**state, "logit_scale": state["logit_scale"].reshape(1)}, file)
    found.append(values(score(CLIP(Config("Small-16", "plain")), scene(photograph(1)), photograph(2))))
    assert found[0] == found[1]


def test_pull_knows_every_model(small, monkeypatch):
    known = [model.weights for model in LISTED.values()]
    assert weights.named([wanted.name for wanted in known]) == known
    assert CLIP.card.weights == CLIPReferences.card.weights == tuple(known)
    monkeypatch.delenv("REALBENCH_WEIGHTS")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    unlisted = Config("Small-16", "plain").clip.weights
    with pytest.raises(WeightsMissing) as missing:
        resolve(unlisted)
    (advised,) = re.findall(r"`realbench weights pull ([^`]+)`", str(missing.value))
    assert "a folder here" not in str(missing.value)
    (pulled,) = weights.named([advised])
    assert (advised, pulled.id, pulled.revision) == (f"{unlisted.id}@main", unlisted.id, unlisted.revision)


@pytest.mark.parametrize(("model", "tag"), [("ViT-B-32", "openai")])
def test_true_weights(model, tag):
    """Runs where the weights are: equals open_clip's own call with the GELU these weights were trained with."""
    try:
        file = resolve(LISTED[model, tag].weights).path / FILE
    except WeightsMissing as reason:
        pytest.skip(str(reason)[:200])
    data = pytest.importorskip("skimage.data")
    truth = data.astronaut()
    changed = truth.copy()
    changed[100:300, 150:350] = changed[100:300, 150:350].mean(axis=(0, 1)).astype(np.uint8)
    found = values(score(CLIP(Config(model, tag)), scene(truth), truth, changed))
    made, _, transform = open_clip.create_model_and_transforms(f"{model}-quickgelu", str(file))
    one, two = own(made.eval(), transform, [truth, changed])
    assert found[0] == 1.0
    assert found[1] == pytest.approx(cosine(one, two), abs=TOLERANCE)
    assert 0.2 < found[1] < 0.999
