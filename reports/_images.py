"""Small WebP copies of images, named after their content, so that a second report writes none twice."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from realbench import fingerprint
from realbench.image import BoolImage, UInt8Image
from realbench.store import write_atomic

if TYPE_CHECKING:
    from PIL.Image import Image

FOLDER = "images"
SMALL = 320
LARGE = 1024
"""Longer sides of the two copies, in pixels; a smaller image keeps its size."""
_RECIPE = "1"
"""Raised whenever the same image gives other copies."""
_QUALITY = {SMALL: 80, LARGE: 88}
_RINGS = ((2, (20, 20, 24)), (1, (255, 196, 0)))
"""The hole's outline: width in units and colour (RGB, 0–255), the outermost first."""

Source = Callable[[], tuple[UInt8Image, BoolImage | None]]
"""Gives an image (H×W×3 RGB, 0–255) and the hole to outline on it, if any. Raises SceneError when it cannot."""


@dataclass(frozen=True)
class Picture:
    """Where the copies of an image are, relative to the page."""

    small: str
    large: str
    width: int
    """Of the small copy, in pixels."""
    height: int


class Images:
    """The folder of copies beside a page."""

    def __init__(self, page: Path) -> None:
        self.page = page

    def picture(self, key: str, source: Source) -> Picture:
        """The copies of an image, made first where they are missing. Raises what `source` raises."""
        small, large = _name(key, SMALL), _name(key, LARGE)
        size = _size(self.page / small) if (self.page / large).is_file() else None
        if size is None:
            image, hole = source()
            (self.page / FOLDER).mkdir(exist_ok=True)
            write_atomic({self.page / name: _encode(image, hole, side) for name, side in ((large, LARGE), (small, SMALL))})
            size = _size(self.page / small)
        width, height = size or (SMALL, SMALL)
        return Picture(small, large, width, height)


def _name(key: str, side: int) -> str:
    return f"{FOLDER}/{fingerprint.of_data([_RECIPE, key, side])[:32]}.webp"


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height of a copy; None when there is none, or a broken one."""
    from PIL import Image as pil

    try:
        with pil.open(path, formats=("WEBP",)) as image:
            return image.size
    except OSError:
        return None


def _encode(image: UInt8Image, hole: BoolImage | None, side: int) -> bytes:
    from PIL import Image as pil

    copy = pil.fromarray(image)
    copy.thumbnail((side, side), pil.Resampling.LANCZOS)
    if hole is not None:
        copy = pil.fromarray(_outlined(np.array(copy), _resized(hole, copy)))
    buffer = io.BytesIO()
    copy.save(buffer, "WEBP", quality=_QUALITY[side], method=4)
    return buffer.getvalue()


def _resized(hole: BoolImage, like: Image) -> BoolImage:
    """The hole at another size: a pixel counts once half of it lies inside, or any of it where nothing else would remain."""
    from PIL import Image as pil

    share = np.asarray(pil.fromarray(np.where(hole, np.uint8(255), np.uint8(0))).resize(like.size, pil.Resampling.BOX))
    return share >= 128 if (share >= 128).any() else share > 0


def _outlined(image: UInt8Image, hole: BoolImage) -> UInt8Image:
    """A line along the hole's border, just inside the hole so that it hides nothing known; also where the image ends."""
    import cv2

    unit = max(1, round(max(hole.shape) / 200))
    padded = np.pad(hole, 1).astype(np.uint8)
    depth = cv2.distanceTransform(padded, cv2.DIST_C, 3)[1:-1, 1:-1]
    marked = image.copy()
    for width, colour in _RINGS:
        marked[(depth > 0) & (depth <= width * unit)] = colour
    return marked
