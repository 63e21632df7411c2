"""EfficientNet: cosine similarity of a classifier's features, for machines where DINO and CLIP can't be had. It is neither of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from realbench.metric import MetricCard

from ._embedding import WithTruth
from ._packaged import EFFICIENTNET_LITE0
from ._square import HALF, Crop, Square

if TYPE_CHECKING:
    import torch

ARCHITECTURE = "tf_efficientnet_lite0"
"""In timm; padding and epsilon are TensorFlow's, as in the network these weights were ported from."""


@dataclass(frozen=True)
class Config:
    """How the image is brought to the model's size."""

    crop: Crop = "official"
    """`centre` or `squash`; `official` becomes the model's own, centre."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "crop", self.square.crop)

    @property
    def square(self) -> Square:
        """The preprocessing."""
        return Square(224, 256, HALF).cropped(self.crop)


class EfficientNet(WithTruth):
    """Cosine similarity of EfficientNet-Lite0's pooled features of the full composite and the truth."""

    card = MetricCard(
        id="efficientnet",
        title="EfficientNet",
        summary="Cosine similarity of EfficientNet-Lite0's pooled features of fill and truth, full image: "
        "an ImageNet classifier's, not DINO's, CLIP's or DreamSim's, and not comparable with them.",
        direction="higher",
        region="full",
        image="composite",
        reads=("truth",),
        weights=(EFFICIENTNET_LITE0,),
        paper="EfficientNet, arXiv 1905.11946; no paper on image completion reports it",
        torch=True,
    )
    Config: ClassVar[type] = Config

    def _key(self) -> Hashable:
        return ("timm", ARCHITECTURE)

    def _load(self, device: str) -> Callable[[torch.Tensor], torch.Tensor]:
        from realbench.weights import resolve

        from ._timm import load

        return load(ARCHITECTURE, resolve(EFFICIENTNET_LITE0).path / "model.safetensors", device)
