"""LPIPS on the lpips package's own modules: how a view of many images differs from the same view of the truth, layer by layer."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import interpolate

from realbench.metric import Batch
from realbench.portion import Portion
from realbench.weights import load_state

from . import _torch, _trunk

HEADS_SHA256 = {"squeeze": "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76"}
"""Of the lpips package's own v0.1 files, which are pickles."""


@dataclass(frozen=True, eq=False)
class View:
    """What the network sees of an image: all of it, a box of it, or what the hole shows on plain ground."""

    key: Hashable
    """Equal for equal views of one scene."""
    size: tuple[int, int]
    """Height and width the image is brought to before all else."""
    box: tuple[slice, slice] = (slice(None), slice(None))
    share: torch.Tensor | None = None
    """h×w, how much of each pixel is hole, 0–1: the image is multiplied by it."""
    ground: float = 0.0
    """What stands where the share is 0, in −1…1."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """N×3×H×W of uint8 to N×3×h×w in −1…1."""
        seen = _trunk.resized(images.float() / 127.5 - 1, self.size)
        if self.share is not None:
            seen = seen * self.share + self.ground * (1 - self.share)
        return seen[..., self.box[0], self.box[1]]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of what is seen."""
        rows, columns = (range(length)[part] for length, part in zip(self.size, self.box, strict=True))
        return len(rows), len(columns)


@dataclass(frozen=True, eq=False)
class Truth:
    """A view of the truth: what the network was shown, and its normalised activations, one 1×C×h×w a layer."""

    view: View
    image: torch.Tensor
    layers: tuple[torch.Tensor, ...]

    @property
    def grids(self) -> list[tuple[int, int]]:
        """Height and width of each layer."""
        return [(layer.shape[2], layer.shape[3]) for layer in self.layers]


def build(net: str, state: Mapping[str, torch.Tensor], device: str) -> Any:
    """`lpips.LPIPS` v0.1 with these tensors, named as in its state_dict (the heads once, as lin0.model.1.weight and so on)."""
    import lpips

    with _trunk.unfilled(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks torchvision for an untrained trunk in a deprecated way
        model = lpips.LPIPS(pretrained=False, net=net, pnet_rand=True, version="0.1", verbose=False)
    model.scaling_layer = lpips.ScalingLayer()
    whole = state if any(name.startswith("lin") for name in state) else {**state, **_heads(net)}
    _trunk.assign(model, whole, f"lpips-{net}")
    return _trunk.placed(model, device)


def _heads(net: str) -> dict[str, torch.Tensor]:
    """The learned heads that the lpips package carries, for trunks that come without."""
    import lpips

    return load_state(Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth", HEADS_SHA256[net])


def truth(model: Any, view: View, image: torch.Tensor) -> Truth:
    """A view of the truth, 1×3×H×W of uint8, as the network sees it."""
    import lpips

    seen = view(image)
    return Truth(view, seen, tuple(lpips.normalize_tensor(layer) for layer in _layers(model, seen)))


def distances(model: Any, batch: Batch, images: torch.Tensor, against: Truth, size: Portion) -> torch.Tensor:
    """N×P: each layer's weighted squared difference at each of its places, all layers in a row; computed once for a batch."""

    def work(part: torch.Tensor) -> torch.Tensor:
        return _distances(model, against.view(part), against)

    return _torch.remembered(batch, (model, against), lambda: _torch.in_portions(work, images, size))


def _layers(model: Any, seen: torch.Tensor) -> Any:
    """The activations after each slice of the trunk, one at a time so that only one is held."""
    hidden = model.scaling_layer(seen)
    for number in range(1, model.net.N_slices + 1):
        hidden = getattr(model.net, f"slice{number}")(hidden)
        yield hidden


def _distances(model: Any, seen: torch.Tensor, against: Truth) -> torch.Tensor:
    import lpips

    rows = []
    for layer, other, head in zip(_layers(model, seen), against.layers, model.lins, strict=True):
        difference = lpips.normalize_tensor(layer).sub_(other).square_()
        rows.append(head(difference).flatten(1))
    found = torch.cat(rows, dim=1)
    # The same image in another batch may be off by a rounding error; identical images are at distance 0 exactly.
    found[(seen == against.image).flatten(1).all(dim=1)] = 0
    return found


def mean_of_layers(against: Truth) -> torch.Tensor:
    """P weights that turn distances into LPIPS: the sum over layers of each layer's mean (`spatial=False`)."""
    return torch.cat([torch.full((height * width,), 1 / (height * width), dtype=torch.float64) for height, width in against.grids])


def mean_over_hole(against: Truth, share: torch.Tensor) -> torch.Tensor:
    """P weights that turn distances into the mean over the hole of LPIPS' map (`spatial=True`), without making the map.

    `share` is h×w, how much of each pixel is hole. A map is linear in its layers: the transposed upsampling of the hole is the weight.
    """
    share = share.cpu().double()
    return torch.cat([_transposed(share, grid).flatten() for grid in against.grids]) / share.sum()


def _transposed(share: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """What each place of a layer adds to the sum over the hole: bilinear upsampling is separable, so two small matrices do."""
    rows, columns = (
        interpolate(torch.eye(small, dtype=torch.float64)[None], size=large, mode="linear", align_corners=False)[0]
        for small, large in zip(grid, share.shape, strict=True)
    )
    return rows @ share @ columns.T


def weighted(found: torch.Tensor, weights: torch.Tensor) -> list[float]:
    """One value an image, each summed by itself in double precision."""
    return [float(row.double() @ weights) for row in found.cpu()]
