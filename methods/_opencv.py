"""OpenCV's two inpainting algorithms, with their known faults at the border mended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from realbench.errors import Unsupported, UsageError

if TYPE_CHECKING:
    from realbench.image import BoolImage, UInt8Image

RADIUS = 3.0
"""Default radius in pixels of the neighbourhood that each new pixel is computed from."""
MIN_RADIUS, MAX_RADIUS = 1.0, 100.0
"""Beyond these OpenCV would clip silently."""


@dataclass(frozen=True)
class InpaintSettings:
    """Settings of both algorithms. Raises UsageError for a radius that OpenCV would not use as it is."""

    radius: float = field(default=RADIUS, metadata={"help": "neighbourhood of each new pixel, in pixels, 1–100"})
    """Neighbourhood of each new pixel, in pixels, 1–100."""

    def __post_init__(self) -> None:
        if not MIN_RADIUS <= self.radius <= MAX_RADIUS:
            raise UsageError(f"radius: expected {MIN_RADIUS:g} to {MAX_RADIUS:g} pixels, found {self.radius:g}")


def inpaint(target: UInt8Image, mask: BoolImage, algorithm: Literal["telea", "navier-stokes"], radius: float = RADIUS) -> UInt8Image:
    """Fill the hole of an H×W×3 image from its known region alone; known pixels stay as they are.

    Raises Unsupported where nothing is known.
    """
    import cv2
    import numpy as np

    if mask.all():
        raise Unsupported("nothing is known of the target: the mask covers all of it")
    # Where the hole comes near the border, OpenCV (5.0 too) lets the colours that lie *inside* the hole leak into the result, by up to
    # half the value range. A frame of unknown pixels around the image prevents it, and changes nothing for holes far from the border.
    framed = cv2.copyMakeBorder(target, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    hole = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    flag = cv2.INPAINT_TELEA if algorithm == "telea" else cv2.INPAINT_NS
    return np.ascontiguousarray(cv2.inpaint(framed, hole, radius, flag)[1:-1, 1:-1], dtype=np.uint8)
