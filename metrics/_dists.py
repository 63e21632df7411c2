"""DISTS on torchmetrics' pooling and weights and a VGG16 trunk that is given to it, never downloaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from realbench.portion import Portion

from . import _torch, _trunk

WEIGHTS_SHA256 = "f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218"
"""Of torchmetrics' `dists_models/weights.pt`: what each channel's structure and texture count."""
STABLE = 1e-6
"""The constants c1 and c2 of the formula."""


class Network(nn.Module):
    """VGG16 up to relu5_3 with L2 pooling, and what each channel counts."""

    weights: torch.Tensor
    """P in double precision on the CPU: alpha (means) of all channels, the image's own first, then beta (variances); they sum to one."""

    def __init__(self) -> None:
        from torchmetrics.functional.image.dists import L2pooling
        from torchvision.models import vgg16

        super().__init__()
        with _trunk.unfilled():
            self.features = vgg16(weights=None).features[:-1]  # without the last pooling
        channels = 3
        for number, layer in enumerate(self.features):
            if isinstance(layer, nn.Conv2d):
                channels = layer.out_channels
            elif isinstance(layer, nn.MaxPool2d):
                self.features[number] = L2pooling(channels=channels)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1))

    def layers(self, images: torch.Tensor) -> Iterator[torch.Tensor]:
        """N×3×H×W in 0…1: themselves, then the activations before each pooling and at the end, one held at a time."""
        yield images
        hidden = (images - self.get_buffer("mean")) / self.get_buffer("std")
        for layer in self.features:
            if not isinstance(layer, nn.Conv2d | nn.ReLU):
                yield hidden
            hidden = layer(hidden)
        yield hidden


@dataclass(frozen=True, eq=False)
class Truth:
    """The truth at the size it is compared, its activations a layer, and each channel's mean and variance (1×C×1×1)."""

    image: torch.Tensor
    layers: tuple[torch.Tensor, ...]
    moments: tuple[tuple[torch.Tensor, torch.Tensor], ...]


def build(trunk: Mapping[str, torch.Tensor], device: str) -> Network:
    """The network with VGG16's convolutions, named as in torchvision's state_dict. Raises RealbenchError for other tensors."""
    import torchmetrics.functional.image.dists as package

    from realbench.weights import load_state

    network = Network()
    _trunk.assign(network, trunk, "vgg16")
    # A pickle: read as tensors only, and only if it is the file by which these scores are defined.
    counts = load_state(Path(package.__file__).parent / "dists_models" / "weights.pt", WEIGHTS_SHA256)
    both = torch.cat([counts[name].double().flatten() for name in ("alpha", "beta")])
    network.weights = both / both.sum()
    _trunk.placed(network, device)
    return network


def shown(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """N×3×H×W of uint8 to N×3×h×w in 0…1."""
    return _trunk.resized(images / 255, size)


def truth(network: Network, image: torch.Tensor) -> Truth:
    """What the truth, 1×3×h×w in 0…1, gives."""
    layers = tuple(network.layers(image))
    return Truth(image, layers, tuple(_moments(layer.clone()) for layer in layers))


def terms(network: Network, images: torch.Tensor, against: Truth, size: Portion) -> torch.Tensor:
    """N×P: 1 − luminance similarity and then 1 − structure similarity of each channel; all 0 for an image that equals the truth.

    Written as distances, (x̄ − ȳ)² / (x̄² + ȳ² + c) and var(x − y) / (var x + var y + c): the same numbers as the published
    1 − (2·x̄·ȳ + c) / … and 1 − (2·cov + c) / …, without their cancellation.
    """

    def work(part: torch.Tensor) -> torch.Tensor:
        seen = shown(part, (against.image.shape[2], against.image.shape[3]))
        pairs = [_terms(*both) for both in zip(network.layers(seen), against.layers, against.moments, strict=True)]
        found = torch.cat([term for kind in zip(*pairs, strict=True) for term in kind], dim=1).flatten(1)
        found[(seen == against.image).flatten(1).all(dim=1)] = 0
        return found

    return _torch.in_portions(work, images, size)


def _terms(layer: torch.Tensor, other: torch.Tensor, moments: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """N×C×1×1 twice."""
    shift, spread = _moments(layer - other)
    mean, variance = _moments(layer.clone())
    other_mean, other_variance = moments
    return shift**2 / (mean**2 + other_mean**2 + STABLE), spread / (variance + other_variance + STABLE)


def _moments(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of each channel, N×C×1×1; the values are used up."""
    mean = values.mean(dim=(2, 3), keepdim=True)
    return mean, values.sub_(mean).square_().mean(dim=(2, 3), keepdim=True)
