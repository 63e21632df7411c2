"""The size at which a metric sees its images: the target's own, unless the configuration names another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from realbench.errors import UsageError

Resize = Literal["none", "bilinear-antialias"]


@dataclass(frozen=True)
class Sized:
    """How images are resized before scoring; `size` alone is enough to set."""

    size: int = 0
    """Length of the shorter side, in pixels, the longer one in proportion; 0 means the target's size."""
    resize: Resize = "none"
    """The filter that goes with it: bilinear, widened where it scales down; values are not rounded afterwards."""

    def __post_init__(self) -> None:
        if self.size < 0 or (self.size == 0 and self.resize != "none"):
            raise UsageError(f"size must be a positive number of pixels, or 0 for no resize, found size {self.size}, resize {self.resize}")
        if self.size:
            object.__setattr__(self, "resize", "bilinear-antialias")

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which an image of this height and width is seen."""
        if not self.size:
            return height, width
        scale = self.size / min(height, width)
        return max(1, round(height * scale)), max(1, round(width * scale))
