"""DINO: cosine similarity of class tokens, with the ground truth (the paper's) or with the references."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from realbench.errors import UsageError
from realbench.method import Weights
from realbench.metric import MetricCard

from ._dino_models import DINOS
from ._embedding import Embedding, WithReferences, WithTruth
from ._square import Crop, Square

if TYPE_CHECKING:
    import torch

MODEL = "vit_small_patch16_224.dino"


@dataclass(frozen=True)
class Config:
    """The model and how the image is brought to its size; the paper says `DINO` and no more."""

    model: str = MODEL
    """A name in timm."""
    crop: Crop = "official"
    """`centre` or `squash`; `official` becomes the model's own, centre."""

    def __post_init__(self) -> None:
        if self.model not in DINOS:
            raise UsageError(f"dino: no model {self.model!r}; the known ones are {', '.join(DINOS)}")
        object.__setattr__(self, "crop", self.square.crop)

    @property
    def square(self) -> Square:
        """The preprocessing."""
        return DINOS[self.model].square.cropped(self.crop)


@dataclass(frozen=True)
class ReferenceConfig(Config):
    """The same, and how the references combine."""

    combine: Literal["mean", "best"] = "mean"


class _Dino(Embedding):
    @classmethod
    def weights(cls, config: Any) -> Sequence[Weights]:
        """Those of the model that the configuration names."""
        return (DINOS[config.model].weights,)

    def _key(self) -> Hashable:
        return ("timm", self.config.model)

    def _load(self, device: str) -> Callable[[torch.Tensor], torch.Tensor]:
        from realbench.weights import resolve

        from ._timm import load

        folder = resolve(DINOS[self.config.model].weights).path
        return load(self.config.model, folder / "model.safetensors", device)


class DINO(_Dino, WithTruth):
    """Cosine similarity of DINO class tokens of the full composite and the truth (RealFill, Table 1)."""

    card = MetricCard(
        id="dino",
        title="DINO",
        summary="Cosine similarity of the DINO ViT-S/16 class tokens of fill and truth, full image.",
        direction="higher",
        region="full",
        image="composite",
        reads=("truth",),
        weights=tuple(model.weights for model in DINOS.values()),
        paper="DINO, arXiv 2104.14294; DINOv2, arXiv 2304.07193; RealFill, arXiv 2309.16668, Table 1",
        torch=True,
    )
    Config: ClassVar[type] = Config


class DINOReferences(_Dino, WithReferences):
    """Cosine similarity of DINO class tokens of the full composite and the references; needs no truth."""

    card = MetricCard(
        id="dino-ref",
        title="DINO, references",
        summary="Cosine similarity of the DINO ViT-S/16 class tokens of fill and references, full image; needs no truth.",
        direction="higher",
        region="full",
        image="composite",
        reads=("references",),
        weights=tuple(model.weights for model in DINOS.values()),
        paper="DINO, arXiv 2104.14294; DINOv2, arXiv 2304.07193",
        torch=True,
    )
    Config: ClassVar[type] = ReferenceConfig
