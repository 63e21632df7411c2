"""The floor without structure: one colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realbench.method import BaseMethod, Context, MethodCard

if TYPE_CHECKING:
    from realbench.image import UInt8Image
    from realbench.scene import Task


class MeanColor(BaseMethod):
    """Fills the hole with the mean colour of the known region."""

    card = MethodCard(
        id="mean-color",
        title="Mean colour",
        summary="Fills the hole with the mean colour of the known region: a floor.",
        licence="Apache-2.0",
    )

    def complete(self, task: Task, seed: int, context: Context) -> tuple[UInt8Image, tuple[str, ...]]:
        """The target with its hole in the known region's mean sRGB value, rounded; under a full mask, the mean of the references' means."""
        import numpy as np

        image = task.target.copy()
        if task.mask.all():
            colours = [reference.mean(axis=(0, 1), dtype=np.float64) for reference in task.references]
            image[:] = np.rint(np.mean(colours, axis=0))
            return image, ("nothing is known of the target: the mean colour is that of the references",)
        image[task.mask] = np.rint(task.target[~task.mask].mean(axis=0, dtype=np.float64))
        return image, ()
