"""realbench: a benchmark suite for reference-driven image completion."""

from __future__ import annotations

__version__ = "0.1.0"
