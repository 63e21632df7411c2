"""Drift: how far a method's raw output departs from the target where the target was known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from realbench.image import BoolImage
from realbench.metric import BaseMetric, Batch, Context, MetricCard, Score
from realbench.scene import Scene

from ._parts import pixels_of, unsupported


@dataclass(frozen=True)
class Prepared:
    """The known region (H×W) and the target's pixels in it (N×3)."""

    pixels: BoolImage
    target: npt.NDArray[np.int16]


class Drift(BaseMetric):
    """Mean over the known region and the channels of |raw fill − target|, in levels."""

    card = MetricCard(
        id="drift",
        title="Drift",
        summary="Mean absolute difference of the raw fill and the target outside the hole; needs no truth.",
        direction="lower",
        region="known",
        image="raw",
        reads=("target",),
        unit="levels",
        digits=2,
    )

    def prepare(self, scene: Scene, *, context: Context) -> Prepared:
        """Pick the target's known pixels."""
        pixels = pixels_of("known", scene.mask)
        return Prepared(pixels, scene.target[pixels].astype(np.int16))

    def score(self, prepared: Prepared, batch: Batch) -> list[Score]:
        """Levels, 0–255; unsupported where the hole is the whole image."""
        if not len(prepared.target):
            return unsupported(batch, "the known region has no pixels")
        return [Score(float(np.abs(image[prepared.pixels] - prepared.target).mean())) for image in batch.raw]
