"""DISTS: structure and texture of the whole image against the ground truth, in the channels of VGG16."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from realbench.metric import BaseMetric, Batch, Context, MetricCard, Score

from ._loan import Loan
from ._packaged import VGG16
from ._parts import truth_of
from ._size import Sized

if TYPE_CHECKING:
    from realbench.portion import Portion
    from realbench.scene import Scene

    from ._dists import Network, Truth


@dataclass(frozen=True)
class Config(Sized):
    """Which DISTS; its authors' script takes `size=256`, the packages take the images as they are."""

    net: Literal["vgg16"] = "vgg16"
    """The trunk, with L2 pooling."""
    normalise: Literal["imagenet"] = "imagenet"
    """Mean and deviation of ImageNet's colours, from 0…1."""


@dataclass(frozen=True)
class Prepared:
    """What the truth gives in each layer, and what it takes to compare fills with it."""

    truth: Truth
    network: Network
    portion: Portion
    device: str


class DISTS(BaseMetric):
    """Deep image structure and texture similarity of fill and truth (Ding et al. 2020), as torchmetrics computes it."""

    Config: ClassVar[type] = Config
    card = MetricCard(
        id="dists",
        title="DISTS",
        summary="Deep structure and texture distance of fill and truth over the whole image; it forgives a texture that is only shifted.",
        direction="lower",
        region="full",
        image="composite",
        reads=("truth",),
        weights=(VGG16,),
        paper="Ding et al. 2020, arXiv 2004.07728",
        licence="MIT (DISTS)",
        torch=True,
    )

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._loan = Loan()

    def prepare(self, scene: Scene, *, context: Context) -> Prepared:
        """Show the truth to the network. Raises Unsupported where there is none, WeightsMissing."""
        from . import _dists, _torch, _trunk

        image, device = truth_of(scene), context.device
        network = self._network(device)
        size = self.config.shape(*image.shape[:2])
        with _torch.exact():
            truth = _dists.truth(network, _dists.shown(_torch.one(scene, "truth", image, device), size))
        return Prepared(truth, network, _trunk.portion(self.card.id, size, device), device)

    def score(self, prepared: Prepared, batch: Batch) -> list[Score]:
        """DISTS in 0…1; exactly 0 for a fill that equals the truth."""
        from . import _dists, _torch

        with _torch.exact():
            images = _torch.fills(batch, self.card.image, prepared.device)
            found = _dists.terms(prepared.network, images, prepared.truth, prepared.portion).cpu()
            return [Score(float(row.double() @ prepared.network.weights)) for row in found]

    def close(self) -> None:
        """Give the network back."""
        self._loan.close()

    def _network(self, device: str) -> Network:
        found: Network = self._loan.take(("dists", device), lambda: _load(device))
        return found


def _load(device: str) -> Network:
    from realbench.weights import load_state, resolve

    from . import _dists

    return _dists.build(load_state(resolve(VGG16).path / "model.safetensors"), device)
