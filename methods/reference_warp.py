"""Completion from the references by geometry alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from realbench.errors import UsageError
from realbench.method import BaseMethod, Context, MethodCard

if TYPE_CHECKING:
    from realbench.image import UInt8Image
    from realbench.scene import Task


@dataclass(frozen=True)
class ReferenceWarpSettings:
    """How closely the references are looked at. Raises UsageError for values too small to work with."""

    max_side: int = field(default=768, metadata={"help": "longer side at which features are matched"})
    """Longer side, in pixels, at which features are matched; at least 64."""
    sweep_side: int = field(default=384, metadata={"help": "longer side at which depth is searched"})
    """Longer side, in pixels, at which depth is searched; at least 32."""
    max_references: int = field(default=8, metadata={"help": "most references used"})
    """Most references used, those with the most matches first; at least 1."""

    def __post_init__(self) -> None:
        for name, least in (("max_side", 64), ("sweep_side", 32), ("max_references", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{name}: expected at least {least}, found {getattr(self, name)}")


class ReferenceWarp(BaseMethod):
    """Warps matched references into the hole."""

    card = MethodCard(
        id="reference-warp",
        title="Reference warp",
        summary="Recovers cameras and depth from matched features, warps the references into the hole and blends them; no learned part.",
        paper="in the spirit of Zhou et al., TransFill, CVPR 2021 (own design, without learned parts)",
        licence="Apache-2.0 (own implementation)",
    )
    Settings = ReferenceWarpSettings

    def complete(self, task: Task, seed: int, context: Context) -> tuple[UInt8Image, tuple[str, ...]]:
        """The target with its hole filled; like telea, with a note, where no reference matches. Raises Unsupported under a full mask."""
        from ._warp import complete

        completion = complete(task.references, task.target, task.mask, **asdict(self.settings))
        return completion.image, completion.notes
