"""What the backends of `matches` on torch share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from realbench import packages, weights
from realbench.errors import RealbenchError
from realbench.method import Weights
from realbench.portion import Portion

from . import _torch
from ._matching import FloatArray

M = TypeVar("M", bound=torch.nn.Module)


@dataclass(frozen=True)
class Features:
    """Key points of one image: N×2 x, y in pixels, N×D descriptors of length 1, and the image's height and width."""

    points: torch.Tensor
    descriptors: torch.Tensor
    shape: tuple[int, ...]


class PointBackend(ABC):
    """A backend that describes each image by key points and pairs those of two; a child sets `_key`, `describe` and `_pair`."""

    _key: Hashable
    """Of its model, borrowed from `_torch`."""

    def pair(self, reference: Features, fills: Sequence[Features]) -> list[FloatArray]:
        """One pair at a time; none where an image has no key points."""
        with _torch.exact():
            empty = np.zeros((0, 5))
            return [self._pair(reference, fill) if len(reference.points) and len(fill.points) else empty for fill in fills]

    def close(self) -> None:
        """The last user frees the model."""
        _torch.give_back(self._key)

    @abstractmethod
    def _pair(self, reference: Features, fill: Features) -> FloatArray:
        """N×5 pairs of two images that have key points."""


def loaded(model: M, wanted: Weights) -> M:
    """The model with the resolved weights, ready to use. Raises WeightsMissing, RealbenchError where they are another model's."""
    return fill(model, weights.resolve(wanted).path / packages.FILE)


def fill(model: M, path: Path, sha256: str | None = None) -> M:
    """The model with the tensors of one file: all its parameters and no others; buffers that follow from its shape may lack."""
    state = weights.load_state(path, sha256)
    state = {name.removeprefix("matcher."): value for name, value in state.items()}
    try:
        lacking, surplus = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise RealbenchError(f"{path}: these weights are of another model ({str(error).splitlines()[-1].strip()})") from error
    lacking = [name for name in lacking if name not in DERIVED]
    if lacking or surplus:
        raise RealbenchError(f"{path}: these weights are of another model: {len(lacking)} tensors lack, {len(surplus)} are too many")
    return model.eval()


DERIVED = ("dkd.hw_grid", "confidence_thresholds")
"""Buffers that kornia computes and publishers leave out."""


def portion(what: str, device: str, pixels: int, at_a_time: int) -> Portion:
    """One image at a time on the CPU, where more is no faster and a count would depend on its neighbours; as many as fit on a GPU."""
    return Portion(1, what) if device == "cpu" else _torch.portion(what, pixels, at_a_time)


def pairs_of(starts: torch.Tensor, ends: torch.Tensor, confidence: torch.Tensor) -> FloatArray:
    """N×5 from N×2, N×2 and N."""
    joined = torch.cat([starts.double(), ends.double(), confidence.double()[:, None]], dim=1)
    return np.asarray(joined.cpu().numpy())
