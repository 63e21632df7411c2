"""Inpainting by transport along isophotes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realbench.method import BaseMethod, Context, MethodCard

from ._opencv import InpaintSettings, inpaint

if TYPE_CHECKING:
    from realbench.image import UInt8Image
    from realbench.scene import Task


class NavierStokes(BaseMethod):
    """OpenCV's INPAINT_NS on the target alone."""

    card = MethodCard(
        id="navier-stokes",
        title="Navier–Stokes",
        summary="Continues the known region's isophotes into the hole (OpenCV); uses no reference.",
        paper="Bertalmio, Bertozzi and Sapiro, Navier-Stokes, Fluid Dynamics, and Image and Video Inpainting, CVPR 2001",
        licence="Apache-2.0 (OpenCV)",
    )
    Settings = InpaintSettings

    def complete(self, task: Task, seed: int, context: Context) -> tuple[UInt8Image, tuple[str, ...]]:
        """The target with its hole filled. Raises Unsupported under a full mask."""
        return inpaint(task.target, task.mask, "navier-stokes", self.settings.radius), ()
