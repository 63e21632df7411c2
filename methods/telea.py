"""Fast-marching inpainting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realbench.method import BaseMethod, Context, MethodCard

from ._opencv import InpaintSettings, inpaint

if TYPE_CHECKING:
    from realbench.image import UInt8Image
    from realbench.scene import Task


class Telea(BaseMethod):
    """OpenCV's INPAINT_TELEA on the target alone."""

    card = MethodCard(
        id="telea",
        title="Telea",
        summary="Grows the known region's colours into the hole by fast marching (OpenCV); uses no reference.",
        paper="Telea, An Image Inpainting Technique Based on the Fast Marching Method, Journal of Graphics Tools 2004",
        licence="Apache-2.0 (OpenCV)",
    )
    Settings = InpaintSettings

    def complete(self, task: Task, seed: int, context: Context) -> tuple[UInt8Image, tuple[str, ...]]:
        """The target with its hole filled. Raises Unsupported under a full mask."""
        return inpaint(task.target, task.mask, "telea", self.settings.radius), ()
