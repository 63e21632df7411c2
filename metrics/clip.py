"""CLIP: cosine similarity of image embeddings, with the ground truth (the paper's) or with the references."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from realbench.method import Weights
from realbench.metric import MetricCard

from ._clip_models import FILE, LISTED, Clip, clip
from ._embedding import Embedding, WithReferences, WithTruth
from ._square import Crop, Square

if TYPE_CHECKING:
    import torch

MODEL = ("ViT-B-32", "openai")


@dataclass(frozen=True)
class Config:
    """The model and how the image is brought to its size; the paper says `CLIP` and no more."""

    model: str = MODEL[0]
    """A name in open_clip."""
    pretrained: str = MODEL[1]
    """A tag of its weights there."""
    crop: Crop = "official"
    """`centre` or `squash`; `official` becomes the one these weights have in open_clip."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "crop", self.square.crop)

    @property
    def clip(self) -> Clip:
        """Weights and preprocessing."""
        return clip(self.model, self.pretrained)

    @property
    def square(self) -> Square:
        """The preprocessing."""
        return self.clip.square.cropped(self.crop)


@dataclass(frozen=True)
class ReferenceConfig(Config):
    """The same, and how the references combine."""

    combine: Literal["mean", "best"] = "mean"


class _Clip(Embedding):
    @classmethod
    def weights(cls, config: Any) -> Sequence[Weights]:
        """Those of the model and tag that the configuration names."""
        return (config.clip.weights,)

    def _key(self) -> Hashable:
        return ("open_clip", self.config.model, self.config.pretrained)

    def _load(self, device: str) -> Callable[[torch.Tensor], torch.Tensor]:
        from realbench.weights import resolve

        from ._open_clip import load

        known: Clip = self.config.clip
        return load(self.config.model, resolve(known.weights).path / FILE, known.quick_gelu, device)


class CLIP(_Clip, WithTruth):
    """Cosine similarity of CLIP image embeddings of the full composite and the truth (RealFill, Table 1)."""

    card = MetricCard(
        id="clip",
        title="CLIP",
        summary="Cosine similarity of the CLIP ViT-B/32 image embeddings of fill and truth, full image.",
        direction="higher",
        region="full",
        image="composite",
        reads=("truth",),
        weights=tuple(model.weights for model in LISTED.values()),
        paper="CLIP, arXiv 2103.00020; RealFill, arXiv 2309.16668, Table 1",
        torch=True,
    )
    Config: ClassVar[type] = Config


class CLIPReferences(_Clip, WithReferences):
    """Cosine similarity of CLIP image embeddings of the full composite and the references; needs no truth."""

    card = MetricCard(
        id="clip-ref",
        title="CLIP, references",
        summary="Cosine similarity of the CLIP ViT-B/32 image embeddings of fill and references, full image; needs no truth.",
        direction="higher",
        region="full",
        image="composite",
        reads=("references",),
        weights=tuple(model.weights for model in LISTED.values()),
        paper="CLIP, arXiv 2103.00020",
        torch=True,
    )
    Config: ClassVar[type] = ReferenceConfig
