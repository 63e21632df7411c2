"""The weight-free backend of `matches`: SIFT key points, mutual nearest neighbours, Lowe's ratio test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from realbench.image import UInt8Image
from realbench.portion import Portion

from ._matching import FloatArray, shrunk


@dataclass(frozen=True)
class Features:
    """Key points of one image: N×2 x, y in pixels, and N×128 descriptors."""

    points: FloatArray
    descriptors: npt.NDArray[np.float32]


class Sift:
    """Lowe 2004 as OpenCV implements it."""

    shared = None

    def __init__(self, features: int, ratio: float, size: int) -> None:
        self.features = features
        self.ratio = ratio
        self.size = size

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """Scaled down to `size`."""
        return shrunk(height, width, self.size)

    def portion(self, height: int, width: int) -> Portion:
        """One at a time: nothing is gained by more."""
        return Portion(1, "matches")

    def describe(self, images: Sequence[UInt8Image]) -> list[Features]:
        """The `features` key points of highest contrast."""
        return [self._describe(image) for image in images]

    def pair(self, reference: Features, fills: Sequence[Features]) -> list[FloatArray]:
        """N×5: each other's nearest, and the fill's nearest by a clear margin; the confidence is 1."""
        return [self._pair(reference, fill) for fill in fills]

    def close(self) -> None:
        """Nothing is held."""

    def _describe(self, image: UInt8Image) -> Features:
        import cv2

        sift = cv2.SIFT.create(nfeatures=self.features, enable_precise_upscale=True)
        points, descriptors = sift.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
        if not points:
            return Features(np.zeros((0, 2)), np.zeros((0, 128), np.float32))
        return Features(np.array([point.pt for point in points], np.float64), np.asarray(descriptors, np.float32))

    def _pair(self, reference: Features, fill: Features) -> FloatArray:
        import cv2

        # The ratio test needs a second-nearest descriptor in the reference.
        if len(reference.points) < 2 or not len(fill.points):
            return np.zeros((0, 5))
        matcher = cv2.BFMatcher(cv2.NORM_L2)
        back = np.array([match.trainIdx for match in matcher.match(reference.descriptors, fill.descriptors)])
        nearest = matcher.knnMatch(fill.descriptors, reference.descriptors, k=2)
        kept = [(a.trainIdx, a.queryIdx) for a, b in nearest if a.distance < self.ratio * b.distance and back[a.trainIdx] == a.queryIdx]
        ends = np.array(kept, np.intp).reshape(-1, 2)
        # A point with two orientations has two descriptors; it counts once.
        pairs = np.unique(np.hstack([reference.points[ends[:, 0]], fill.points[ends[:, 1]]]), axis=0)
        return np.insert(pairs, 4, 1.0, axis=1)
