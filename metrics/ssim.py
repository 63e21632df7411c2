"""SSIM: structural similarity to the ground truth, its map averaged over the hole (the paper's) or over the image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from realbench.errors import UsageError
from realbench.image import BoolImage, UInt8Image
from realbench.metric import BaseMetric, Batch, Context, MetricCard, Score
from realbench.scene import Scene

from ._parts import pixels_of, truth_of, unsupported

TRUNCATE = 3.5
"""scikit-image cuts its Gaussian window at this many sigmas."""
STABLE = 0.01, 0.03
"""K1 and K2 of Wang et al."""
FloatImage = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Config:
    """The window of Wang et al. 2004, and how the map becomes one number."""

    window: int = 11
    """Side of the window, in pixels; scikit-image derives it from sigma, so the two must agree."""
    sigma: float = 1.5
    """Standard deviation of the Gaussian window, in pixels."""
    padding: Literal["reflect"] = "reflect"
    """How the image goes on beyond its border (edge pixel repeated: c b a | a b c)."""
    channels: Literal["mean"] = "mean"
    """The map of each of R, G, B counts alike."""
    range: int = 255
    """Data range, in levels."""
    size: Literal["target"] = "target"
    """The evaluation size: nothing is resized."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma) and self.sigma > 0 and self.range > 0):
            raise UsageError(f"ssim: sigma and range must be positive, found sigma {self.sigma}, range {self.range}")
        window = 2 * int(TRUNCATE * self.sigma + 0.5) + 1
        if self.window != window:
            raise UsageError(f"ssim: sigma {self.sigma:g} takes a window of {window}, found {self.window}; set window={window}")


@dataclass(frozen=True)
class Prepared:
    """The truth around the region: `box` is where it lies in the image, `pixels` the region within the box (h×w)."""

    box: tuple[slice, slice]
    pixels: BoolImage
    truth: FloatImage
    """h×w×3, 0–255."""
    mean: FloatImage
    """Of the window around each pixel."""
    variance: FloatImage


class _OverRegion(BaseMetric):
    """Mean over the card's region and the channels of the SSIM map (Wang et al. 2004, Gaussian window)."""

    Config: ClassVar[type] = Config

    def prepare(self, scene: Scene, *, context: Context) -> Prepared:
        """Cut out the region with as much around it as its windows reach. Raises Unsupported where the scene has no truth."""
        pixels = pixels_of(self.card.region, scene.mask)
        # Twice the window's radius: the reach of the windows, and a box that is never smaller than one window.
        box = _bounding_box(pixels, self.config.window - 1)
        truth = truth_of(scene)[box].astype(np.float64)
        mean = self._blurred(truth)
        return Prepared(box, pixels[box], truth, mean, self._blurred(truth * truth) - mean * mean)

    def score(self, prepared: Prepared, batch: Batch) -> list[Score]:
        """SSIM in −1…1, 1 for a fill that equals the truth; unsupported where the image is smaller than the window."""
        if not prepared.pixels.any():
            return unsupported(batch, f"the {self.card.region} region has no pixels")
        window, sides = self.config.window, prepared.truth.shape[:2]
        if min(sides) < window:
            return unsupported(batch, f"the image has a side of {min(sides)} pixels, less than SSIM's window of {window}")
        maps = (self._map(image[prepared.box], prepared) for image in batch.images(self.card.image))
        return [Score(float(similarity[prepared.pixels].mean())) for similarity in maps]

    def _map(self, image: UInt8Image, truth: Prepared) -> FloatImage:
        """h×w×3 similarity, −1…1 (equation 13 of Wang et al.)."""
        values = image.astype(np.float64)
        mean = self._blurred(values)
        variance = self._blurred(values * values) - mean * mean
        covariance = self._blurred(values * truth.truth) - mean * truth.mean
        luminance, contrast = ((share * self.config.range) ** 2 for share in STABLE)
        above = (2 * mean * truth.mean + luminance) * (2 * covariance + contrast)
        below = (mean * mean + truth.mean * truth.mean + luminance) * (variance + truth.variance + contrast)
        return np.asarray(above / below)

    def _blurred(self, values: FloatImage) -> FloatImage:
        """Each pixel's mean under the Gaussian window."""
        import cv2

        if not values.size:
            return values
        reach = self.config.window // 2
        weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / self.config.sigma) ** 2)
        weights /= weights.sum()
        return np.asarray(cv2.sepFilter2D(values, cv2.CV_64F, weights, weights, borderType=cv2.BORDER_REFLECT), np.float64)


def _bounding_box(pixels: BoolImage, margin: int) -> tuple[slice, slice]:
    """The smallest box around the True pixels, `margin` pixels wider on each side where the image allows."""
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + 1 + margin),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + 1 + margin),
    )


class SSIM(_OverRegion):
    """SSIM inside the hole (RealFill, Table 1)."""

    card = MetricCard(
        id="ssim",
        title="SSIM",
        summary="Structural similarity of fill and truth: the map averaged over the hole and the colour channels.",
        direction="higher",
        region="hole",
        image="composite",
        reads=("truth",),
        paper="Wang et al. 2004, doi 10.1109/TIP.2003.819861; RealFill, arXiv 2309.16668, Table 1",
    )


class SSIMFull(_OverRegion):
    """SSIM over the whole image, its border included."""

    card = MetricCard(
        id="ssim-full",
        title="SSIM, full image",
        summary="Structural similarity of fill and truth: the map averaged over the whole image and the colour channels.",
        direction="higher",
        region="full",
        image="composite",
        reads=("truth",),
        paper="Wang et al. 2004, doi 10.1109/TIP.2003.819861",
    )
