"""LPIPS: a learned distance to the ground truth, over the hole's pixels, the hole's box, the hole on plain ground, or the whole image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from realbench.errors import Unsupported, UsageError
from realbench.method import Weights
from realbench.metric import BaseMetric, Batch, Context, MetricCard, Score

from ._loan import Loan
from ._packaged import LPIPS_ALEX, LPIPS_SQUEEZE, LPIPS_VGG
from ._parts import truth_of
from ._size import Sized

if TYPE_CHECKING:
    from torch import Tensor

    from realbench.portion import Portion
    from realbench.scene import Scene

    from ._lpips import Truth, View

PAPER = "Zhang et al. 2018, arXiv 1801.03924"
LICENCE = "BSD-2-Clause (lpips)"
LEAST = {"alex": 31, "vgg": 16, "squeeze": 17}
"""Shortest side, in pixels, that each trunk accepts."""
WEIGHTS: Mapping[str, Weights] = {"alex": LPIPS_ALEX, "vgg": LPIPS_VGG, "squeeze": LPIPS_SQUEEZE}


@dataclass(frozen=True)
class Config(Sized):
    """Which LPIPS; papers often leave it open."""

    net: Literal["alex", "vgg", "squeeze"] = "alex"
    """The trunk; the package's authors recommend AlexNet for evaluation."""
    version: Literal["0.1"] = "0.1"
    """Version of the learned heads."""
    normalise: Literal["-1..1"] = "-1..1"
    """What 0–255 becomes before the package's own scaling layer."""


@dataclass(frozen=True)
class CropConfig(Config):
    """LPIPS of a box."""

    least: int = 64
    """Shortest side of the box, in pixels: the patches that LPIPS was calibrated on have 64."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.least < 1:
            raise UsageError(f"least must be a positive number of pixels, found {self.least}")


@dataclass(frozen=True)
class MultiplyConfig(Config):
    """LPIPS of masked images."""

    outside: Literal["grey", "black"] = "grey"
    """What stands outside the hole: the image in −1…1 is multiplied by the mask (grey), or in 0…1 (black)."""


@dataclass(frozen=True)
class Prepared:
    """The truth as the network sees it, and the weights that turn layer-wise distances into the score."""

    truth: Truth
    weights: Tensor
    model: Any
    portion: Portion
    device: str


class _LPIPS(BaseMetric):
    """Sum over layers of the weighted squared difference of normalised activations, averaged over the card's region."""

    Config: ClassVar[type] = Config

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._loan = Loan()

    @classmethod
    def weights(cls, config: Any) -> Sequence[Weights]:
        """Those of the trunk that the configuration names."""
        return (WEIGHTS[config.net],)

    def prepare(self, scene: Scene, *, context: Context) -> Prepared:
        """Show the truth to the network. Raises Unsupported: no truth, an empty hole, a side too short; WeightsMissing."""
        from . import _lpips, _torch, _trunk

        image, device = truth_of(scene), context.device
        if self.card.region == "hole" and not scene.mask.any():
            raise Unsupported("the hole region has no pixels")
        with _torch.exact():
            share = _trunk.resized(_hole(scene, device), self.config.shape(*scene.mask.shape))[0, 0]
            view = self._view(share)
            self._check(view)
            model = self._model(device)
            shown = _torch.one(scene, "truth", image, device)
            truth = _torch.remembered(scene, (model, view.key), lambda: _lpips.truth(model, view, shown))
            return Prepared(truth, self._weights(truth, share), model, _trunk.portion(self.card.id, view.shape, device), device)

    def score(self, prepared: Prepared, batch: Batch) -> list[Score]:
        """LPIPS ≥ 0; exactly 0 for a fill that the network sees as it sees the truth."""
        from . import _lpips, _torch

        with _torch.exact():
            images = _torch.fills(batch, self.card.image, prepared.device)
            found = _lpips.distances(prepared.model, batch, images, prepared.truth, prepared.portion)
            return [Score(value) for value in _lpips.weighted(found, prepared.weights)]

    def close(self) -> None:
        """Give the network back."""
        self._loan.close()

    def _view(self, share: Tensor) -> View:
        """What of an image the network sees, given how much of each pixel is hole: the whole image."""
        from . import _lpips

        return _lpips.View(("full", self.config.size), (share.shape[0], share.shape[1]))

    def _weights(self, truth: Truth, share: Tensor) -> Tensor:
        """How distances are averaged: over the places of each layer, the package's own average."""
        from . import _lpips

        return _lpips.mean_of_layers(truth)

    def _check(self, view: View) -> None:
        least, (height, width) = LEAST[self.config.net], view.shape
        if min(height, width) < least:
            raise Unsupported(f"LPIPS with net {self.config.net} takes sides of at least {least} pixels, found {width} × {height}")

    def _model(self, device: str) -> Any:
        """The network, one for all metrics of this file."""
        return self._loan.take(("lpips", self.config.net, device), lambda: _load(self.config.net, device))


def _hole(scene: Scene, device: str) -> Tensor:
    """1×1×H×W, 1 on hole pixels, else 0."""
    import torch

    return torch.tensor(scene.mask, dtype=torch.float32, device=device)[None, None]


def _load(net: str, device: str) -> Any:
    from realbench.weights import load_state, resolve

    from . import _lpips

    return _lpips.build(net, load_state(resolve(WEIGHTS[net]).path / "model.safetensors"), device)


class LPIPS(_LPIPS):
    """LPIPS inside the hole: the per-pixel map of the package averaged over hole pixels."""

    card = MetricCard(
        id="lpips",
        title="LPIPS",
        summary="Learned perceptual distance of fill and truth: its per-pixel map averaged over the hole.",
        direction="lower",
        region="hole",
        image="composite",
        reads=("truth",),
        weights=tuple(WEIGHTS.values()),
        paper=f"{PAPER}; RealFill, arXiv 2309.16668, Table 1",
        licence=LICENCE,
        torch=True,
    )

    def _weights(self, truth: Truth, share: Tensor) -> Tensor:
        """Over hole pixels of the map."""
        from . import _lpips

        return _lpips.mean_over_hole(truth, share)


class LPIPSCrop(_LPIPS):
    """LPIPS of the hole's bounding box, cut out of both images."""

    Config: ClassVar[type] = CropConfig
    card = MetricCard(
        id="lpips-crop",
        title="LPIPS, hole's box",
        summary="Learned perceptual distance of fill and truth, both cut to the hole's bounding box.",
        direction="lower",
        region="hole",
        image="composite",
        reads=("truth",),
        weights=tuple(WEIGHTS.values()),
        paper=PAPER,
        licence=LICENCE,
        torch=True,
    )

    def _view(self, share: Tensor) -> View:
        """The box, grown to the shortest side that is accepted."""
        from . import _lpips

        least = max(self.config.least, LEAST[self.config.net])
        rows, columns = (_grown((share > 0).any(dim=axis).nonzero().flatten().tolist(), least, share.shape[1 - axis]) for axis in (1, 0))
        return _lpips.View(("crop", self.config.size, least), (share.shape[0], share.shape[1]), (rows, columns))


def _grown(occupied: list[int], least: int, length: int) -> slice:
    """From the first to the last, at least `least` long around its middle, moved and cut to lie within 0…length."""
    start, stop = occupied[0], occupied[-1] + 1
    wanted = min(max(least, stop - start), length)
    start = min(max(0, start - (wanted - (stop - start)) // 2), length - wanted)
    return slice(start, start + wanted)


class LPIPSMultiply(_LPIPS):
    """LPIPS of the two images multiplied by the mask, as public replications do it; the value is not divided by the hole's share."""

    Config: ClassVar[type] = MultiplyConfig
    card = MetricCard(
        id="lpips-multiply",
        title="LPIPS, masked images",
        summary="Learned perceptual distance of fill and truth, both multiplied by the mask; it grows with the hole.",
        direction="lower",
        region="hole",
        image="composite",
        reads=("truth",),
        weights=tuple(WEIGHTS.values()),
        paper=PAPER,
        licence=LICENCE,
        torch=True,
    )

    def _view(self, share: Tensor) -> View:
        """The whole image, plain outside the hole."""
        from . import _lpips

        ground = {"grey": 0.0, "black": -1.0}[self.config.outside]
        return _lpips.View(("multiply", self.config.size, ground), (share.shape[0], share.shape[1]), share=share, ground=ground)


class LPIPSFull(_LPIPS):
    """LPIPS of the whole image, the package's own value."""

    card = MetricCard(
        id="lpips-full",
        title="LPIPS, full image",
        summary="Learned perceptual distance of fill and truth over the whole image.",
        direction="lower",
        region="full",
        image="composite",
        reads=("truth",),
        weights=tuple(WEIGHTS.values()),
        paper=PAPER,
        licence=LICENCE,
        torch=True,
    )
