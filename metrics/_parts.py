"""What several metrics share: the truth, a region's pixels, and the answer where there is nothing to score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from realbench.errors import Unsupported
from realbench.metric import Batch, Region, Score

if TYPE_CHECKING:
    from realbench.image import BoolImage, UInt8Image
    from realbench.scene import Scene


def truth_of(scene: Scene) -> UInt8Image:
    """The ground truth, H×W×3 RGB, 0–255. Raises Unsupported where the scene has none."""
    if scene.truth is None:
        raise Unsupported(f"scene {scene.id} has no ground truth")
    return scene.truth


def pixels_of(region: Region, mask: BoolImage) -> BoolImage:
    """H×W, True on the pixels of `hole`, `known` or `full`."""
    return {"hole": mask, "known": ~mask, "full": np.ones_like(mask)}[region]


def unsupported(batch: Batch, reason: str) -> list[Score]:
    """The same reason for every fill."""
    return [Score(None, "unsupported", reason) for _ in batch.seeds]
