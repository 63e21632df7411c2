"""Compositing: the hole is the fill's, the far known region the target's, and the target's blank never bleeds in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from realbench.composite import Feather, alpha, composite

images = hnp.arrays(np.uint8, (9, 13, 3))
masks = hnp.arrays(np.bool_, (9, 13))


@pytest.mark.parametrize(
    ("pixels", "shape", "radius"),
    [(4, (512, 768), 4), (4, (1024, 1024), 8), (4, (64, 64), 1), (4, (300, 900), 2), (0, (512, 512), 0), (10, (256, 999), 5)],
)
def test_radius_scales_with_the_shorter_side(pixels: float, shape: tuple[int, int], radius: int) -> None:
    assert Feather(pixels).radius(shape) == radius


def test_alpha_falls_linearly_outside_the_hole() -> None:
    mask = np.zeros((3, 9), bool)
    mask[:, :2] = True
    assert alpha(mask, 4)[1].tolist() == [1, 1, 0.75, 0.5, 0.25, 0, 0, 0, 0]


def test_blend_by_hand() -> None:
    mask = np.array([[True, False, False, False]])
    raw, target = np.full((1, 4, 3), 100, np.uint8), np.full((1, 4, 3), 201, np.uint8)
    feather = Feather(1024)  # radius 2 on an image one pixel high: opacities 1, 1/2, 0, 0
    assert composite(raw, target, mask, feather)[0, :, 0].tolist() == [100, 150, 201, 201]


@given(images, images, masks, st.integers(0, 20))
def test_hole_is_the_fill_and_the_far_known_region_the_target(raw: np.ndarray, target: np.ndarray, mask: np.ndarray, pixels: int) -> None:
    feather = Feather(pixels * 512 / 9)
    result = composite(raw, target, mask, feather)
    assert (result[mask] == raw[mask]).all()
    opacity = alpha(mask, feather.radius(mask.shape))
    assert (result[opacity == 0] == target[opacity == 0]).all()
    low, high = np.minimum(raw, target), np.maximum(raw, target)
    assert ((result >= low) & (result <= high)).all()


@given(images, masks, st.integers(0, 255))
def test_the_blank_never_shows(truth: np.ndarray, mask: np.ndarray, blank: int) -> None:
    target = truth.copy()
    target[mask] = blank
    assert (composite(truth, target, mask, Feather(60)) == truth).all()
