"""Metrics in groups, as columns stand side by side: what a number looks at, and what it compares it with."""

from __future__ import annotations

from realbench.metric import Region
from realbench.records import ColumnInfo

TITLES = {
    "hole": "Hole",
    "full": "Full image",
    "known": "Known region",
    "border": "Border of the hole",
    "references": "Against references",
    "alone": "On its own",
}
"""By group, in the order of columns; hole and full image are compared with the ground truth."""
_REGIONS: dict[Region, str] = {"hole": "hole", "full": "full"}


def group(info: ColumnInfo) -> str:
    """The group a metric belongs to, a key of TITLES."""
    if info.region in ("known", "border"):
        return info.region
    if "truth" in info.reads:
        return _REGIONS[info.region]
    return "references" if "references" in info.reads else "alone"


def place(info: ColumnInfo) -> int:
    """Where a metric's group stands among the others, from 0."""
    return list(TITLES).index(group(info))
