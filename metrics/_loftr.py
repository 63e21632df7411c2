"""LoFTR backend of `matches`, the matcher that RealFill names: kornia's, with the features of each image computed once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from kornia.feature import LoFTR

from realbench import weights
from realbench.errors import UsageError
from realbench.image import UInt8Image
from realbench.portion import Portion
from realbench.weightfiles import PICKLES

from . import _torch
from ._matching import FloatArray, shrunk
from ._matching_torch import fill, pairs_of, portion
from ._matching_weights import LOFTR

Maps = dict[str, torch.Tensor]
"""The backbone's coarse and fine maps of one image, 1×C×h×w."""

STEP = 8
"""Pixels of a coarse cell."""
CENTRE = 0.5
"""LoFTR counts pixels from their corners: its (0.5, 0.5) is the centre of the first."""


class LoFTRBackend:
    """Sun et al., CVPR 2021 (arXiv 2104.00680), dual softmax, trained outdoors."""

    shared = None  # a fill's maps take up to 100 MB: they live for as long as they are paired

    def __init__(self, confidence: float, size: int, device: str, own: str = "", sha256: str = "") -> None:
        self._confidence, self._size, self._device = confidence, size, device
        self._key = ("loftr", own, sha256, device)
        self._model = _torch.borrow(self._key, lambda: fill(LoFTR(None), *_file(own, sha256)).to(device))

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """Scaled down to `size`, sides cut to multiples of 8."""
        return shrunk(height, width, self._size, STEP)

    def portion(self, height: int, width: int) -> Portion:
        """As many as fit on a GPU; the confidences of a pair alone are (pixels / 64)² numbers."""
        tall, wide = self.shape(height, width)
        return portion("matches (loftr)", self._device, (tall * wide) ** 2, 4 * 640**4)

    def describe(self, images: Sequence[UInt8Image]) -> list[Maps]:
        """The maps of the backbone, the costly part; it does not see the other image."""
        grey = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images])
        with _torch.exact():
            batch = torch.from_numpy(grey)[:, None].to(self._device).float() / 255
            found = self._model.extract_features(batch)
        return [{name: maps[number : number + 1] for name, maps in found.items()} for number in range(len(images))]

    def pair(self, reference: Maps, fills: Sequence[Maps]) -> list[FloatArray]:
        """Transformer, coarse and fine matching; the reference's maps serve all fills."""
        self._model.coarse_matching.thr = self._confidence
        count = len(fills)
        there = {name: maps.expand(count, -1, -1, -1) for name, maps in reference.items()}
        here = fills[0] if count == 1 else {name: torch.cat([one[name] for one in fills]) for name in reference}
        with _torch.exact():
            found = self._model({"features0": there, "features1": here})
            pairs = pairs_of(found["keypoints0"] - CENTRE, found["keypoints1"] - CENTRE, found["confidence"])
        owner = found["batch_indexes"].cpu().numpy()
        return [pairs[owner == number] for number in range(count)]

    def close(self) -> None:
        """The last user frees the model."""
        _torch.give_back(self._key)


def _file(own: str, sha256: str) -> tuple[Path, str | None]:
    """The file to load and, for a pickle, the SHA-256 that the user vouches for. Raises WeightsMissing, UsageError."""
    if not own:
        return _only(weights.resolve(LOFTR).path, (".safetensors",)), None
    path = Path(own).expanduser()
    if path.is_dir():
        path = _only(path, (".safetensors",), PICKLES)
    if not path.is_file():
        raise UsageError(f"matches: weights {own!r}: expected LoFTR's weights as .safetensors there, found none")
    return path, sha256 or None


def _only(folder: Path, *kinds: Sequence[str]) -> Path:
    """The one file of the first of these kinds (endings) that a folder has; which of several is meant is not for a guess."""
    names = sorted(item.name for item in folder.iterdir() if item.is_file() and not item.name.startswith("."))
    found = next(filter(None, ([name for name in names if Path(name).suffix in kind] for kind in kinds)), [])
    if len(found) != 1:
        raise UsageError(
            f"matches: weights in {folder}: expected one file of LoFTR's weights as {kinds[0][0]}, found {', '.join(found) or 'none'}"
            + ("; name the file (weights=FILE) or leave one there" if found else "")
        )
    return folder / found[0]
