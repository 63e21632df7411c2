"""PSNR against values computed by hand, and the properties that tell it from the wrong formulas in use."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

from realbench.composite import Feather, composite
from realbench.errors import UsageError
from realbench.method import Context
from realbench.metric import Batch, Metric
from realbench.metrics.psnr import PSNR, Config, PSNRFull, PSNRKnown
from realbench.scene import Scene

CONTEXT = Context(work=Path())
HOLE = np.zeros((3, 5), bool)
HOLE[0, 1] = HOLE[1, 2] = HOLE[1, 3] = HOLE[2, 4] = True


def scene(truth, mask=HOLE):
    return Scene("s", (truth,), truth.copy(), mask.copy(), truth.copy())


def score(metric, the_scene, *images, raw=None):
    batch = Batch(tuple(range(len(images))), tuple(raw or images), tuple(images))
    return metric.score(metric.prepare(the_scene, context=CONTEXT), batch)


def ramp():
    """3 × 5 × 3, all values distinct and far from 0 and 255."""
    return (60 + 2 * np.arange(45)).reshape(3, 5, 3).astype(np.uint8)


def changed():
    """The ramp with differences 3, −4, 12 in one hole pixel, 5 in one channel of another, and 7 in each channel of a known pixel."""
    image = ramp().astype(int)
    image[1, 2] += (3, -4, 12)
    image[2, 4, 1] += 5
    image[0, 0] += 7
    return image.astype(np.uint8)


# Sums of squares: hole 9 + 16 + 144 + 25 = 194 over 4·3 values, known 3·49 = 147 over 11·3, full 341 over 15·3.
BY_HAND = [(PSNR, 194 / 12), (PSNRKnown, 147 / 33), (PSNRFull, 341 / 45)]


@pytest.mark.parametrize(("metric", "mse"), BY_HAND)
def test_equals_the_value_computed_by_hand(metric, mse):
    (result,) = score(metric(), scene(ramp()), changed())
    assert result.state == "ok"
    assert result.value == pytest.approx(20 * math.log10(255) - 10 * math.log10(mse), abs=1e-9)


def test_value_in_decibels():
    """A difference of 1 everywhere is 20·log10(255)."""
    (result,) = score(PSNR(), scene(ramp()), ramp() + np.uint8(1))
    assert result.value == pytest.approx(48.1308036, abs=1e-6)


def test_differs_from_the_known_wrong_formulas():
    (result,) = score(PSNR(), scene(ramp()), changed())
    one_channel_count = 10 * math.log10(255**2 * 4 / 194)
    full_frame_average = 10 * math.log10(255**2 * 45 / 194)
    assert result.value - one_channel_count == pytest.approx(4.771213, abs=1e-6)
    assert full_frame_average - result.value == pytest.approx(10 * math.log10(15 / 4), abs=1e-6)


def test_extreme_differences_do_not_overflow():
    black, white = np.zeros((3, 5, 3), np.uint8), np.full((3, 5, 3), 255, np.uint8)
    assert score(PSNR(), scene(black), white)[0].value == pytest.approx(0, abs=1e-12)
    assert score(PSNRFull(), scene(white), black)[0].value == pytest.approx(0, abs=1e-12)


def test_a_perfect_fill_is_infinite_even_after_compositing():
    truth = ramp()
    the_scene = scene(truth)
    noisy = truth.copy()
    noisy[~HOLE] += 9
    laid = composite(noisy, the_scene.target, HOLE, Feather())
    assert score(PSNR(), the_scene, laid, raw=(noisy,))[0].value == math.inf


def test_known_region_is_read_from_the_raw_fill():
    raw = changed()
    values = [score(metric(), scene(ramp()), ramp(), raw=(raw,))[0].value for metric in (PSNR, PSNRFull, PSNRKnown)]
    assert values[:2] == [math.inf, math.inf]
    assert values[2] == pytest.approx(10 * math.log10(255**2 * 33 / 147))


def test_full_hole_leaves_no_known_region():
    full = scene(ramp(), np.ones((3, 5), bool))
    results = score(PSNRKnown(), full, changed(), changed())
    assert [(r.value, r.state, r.reason) for r in results] == [(None, "unsupported", "the known region has no pixels")] * 2
    assert score(PSNR(), full, changed())[0].value == score(PSNRFull(), full, changed())[0].value


def test_one_pixel_hole():
    mask = np.zeros((3, 5), bool)
    mask[1, 2] = True
    assert score(PSNR(), scene(ramp(), mask), changed())[0].value == pytest.approx(10 * math.log10(255**2 * 3 / 169))


def test_order_and_batch_do_not_matter():
    images = (changed(), ramp() + np.uint8(1), changed()[::-1].copy())
    together = score(PSNR(), scene(ramp()), *images)
    reverse = score(PSNR(), scene(ramp()), *images[::-1])
    alone = [score(PSNR(), scene(ramp()), image)[0] for image in images]
    assert together == alone == reverse[::-1]


SIGNATURES = [
    (PSNR(), "psnr|region:hole|image:composite|feather:4/512|range:255|size:target|v:1"),
    (PSNRFull(), "psnr-full|region:full|image:composite|feather:4/512|range:255|size:target|v:1"),
    (PSNRKnown(), "psnr-known|region:known|image:raw|range:255|size:target|v:1"),
    (PSNR(Config(range=1)), "psnr|region:hole|image:composite|feather:4/512|range:1|size:target|v:1"),
]


@pytest.mark.parametrize(("metric", "signature"), SIGNATURES)
def test_signature(metric, signature):
    assert isinstance(metric, Metric)
    assert metric.signature(Feather()) == signature


def test_range_is_used_and_checked():
    wide = score(PSNR(Config(range=510)), scene(ramp()), changed())[0].value
    assert wide - score(PSNR(), scene(ramp()), changed())[0].value == pytest.approx(20 * math.log10(2))
    with pytest.raises(UsageError, match="range"):
        Config(range=0)


images = arrays.arrays(np.uint8, (4, 3, 3))
masks = arrays.arrays(np.bool_, (4, 3)).filter(lambda mask: mask.any())


@settings(max_examples=60, deadline=None)
@given(images, images, masks)
def test_symmetric_and_infinite_only_where_equal_on_the_hole(a, b, mask):
    there = score(PSNR(), scene(a, mask), b)[0].value
    back = score(PSNR(), scene(b, mask), a)[0].value
    assert there == back
    assert not math.isnan(there)
    assert (there == math.inf) == np.array_equal(a[mask], b[mask])


@settings(max_examples=30, deadline=None)
@given(images, images, masks)
def test_pixels_outside_the_hole_do_not_matter(a, b, mask):
    changed_outside = np.where(mask[..., None], b, 255 - b)
    assert score(PSNR(), scene(a, mask), b) == score(PSNR(), scene(a, mask), changed_outside)
