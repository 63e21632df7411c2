"""What the backends of `matches` share: their interface, how images are brought to size, and which pairs agree on one geometry."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from realbench.portion import Portion

if TYPE_CHECKING:
    from realbench.image import BoolImage, UInt8Image

FloatArray = npt.NDArray[np.float64]

MIN_PAIRS = 8
"""Pairs that a fundamental matrix takes (eight-point algorithm)."""
CONFIDENCE = 0.999
ITERATIONS = 10_000


class Backend(Protocol):
    """Finds corresponding points of two images: what one image alone allows in `describe`, the rest in `pair`."""

    @property
    def shared(self) -> Hashable | None:
        """What a description depends on beside the image, where it is small enough to be kept for other columns (needs torch)."""

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """Height and width to which an image of this size is resized before `describe`."""

    def portion(self, height: int, width: int) -> Portion:
        """How many fills of this size are described and paired at a time."""

    def describe(self, images: Sequence[UInt8Image]) -> list[Any]:
        """One description an image; images of one size, H×W×3 RGB, 0–255."""

    def pair(self, reference: Any, fills: Sequence[Any]) -> list[FloatArray]:
        """For each fill N×5: x, y in the reference, x, y in the fill, confidence; pixels of resized images, centres at whole numbers."""

    def close(self) -> None:
        """Give the memory back."""


@dataclass(frozen=True)
class View:
    """One described image, and how many of its original pixels one of its resized pixels spans, in x and y."""

    described: Any
    scale: FloatArray

    def original(self, points: FloatArray) -> FloatArray:
        """N×2 points in pixels of the original image; pixel centres are whole numbers in both."""
        return (points + 0.5) * self.scale - 0.5


def shrunk(height: int, width: int, longest: int, step: int = 1) -> tuple[int, int]:
    """Both sides scaled down, never up, so that the longer is at most `longest`; then cut to multiples of `step`, at least one."""
    scale = min(1.0, longest / max(height, width))
    tall, wide = (max(1, round(side * scale)) for side in (height, width))
    return max(1, tall // step) * step, max(1, wide // step) * step


def resized(image: UInt8Image, shape: tuple[int, int]) -> UInt8Image:
    """An H×W×3 image at another height and width: averaged over areas where a side shrinks, linear where it grows."""
    import cv2

    height, width = shape
    smaller = min(height, image.shape[0]), min(width, image.shape[1])
    if smaller != image.shape[:2]:
        image = cv2.resize(image, smaller[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8)
    if smaller != shape:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    return image


def fundamental_magsac(pairs: FloatArray, voters: npt.NDArray[np.bool_], epipolar: float) -> npt.NDArray[np.bool_]:
    """Which of the voters among the pairs (N×4 or wider) agree on one fundamental matrix; no other pair passes."""
    import cv2

    agreed = np.zeros(len(pairs), np.bool_)
    chosen = pairs[voters]
    if len(chosen) < MIN_PAIRS:
        return agreed
    # USAC draws from a generator of its own with a fixed seed, so the same pairs give the same answer.
    try:
        starts, ends = np.ascontiguousarray(chosen[:, :2]), np.ascontiguousarray(chosen[:, 2:4])
        _, inliers = cv2.findFundamentalMat(starts, ends, cv2.USAC_MAGSAC, epipolar, CONFIDENCE, ITERATIONS)
    except cv2.error:  # pairs that fit no model at all can trip an assertion of OpenCV's
        inliers = None
    if inliers is not None:
        agreed[np.flatnonzero(voters)] = inliers.ravel().astype(np.bool_)
    return agreed


def core(mask: BoolImage, inset: float) -> BoolImage:
    """The hole's pixels whose distance from the known region is above `inset` pixels."""
    import cv2

    if inset == 0 or mask.all():
        return mask
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance > inset)
