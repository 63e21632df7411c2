"""Compositing: the harness, not the method, lays a fill over the target's known region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from realbench.image import BoolImage, UInt8Image

FEATHER = 4.0
"""Default feather radius in pixels for an image whose shorter side is FEATHER_SIDE pixels."""
FEATHER_SIDE = 512
VERSION = 1
"""Raised when the same fill and target composite to other pixels; a part of fingerprints and signatures from 2 on."""


@dataclass(frozen=True)
class Feather:
    """How wide the blend outside the hole is: `pixels` for a shorter side of 512, scaled with it."""

    pixels: float = FEATHER

    def __str__(self) -> str:
        return f"{self.pixels:g}/{FEATHER_SIDE}" + (f"v{VERSION}" if VERSION > 1 else "")

    def radius(self, shape: tuple[int, ...]) -> int:
        """Radius in whole pixels for an image of this shape (height, width, …); at least 1 unless the feather is 0."""
        if self.pixels == 0:
            return 0
        return max(1, round(self.pixels * min(shape[:2]) / FEATHER_SIDE))


def alpha(mask: BoolImage, radius: int) -> npt.NDArray[np.float32]:
    """H×W opacity of the fill: 1 on every hole pixel, falling linearly with the distance from the hole to 0 at `radius` pixels."""
    import cv2

    if radius <= 0 or mask.all() or not mask.any():
        return mask.astype(np.float32)
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.clip(1.0 - distance / radius, 0.0, 1.0).astype(np.float32)


def composite(raw: UInt8Image, target: UInt8Image, mask: BoolImage, feather: Feather) -> UInt8Image:
    """Lay a raw fill over the target (RealFill, section 3.3: feather the mask, then alpha-composite).

    All images are H×W×3 RGB, 0–255. A hole pixel is the raw fill's exactly, and a known pixel farther than the radius is the
    target's exactly, so that the target's blank never bleeds into the result and a perfect fill stays perfect.
    """
    opacity = alpha(mask, feather.radius(mask.shape))
    blended = target.astype(np.float32)
    edge = (opacity > 0) & (opacity < 1)
    weight = opacity[edge][:, None]
    blended[edge] = np.rint(weight * raw[edge] + (1 - weight) * blended[edge])
    result = blended.astype(np.uint8)
    result[mask] = raw[mask]
    return result
