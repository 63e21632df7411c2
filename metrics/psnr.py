"""PSNR: peak signal-to-noise ratio against the ground truth, inside the hole (the paper's), over the image, or outside the hole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from realbench.errors import UsageError
from realbench.image import UInt8Image
from realbench.metric import BaseMetric, Batch, Context, MetricCard, Score
from realbench.scene import Scene

from ._parts import pixels_of, truth_of, unsupported


@dataclass(frozen=True)
class Prepared:
    """The truth (H×W×3), the region as 0 and 1 (H×W), and how many pixels it has."""

    truth: UInt8Image
    region: npt.NDArray[np.uint8]
    pixels: int


@dataclass(frozen=True)
class Config:
    """What PSNR depends on beside region and image."""

    range: int = 255
    """Peak value, in levels."""
    size: Literal["target"] = "target"
    """The evaluation size: nothing is resized."""

    def __post_init__(self) -> None:
        if self.range <= 0:
            raise UsageError(f"psnr: range must be a positive number of levels, found {self.range}; 8-bit images have 255")


class _OverRegion(BaseMetric):
    """10·log10(range² / MSE), where MSE = Σ(fill − truth)² / (3 × pixels of the card's region)."""

    Config: ClassVar[type] = Config

    def prepare(self, scene: Scene, *, context: Context) -> Prepared:
        """Find the region. Raises Unsupported where the scene has no truth."""
        pixels = pixels_of(self.card.region, scene.mask)
        return Prepared(truth_of(scene), pixels.astype(np.uint8), int(pixels.sum()))

    def score(self, prepared: Prepared, batch: Batch) -> list[Score]:
        """Decibels, +∞ for a fill that equals the truth on the region; unsupported where the region is empty."""
        if not prepared.pixels:
            return unsupported(batch, f"the {self.card.region} region has no pixels")
        return [Score(self._decibels(image, prepared)) for image in batch.images(self.card.image)]

    def _decibels(self, image: UInt8Image, prepared: Prepared) -> float:
        import cv2

        # Of 8-bit images OpenCV adds the squares as integers: the sum is exact.
        total = cv2.norm(image, prepared.truth, cv2.NORM_L2SQR, prepared.region)
        return math.inf if total == 0 else 10 * math.log10(self.config.range**2 * prepared.pixels * 3 / total)


class PSNR(_OverRegion):
    """PSNR inside the hole (RealFill, Table 1)."""

    card = MetricCard(
        id="psnr",
        title="PSNR",
        summary="Peak signal-to-noise ratio of fill and truth over the hole: squared differences divided by hole pixels × 3.",
        direction="higher",
        region="hole",
        image="composite",
        reads=("truth",),
        unit="dB",
        digits=2,
        paper="RealFill, arXiv 2309.16668, Table 1",
    )


class PSNRFull(_OverRegion):
    """PSNR over the whole image; it rises as the hole shrinks."""

    card = MetricCard(
        id="psnr-full",
        title="PSNR, full image",
        summary="Peak signal-to-noise ratio of fill and truth over the whole image.",
        direction="higher",
        region="full",
        image="composite",
        reads=("truth",),
        unit="dB",
        digits=2,
    )


class PSNRKnown(_OverRegion):
    """PSNR outside the hole, on the raw fill: the composite shows the target there whatever the method did."""

    card = MetricCard(
        id="psnr-known",
        title="PSNR, known region",
        summary="Peak signal-to-noise ratio of the raw fill and the truth outside the hole: what the method did to known pixels.",
        direction="higher",
        region="known",
        image="raw",
        reads=("truth",),
        unit="dB",
        digits=2,
    )
