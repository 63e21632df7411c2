"""Random masks to train on: thick rectangles and strokes, frames to grow out of, everything."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from realbench.methods._realfill.data import whole_cells

Bool = npt.NDArray[np.bool_]

CELL = 8
SHARE = (0.08, 0.65)
"""Least and most of an image that a mask covers, if not all."""
EVERYTHING = 0.06
WHOLE_CELLS = 0.5
"""Probability that a mask is grown to whole latent cells."""


def draw(size: int, rng: np.random.Generator) -> tuple[Bool, bool]:
    """A mask (bool size×size, True where to fill), and whether it was grown to whole cells."""
    whole = bool(rng.random() < WHOLE_CELLS)
    if rng.random() < EVERYTHING:
        return np.ones((size, size), np.bool_), True
    kinds = (rectangles, rectangles, strokes, strokes, outside, half)
    for _ in range(20):
        mask = kinds[rng.integers(len(kinds))](size, rng)
        if SHARE[0] <= mask.mean() <= SHARE[1]:
            break
    return (whole_cells(mask, CELL) if whole else mask), whole


def rectangles(size: int, rng: np.random.Generator) -> Bool:
    """One to four rectangles, of a fifth to two thirds of the size each way."""
    mask = np.zeros((size, size), np.bool_)
    for _ in range(rng.integers(1, 5)):
        height, width = (int(size * rng.uniform(0.15, 0.67)) for _ in range(2))
        top, left = int(rng.integers(size - height + 1)), int(rng.integers(size - width + 1))
        mask[top : top + height, left : left + width] = True
    return mask


def strokes(size: int, rng: np.random.Generator) -> Bool:
    """One to three thick lines of several bends, and blobs."""
    image = Image.new("1", (size, size))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.integers(1, 4)):
        width = size * rng.uniform(0.08, 0.28)
        at, angle = rng.uniform(0, size, 2), rng.uniform(0, 2 * np.pi)
        points = [at]
        for _ in range(rng.integers(1, 6)):
            angle += rng.normal(0, 1)
            at = np.clip(at + size * rng.uniform(0.1, 0.4) * np.array([np.cos(angle), np.sin(angle)]), 0, size)
            points.append(at)
        pen.line([tuple(point) for point in points], fill=1, width=max(1, round(width)))
        for x, y in points:
            pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=1)
    return np.array(image, np.bool_)


def outside(size: int, rng: np.random.Generator) -> Bool:
    """All but a rectangle."""
    mask = np.ones((size, size), np.bool_)
    height, width = (int(size * rng.uniform(0.55, 0.95)) for _ in range(2))
    top, left = int(rng.integers(size - height + 1)), int(rng.integers(size - width + 1))
    mask[top : top + height, left : left + width] = False
    return mask


def half(size: int, rng: np.random.Generator) -> Bool:
    """One side of the image, up to 60 % of it."""
    mask = np.zeros((size, size), np.bool_)
    mask[: int(size * rng.uniform(0.15, 0.6))] = True
    turned: Bool = np.rot90(mask, int(rng.integers(4))).copy()
    return turned
