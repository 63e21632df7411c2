"""Reference-driven completion by geometry alone: structure from motion, plane sweep, photometric fit, blending."""

from __future__ import annotations

from .pipeline import Completion, complete

__all__ = ["Completion", "complete"]
