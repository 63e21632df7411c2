"""The ceiling: hands back the ground truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realbench.errors import Unsupported
from realbench.method import BaseMethod, Context, MethodCard

if TYPE_CHECKING:
    from realbench.image import UInt8Image
    from realbench.scene import Task


class GroundTruth(BaseMethod):
    """Returns the ground truth, to show what a perfect fill scores."""

    card = MethodCard(
        id="ground-truth",
        title="Ground truth",
        summary="Returns the ground truth itself: the ceiling of every metric, never ranked.",
        licence="Apache-2.0",
        oracle=True,
    )

    def complete(self, task: Task, seed: int, context: Context) -> tuple[UInt8Image, tuple[str, ...]]:
        """The truth (H×W×3 RGB, 0–255). Raises Unsupported where the scene has none."""
        truth: UInt8Image | None = getattr(task, "truth", None)  # only an OracleTask has one
        if truth is None:
            raise Unsupported("scene has no ground truth")
        return truth, ()
