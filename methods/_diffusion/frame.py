"""Between a target of any size and the sizes a diffusion model works at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from realbench.errors import RealbenchError
from realbench.image import BoolImage, UInt8Image
from realbench.scene import BLANK


@dataclass(frozen=True)
class Frame:
    """A target's place in a working image: resized with its aspect kept, then padded right and below by repeating the edge.

    All sizes are (width, height) in pixels.
    """

    size: tuple[int, int]
    """Of the target."""
    content: tuple[int, int]
    """Of the target inside the working image."""
    working: tuple[int, int]
    """Of the working image."""

    @classmethod
    def fit(cls, size: tuple[int, int], native: int, multiple: int, *, at_most: bool = False) -> Frame:
        """The frame of about native² pixels whose sides are multiples of `multiple`; a target is never stretched.

        Among sides within a tenth of `native`, the one that needs least padding is taken, near ones first. With `at_most`, the
        working image has no more than native² pixels.
        """
        frames = [cls._at(size, side, multiple) for side in range(1 if at_most else round(0.9 * native), round(1.1 * native) + 1)]
        allowed = [frame for frame in frames if frame.working[0] * frame.working[1] <= native**2] if at_most else frames
        return min(allowed or frames[:1], key=lambda frame: frame._cost(native))

    @classmethod
    def _at(cls, size: tuple[int, int], side: int, multiple: int) -> Frame:
        scale = side / math.sqrt(size[0] * size[1])
        content = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        return cls(size, content, (-(-content[0] // multiple) * multiple, -(-content[1] // multiple) * multiple))

    def _cost(self, native: int) -> float:
        """Share of the working image that is padding, and how far from the native size the content is: a tenth weighs like 5 %."""
        area, whole = self.content[0] * self.content[1], self.working[0] * self.working[1]
        return (whole - area) / whole + abs(math.sqrt(area) / native - 1) / 2

    def image_in(self, image: UInt8Image, mask: BoolImage | None = None) -> UInt8Image:
        """The working image (uint8 H×W×3, 0–255) of a target's size image.

        With a mask, what the image shows in the hole is replaced before resizing, so that none of it is mixed into the known
        pixels beside the hole, and every working pixel of the hole is BLANK.
        """
        if mask is None:
            return self._pad(_resized(image, self.content))
        working = self._pad(_resized(_covered(image, mask), self.content))
        working[self.mask_in(mask)] = BLANK
        return working

    def mask_in(self, mask: BoolImage, cell: int = 1) -> BoolImage:
        """The working mask (bool H×W): True wherever a working pixel touches the hole, or a whole cell of cell×cell pixels does.

        Padding repeats the edge of the mask as it does that of the image: beside a hole it is hole, or its grey would count as known.
        """
        for axis, (source, count) in enumerate(zip(mask.shape, reversed(self.content), strict=True)):
            mask = _touched(mask, axis, source, count)
        mask = self._pad(mask)
        if cell > 1:
            cells = mask.reshape(self.working[1] // cell, cell, self.working[0] // cell, cell).any((1, 3))
            mask = cells.repeat(cell, 0).repeat(cell, 1)
        return mask

    def image_out(self, working: UInt8Image | npt.NDArray[np.floating[Any]]) -> UInt8Image:
        """The target's size image (uint8 H×W×3, 0–255) of a working image, uint8 or floating 0–1.

        Raises RealbenchError for another size than the frame's, and for values that are no numbers.
        """
        if working.shape != (self.working[1], self.working[0], 3):
            raise RealbenchError(f"the model returned an image of shape {working.shape}, expected {(self.working[1], self.working[0], 3)}")
        if np.issubdtype(working.dtype, np.floating):
            if not np.isfinite(working).all():
                raise RealbenchError("the model returned NaN or infinite pixels: half precision overflowed; run with --dtype float32")
            working = np.rint(working.clip(0, 1) * 255).astype(np.uint8)
        return _resized(working[: self.content[1], : self.content[0]], self.size)

    def _pad(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        right, below = self.working[0] - self.content[0], self.working[1] - self.content[1]
        return np.pad(image, ((0, below), (0, right)) + ((0, 0),) * (image.ndim - 2), mode="edge")


def _resized(image: npt.NDArray[Any], size: tuple[int, int]) -> UInt8Image:
    """Lanczos, with the support widened where it shrinks."""
    from PIL import Image

    if (image.shape[1], image.shape[0]) == size:
        return np.array(image)
    return np.array(Image.fromarray(np.ascontiguousarray(image)).resize(size, Image.Resampling.LANCZOS))


def _covered(image: UInt8Image, mask: BoolImage) -> UInt8Image:
    """The image with each hole pixel painted like the nearest known one; grey where nothing is known."""
    from scipy.ndimage import distance_transform_edt

    if mask.all():
        return np.full_like(image, BLANK)
    rows, columns = distance_transform_edt(mask, return_distances=False, return_indices=True)
    return np.asarray(image[rows, columns])


def _touched(mask: BoolImage, axis: int, source: int, count: int) -> BoolImage:
    """Along one axis, whether any of the source pixels under each of `count` equal cells is True."""
    cells = np.arange(count)
    first, last = cells * source // count, -(-(cells + 1) * source // count)
    sums = np.insert(np.cumsum(mask, axis=axis, dtype=np.int64), 0, 0, axis=axis)
    return np.asarray(np.take(sums, last, axis=axis) > np.take(sums, first, axis=axis))
