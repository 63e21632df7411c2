"""From a photograph to the square that a model sees, as the model's own package does it: Pillow on 8-bit images, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from realbench.errors import Unsupported

if TYPE_CHECKING:
    import torch

    from realbench.image import UInt8Image

Crop = Literal["official", "centre", "squash"]
"""`centre`: the shorter side is resized and the middle cut out; `squash`: all of the image, its aspect ratio lost."""

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of R, G, B, 0–1."""
OPENAI = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
UNIT = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
"""For a model that normalises by itself."""
HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
MAX_PIXELS = 64_000_000
"""Largest resized image, before its middle is cut out: a strip one pixel high would otherwise become gigabytes."""


@dataclass(frozen=True)
class Square:
    """A model's preprocessing. Pillow's resize is antialiased and rounds to 8 bits; the rest is arithmetic on floats."""

    size: int
    """Side of the square, in pixels."""
    side: int
    """The shorter side is resized to this before the middle is cut out; without meaning for `squash`."""
    norm: tuple[tuple[float, ...], tuple[float, ...]]
    """Mean and standard deviation of R, G, B, 0–1."""
    crop: Literal["centre", "squash"] = "centre"
    filter: Literal["bicubic", "bilinear"] = "bicubic"

    def cropped(self, crop: Crop) -> Square:
        """The same with another crop; `official` is the package's own."""
        return self if crop == "official" else replace(self, crop=crop)

    def __str__(self) -> str:
        """As in a signature, without `crop`, which is configuration."""
        side = f"resize:{self.side}|" if self.crop == "centre" else ""
        return f"filter:{self.filter}|antialias:pillow|{side}size:{self.size}"

    def key(self, images: Sequence[UInt8Image]) -> tuple[object, ...]:
        """Equal for preprocessings that make the same squares of these images: a square image is squashed by any plain resize."""
        plain = self.crop == "squash" or (self.side == self.size and all(image.shape[0] == image.shape[1] for image in images))
        return (self.filter, self.size, 0 if plain else self.side)

    def of(self, images: Sequence[UInt8Image]) -> torch.Tensor:
        """N images, each H×W×3 of its own size, as uint8 N×3×size×size on the CPU. Raises Unsupported for a strip too long to resize."""
        import torch

        return torch.stack([self._one(image) for image in images])

    def normalised(self, squares: torch.Tensor) -> torch.Tensor:
        """What the model reads of uint8 squares: float32, (value / 255 − mean) / standard deviation."""
        import torch

        mean, deviation = (torch.tensor(values, device=squares.device)[:, None, None] for values in self.norm)
        return squares.float().div(255).sub(mean).div(deviation)

    def _one(self, image: UInt8Image) -> torch.Tensor:
        from PIL import Image
        from torchvision.transforms import InterpolationMode, functional

        height, width = image.shape[:2]
        if self.crop == "centre" and self.side**2 * max(height, width) > MAX_PIXELS * min(height, width):
            raise Unsupported(
                f"an image of {width}×{height} is too long a strip to be resized to a shorter side of {self.side}; use crop=squash"
            )
        target = [self.side] if self.crop == "centre" else [self.size, self.size]
        resized = functional.resize(Image.fromarray(image), target, InterpolationMode(self.filter))
        square: torch.Tensor = functional.pil_to_tensor(functional.center_crop(resized, [self.size, self.size]))
        return square
