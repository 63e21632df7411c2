"""What all embedding metrics have in common, on a tiny model: preprocessing, sharing, exactness, batches, holes of every kind."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data import create_transform

from realbench.composite import Feather
from realbench.errors import RealbenchError, Unsupported, UsageError, WeightsMissing
from realbench.method import Weights
from realbench.metrics import _dino_models, _torch
from realbench.metrics._cosine import Embedded, similarities
from realbench.metrics._dino_models import Dino
from realbench.metrics._square import HALF, IMAGENET, UNIT, Square
from realbench.metrics.clip import CLIP
from realbench.metrics.dino import DINO, Config, DINOReferences, ReferenceConfig
from realbench.metrics.dreamsim import DreamSim
from tests.metrics.embeddings import BATCHES, CONTEXT, batch, cosine, photograph, randomised, saved, scene, score, values

TINY = "test_vit"
SHAPES = [(200, 300), (300, 200), (160, 160), (97, 640), (50, 41), (512, 512)]


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The smallest ViT of timm as a model of `dino`, its weights where REALBENCH_WEIGHTS points; returns timm's own model."""
    model = randomised(timm.create_model(TINY, pretrained=False, num_classes=0))
    known = Dino(Weights("tiny", "tests/tiny", files=("model.safetensors",)), Square(160, 168, HALF))
    monkeypatch.setitem(_dino_models.DINOS, TINY, known)
    monkeypatch.setenv("REALBENCH_WEIGHTS", str(tmp_path))
    saved(model.state_dict(), tmp_path / "tests" / "tiny" / "model.safetensors")
    return model


def own(model, *images):
    """timm's own embeddings through timm's own transform."""
    transform = create_transform((3, 160, 160), interpolation="bicubic", mean=HALF[0], std=HALF[1], crop_pct=160 / 168)
    with torch.inference_mode():
        return [model(transform(Image.fromarray(image))[None]) for image in images]


def embedded(*vectors, squares=None):
    """Embeddings of images that differ, unless `squares` says otherwise."""
    pixels = torch.arange(len(vectors)) if squares is None else torch.tensor(squares)
    return Embedded(pixels.to(torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2), torch.tensor(vectors, dtype=torch.float64))


# --- the cosine ---------------------------------------------------------------------------------------------------------------------


def test_cosines_by_hand():
    fills = embedded([3.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [1.0, 1.0], squares=[10, 11, 12, 13])
    found = similarities(fills, embedded([1.0, 0.0], [3.0, 4.0]))
    expected = [[1, 0.6], [0, 0.8], [-1, -0.6], [0.5**0.5, 0.7 * 2**0.5]]
    assert found.tolist() == pytest.approx(np.array(expected), abs=1e-12)


def test_the_same_pixels_score_one_exactly_whatever_rounding_did_to_their_embeddings():
    found = similarities(embedded([1.0, 2.0], [1.0, 2.0], squares=[7, 8]), embedded([1.0, 2.001], squares=[7]))
    assert found[0].item() == 1.0
    assert found[1].item() < 1.0


def test_an_embedding_of_zero_is_similar_to_nothing_but_itself():
    found = similarities(embedded([0.0, 0.0], [0.0, 0.0], squares=[1, 2]), embedded([0.0, 0.0], [1.0, 0.0], squares=[1, 3]))
    assert found.tolist() == [[1.0, 0.0], [0.0, 0.0]]


@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3), st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3))
def test_cosines_stay_in_their_range(one, other):
    value = similarities(embedded(one, squares=[1]), embedded(other, squares=[2])).item()
    assert -1 <= value <= 1


# --- from the image to the square -----------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 400), st.integers(20, 400), st.sampled_from(["bicubic", "bilinear"]), st.sampled_from([(64, 72), (64, 64)]))
def test_centre_is_timms_own_transform_to_the_bit(height, width, filter_, sides):
    image = photograph(height * width, width, height)
    size, side = sides
    square = Square(size, side, IMAGENET, filter=filter_)
    mean, std = IMAGENET
    transform = create_transform((3, size, size), interpolation=filter_, mean=mean, std=std, crop_pct=size / side)
    found = square.normalised(square.of([image]))
    assert torch.equal(found[0], transform(Image.fromarray(image)))


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_squash_is_timms_own_squash_to_the_bit(height, width):
    image = photograph(1, width, height)
    square = Square(64, 72, HALF, "squash")
    transform = create_transform((3, 64, 64), interpolation="bicubic", mean=HALF[0], std=HALF[1], crop_pct=1.0, crop_mode="squash")
    assert torch.equal(square.normalised(square.of([image]))[0], transform(Image.fromarray(image)))


def test_the_centre_crop_does_not_see_the_ends_of_a_panorama_and_squash_does():
    image = photograph(1, 600, 100)
    changed = image.copy()
    changed[:, :150] = 0
    for crop, same in (("centre", True), ("squash", False)):
        square = Square(64, 72, UNIT, crop)
        assert torch.equal(square.of([image]), square.of([changed])) is same


def test_images_of_several_sizes_become_one_batch():
    assert Square(64, 72, UNIT).of([photograph(1, 90, 80), photograph(2, 70, 200)]).shape == (2, 3, 64, 64)


def test_a_strip_that_would_fill_the_memory_is_refused_unless_squashed():
    strip = np.zeros((1, 4000, 3), np.uint8)
    with pytest.raises(Unsupported, match=r"4000×1 .*crop=squash"):
        Square(224, 224, UNIT).of([strip])
    assert Square(224, 224, UNIT, "squash").of([strip]).shape == (1, 3, 224, 224)


def test_preprocessings_that_make_the_same_squares_share_them():
    square, wide = [photograph(1, 80, 80)], [photograph(1, 90, 80)]
    clip, dreamsim, dino = Square(64, 64, UNIT), Square(64, 64, HALF, "squash"), Square(64, 72, UNIT)
    assert clip.key(square) == dreamsim.key(square)
    assert torch.equal(clip.of(square), dreamsim.of(square))
    assert clip.key(wide) != dreamsim.key(wide)
    assert dino.key(square) != clip.key(square)
    assert Square(64, 64, UNIT, filter="bilinear").key(square) != clip.key(square)


# --- the metric -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_equals_timms_own_call(tiny, height, width):
    truth, fill = photograph(1, width, height), photograph(2, width, height)
    found = values(score(DINO(Config(TINY)), scene(truth), fill))
    one, other = own(tiny, fill, truth)
    assert found == pytest.approx([cosine(one, other)], abs=1e-5)
    assert found[0] < 0.9, "the random model tells the images apart, so that equality means something"


def test_references_by_mean_and_best(tiny):
    fill, references = photograph(1), [photograph(2, 100, 90), photograph(3, 80, 200), photograph(4)]
    first, *others = own(tiny, fill, *references)
    expected = [cosine(first, other) for other in others]
    where = scene(None, references, size=fill.shape[:2])
    for combine, value in (("mean", np.mean(expected)), ("best", max(expected))):
        (found,) = score(DINOReferences(ReferenceConfig(TINY, combine=combine)), where, fill)
        assert found.value == pytest.approx(value, abs=1e-5)
        assert found.artefacts["similarities"] == pytest.approx(expected, abs=1e-5)
    assert max(expected) - min(expected) > 1e-3


def test_a_fill_that_is_the_truth_scores_one_exactly_in_any_batch(tiny):
    truth = photograph(1)
    for fills in ([truth], [photograph(2), truth.copy(), photograph(3)], [truth] * 5):
        found = values(score(DINO(Config(TINY)), scene(truth), *fills))
        assert [value for value, fill in zip(found, fills, strict=True) if np.array_equal(fill, truth)] == [1.0] * sum(
            np.array_equal(fill, truth) for fill in fills
        )


def test_a_fill_that_differs_where_the_model_does_not_look_scores_one(tiny):
    truth = photograph(1, 600, 100)
    fill = truth.copy()
    fill[:, :100] = 0
    assert values(score(DINO(Config(TINY)), scene(truth), fill)) == [1.0]
    assert values(score(DINO(Config(TINY, "squash")), scene(truth), fill))[0] < 1.0


def test_a_score_is_the_same_in_any_batch_and_order(tiny):
    truth, fills = photograph(1), [photograph(seed) for seed in range(2, 9)]
    together = values(score(DINO(Config(TINY)), scene(truth), *fills))
    alone = [values(score(DINO(Config(TINY)), scene(truth), fill))[0] for fill in fills]
    backwards = values(score(DINO(Config(TINY)), scene(truth), *fills[::-1]))[::-1]
    assert together == pytest.approx(alone, abs=BATCHES)
    assert together == pytest.approx(backwards, abs=BATCHES)
    assert max(together) - min(together) > 1e-3


def test_portions_change_nothing(tiny, monkeypatch):
    truth, fills = photograph(1), [photograph(seed) for seed in range(2, 7)]
    together = values(score(DINO(Config(TINY)), scene(truth), *fills))
    monkeypatch.setattr("realbench.metrics._cosine.AT_A_TIME", 2 * 160**2)
    assert values(score(DINO(Config(TINY)), scene(truth), *fills)) == pytest.approx(together, abs=BATCHES)


@pytest.mark.parametrize("kind", ["empty", "one pixel", "everything"])
def test_the_hole_itself_plays_no_part(tiny, kind):
    truth, fill = photograph(1), photograph(2)
    mask = np.full(truth.shape[:2], kind == "everything")
    mask[5, 7] = kind != "empty"
    assert values(score(DINO(Config(TINY)), scene(truth, mask=mask), fill)) == values(score(DINO(Config(TINY)), scene(truth), fill))


def test_reads_the_composite(tiny):
    truth = photograph(1)
    assert values(score(DINO(Config(TINY)), scene(truth), truth.copy(), raw=[photograph(2)])) == [1.0]


def test_fills_are_embedded_once_for_both_metrics_and_the_model_is_loaded_once(tiny, monkeypatch):
    seen, loads = [], []
    original = timm.create_model

    def create(*args, **kwargs):
        loads.append(args)
        model = original(*args, **kwargs)
        model.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
        return model

    monkeypatch.setattr(timm, "create_model", create)
    fills, where = [photograph(2), photograph(3)], scene(photograph(1), [photograph(4), photograph(5), photograph(6)])
    both, metrics = batch(*fills), [DINO(Config(TINY)), DINOReferences(ReferenceConfig(TINY))]
    for metric in metrics:
        metric.score(metric.prepare(where, context=CONTEXT), both)
    assert sorted(seen) == [1, 2, 3], "the truth, the two fills once, the three references"
    assert len(loads) == 1
    assert len(_torch._models) == 1
    metrics[0].close()
    assert len(_torch._models) == 1
    metrics[1].close()
    metrics[1].close()
    assert _torch._models == {}


def test_another_crop_is_another_embedding_of_the_same_batch(tiny):
    where, same = scene(photograph(1)), batch(photograph(2))
    metrics = [DINO(Config(TINY, crop)) for crop in ("centre", "squash")]
    found = [metric.score(metric.prepare(where, context=CONTEXT), same)[0].value for metric in metrics]
    assert abs(found[0] - found[1]) > 1e-4
    for metric in metrics:
        metric.close()


# --- what is lacking ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [DINO, CLIP, DreamSim])
def test_no_truth_is_unsupported_before_any_weights_are_looked_for(metric):
    with pytest.raises(Unsupported, match="ground truth") as caught:
        score(metric(), scene(None, [photograph(1)], size=(40, 50)), photograph(2, 50, 40))
    assert not isinstance(caught.value, WeightsMissing)


def test_no_reference_is_unsupported():
    with pytest.raises(Unsupported, match="no reference"):
        score(DINOReferences(), scene(photograph(1)), photograph(2))


@pytest.mark.parametrize("metric", [DINO, DINOReferences, CLIP, DreamSim])
def test_missing_weights_say_which_and_how_to_get_them(metric, tmp_path, monkeypatch):
    monkeypatch.setenv("REALBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(WeightsMissing, match="get them"):
        score(metric(), scene(photograph(1), [photograph(3)]), photograph(2))
    assert _torch._models == {}


def test_weights_of_another_model_are_refused(tiny, tmp_path):
    saved({"cls_token": torch.zeros(1, 1, 8)}, tmp_path / "tests" / "tiny" / "model.safetensors")
    with pytest.raises(RealbenchError, match=r"expected the weights of timm's test_vit"):
        score(DINO(Config(TINY)), scene(photograph(1)), photograph(2))


@pytest.mark.parametrize("kind", [Config, ReferenceConfig])
def test_an_unknown_model_is_a_usage_error(kind):
    with pytest.raises(UsageError, match=r"no model 'resnet50'.*vit_small_patch16_224\.dino"):
        kind("resnet50")


def test_signatures_name_the_resize():
    feather = Feather(4)
    head = "region:full|image:composite|feather:4/512|model:vit_small_patch16_224.dino"
    tail = "filter:bicubic|antialias:pillow"
    assert DINO().signature(feather) == f"dino|{head}|crop:centre|{tail}|resize:248|size:224|v:1"
    assert DINO(Config(crop="squash")).signature(feather) == f"dino|{head}|crop:squash|{tail}|size:224|v:1"
    assert DINOReferences().signature(feather) == f"dino-ref|{head}|crop:centre|combine:mean|{tail}|resize:248|size:224|v:1"
    assert DINO(Config(crop="centre")).signature(feather) == DINO().signature(feather)
