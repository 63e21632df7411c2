"""DISTS against a value computed by hand and against torchmetrics' own call, and its edges."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
import torchmetrics.functional.image.dists as package
from safetensors.torch import save_file
from torch import nn
from torchvision.models import vgg16

from realbench import weights
from realbench.composite import Feather
from realbench.errors import RealbenchError, Unsupported, UsageError, WeightsMissing
from realbench.method import Context
from realbench.metric import Batch, Metric
from realbench.metrics import _dists, _torch, _trunk
from realbench.metrics import dists as family
from realbench.metrics.dists import DISTS, Config
from realbench.scene import Scene

TOLERANCE = 1e-5
SHAPE = (70, 101)


def scene(truth, mask=None):
    return Scene("s", (truth,), truth.copy(), np.ones(truth.shape[:2], bool) if mask is None else mask, truth.copy())


def score(metric, the_scene, *images):
    try:
        results = metric.score(metric.prepare(the_scene, context=Context()), Batch(tuple(range(len(images))), images, images))
    finally:
        metric.close()
    assert all(result.state == "ok" for result in results)
    return [result.value for result in results]


@pytest.fixture(scope="module")
def trunk():
    """VGG16's convolutions, untrained."""
    with torch.device("meta"):
        model = vgg16(weights=None).features
    generator = torch.Generator().manual_seed(3)
    state = {}
    for name, tensor in model.named_parameters():
        values = torch.randn(tensor.shape, generator=generator)
        state[f"features.{name}"] = values * ((2 / values[0].numel()) ** 0.5 if values.ndim > 1 else 0.1)
    return state


def packages_own(trunk):
    """torchmetrics' network, its trunk undownloaded."""

    def untrained(weights):
        with torch.device("meta"):
            model = vgg16(weights=None)
        model.features.load_state_dict({name.removeprefix("features."): tensor for name, tensor in trunk.items()}, assign=True)
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package, "vgg16", untrained)
        return package.DISTSNetwork()


@pytest.fixture(scope="module")
def theirs(trunk):
    network = packages_own(trunk)

    def call(image, truth, size=None):
        pictures = [torch.tensor(picture).permute(2, 0, 1)[None] / 255 for picture in (image, truth)]
        if size:
            options = {"size": size, "mode": "bilinear", "align_corners": False, "antialias": True}
            pictures = [nn.functional.interpolate(picture, **options) for picture in pictures]
        with torch.inference_mode():
            return float(network(*pictures))

    return call


@pytest.fixture
def shown(trunk, monkeypatch):
    """The metric runs on the untrained network; the shapes of what that is shown."""
    shapes = []

    def load(device):
        network = _dists.build(trunk, device)
        network.features[0].register_forward_pre_hook(lambda module, given: shapes.append(tuple(given[0].shape)))
        return network

    monkeypatch.setattr(family, "_load", load)
    return shapes


@pytest.fixture(scope="module")
def pair():
    """A non-square crop of a photograph and the same with structured errors."""
    truth = np.ascontiguousarray(skimage.data.coffee()[40:110, 150:251])
    generator = np.random.default_rng(0)
    image = np.clip(np.roll(truth, 2, axis=1) + generator.normal(0, 9, truth.shape), 0, 255).astype(np.uint8)
    return truth, image


class ByHand(nn.Module):
    """Two layers of one channel each: red, and red averaged over blocks of 2 × 2."""

    weights = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)

    def layers(self, images):
        yield images[:, :1]
        yield nn.functional.avg_pool2d(images[:, :1], 2)


def test_equals_the_value_computed_by_hand(monkeypatch):
    """Red is 0 and 1 in the truth's halves (mean 1/2, variance 1/4); the fill swaps one block of four pixels of 24 from 1 to 0."""
    monkeypatch.setattr(family, "_load", lambda device: ByHand())
    truth = np.zeros((4, 6, 3), np.uint8)
    truth[2:, :, 0] = 255
    fill = truth.copy()
    fill[2:, :2, 0] = 0
    # Fill: mean 8/24 = 1/3, variance 1/3 − 1/9 = 2/9. Difference: mean 1/6, variance 1/6 − 1/36 = 5/36. Blocks say the same.
    c = 1e-6
    luminance = (1 / 36) / (1 / 4 + 1 / 9 + c)
    structure = (5 / 36) / (1 / 4 + 2 / 9 + c)
    expected = (0.1 + 0.2) * luminance + (0.3 + 0.4) * structure
    assert score(DISTS(), scene(truth), fill) == [pytest.approx(expected, abs=1e-6)]
    # In the published words: 1 − (2·x̄ȳ + c)/(x̄² + ȳ² + c), and the covariance is (1/4 + 2/9 − 5/36)/2.
    assert luminance == pytest.approx(1 - (2 / 6 + c) / (1 / 4 + 1 / 9 + c))
    assert structure == pytest.approx(1 - (2 * (1 / 3 - 1 / 6) + c) / (1 / 4 + 2 / 9 + c))


def test_identical_images_stay_at_zero_on_a_machine_that_rounds_by_batch(monkeypatch):
    class Drifting(ByHand):
        def layers(self, images):
            return (layer + len(images) * torch.rand(1, 1, *layer.shape[2:]) / 10 for layer in super().layers(images))

    monkeypatch.setattr(family, "_load", lambda device: Drifting())
    truth = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    there, back = score(DISTS(), scene(truth), truth, truth[::-1].copy()), score(DISTS(), scene(truth), truth[::-1].copy(), truth)
    assert there[0] == back[1] == 0.0
    assert min(there[1], back[0]) > 0


def test_equals_torchmetrics_on_real_and_extreme_images(shown, theirs, pair):
    truth, image = pair
    dot = truth.copy()
    dot[33, 41] = 0
    images = [image, dot, 255 - truth, np.full_like(truth, 127), np.zeros_like(truth), truth[::-1].copy()]
    expected = [theirs(one, truth) for one in images]
    assert score(DISTS(), scene(truth), *images) == pytest.approx(expected, abs=TOLERANCE)
    assert len({round(value, 3) for value in expected}) == len(images)
    flat = np.full_like(truth, 200)
    assert score(DISTS(), scene(flat), image) == pytest.approx([theirs(image, flat)], abs=1e-4)


def test_size_is_the_shorter_side(shown, theirs, pair):
    truth, image = pair
    for size, shape in [(40, (40, 58)), (90, (90, 130))]:
        shown.clear()
        assert score(DISTS(Config(size=size)), scene(truth), image) == [pytest.approx(theirs(image, truth, shape), abs=TOLERANCE)]
        assert {one[2:] for one in shown} == {shape}


def test_identical_images_are_at_distance_zero(shown, monkeypatch, pair):
    """Exactly, even where the truth went through the network in another batch."""
    monkeypatch.setitem(_trunk.PIXELS, "cpu", 10**6)
    truth, image = pair
    values = score(DISTS(), scene(truth), image, truth, truth, image, truth)
    assert [value == 0.0 for value in values] == [False, True, True, False, True]
    assert values[0] == pytest.approx(values[3], abs=1e-7)
    assert 0 < values[0] < 1


@pytest.mark.parametrize("pixels", [1, 3 * 70 * 101])
def test_order_and_batch_do_not_matter(shown, monkeypatch, pair, pixels):
    monkeypatch.setitem(_trunk.PIXELS, "cpu", pixels)
    truth, image = pair
    images = [image, np.roll(image, 3, axis=0), 255 - image, np.full_like(image, 127)]
    there = score(DISTS(), scene(truth), *images)
    back = score(DISTS(), scene(truth), *images[::-1])
    alone = [score(DISTS(), scene(truth), one)[0] for one in images]
    assert there == pytest.approx(back[::-1], abs=TOLERANCE)
    assert there == pytest.approx(alone, abs=TOLERANCE)


def test_each_image_is_shown_once_and_few_at_a_time(shown, monkeypatch, pair):
    monkeypatch.setitem(_trunk.PIXELS, "cpu", 2 * 70 * 101)
    truth, image = pair
    score(DISTS(), scene(truth), *[image] * 5)
    assert [shape[0] for shape in shown] == [1, 2, 2, 1]
    assert not _torch._models


def test_the_network_is_loaded_once(shown, monkeypatch, pair):
    loaded, load = [], family._load
    monkeypatch.setattr(family, "_load", lambda device: loaded.append(device) or load(device))
    metrics = DISTS(), DISTS(Config(size=40))
    for metric in metrics:
        metric.prepare(scene(pair[0]), context=Context())
        metric.prepare(scene(pair[1]), context=Context())
    assert loaded == ["cpu"]
    for metric in metrics:
        metric.close()
        metric.close()
    assert not _torch._models


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (1, 40), (16, 16)])
def test_any_size_is_scored(shown, theirs, shape):
    generator = np.random.default_rng(1)
    truth, image = generator.integers(0, 256, (2, *shape, 3), dtype=np.uint8)
    assert score(DISTS(), scene(truth), image) == [pytest.approx(theirs(image, truth), abs=1e-4)]


def test_the_hole_plays_no_part(shown, pair):
    truth, image = pair
    empty, dot = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    dot[3, 4] = True
    values = [score(DISTS(), scene(truth, mask), image)[0] for mask in (empty, dot, ~empty)]
    assert values[0] == values[1] == values[2]


def test_without_truth_there_is_no_score(shown, pair):
    truth, _ = pair
    with pytest.raises(Unsupported, match="no ground truth"):
        DISTS().prepare(Scene("s", (truth,), truth.copy(), np.ones(SHAPE, bool), None), context=Context())


def test_signature_and_card():
    metric = DISTS(Config(size=256))
    assert isinstance(metric, Metric)
    text = "dists|region:full|image:composite|feather:4/512|size:256|resize:bilinear-antialias|net:vgg16|normalise:imagenet|v:1"
    assert metric.signature(Feather()) == text
    assert metric.card.direction == "lower"
    assert [item.name for item in metric.card.weights] == ["vgg16"]
    with pytest.raises(UsageError, match="size"):
        Config(size=-1)


def test_channels_count_as_torchmetrics_says(trunk):
    network, own = _dists.build(trunk, "cpu"), packages_own(trunk)
    assert network.weights.sum() == pytest.approx(1, abs=1e-12)
    alpha, beta = own.alpha.detach().flatten().numpy(), own.beta.detach().flatten().numpy()
    assert network.weights[:1475].numpy() == pytest.approx(alpha / (alpha.sum() + beta.sum()), abs=1e-8)
    assert network.weights[1475:].numpy() == pytest.approx(beta / (alpha.sum() + beta.sum()), abs=1e-8)


def test_nothing_is_downloaded(trunk, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("asked for a download")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setattr("torchvision.models._api.WeightsEnum.get_state_dict", refuse)
    network = _dists.build(trunk, "cpu")
    assert not any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers()))
    assert sum(isinstance(layer, package.L2pooling) for layer in network.features) == 4


def test_wrong_tensors_and_another_file_of_weights_are_refused(trunk, monkeypatch):
    with pytest.raises(RealbenchError, match=r"vgg16: features.28.bias: expected \(512,\), found no such tensor"):
        _dists.build({name: tensor for name, tensor in trunk.items() if name != "features.28.bias"}, "cpu")
    with pytest.raises(RealbenchError, match=r"classifier\.0\.bias"):
        _dists.build(trunk | {"classifier.0.bias": torch.zeros(1)}, "cpu")
    monkeypatch.setattr(_dists, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(RealbenchError, match=r"weights\.pt"):
        _dists.build(trunk, "cpu")


def test_weights_are_resolved(trunk, theirs, monkeypatch, tmp_path, pair):
    """From wherever the resolver found them, or missing where it says so."""
    save_file(trunk, tmp_path / "model.safetensors")
    truth, image = pair
    found = weights.Resolved(tmp_path, "folder", "content")
    monkeypatch.setattr(weights, "resolve", lambda wanted, folder="": {"vgg16": found}[wanted.name])
    assert score(DISTS(), scene(truth), image) == [pytest.approx(theirs(image, truth), abs=TOLERANCE)]

    def missing(wanted, folder=""):
        raise WeightsMissing(f"{wanted.name} cannot be had")

    monkeypatch.setattr(weights, "resolve", missing)
    with pytest.raises(WeightsMissing, match="vgg16"):
        DISTS().prepare(scene(truth), context=Context())
    assert not _torch._models


# torchmetrics' own values with VGG16 as torchvision trained it, on photographs of scikit-image: rows 100…195, columns 120…279, a hole
# filled with what lies 30 pixels down and right.
GOLDEN = [("astronaut", 0.169768), ("coffee", 0.213863), ("chelsea", 0.229946)]


@pytest.mark.parametrize(("name", "expected"), GOLDEN)
def test_golden_values_with_true_weights(name, expected):
    if weights.status(family.VGG16).state != "present":
        pytest.skip("no weights vgg16 on this machine: realbench weights pull vgg16")
    photo = getattr(skimage.data, name)()
    truth = np.ascontiguousarray(photo[100:196, 120:280])
    fill = truth.copy()
    fill[20:70, 50:120] = photo[150:200, 200:270]
    fill[80, 5] = photo[210, 155]
    assert score(DISTS(), scene(truth), fill) == [pytest.approx(expected, abs=1e-4)]
