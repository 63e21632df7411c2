"""SSIM against scikit-image's full map on real photographs, the crop's identity, and its edges."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from skimage.metrics import structural_similarity

from realbench.composite import Feather
from realbench.errors import UsageError
from realbench.method import Context
from realbench.metric import Batch
from realbench.metrics.ssim import SSIM, Config, SSIMFull
from realbench.scene import Scene

CONTEXT = Context(work=Path())
TOLERANCE = 1e-9
"""Far below the 1e-4 that the table needs: the crop is meant to be exact."""


def score(metric, truth, mask, *images):
    prepared = metric.prepare(Scene("s", (truth,), truth.copy(), mask.copy(), truth.copy()), context=CONTEXT)
    return metric.score(prepared, Batch(tuple(range(len(images))), images, images))


def full_map(image, truth):
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255, "channel_axis": -1}
    return structural_similarity(image, truth, full=True, **options)[1]


@pytest.fixture(scope="module")
def pair():
    """A non-square crop of a photograph and the same with structured errors."""
    truth = np.ascontiguousarray(skimage.data.coffee()[40:140, 150:320])
    generator = np.random.default_rng(0)
    image = np.clip(np.roll(truth, 2, axis=1) + generator.normal(0, 9, truth.shape), 0, 255).astype(np.uint8)
    return truth, image


def holes(height, width):
    """Holes in the middle, at each side, in a corner of one pixel, scattered, and everywhere."""
    boxes = {
        "middle": np.s_[30:60, 50:90],
        "top left pixel": np.s_[:1, :1],
        "bottom right pixel": np.s_[-1:, -1:],
        "middle pixel": np.s_[50:51, 80:81],
        "left strip": np.s_[:, :20],
        "bottom strip": np.s_[-7:, :],
        "near the border": np.s_[3:9, 100:160],
        "full": np.s_[:, :],
    }
    for name, box in boxes.items():
        mask = np.zeros((height, width), bool)
        mask[box] = True
        yield name, mask
    scattered = np.zeros((height, width), bool)
    scattered[5, 7] = scattered[90, 160] = scattered[44, 81] = True
    yield "scattered", scattered


@pytest.mark.parametrize("name", [name for name, _ in holes(100, 170)])
def test_equals_the_mean_of_the_full_map_over_the_hole(pair, name):
    truth, image = pair
    mask = dict(holes(*truth.shape[:2]))[name]
    (result,) = score(SSIM(), truth, mask, image)
    assert result.state == "ok"
    assert result.value == pytest.approx(full_map(image, truth)[mask].mean(), abs=TOLERANCE)
    assert 0 < abs(result.value) < 1


def test_full_image_includes_the_border(pair):
    truth, image = pair
    mask = dict(holes(*truth.shape[:2]))["middle"]
    (result,) = score(SSIMFull(), truth, mask, image)
    assert result.value == pytest.approx(full_map(image, truth).mean(), abs=TOLERANCE)
    without_border = full_map(image, truth)[5:-5, 5:-5].mean()
    assert abs(result.value - without_border) > 1e-4


def test_perfect_fill_is_one(pair):
    truth, _ = pair
    mask = dict(holes(*truth.shape[:2]))["middle"]
    assert [score(metric(), truth, mask, truth)[0].value for metric in (SSIM, SSIMFull)] == [1.0, 1.0]


def test_flat_images_by_hand():
    """Without structure only the luminance term is left: (2·a·b + c) / (a² + b² + c), c = (0.01·255)²."""
    truth, image = np.full((12, 17, 3), 100, np.uint8), np.full((12, 17, 3), 120, np.uint8)
    mask = np.zeros((12, 17), bool)
    mask[2:5, 3:11] = True
    c = 2.55**2
    assert score(SSIM(), truth, mask, image)[0].value == pytest.approx((2 * 100 * 120 + c) / (100**2 + 120**2 + c), abs=1e-9)


def test_channels_count_alike():
    truth = np.full((13, 15, 3), 100, np.uint8)
    image = truth.copy()
    image[..., 2] = 120
    c = 2.55**2
    expected = (2 + (24000 + c) / (24400 + c)) / 3
    assert score(SSIM(), truth, np.ones((13, 15), bool), image)[0].value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("shape", "state"), [((11, 30), "ok"), ((30, 11), "ok"), ((10, 30), "unsupported"), ((30, 10), "unsupported")])
def test_smallest_image(shape, state):
    generator = np.random.default_rng(1)
    truth, image = generator.integers(0, 256, (2, *shape, 3), dtype=np.uint8)
    mask = np.zeros(shape, bool)
    mask[4, 4] = True
    for metric in (SSIM(), SSIMFull()):
        (result,) = score(metric, truth, mask, image)
        assert result.state == state
        if state == "ok":
            assert result.value is not None
        else:
            assert result.value is None
            assert "10 pixels" in result.reason
            assert "11" in result.reason


def test_order_and_batch_do_not_matter(pair):
    truth, image = pair
    mask = dict(holes(*truth.shape[:2]))["middle"]
    images = (image, np.roll(image, 3, axis=0), truth)
    together = score(SSIM(), truth, mask, *images)
    assert together == score(SSIM(), truth, mask, *images[::-1])[::-1]
    assert together == [score(SSIM(), truth, mask, one)[0] for one in images]


def test_window_follows_from_sigma_as_in_scikit_image():
    """A single odd pixel changes the map as far as the window reaches, no farther."""
    truth = np.full((31, 41, 3), 90, np.uint8)
    image = truth.copy()
    image[15, 20] = 200
    touched = np.argwhere(full_map(image, truth)[..., 0] < 1)
    assert np.ptp(touched, axis=0).tolist() == [Config().window - 1] * 2


def test_sigma_is_used(pair):
    truth, image = pair
    mask = dict(holes(*truth.shape[:2]))["middle"]
    wide = score(SSIM(Config(sigma=2.5, window=19)), truth, mask, image)[0].value
    assert wide != pytest.approx(score(SSIM(), truth, mask, image)[0].value, abs=1e-4)


BASE = "region:hole|image:composite|feather:4/512"
SIGNATURES = [
    (SSIM(), f"ssim|{BASE}|window:11|sigma:1.5|padding:reflect|channels:mean|range:255|size:target|v:1"),
    (SSIM(Config(sigma=2, window=15)), f"ssim|{BASE}|window:15|sigma:2|padding:reflect|channels:mean|range:255|size:target|v:1"),
    (SSIM(Config(range=1)), f"ssim|{BASE}|window:11|sigma:1.5|padding:reflect|channels:mean|range:1|size:target|v:1"),
    (
        SSIMFull(),
        "ssim-full|region:full|image:composite|feather:4/512|window:11|sigma:1.5|padding:reflect|channels:mean|range:255|size:target|v:1",
    ),
]


@pytest.mark.parametrize(("metric", "signature"), SIGNATURES)
def test_signature(metric, signature):
    assert metric.signature(Feather()) == signature
    assert all(f"|{field.name}:" in signature for field in fields(Config))


@pytest.mark.parametrize("wrong", [{"window": 7}, {"sigma": 2.0}, {"sigma": 0.0}, {"sigma": float("nan")}, {"range": 0}])
def test_contradictory_config_is_refused(wrong):
    with pytest.raises(UsageError, match="ssim"):
        Config(**wrong)
