"""Training images: references and target, cropped at random, with what is known of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image

from realbench.errors import Unsupported
from realbench.image import BoolImage, UInt8Image
from realbench.scene import BLANK, Task

from .._diffusion.vae import plane, unit
from .masks import LAWS
from .settings import RealFillSettings

Size: TypeAlias = tuple[int, int]
"""(width, height) in pixels."""
OVERSAMPLING = 2
"""Photographs are kept at most this much larger than the largest crop needs: a crop of a large one is costly."""


class Draw(IntEnum):
    """What random numbers are for. Each is drawn from (fit's seed, purpose, number) alone, so that a resumed fit draws the same."""

    ENTRY = 0
    TURN = 1
    LAYERS = 2
    PATCH = 3
    LOOK = 4


def generator(seed: int, purpose: Draw, *numbers: int) -> np.random.Generator:
    """The random numbers of one purpose."""
    return np.random.default_rng([seed, purpose, *numbers])


def noise_of(shape: Sequence[int], seed: int) -> torch.Tensor:
    """Standard normal float32, drawn on the CPU, whatever the device of the training."""
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True, eq=False)
class Photo:
    """An image to train on."""

    image: Image.Image
    """With the nearest known colour in the hole, so that resampling mixes nothing foreign into the known pixels beside it."""
    hole: Image.Image | None = None
    """What must not be learned, 1 (float); None: all is known."""

    @classmethod
    def of(cls, image: UInt8Image, hole: BoolImage | None = None, least: Size | None = None) -> Photo:
        """Of H×W×3 pixels, those in the hole (bool H×W) never read, shrunk until they just cover the size `least` if that is less."""
        covered = np.ascontiguousarray(image if hole is None or not hole.any() else _covered(image, hole))
        shown, share = Image.fromarray(covered), None if hole is None else Image.fromarray(hole.astype(np.float32))
        scale = 1.0 if least is None else covers(shown.size, least)
        if scale < 1:
            size = max(1, round(shown.width * scale)), max(1, round(shown.height * scale))
            shown = shown.resize(size, Image.Resampling.LANCZOS)
            share = share and _touched(share.resize(size, Image.Resampling.BILINEAR))
        return cls(shown, share)

    def crop(self, box: tuple[float, float, float, float], size: Size) -> tuple[UInt8Image, BoolImage]:
        """The part (left, top, right, bottom) at a size, and where its hole is: every pixel it touches (bool)."""
        pixels = np.array(self.image.resize(size, Image.Resampling.LANCZOS, box=box))
        if self.hole is None:
            return pixels, np.zeros((size[1], size[0]), np.bool_)
        return pixels, np.asarray(self.hole.resize(size, Image.Resampling.BILINEAR, box=box)) > 0


def covers(size: Size, shape: Size) -> float:
    """How much an image of a size must be scaled just to cover a shape."""
    return max(shape[0] / size[0], shape[1] / size[1])


def _covered(image: UInt8Image, hole: BoolImage) -> UInt8Image:
    from scipy.ndimage import distance_transform_edt

    if hole.all():
        return np.full_like(image, BLANK)
    rows, columns = distance_transform_edt(hole, return_distances=False, return_indices=True)
    return np.asarray(image[rows, columns])


def _touched(share: Image.Image) -> Image.Image:
    """Wherever anything of the hole was mixed in; bilinear mixes in every pixel that is touched (Pillow's box leaves some out)."""
    return Image.fromarray((np.asarray(share) > 0).astype(np.float32))


@dataclass(frozen=True, eq=False)
class Entry:
    """One crop with its mask, before encoding; float32 tensors on the CPU."""

    pixels: torch.Tensor
    """3×H×W, from -1 to 1; the target's hole is BLANK."""
    mask: torch.Tensor
    """1×H×W, 1 where the model is to fill: m, and on the target also its hole."""
    hole: torch.Tensor
    """1×H×W, 1 in the target's hole; 0 everywhere on a reference."""
    noises: tuple[int, int]
    """Seeds of the VAE's samples of the image and of the masked image."""

    @property
    def masked(self) -> torch.Tensor:
        """(1 - m) ⊙ x, 3×H×W."""
        return self.pixels * (1 - self.mask)


@dataclass(frozen=True, eq=False)
class Photos:
    """The images of one fit and how samples are drawn from them."""

    photos: tuple[Photo, ...]
    settings: RealFillSettings
    size: Size
    """Of a crop: the one that the target is filled at, so that training shows the target at the scale it is filled at."""
    cell: int = 1
    """Side of a latent cell, in pixels."""
    seed: int = 0

    @classmethod
    def of(cls, task: Task, settings: RealFillSettings, size: Size, cell: int, seed: int, patch: BoolImage | None = None) -> Photos:
        """References and target; `patch` is held out of the target. Raises Unsupported where there is nothing to learn from."""
        hole = task.mask if patch is None else task.mask | patch
        least = math.ceil(OVERSAMPLING * settings.crop * size[0]), math.ceil(OVERSAMPLING * settings.crop * size[1])
        known = () if hole.all() else (Photo.of(task.target, hole, least),)
        photos = tuple(Photo.of(image, least=least) for image in task.references) + known
        if not photos:
            raise Unsupported("there is nothing to learn from: no reference, and the mask covers the whole target")
        return cls(photos, settings, size, cell, seed)

    def entry(self, number: int) -> Entry:
        """The fit's n-th random crop and mask: an image uniformly with replacement, a part of it, a mask."""
        rng = generator(self.seed, Draw.ENTRY, number)
        photo = self.photos[rng.integers(len(self.photos))]
        pixels, hole = photo.crop(self._box(photo.image.size, rng), self.size)
        hole = whole_cells(hole, self.cell)
        pixels[hole] = BLANK
        mask = LAWS[self.settings.masks].draw(self.size, self.settings.dropout_mask, rng) | hole
        first, second = (int(seed) for seed in rng.integers(2**62, size=2))
        return Entry(unit(pixels), plane(mask), plane(hole), (first, second))

    def _box(self, size: Size, rng: np.random.Generator) -> tuple[float, float, float, float]:
        """Where a random crop lies: as if the image were scaled to 1 … `crop` times what covers the crop's size, and that size cut out."""
        width, height = size
        scale = covers(size, self.size) * rng.uniform(1, self.settings.crop)
        across, down = self.size[0] / scale, self.size[1] / scale
        left, top = rng.uniform(0, 1, 2) * (max(0, width - across), max(0, height - down))
        return float(left), float(top), min(float(left + across), width), min(float(top + down), height)


def whole_cells(hole: BoolImage, cell: int) -> BoolImage:
    """The hole, grown to whole latent cells: what a mask says at the latents' resolution is then true of every pixel of the cell."""
    height, width = hole.shape
    touched = hole.reshape(height // cell, cell, width // cell, cell).any((1, 3))
    return np.asarray(touched.repeat(cell, 0).repeat(cell, 1))


@dataclass(frozen=True, eq=False)
class Batch:
    """Encoded samples, on the training's device: n×k×s×s latents, n×1×s×s planes at their resolution."""

    latents: torch.Tensor
    masked: torch.Tensor
    mask: torch.Tensor
    weight: torch.Tensor
    """1 where the loss counts."""

    def __len__(self) -> int:
        return len(self.latents)

    def __getitem__(self, part: Any) -> Batch:
        return Batch(self.latents[part], self.masked[part], self.mask[part], self.weight[part])
