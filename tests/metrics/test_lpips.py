"""LPIPS against values computed by hand, against the package's own call, and against the authors' numbers where weights resolve."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import lpips as package
import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from realbench import weights
from realbench.composite import Feather
from realbench.errors import RealbenchError, Unsupported, UsageError, WeightsMissing
from realbench.method import Context
from realbench.metric import Batch, Metric
from realbench.metrics import _lpips, _torch, _trunk
from realbench.metrics import lpips as family
from realbench.metrics.lpips import LPIPS, CropConfig, LPIPSCrop, LPIPSFull, LPIPSMultiply, MultiplyConfig
from realbench.plan import validate
from realbench.scene import Scene

TOLERANCE = 1e-5
"""Ten times closer to the package than asked."""
KINDS = (LPIPS, LPIPSCrop, LPIPSMultiply, LPIPSFull)
SHARED = Path(__file__).resolve().parents[3] / "shared" / "weights"


def scene(truth, mask):
    return Scene("s", (truth,), truth.copy(), mask.copy(), truth.copy())


def batch(*images):
    return Batch(tuple(range(len(images))), images, images)


def score(metric, the_scene, *images):
    """Values, or states where there is none; the network is given back."""
    try:
        results = metric.score(metric.prepare(the_scene, context=Context()), batch(*images))
    finally:
        metric.close()
    assert all(result.state == "ok" for result in results)
    return [result.value for result in results]


def box(shape, rows, columns):
    mask = np.zeros(shape, bool)
    mask[rows, columns] = True
    return mask


def random_state(net):
    """Tensors of an untrained network with positive heads, named as the package names them."""
    with torch.device("meta"):
        model = package.LPIPS(pretrained=False, net=net, pnet_rand=True, verbose=False)
    generator = torch.Generator().manual_seed(7)
    state = {}
    for name, tensor in model.named_parameters():
        values = torch.randn(tensor.shape, generator=generator)
        deviation = (2 / values[0].numel()) ** 0.5 if values.ndim > 1 else 0.1
        state[name] = values.abs() * 30 / values.numel() if name.startswith("lin") else values * deviation
    return state


def packages_own(net, state, spatial=False):
    """The package's module with the same tensors, loaded its own way and in its own memory format."""
    with torch.device("meta"):
        model = package.LPIPS(pretrained=False, net=net, pnet_rand=True, spatial=spatial, verbose=False)
    model.to_empty(device="cpu")
    model.scaling_layer = package.ScalingLayer()
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.startswith(("lins.", "scaling_layer.")) for name in missing)
    return model.eval()


def call(model, image, truth):
    with torch.inference_mode():
        return model(image, truth)


@pytest.fixture(scope="module", params=["alex", "vgg", "squeeze"])
def network(request):
    return request.param, random_state(request.param)


@pytest.fixture
def alex(monkeypatch):
    """The metrics run on one untrained AlexNet, which records the images it is shown."""
    state, shown = random_state("alex"), []

    def load(net, device):
        model = _lpips.build(net, state, device)
        model.scaling_layer.register_forward_pre_hook(lambda module, given: shown.append(tuple(given[0].shape)))
        return model

    monkeypatch.setattr(family, "_load", load)
    return SimpleNamespace(state=state, shown=shown)


@pytest.fixture(scope="module")
def pair():
    """A non-square crop of a photograph and the same with structured errors."""
    truth = np.ascontiguousarray(skimage.data.coffee()[40:110, 150:251])
    generator = np.random.default_rng(0)
    image = np.clip(np.roll(truth, 2, axis=1) + generator.normal(0, 9, truth.shape), 0, 255).astype(np.uint8)
    return truth, image


# By hand: a network of two layers. The first says (1, 0) where red is 255, (0, 1) where it is 0 and (0, 0) at mid-grey, and its head
# counts 0.5 and 0.25. The second is the first averaged over blocks of 2 × 2, and its head counts 1 and 2.


class ByHand(nn.Module):
    def __init__(self):
        super().__init__()
        self.scaling_layer = nn.Identity()
        self.net = nn.Module()
        self.net.N_slices = 2
        first = nn.Conv2d(3, 2, 1, bias=False)
        first.weight.data = torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]])[..., None, None]
        self.net.slice1, self.net.slice2 = nn.Sequential(first, nn.ReLU()), nn.AvgPool2d(2)
        heads = [nn.Conv2d(2, 1, 1, bias=False) for _ in range(2)]
        for head, values in zip(heads, [(0.5, 0.25), (1.0, 2.0)], strict=True):
            head.weight.data = torch.tensor(values)[None, :, None, None]
        self.lins = nn.ModuleList(heads)


@pytest.fixture
def by_hand(monkeypatch):
    monkeypatch.setattr(family, "_load", lambda net, device: ByHand())
    monkeypatch.setitem(family.LEAST, "alex", 1)


RED, BLACK = np.full((4, 6, 3), (255, 40, 90), np.uint8), np.full((4, 6, 3), (255, 40, 90), np.uint8)
BLACK[:2, :2, 0] = 0
"""The truth, and a fill whose first 2 × 2 block is wrong: 0.75 a pixel in the first layer, 3 in one place of the second."""
TWO = np.zeros((4, 6), bool)
TWO[0, 0] = TWO[1, 2] = True
ONE = np.zeros((4, 6), bool)
ONE[1, 2] = True
# Where black stands outside the hole, the block of the truth is (1, 3)/√10 and that of the fill (0, 1).
TENTH = 1 * 0.1 + 2 * (1 - 3 / 10**0.5) ** 2
HAND = [
    (LPIPSFull(), TWO, 0.75 * 4 / 24 + 3 / 6),
    (LPIPS(), np.ones((4, 6), bool), 0.75 * 4 / 24 + 3 * (1 + 0.75 + 0.25) ** 2 / 24),
    # Pixel (1, 2) is a quarter along from the wrong place in columns and three quarters in rows; (0, 0) is wholly in it.
    (LPIPS(), ONE, 3 * 0.75 * 0.25),
    (LPIPS(), TWO, (3 * 0.75 * 0.25 + 3 + 0.75) / 2),
    (LPIPSMultiply(), TWO, 0.75 / 24 + 3 / 6),
    (LPIPSMultiply(MultiplyConfig(outside="black")), TWO, 0.75 / 24 + TENTH / 6),
    (LPIPSCrop(CropConfig(least=1)), TWO, 0.75 * 4 / 6 + 3),
    (LPIPSCrop(CropConfig(least=1)), box((4, 6), slice(0, 2), slice(0, 3)), 0.75 * 4 / 6 + 3),
    (LPIPSCrop(CropConfig(least=1)), box((4, 6), slice(2, 4), slice(0, 6)), 0),
    # Columns 1…4: half of the wrong block, so that one place of the second layer is (1, 1)/√2.
    (LPIPSCrop(CropConfig(least=4)), ONE, 0.75 * 2 / 16 + (1 * (1 - 0.5**0.5) ** 2 + 2 * 0.5) / 4),
]


@pytest.mark.parametrize(("metric", "mask", "expected"), HAND)
def test_equals_the_value_computed_by_hand(by_hand, metric, mask, expected):
    assert score(metric, scene(RED, mask), BLACK) == [pytest.approx(expected, abs=1e-6)]


def test_whatever_the_hole_does_not_show_is_multiplied_away(by_hand):
    changed = BLACK.copy()
    changed[~TWO] = 7
    one, other = score(LPIPSMultiply(), scene(RED, TWO), BLACK, changed)
    assert one == other > 0
    one, other = score(LPIPS(), scene(RED, TWO), BLACK, changed)
    assert other > one


# (first occupied, last occupied, least, length) and the slice that comes out.
GROWN = [
    ((10, 19, 1, 100), (10, 20)),
    ((10, 19, 10, 100), (10, 20)),
    ((10, 19, 14, 100), (8, 22)),
    ((10, 19, 15, 100), (8, 23)),
    ((10, 10, 5, 100), (8, 13)),
    ((1, 2, 10, 100), (0, 10)),
    ((97, 99, 10, 100), (90, 100)),
    ((0, 99, 10, 100), (0, 100)),
    ((30, 40, 64, 50), (0, 50)),
    ((0, 0, 1, 1), (0, 1)),
]


@pytest.mark.parametrize(("given", "expected"), GROWN)
def test_the_box_grows_around_its_middle_and_stays_inside(given, expected):
    first, last, least, length = given
    assert family._grown([first, last], least, length) == slice(*expected)


# The package's own call


HOLES = {
    "middle": box((70, 101), slice(20, 50), slice(30, 80)),
    "top left pixel": box((70, 101), 0, 0),
    "bottom right pixel": box((70, 101), -1, -1),
    "middle pixel": box((70, 101), 33, 41),
    "left strip": box((70, 101), slice(None), slice(0, 20)),
    "scattered": box((70, 101), [3, 40, 66], [90, 7, 55]),
    "full": np.ones((70, 101), bool),
}


@pytest.mark.parametrize("name", HOLES)
def test_hole_equals_the_mean_of_the_packages_map(alex, pair, name):
    truth, image = pair
    spatial = call(packages_own("alex", alex.state, spatial=True), package.im2tensor(image), package.im2tensor(truth))
    assert spatial.shape == (1, 1, 70, 101)
    expected = float(spatial[0, 0].double()[torch.tensor(HOLES[name])].mean())
    assert score(LPIPS(), scene(truth, HOLES[name]), image) == [pytest.approx(expected, abs=TOLERANCE)]
    assert expected > 1e-3


def test_equals_the_package_with_each_network(network, pair, monkeypatch):
    net, state = network
    monkeypatch.setattr(family, "_load", lambda asked, device: _lpips.build(asked, state, device))
    (truth, image), mask = pair, HOLES["middle"]
    ours, theirs, hole = package.im2tensor(image), package.im2tensor(truth), torch.tensor(mask).float()
    plain, spatial = packages_own(net, state), packages_own(net, state, spatial=True)
    expected = {
        LPIPS: call(spatial, ours, theirs)[0, 0][hole > 0].double().mean(),
        # Rows 20…49 grow by 17 on each side to 64, columns 30…79 by 7.
        LPIPSCrop: call(plain, ours[..., 3:67, 23:87], theirs[..., 3:67, 23:87]),
        LPIPSMultiply: call(plain, ours * hole, theirs * hole),
        LPIPSFull: call(plain, ours, theirs),
    }
    for kind, value in expected.items():
        assert score(kind(kind.Config(net=net)), scene(truth, mask), image) == [pytest.approx(float(value), abs=TOLERANCE)]
    assert len({round(float(value), 4) for value in expected.values()}) == 4


def test_black_outside_is_the_mask_times_the_image_before_it_is_normalised(alex, pair):
    (truth, image), mask = pair, HOLES["middle"]
    ours, theirs = (package.im2tensor(picture * mask[..., None]) for picture in (image, truth))
    expected = float(call(packages_own("alex", alex.state), ours, theirs))
    black, grey = (score(LPIPSMultiply(MultiplyConfig(outside=word)), scene(truth, mask), image)[0] for word in ("black", "grey"))
    assert black == pytest.approx(expected, abs=TOLERANCE)
    assert abs(black - grey) > 1e-3


def test_size_resizes_images_and_hole_alike(alex, pair):
    """Shorter side 70 to 40, the longer one in proportion; a pixel counts as far as it is hole."""
    (truth, image), mask = pair, HOLES["middle"]
    options = {"size": (40, 58), "mode": "bilinear", "align_corners": False, "antialias": True}
    ours, theirs = (nn.functional.interpolate(package.im2tensor(picture), **options) for picture in (image, truth))
    share = nn.functional.interpolate(torch.tensor(mask).float()[None, None], **options)
    assert 0 < float(((share > 0) & (share < 1)).float().mean()) < 0.2
    plain, spatial = (packages_own("alex", alex.state, spatial=word) for word in (False, True))
    config = LPIPS.Config(size=40)
    (hole,), (full,) = score(LPIPS(config), scene(truth, mask), image), score(LPIPSFull(config), scene(truth, mask), image)
    assert hole == pytest.approx(float((call(spatial, ours, theirs) * share).sum() / share.sum()), abs=TOLERANCE)
    assert full == pytest.approx(float(call(plain, ours, theirs)), abs=TOLERANCE)
    (multiplied,) = score(LPIPSMultiply(MultiplyConfig(size=40)), scene(truth, mask), image)
    assert multiplied == pytest.approx(float(call(plain, ours * share, theirs * share)), abs=TOLERANCE)
    rows, columns = (slice(int(where.min()), int(where.max()) + 1) for where in (share[0, 0] > 0).nonzero().T)
    (cropped,) = score(LPIPSCrop(CropConfig(size=40, least=20)), scene(truth, mask), image)
    grown = family._grown([rows.start, rows.stop - 1], 31, 40), family._grown([columns.start, columns.stop - 1], 31, 58)
    assert cropped == pytest.approx(float(call(plain, *(seen[..., grown[0], grown[1]] for seen in (ours, theirs)))), abs=TOLERANCE)


# One score a fill, whatever stands beside it


@pytest.mark.parametrize("kind", KINDS)
def test_identical_images_are_at_distance_zero(alex, monkeypatch, pair, kind):
    """Exactly, even where the truth went through the network in another batch."""
    monkeypatch.setitem(_trunk.PIXELS, "cpu", 10**6)
    truth, image = pair
    values = score(kind(), scene(truth, HOLES["middle"]), image, truth, image, truth, truth)
    assert values[1] == values[3] == values[4] == 0.0
    assert values[0] == pytest.approx(values[2], abs=1e-7)
    assert values[0] > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pixels", [1, 3 * 70 * 101])
def test_order_and_batch_do_not_matter(alex, monkeypatch, pair, kind, pixels):
    monkeypatch.setitem(_trunk.PIXELS, "cpu", pixels)
    truth, image = pair
    images = [image, np.roll(image, 3, axis=0), 255 - image, np.full_like(image, 127), image[::-1].copy()]
    there = score(kind(), scene(truth, HOLES["middle"]), *images)
    back = score(kind(), scene(truth, HOLES["middle"]), *images[::-1])
    alone = [score(kind(), scene(truth, HOLES["middle"]), one)[0] for one in images]
    assert there == pytest.approx(back[::-1], abs=TOLERANCE)
    assert there == pytest.approx(alone, abs=TOLERANCE)
    assert len({round(value, 4) for value in there}) == 5


def test_metrics_share_network_features_and_distances(alex, pair):
    """The truth is shown once, and each fill once, for both metrics that see the whole image; crop and multiply see their own."""
    truth, image = pair
    the_scene, fills = scene(truth, HOLES["middle"]), batch(image, truth, image)
    whole = [LPIPS(), LPIPSFull()]
    others = [LPIPSMultiply(), LPIPSCrop()]
    prepared = [metric.prepare(the_scene, context=Context()) for metric in (*whole, *others)]
    assert alex.shown == [(1, 3, 70, 101)] * 2 + [(1, 3, 64, 64)]
    alex.shown.clear()
    values = [[result.value for result in metric.score(ready, fills)] for metric, ready in zip((*whole, *others), prepared, strict=True)]
    assert sum(shape[0] for shape in alex.shown if shape[2:] == (70, 101)) == 3 + 3
    assert sum(shape[0] for shape in alex.shown if shape[2:] == (64, 64)) == 3
    assert len({row[0] for row in values}) == 4
    for metric, kind, row in zip((*whole, *others), (LPIPS, LPIPSFull, LPIPSMultiply, LPIPSCrop), values, strict=True):
        metric.close()
        assert score(kind(), the_scene, image) == [pytest.approx(row[0], abs=TOLERANCE)]
    assert not _torch._models


def test_two_sizes_and_two_scenes_are_not_mixed_up(alex, pair):
    truth, image = pair
    the_scene, other = scene(truth, HOLES["middle"]), scene(image, HOLES["middle"])
    fills = batch(image, truth)
    metric, small = LPIPSFull(), LPIPSFull(LPIPSFull.Config(size=48))
    ready = [(one, one.prepare(which, context=Context())) for one in (metric, small) for which in (the_scene, other)]
    values = [[result.value for result in one.score(prepared, fills)] for one, prepared in ready]
    assert [row.index(0.0) for row in values] == [1, 0, 1, 0]
    assert abs(values[0][0] - values[2][0]) > 1e-4
    metric.close()
    small.close()


def test_few_pixels_are_seen_at_a_time(alex, monkeypatch, pair):
    monkeypatch.setitem(_trunk.PIXELS, "cpu", 2 * 70 * 101)
    truth, image = pair
    score(LPIPSFull(), scene(truth, HOLES["middle"]), *[image] * 5)
    assert [shape[0] for shape in alex.shown] == [1, 2, 2, 1]


def test_the_network_is_loaded_once_and_given_back_once(alex, monkeypatch, pair):
    truth, _ = pair
    loaded, load = [], family._load
    monkeypatch.setattr(family, "_load", lambda net, device: loaded.append(net) or load(net, device))
    metrics = [kind() for kind in KINDS]
    for metric in metrics:
        metric.prepare(scene(truth, HOLES["middle"]), context=Context())
        metric.prepare(scene(truth, HOLES["left strip"]), context=Context())
    assert loaded == ["alex"]
    for metric in metrics:
        assert _torch._models
        metric.close()
        metric.close()
    assert not _torch._models


# Edges


def test_without_truth_or_hole_there_is_no_score(alex, pair):
    truth, image = pair
    without = Scene("s", (truth,), truth.copy(), HOLES["middle"].copy(), None)
    empty = scene(truth, np.zeros((70, 101), bool))
    for kind in KINDS:
        with pytest.raises(Unsupported, match="no ground truth"):
            kind().prepare(without, context=Context())
    for kind in KINDS[:3]:
        with pytest.raises(Unsupported, match="hole region has no pixels"):
            kind().prepare(empty, context=Context())
    assert score(LPIPSFull(), empty, image)[0] > 0


@pytest.mark.parametrize(("shape", "fits"), [((31, 80), True), ((80, 31), True), ((30, 80), False), ((80, 30), False)])
def test_smallest_image(alex, shape, fits):
    generator = np.random.default_rng(1)
    truth, image = generator.integers(0, 256, (2, *shape, 3), dtype=np.uint8)
    mask = box(shape, 4, 4)
    for kind in KINDS:
        if fits:
            assert score(kind(), scene(truth, mask), image)[0] > 0
        else:
            with pytest.raises(Unsupported, match="at least 31 pixels, found"):
                kind().prepare(scene(truth, mask), context=Context())


@pytest.mark.parametrize(("net", "least"), family.LEAST.items())
def test_the_stated_least_side_is_the_networks(net, least):
    model = packages_own(net, random_state(net))
    assert call(model, torch.zeros(1, 3, least, 40), torch.ones(1, 3, 40, 40)[:, :, :least]).isfinite().all()
    with pytest.raises(RuntimeError):
        call(model, torch.zeros(1, 3, least - 1, 40), torch.zeros(1, 3, least - 1, 40))


SIGNATURES = [
    (LPIPS(), "lpips|region:hole|image:composite|feather:4/512|size:0|resize:none|net:alex|version:0.1|normalise:-1..1|v:1"),
    (
        LPIPSCrop(CropConfig(net="vgg", size=256)),
        "lpips-crop|region:hole|image:composite|feather:4/512|size:256|resize:bilinear-antialias|net:vgg|version:0.1|normalise:-1..1"
        "|least:64|v:1",
    ),
    (
        LPIPSMultiply(),
        "lpips-multiply|region:hole|image:composite|feather:4/512|size:0|resize:none|net:alex|version:0.1|normalise:-1..1|outside:grey|v:1",
    ),
    (LPIPSFull(), "lpips-full|region:full|image:composite|feather:4/512|size:0|resize:none|net:alex|version:0.1|normalise:-1..1|v:1"),
]


@pytest.mark.parametrize(("metric", "signature"), SIGNATURES)
def test_signature(metric, signature):
    assert isinstance(metric, Metric)
    assert metric.signature(Feather()) == signature
    assert metric.card.direction == "lower"
    assert metric.card.torch
    assert [item.name for item in metric.card.weights] == ["lpips-alex", "lpips-vgg", "lpips-squeeze"]


def test_a_configuration_survives_being_written_and_read():
    """As it travels to a worker: texts from the command line, and all fields of what came of them."""
    config = validate(CropConfig, {"size": "256", "net": "vgg"}, "metric lpips-crop")
    assert config == CropConfig(size=256, net="vgg")
    assert validate(CropConfig, dataclasses.asdict(config), "metric lpips-crop") == config
    with pytest.raises(UsageError, match="metric lpips-crop"):
        validate(CropConfig, {"net": "resnet"}, "metric lpips-crop")


@pytest.mark.parametrize("wrong", [{"size": -1}, {"resize": "bilinear-antialias"}, {"least": 0}])
def test_wrong_config_is_refused(wrong):
    with pytest.raises(UsageError):
        CropConfig(**wrong)


# Weights


def test_nothing_is_downloaded(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("asked for a download")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setattr("torchvision.models._api.WeightsEnum.get_state_dict", refuse)
    for net in family.LEAST:
        model = _lpips.build(net, random_state(net), "cpu")
        assert not any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
        assert not any(tensor.requires_grad for tensor in model.parameters())


def test_wrong_tensors_are_refused():
    state = random_state("alex")
    for wrong, words in [
        ({name: tensor for name, tensor in state.items() if name != "lin3.model.1.weight"}, "lin3.*expected .1, 256, 1, 1., found no such"),
        (state | {"extra": torch.zeros(2)}, "extra: expected no such tensor"),
        (state | {"net.slice1.0.bias": torch.zeros(2)}, "slice1.0.bias: expected .64,., found .2,.; pull lpips-alex again"),
    ]:
        with pytest.raises(RealbenchError, match=words):
            _lpips.build("alex", wrong, "cpu")


def test_weights_come_from_the_shared_folder(monkeypatch, tmp_path, pair):
    """The real way in, with untrained SqueezeNet."""
    (tmp_path / "lpips-squeeze").mkdir()
    state = random_state("squeeze")
    save_file(state, tmp_path / "lpips-squeeze" / "model.safetensors")
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path))
    truth, image = pair
    expected = float(call(packages_own("squeeze", state), package.im2tensor(image), package.im2tensor(truth)))
    values = score(LPIPSFull(LPIPSFull.Config(net="squeeze")), scene(truth, HOLES["middle"]), image)
    assert values == [pytest.approx(expected, abs=TOLERANCE)]


def test_a_trunk_without_heads_takes_the_packages_own(monkeypatch, tmp_path, pair):
    (tmp_path / "lpips-squeeze").mkdir()
    heads = torch.load(Path(package.__file__).parent / "weights/v0.1/squeeze.pth", map_location="cpu", weights_only=True)
    state = {**random_state("squeeze"), **heads}
    save_file({name: tensor for name, tensor in state.items() if name not in heads}, tmp_path / "lpips-squeeze" / "model.safetensors")
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path))
    truth, image = pair
    expected = float(call(packages_own("squeeze", state), package.im2tensor(image), package.im2tensor(truth)))
    values = score(LPIPSFull(LPIPSFull.Config(net="squeeze")), scene(truth, HOLES["middle"]), image)
    assert values == [pytest.approx(expected, abs=TOLERANCE)]


def test_squeezenets_weights_are_missing_where_nothing_has_them(monkeypatch, tmp_path, pair):
    monkeypatch.delenv(weights.VARIABLE, raising=False)
    for name in ("TORCH_HOME", "REALBENCH_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    with pytest.raises(WeightsMissing, match="realbench weights pull lpips-squeeze"):
        LPIPS(LPIPS.Config(net="squeeze")).prepare(scene(pair[0], HOLES["middle"]), context=Context())


@pytest.mark.parametrize(("net", "name"), [("alex", "lpips-alex"), ("vgg", "lpips-vgg")])
def test_missing_weights_are_missing(monkeypatch, pair, net, name):
    def missing(wanted, folder=""):
        raise WeightsMissing(f"{wanted.name} cannot be had")

    monkeypatch.setattr(weights, "resolve", missing)
    with pytest.raises(WeightsMissing, match=name):
        LPIPSFull(LPIPSFull.Config(net=net)).prepare(scene(pair[0], HOLES["middle"]), context=Context())
    assert not _torch._models


# True weights

ALEX_LAYERS = ("slice1.0", "slice2.3", "slice3.6", "slice4.8", "slice5.10")


def test_authors_images(monkeypatch):
    """The numbers in the README of the package's repository."""
    if not (SHARED / "lpips_alex_v01.safetensors").is_file():
        pytest.skip(f"no weights at {SHARED}")
    state = {}
    for name, tensor in weights.load_state(SHARED / "lpips_alex_v01.safetensors").items():
        layer, _, part = name.partition(".")
        state[f"{layer}.model.1.{part}" if layer.startswith("lin") else f"net.{ALEX_LAYERS[int(layer[4:])]}.{part}"] = tensor
    monkeypatch.setattr(family, "_load", lambda net, device: _lpips.build(net, state, device))
    truth, first, second = (np.asarray(Image.open(SHARED / f"ex_{name}.png").convert("RGB")) for name in ("ref", "p0", "p1"))
    everything = scene(truth, np.ones(truth.shape[:2], bool))
    for kind in (LPIPSFull, LPIPSCrop, LPIPSMultiply):
        assert score(kind(), everything, first, second) == [pytest.approx(0.722, abs=1e-3), pytest.approx(0.138, abs=1e-3)]


# Photographs of scikit-image, rows 100…195 and columns 120…279, the hole filled with what lies 30 pixels down and right; the package's
# own values: the mean of its map over the hole, its value of both images times the mask, and of both images as they are.
GOLDEN = [
    ("astronaut", "alex", (0.454918, 0.303246, 0.240421)),
    ("astronaut", "vgg", (0.692214, 0.204749, 0.268686)),
    ("coffee", "alex", (0.396430, 0.218437, 0.241643)),
    ("coffee", "vgg", (0.554214, 0.138147, 0.224193)),
    ("chelsea", "alex", (0.490512, 0.233839, 0.200626)),
    ("chelsea", "vgg", (0.607093, 0.151884, 0.219486)),
]


@pytest.mark.parametrize(("name", "net", "expected"), GOLDEN)
def test_golden_values_with_true_weights(name, net, expected):
    wanted = family.WEIGHTS[net]
    if weights.status(wanted).state != "present":
        pytest.skip(f"no weights {wanted.name} on this machine: realbench weights pull {wanted.name}")
    photo, mask = getattr(skimage.data, name)(), box((96, 160), slice(20, 70), slice(50, 120)) | box((96, 160), 80, 5)
    truth = np.ascontiguousarray(photo[100:196, 120:280])
    fill = truth.copy()
    fill[mask] = photo[130:226, 150:310][mask]
    values = [score(kind(kind.Config(net=net)), scene(truth, mask), fill)[0] for kind in (LPIPS, LPIPSMultiply, LPIPSFull)]
    assert values == pytest.approx(expected, abs=1e-4)
