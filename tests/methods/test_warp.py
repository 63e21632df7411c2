"""The geometric completion on synthetic scenes whose true content behind the hole is known."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from skimage import data

from realbench.methods._opencv import inpaint
from realbench.methods._warp import Completion, complete

ByteImage = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]


def telea(image: ByteImage, hole: BoolArray) -> ByteImage:
    """What the method `telea` makes of it."""
    return inpaint(image, hole, "telea")


FAST: dict[str, int] = {"max_side": 320, "sweep_side": 160}


def psnr(image: ByteImage, truth: ByteImage, hole: BoolArray) -> float:
    """Hole PSNR in dB of two uint8 images."""
    apart = image[hole].astype(np.float64) - truth[hole]
    return float(10 * np.log10(255**2 / max(float(np.mean(apart**2)), 1e-9)))


def hole_in(shape: tuple[int, ...], rows: slice, columns: slice) -> BoolArray:
    """A rectangular hole."""
    mask = np.zeros(shape[:2], bool)
    mask[rows, columns] = True
    return mask


def blank(image: ByteImage, mask: BoolArray) -> ByteImage:
    """The target as the method gets it."""
    result = image.copy()
    result[mask] = 127
    return result


@pytest.fixture(scope="module")
def photo() -> ByteImage:
    """A textured photograph, 240 x 320."""
    return np.asarray(cv2.resize(data.coffee(), (320, 240), interpolation=cv2.INTER_AREA), np.uint8)


@pytest.fixture(scope="module")
def hole() -> BoolArray:
    """A hole inside the photograph."""
    return hole_in((240, 320), slice(80, 170), slice(110, 210))


def tilted(image: ByteImage, amount: float = 0.06) -> ByteImage:
    """The image seen askew: a homography with a perspective part."""
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + np.array([[0, 0], [-width, height], [-width, -height], [width, 0]], np.float32) * amount
    plane = cv2.getPerspectiveTransform(corners, moved)
    return np.asarray(cv2.warpPerspective(image, plane, (width, height)), np.uint8)


def two_planes(shift: int) -> tuple[ByteImage, ByteImage]:
    """A far and a near plane, seen from two places: the near one moves by `shift` pixels, the far one by a quarter.

    The scene is stacked in depth (background left and right, foreground in a middle band), 240 x 320.
    """
    far = cv2.resize(data.coffee(), (420, 320), interpolation=cv2.INTER_AREA)
    near = cv2.resize(data.rocket(), (420, 320), interpolation=cv2.INTER_AREA)
    views = []
    for near_move, far_move in ((0, 0), (shift, shift // 4)):
        view = far[40:280, 40 + far_move : 360 + far_move].copy()
        band = slice(100 - near_move, 220 - near_move)
        view[60:240, band] = near[100:280, 140:260]
        views.append(np.asarray(view, np.uint8))
    return views[0], views[1]


def single_homography(reference: ByteImage, target: ByteImage, mask: BoolArray) -> ByteImage:
    """The baseline: one robust plane, no photometric fit."""
    sift = cv2.SIFT.create()
    there, a = sift.detectAndCompute(cv2.cvtColor(reference, cv2.COLOR_RGB2GRAY), None)
    here, b = sift.detectAndCompute(cv2.cvtColor(target, cv2.COLOR_RGB2GRAY), (~mask).astype(np.uint8))
    matches = cv2.BFMatcher(crossCheck=True).match(a, b)
    source = np.array([there[m.queryIdx].pt for m in matches])
    sink = np.array([here[m.trainIdx].pt for m in matches])
    plane, _ = cv2.findHomography(source, sink, cv2.USAC_MAGSAC, 3.0)
    warped = cv2.warpPerspective(reference, plane, target.shape[1::-1])
    result = target.copy()
    result[mask] = warped[mask]
    return result


def test_plane_is_recovered(photo: ByteImage, hole: BoolArray) -> None:
    result = complete([tilted(photo)], blank(photo, hole), hole, **FAST)
    assert psnr(result.image, photo, hole) > 26
    assert psnr(result.image, photo, hole) > psnr(telea(blank(photo, hole), hole), photo, hole) + 8
    assert result.notes[0] == "1 of 1 references matched"


def test_pure_zoom_falls_back_to_a_plane(photo: ByteImage, hole: BoolArray) -> None:
    """No camera motion gives no depth; the plane still does."""
    zoomed = cv2.resize(photo, (480, 360), interpolation=cv2.INTER_CUBIC)
    result = complete([np.asarray(zoomed, np.uint8)], blank(photo, hole), hole, **FAST)
    assert psnr(result.image, photo, hole) > 26


def test_parallax_beats_one_plane() -> None:
    target, reference = two_planes(32)
    other = two_planes(-24)[1]
    mask = hole_in(target.shape, slice(90, 190), slice(60, 160))
    result = complete([reference, other], blank(target, mask), mask, **FAST)
    one = single_homography(reference, blank(target, mask), mask)
    assert psnr(result.image, target, mask) > psnr(one, target, mask) + 2
    assert psnr(result.image, target, mask) > psnr(telea(blank(target, mask), mask), target, mask) + 2


def test_exposure_is_compensated(photo: ByteImage, hole: BoolArray) -> None:
    dark = np.clip(tilted(photo) * np.array([0.6, 0.7, 0.65]) + 12, 0, 255).astype(np.uint8)
    result = complete([dark], blank(photo, hole), hole, **FAST)
    assert psnr(result.image, photo, hole) > 25
    assert abs(float(result.image[hole].mean()) - float(photo[hole].mean())) < 3


def test_unmatched_references_give_telea(photo: ByteImage, hole: BoolArray) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 260, 3)).astype(np.uint8)
    target = blank(photo, hole)
    result = complete([noise, noise[:100]], target, hole, **FAST)
    assert np.array_equal(result.image, telea(target, hole))
    assert any("reference 0" in note for note in result.notes)
    assert any("telea" in note for note in result.notes)


def test_contradicting_reference_gives_telea(photo: ByteImage, hole: BoolArray) -> None:
    """A reference that matches in a corner and shows something else around the hole is not believed."""
    lie = np.random.default_rng(0).integers(0, 255, photo.shape).astype(np.uint8)
    lie[:70] = photo[:70]
    lie[70:] = cv2.blur(lie[70:], (3, 3))
    result = complete([lie], blank(photo, hole), hole, **FAST)
    assert np.array_equal(result.image, telea(blank(photo, hole), hole))
    assert any("agree too little" in note for note in result.notes)


def test_more_references_than_wanted(photo: ByteImage, hole: BoolArray) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (100, 100, 3)).astype(np.uint8)
    result = complete([noise, tilted(photo), noise], blank(photo, hole), hole, max_references=1, **FAST)
    assert result.notes == ("1 of 3 references matched", "2 references with fewer matches left out")
    assert psnr(result.image, photo, hole) > 26


def test_flat_images_give_telea() -> None:
    flat = np.full((90, 120, 3), 80, np.uint8)
    mask = hole_in(flat.shape, slice(30, 60), slice(30, 60))
    result = complete([flat], flat, mask, **FAST)
    assert np.array_equal(result.image, telea(flat, mask))


def test_hole_at_the_border(photo: ByteImage) -> None:
    mask = hole_in(photo.shape, slice(0, 240), slice(220, 320))
    wide = cv2.copyMakeBorder(photo, 20, 20, 20, 20, cv2.BORDER_REFLECT_101)
    result = complete([np.asarray(wide, np.uint8)], blank(photo, mask), mask, **FAST)
    assert psnr(result.image, photo, mask) > 24


def test_uncovered_part_is_told(photo: ByteImage) -> None:
    mask = hole_in(photo.shape, slice(60, 200), slice(180, 320))
    result = complete([photo[:, :250].copy()], blank(photo, mask), mask, **FAST)
    assert any("covered by no reference" in note for note in result.notes)
    seen = mask.copy()
    seen[:, 240:] = False
    assert psnr(result.image, photo, seen) > 24


def test_known_pixels_stay(photo: ByteImage, hole: BoolArray) -> None:
    result = complete([tilted(photo)], blank(photo, hole), hole, **FAST)
    assert np.array_equal(result.image[~hole], photo[~hole])


def test_hole_content_is_never_read(photo: ByteImage, hole: BoolArray) -> None:
    painted = photo.copy()
    painted[hole] = [255, 0, 255]
    assert np.array_equal(complete([tilted(photo)], painted, hole, **FAST).image, complete([tilted(photo)], photo, hole, **FAST).image)


@pytest.mark.parametrize(
    "make",
    [
        lambda m: m.fill(False),
        lambda m: m.__setitem__((20, 30), True),
        lambda m: m.__setitem__(np.s_[1:-1, 1:-1], True),
    ],
    ids=["nothing", "one pixel", "all but a frame"],
)
@pytest.mark.parametrize("size", [(64, 64), (48, 70)])
def test_extreme_masks(photo: ByteImage, make: Callable[[BoolArray], None], size: tuple[int, int]) -> None:
    target = np.asarray(cv2.resize(photo, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    mask = np.zeros(size, bool)
    make(mask)
    result = complete([photo, target[:40, :40].copy()], blank(target, mask), mask, **FAST)
    assert isinstance(result, Completion)
    assert result.image.shape == target.shape and result.image.dtype == np.uint8
    assert np.array_equal(result.image[~mask], target[~mask])
    assert mask.any() or result.notes == ()


def test_no_reference(photo: ByteImage, hole: BoolArray) -> None:
    result = complete([], blank(photo, hole), hole)
    assert np.array_equal(result.image, telea(blank(photo, hole), hole))
