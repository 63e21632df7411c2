from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from realbench.method import Context
from realbench.methods.nearest_reference import NearestReference, distance, fit_size

PICTURE = cv2.resize(data.coffee(), (150, 100), interpolation=cv2.INTER_AREA)
OTHER = cv2.resize(data.astronaut(), (90, 90), interpolation=cv2.INTER_AREA)
MASK = np.zeros((100, 150), bool)
MASK[20:70, 100:] = True


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.6])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_most_similar_reference_is_pasted_and_named(scale, place, make_task) -> None:
    height, width = round(100 * scale), round(150 * scale)
    references = [OTHER, 255 - PICTURE]
    references.insert(place, cv2.resize(PICTURE, (width, height), interpolation=cv2.INTER_AREA))
    image, notes = NearestReference().complete(make_task(PICTURE, MASK, references), 0, Context())
    assert f"reference {place + 1} of 3" in notes[0]
    assert np.abs(image[MASK].astype(int) - PICTURE[MASK]).mean() < 12
    assert (image[~MASK] == PICTURE[~MASK]).all()


def test_what_references_show_in_the_hole_does_not_count(make_task) -> None:
    right, wrong = PICTURE.copy(), PICTURE.copy()
    right[MASK] = 255 - right[MASK]
    wrong[~MASK] = np.clip(wrong[~MASK].astype(int) + 9, 0, 255)
    image, notes = NearestReference().complete(make_task(PICTURE, MASK, [wrong, right]), 0, Context())
    assert "reference 2 of 2" in notes[0] and "0.0 levels" in notes[0]
    assert (image[MASK] == right[MASK]).all()


def test_the_first_of_equals_is_taken(make_task) -> None:
    assert "reference 1 of 2" in NearestReference().complete(make_task(PICTURE, MASK, [PICTURE, PICTURE]), 0, Context())[1][0]


def test_under_a_full_mask_the_first_is_taken_and_said(make_task) -> None:
    task = make_task(PICTURE, np.ones((100, 150), bool), [OTHER, PICTURE])
    image, notes = NearestReference().complete(task, 0, Context())
    assert "reference 1 of 2" in notes[0] and "nothing is known" in notes[0]
    assert (image == fit_size(OTHER, (150, 100))).all()


@pytest.mark.parametrize(
    ("shape", "size", "part"),
    [
        ((2, 4), (2, 2), np.s_[:, 1:3]),  # wide to square: the middle columns
        ((8, 2), (2, 4), np.s_[2:6, :]),  # tall to less tall: the middle rows
        ((4, 6), (3, 2), np.s_[:, :]),  # same aspect: all of it
    ],
)
def test_the_centred_part_with_the_targets_aspect_is_kept(shape, size, part) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    expected = cv2.resize(image[part], size, interpolation=cv2.INTER_AREA)
    assert fit_size(image, size).shape == (size[1], size[0], 3)
    assert (fit_size(image, size) == expected).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 2)])
@pytest.mark.parametrize("size", [(1, 1), (7, 300), (300, 7)])
def test_extreme_sizes_fit(shape, size) -> None:
    fitted = fit_size(np.full((*shape, 3), (1, 128, 254), np.uint8), size)
    assert fitted.shape == (size[1], size[0], 3) and (fitted == (1, 128, 254)).all()


def test_distance_is_the_mean_difference_over_the_known_region() -> None:
    image, target = np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)
    known = np.array([[True, True, False], [True, False, False]])
    image[~known] = 200
    image[0, 0], target[0, 1] = (9, 0, 0), (0, 18, 0)
    assert distance(image, target, known) == pytest.approx((9 + 18) / 9)


def test_distance_of_large_images_ignores_the_hole() -> None:
    image, target = np.zeros((200, 130, 3), np.uint8), np.full((200, 130, 3), 7, np.uint8)
    known = np.ones((200, 130), bool)
    known[30:121, 17:] = False
    image[~known] = 255
    assert distance(image, target, known) == pytest.approx(7, abs=1e-3)
