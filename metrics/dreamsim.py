"""DreamSim: a perceptual distance to the ground truth, trained on people's judgements of similarity."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from realbench.errors import UsageError
from realbench.method import Weights
from realbench.metric import Batch, MetricCard, Score
from realbench.packages import Handmade

from ._embedding import Prepared, WithTruth
from ._square import UNIT, Crop, Square

if TYPE_CHECKING:
    import torch

MODELS = ("ensemble", "dino_vitb16", "clip_vitb32", "open_clip_vitb32", "synclr_vitb16")
"""Those of dreamsim's models whose architecture is in the package; the others' is code that it downloads and runs."""
FILE = "model.safetensors"


def _weights(model: str) -> Handmade:
    name = f"dreamsim-{model}".replace("_", "-")
    recipe = (
        f'on a machine with network `pip install "realbench[dreamsim]" && python -m realbench.metrics._dreamsim_convert {model} {name}` '
        f"(dreamsim gets its release and code of torch.hub and runs them; the result is plain tensors), then put the folder {name} into "
        "$REALBENCH_WEIGHTS"
    )
    return Handmade(name, size="1 GB" if model == "ensemble" else "0.35 GB", licence="MIT", files=(FILE,), recipe=recipe)


WEIGHTS: Mapping[str, Handmade] = {model: _weights(model) for model in MODELS}


@dataclass(frozen=True)
class Config:
    """The model and how the image is brought to its size; the paper says `DreamSim` and no more."""

    model: str = "ensemble"
    """`dreamsim_type` in the package: three ViT-B/16, or one of its single models."""
    crop: Crop = "official"
    """`centre` or `squash`; `official` becomes the package's own, squash."""

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise UsageError(f"dreamsim: no model {self.model!r}; the known ones are {', '.join(MODELS)}")
        object.__setattr__(self, "crop", self.square.crop)

    @property
    def square(self) -> Square:
        """The preprocessing."""
        return Square(224, 224, UNIT, "squash").cropped(self.crop)


class DreamSim(WithTruth):
    """DreamSim distance of the full composite and the truth (RealFill, Table 1)."""

    card = MetricCard(
        id="dreamsim",
        title="DreamSim",
        summary="DreamSim distance of fill and truth, full image: 1 − cosine similarity of embeddings tuned to human judgements.",
        direction="lower",
        region="full",
        image="composite",
        reads=("truth",),
        weights=tuple(WEIGHTS.values()),
        paper="DreamSim, arXiv 2306.09344; RealFill, arXiv 2309.16668, Table 1",
        torch=True,
    )
    Config: ClassVar[type] = Config

    @classmethod
    def weights(cls, config: Any) -> Sequence[Weights]:
        """Those of the model that the configuration names."""
        return (WEIGHTS[config.model],)

    def score(self, prepared: Prepared, batch: Batch) -> list[Score]:
        """0…2; exactly 0 where the model sees fill and truth alike."""
        return [Score(1 - value) for value in self._similarities(prepared, batch)[:, 0].tolist()]

    def _key(self) -> Hashable:
        return ("dreamsim", self.config.model)

    def _load(self, device: str) -> Callable[[torch.Tensor], torch.Tensor]:
        from realbench.weights import resolve

        from ._dreamsim import load

        return load(self.config.model, resolve(WEIGHTS[self.config.model]).path / FILE, device)
