"""Semi-global matching on a cost volume of inverse depths (Hirschmueller 2008)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

STEP_PENALTY = 0.03
JUMP_PENALTY = 0.8


def aggregate(volume: Float32Array) -> Float32Array:
    """Sum of the path costs along eight directions, H x W x levels."""
    total = np.zeros_like(volume)
    for flip in (1, -1):
        for slant in (0, 1, -1):
            _path(volume[::flip], total[::flip], slant)
        _path(volume.transpose(1, 0, 2)[::flip], total.transpose(1, 0, 2)[::flip], 0)
    return total


def _path(volume: Float32Array, total: Float32Array, slant: int) -> None:
    """Add the path costs of one direction, row by row, to `total` in place."""
    before = volume[0].copy()
    total[0] += before
    for cost, out in zip(volume[1:], total[1:], strict=True):
        if slant:
            before = np.roll(before, slant, axis=0)
            before[0 if slant > 0 else -1] = 0
        least = before.min(axis=1, keepdims=True)
        best = np.minimum(before, least + JUMP_PENALTY)
        np.minimum(best[:, 1:], before[:, :-1] + STEP_PENALTY, out=best[:, 1:])
        np.minimum(best[:, :-1], before[:, 1:] + STEP_PENALTY, out=best[:, :-1])
        before = cost + best - least
        out += before


def cheapest(volume: Float32Array, depths: Float32Array) -> Float32Array:
    """The cheapest inverse depth of each pixel, to a fraction of a level (parabola through three costs), H x W."""
    low = np.clip(volume.argmin(axis=2), 1, len(depths) - 2)
    left, middle, right = (np.take_along_axis(volume, (low + d)[..., None], 2)[..., 0] for d in (-1, 0, 1))
    bend = left - 2 * middle + right
    offset = np.where(bend > 1e-6, 0.5 * (left - right) / np.maximum(bend, 1e-6), 0.0)
    return np.asarray(depths[0] + (low + np.clip(offset, -0.5, 0.5)) * (depths[1] - depths[0]), dtype=np.float32)
