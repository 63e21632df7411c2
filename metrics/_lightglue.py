"""ALIKED + LightGlue backend of `matches`, both as kornia implements them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from kornia.feature import ALIKED, LightGlue

from realbench.image import UInt8Image
from realbench.portion import Portion

from . import _packaged, _torch
from ._matching import FloatArray, shrunk
from ._matching_torch import Features, PointBackend, loaded, pairs_of, portion


class Glue(LightGlue):
    """LightGlue for ALIKED-n16 (128 numbers a point) without weights: float32, and the same work, on every device."""

    # Above this many it drops points by the way; kornia's own numbers differ by device, and so would counts.
    pruning_keypoint_thresholds: ClassVar[dict[str, int]] = {"cpu": -1, "mps": -1, "cuda": -1, "flash": -1}

    def __init__(self) -> None:
        super().__init__(None, input_dim=128, flash=False)  # type: ignore[arg-type]  # kornia: None downloads nothing


class AlikedLightGlue(PointBackend):
    """Zhao et al. 2023 (arXiv 2304.03608); Lindenberger et al. 2023 (arXiv 2306.13643)."""

    def __init__(self, features: int, detection: float, confidence: float, size: int, device: str) -> None:
        self.shared = ("aliked", features, detection, size, device)
        self._confidence, self._size, self._device = confidence, size, device
        self._key = ("aliked-lightglue", features, detection, device)
        self._aliked, self._glue = _torch.borrow(self._key, lambda: _models(features, detection, device))

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """Scaled down to `size`; ALIKED pads by itself."""
        return shrunk(height, width, self._size)

    def portion(self, height: int, width: int) -> Portion:
        """As many as fit on a GPU."""
        return portion("matches (aliked-lightglue)", self._device, height * width, 4 * 1024**2)

    def describe(self, images: Sequence[UInt8Image]) -> list[Features]:
        """The key points above `detection`, at most `features`."""
        shape = images[0].shape[:2]
        with _torch.exact():
            found = self._aliked(_torch.upload(images, self._device).float() / 255)
        return [Features(one.keypoints, one.descriptors, shape) for one in found]

    def _pair(self, reference: Features, fill: Features) -> FloatArray:
        """Alone, since LightGlue stops early and drops points by a pair's own confidence."""
        self._glue.conf.filter_threshold = self._confidence
        found = self._glue({"image0": _asked(reference), "image1": _asked(fill)})
        first, second = found["matches"][0].unbind(1)
        return pairs_of(reference.points[first], fill.points[second], found["scores"][0])


def _models(features: int, detection: float, device: str) -> tuple[ALIKED, Glue]:
    aliked = ALIKED("aliked-n16", max_num_keypoints=features, detection_threshold=detection)
    return loaded(aliked, _packaged.ALIKED).to(device), loaded(Glue(), _packaged.ALIKED_LIGHTGLUE).to(device)


def _asked(features: Features) -> dict[str, torch.Tensor]:
    height, width = features.shape
    size = torch.tensor([[width, height]], device=features.points.device)
    return {"keypoints": features.points[None], "descriptors": features.descriptors[None], "image_size": size}
