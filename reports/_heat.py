"""Error maps: how far a fill is from the ground truth at each pixel of the hole, in a map of colours that everybody can read."""

from __future__ import annotations

from functools import cache

import numpy as np

from realbench import fingerprint
from realbench.image import BoolImage, UInt8Image

MAP = "viridis"
"""Perceptually uniform, and in order for colour-blind eyes and on grey paper."""
RANGE = 128
"""Error, in levels of 255, from which on all is drawn in the map's last colour."""
_RECIPE = "1"
_STOPS = 9


def key(fill: str, truth: str, mask: str) -> str:
    """Content key of a map, from the hashes of what it is made of."""
    return fingerprint.of_data(["heat", _RECIPE, MAP, RANGE, fill, truth, mask])


def heat_map(fill: UInt8Image, truth: UInt8Image, hole: BoolImage) -> UInt8Image:
    """Root mean square over the channels of fill − truth, coloured; outside the hole the truth in dark grey."""
    difference = fill.astype(np.float32) - truth
    error = np.sqrt(np.mean(difference**2, axis=2))
    at = np.clip(np.rint(error * (255 / RANGE)), 0, 255).astype(np.intp)
    grey = (28 + 0.3 * truth.mean(axis=2)).astype(np.uint8)
    coloured: UInt8Image = np.where(hole[..., None], _colours()[at], grey[..., None])
    return coloured


def stops() -> tuple[tuple[str, str], ...]:
    """The map as offsets (`25%`) and colours (`#rrggbb`), for a legend."""
    places = np.linspace(0, 255, _STOPS)
    return tuple((f"{place / 2.55:g}%", "#{:02x}{:02x}{:02x}".format(*_colours()[round(place)])) for place in places)


@cache
def _colours() -> UInt8Image:
    from matplotlib import colormaps

    return np.asarray((colormaps[MAP](np.arange(256))[:, :3] * 255).round(), np.uint8)
