"""Seam: how visible the hole's border is, as the mismatch of gradients across it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from realbench.image import BoolImage, UInt8Image
from realbench.metric import BaseMetric, Batch, Context, MetricCard, Score
from realbench.scene import Scene

from ._parts import truth_of, unsupported


@dataclass(frozen=True)
class Prepared:
    """The truth, and which horizontal (H×(W−1)) and vertical ((H−1)×W) neighbours have the hole's border between them."""

    truth: npt.NDArray[np.int16]
    beside: BoolImage
    below: BoolImage


class Seam(BaseMetric):
    """Mean over the border's pixel pairs (p in the hole, q known) and channels of |(F_p − F_q) − (T_p − T_q)|, T the truth."""

    card = MetricCard(
        id="seam",
        title="Seam",
        summary="Mean difference of the fill's and the truth's gradients between neighbouring pixels on either side of the hole's border.",
        direction="lower",
        region="border",
        image="composite",
        reads=("truth",),
        unit="levels",
        digits=2,
    )

    def prepare(self, scene: Scene, *, context: Context) -> Prepared:
        """Find the border's pairs. Raises Unsupported where the scene has no truth."""
        mask = scene.mask
        return Prepared(truth_of(scene).astype(np.int16), mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1])

    def score(self, prepared: Prepared, batch: Batch) -> list[Score]:
        """Levels, 0–510, 0 for a perfect fill; unsupported where the hole has no border inside the image."""
        if not (prepared.beside.any() or prepared.below.any()):
            return unsupported(batch, "the hole has no border inside the image")
        return [Score(self._mismatch(image, prepared)) for image in batch.composite]

    @staticmethod
    def _mismatch(image: UInt8Image, prepared: Prepared) -> float:
        # The mismatch of two gradients is the gradient of the error; its sign, hence which end lies in the hole, does not matter.
        error = image - prepared.truth
        beside = np.diff(error, axis=1)[prepared.beside]
        below = np.diff(error, axis=0)[prepared.below]
        return float(np.abs(np.concatenate([beside, below])).mean())
