"""XFeat backend of `matches`: kornia's XFeat, mutual nearest neighbours by cosine similarity."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from kornia.feature import XFeat

from realbench.image import UInt8Image
from realbench.portion import Portion

from . import _torch
from ._matching import FloatArray, shrunk
from ._matching_torch import Features, PointBackend, loaded, pairs_of, portion
from ._packaged import XFEAT

STEP = 32
"""XFeat resizes to multiples of this by itself; images that are such multiples already pass unchanged."""


class XFeatBackend(PointBackend):
    """Potje et al., CVPR 2024 (arXiv 2404.19174), sparse, at one scale."""

    def __init__(self, features: int, detection: float, confidence: float, size: int, device: str) -> None:
        self.shared = ("xfeat", features, detection, size, device)
        self._features, self._detection, self._confidence = features, detection, confidence
        self._size, self._device = size, device
        self._key = ("xfeat", device)
        self._model = _torch.borrow(self._key, lambda: loaded(XFeat(), XFEAT).to(device))

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """Scaled down to `size`, sides cut to multiples of 32."""
        return shrunk(height, width, self._size, STEP)

    def portion(self, height: int, width: int) -> Portion:
        """As many as fit on a GPU."""
        return portion("matches (xfeat)", self._device, height * width, 8 * 1024**2)

    def describe(self, images: Sequence[UInt8Image]) -> list[Features]:
        """The key points of highest score."""
        shape = images[0].shape[:2]
        with _torch.exact():
            batch = _torch.upload(images, self._device).float() / 255
            found = self._model.detectAndCompute(batch, top_k=self._features, detection_threshold=self._detection)
        return [Features(one["keypoints"], one["descriptors"], shape) for one in found]

    def _pair(self, reference: Features, fill: Features) -> FloatArray:
        """Each other's most similar, above `confidence`."""
        similarity = reference.descriptors @ fill.descriptors.t()
        value, there = similarity.max(dim=1)
        first = torch.nonzero((value == similarity.amax(dim=0)[there]) & (value > (self._confidence or -torch.inf)))[:, 0]
        # Equal descriptors are equally near: the first of them has the pair.
        owner = torch.full((len(fill.points),), len(there), device=there.device).scatter_reduce(0, there[first], first, "amin")
        first = first[owner[there[first]] == first]
        return pairs_of(reference.points[first], fill.points[there[first]], value[first])
