"""Completion from the target's own patches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from realbench.errors import UsageError
from realbench.method import BaseMethod, Context, MethodCard

if TYPE_CHECKING:
    from realbench.image import UInt8Image
    from realbench.scene import Task


@dataclass(frozen=True)
class PatchMatchSettings:
    """How patches are searched. Raises UsageError for values that make no sense."""

    patch: int = field(default=7, metadata={"help": "side of a patch, in pixels"})
    """Side of a patch, in pixels, at least 3."""
    iterations: int = field(default=3, metadata={"help": "rounds of search and vote at the finest level"})
    """Rounds of search and vote at the finest level, at least 1; coarser levels take more."""
    levels: int = field(default=0, metadata={"help": "most levels of the pyramid; 0: as many as the hole is deep"})
    """Most levels of the pyramid; 0: as many as the hole is deep."""

    def __post_init__(self) -> None:
        for name, least in (("patch", 3), ("iterations", 1), ("levels", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name}: expected at least {least}, found {getattr(self, name)}")


class PatchMatch(BaseMethod):
    """Rebuilds the hole from similar patches of the known region."""

    card = MethodCard(
        id="patchmatch",
        title="PatchMatch",
        summary="Rebuilds the hole, coarse to fine, from patches of the target's own known region; uses no reference.",
        paper="Barnes et al., PatchMatch: A Randomized Correspondence Algorithm for Structural Image Editing, SIGGRAPH 2009",
        licence="Apache-2.0 (own implementation)",
        stochastic=True,
    )
    Settings = PatchMatchSettings

    def complete(self, task: Task, seed: int, context: Context) -> tuple[UInt8Image, tuple[str, ...]]:
        """The target with its hole filled; like telea where no whole patch is known. Raises Unsupported under a full mask."""
        from ._opencv import inpaint
        from ._patchmatch import TooFewKnown, complete

        side = self.settings.patch
        try:
            image = complete(
                task.target,
                task.mask,
                seed=seed,
                side=side,
                iterations=self.settings.iterations,
                max_levels=self.settings.levels,
                progress=context.progress,
            )
        except TooFewKnown:
            image = inpaint(task.target, task.mask, "telea")
            return image, (f"the known region holds no patch of {side}×{side} pixels: filled like telea",)
        return image, ()
