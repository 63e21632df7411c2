"""What the scene points say about depth at each pixel: planes among them, and votes of the nearest points."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from .cameras import Camera

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
Box = tuple[slice, slice]

VOTERS = 32
REACH = 8.0  # in levels: how far a vote reaches
CELL = 4  # pixels that share a vote
TOLERANCE = 1.0  # in levels: how far a point may lie off its plane
MAX_PLANES = 8
MIN_ON_PLANE = 12
TRIALS = 300
NEIGHBOURS = 24


def fit_planes(pixel: FloatArray, inverse: FloatArray, tolerance: float) -> FloatArray:
    """A plane for each point, N x 3: inverse depth = a x + b y + c, which is exact for a flat surface.

    Sequential RANSAC with local samples, so that small surfaces get their own plane; a point on no plane gets the
    constant of its own inverse depth. Deterministic.
    """
    random = np.random.default_rng(7)
    result = np.column_stack([np.zeros((len(pixel), 2)), inverse])
    design = np.column_stack([pixel, np.ones(len(pixel))])
    left = np.arange(len(pixel))
    for _ in range(MAX_PLANES):
        if len(left) < MIN_ON_PLANE:
            break
        on = _largest_plane(design[left], inverse[left], tolerance, random)
        if on.sum() < MIN_ON_PLANE:
            break
        result[left[on]] = np.linalg.lstsq(design[left[on]], inverse[left[on]], rcond=None)[0]
        left = left[~on]
    return result


def _largest_plane(design: FloatArray, inverse: FloatArray, tolerance: float, random: np.random.Generator) -> BoolArray:
    """The points (as a mask) of the plane that most points lie on."""
    near = KDTree(design[:, :2]).query(design[:, :2], k=range(1, min(NEIGHBOURS, len(design)) + 1))[1]
    seed = random.integers(len(design), size=TRIALS)
    picks = np.column_stack([seed, *(near[seed, random.integers(1, near.shape[1], size=TRIALS)] for _ in range(2))])
    corner = design[picks]
    corner = corner[np.abs(np.linalg.det(corner)) > 1.0], inverse[picks][np.abs(np.linalg.det(corner)) > 1.0]
    if not len(corner[0]):
        return np.zeros(len(design), bool)
    planes = np.linalg.solve(corner[0], corner[1][..., None])[..., 0]
    off = np.abs(planes @ design.T - inverse)
    best = np.minimum(off, tolerance).sum(axis=1).argmin()
    on = off[best] < tolerance
    if on.sum() >= 3:
        again = np.linalg.lstsq(design[on], inverse[on], rcond=None)[0]
        on = np.abs(design @ again - inverse) < tolerance
    return np.asarray(on)


def vote_cost(target: Camera, points: FloatArray, box: Box, depths: Float32Array) -> Float32Array:
    """Cost in [0, 1] of each depth by the scene points around a pixel: 0 where their votes peak, H x W x levels.

    Each point votes for its plane at the pixel. Votes keep both sides of a depth edge possible, where an
    interpolated surface would bridge it.
    """
    pixel, depth = target.project(points)
    size = np.array(target.size)
    near = (depth > 0) & np.all((pixel > -0.15 * size) & (pixel < 1.15 * size), axis=1)
    pixel, inverse = pixel[near], 1 / depth[near]
    step = float(depths[1] - depths[0])
    planes = fit_planes(pixel, inverse, TOLERANCE * step)
    height, width = (s.stop - s.start for s in box)
    rows, columns = -(-height // CELL), -(-width // CELL)
    y, x = np.mgrid[:rows, :columns] * CELL + (CELL - 1) / 2
    places = np.stack([x.ravel() + box[1].start, y.ravel() + box[0].start], axis=1)
    away, who = KDTree(pixel).query(places, k=range(1, min(VOTERS, len(pixel)) + 1))
    weight = 1 / (away**2 + (0.01 * size.max()) ** 2)
    votes = np.zeros((len(places), len(depths)), np.float32)
    for w, voter in zip(weight.T, who.T, strict=True):
        value = (planes[voter, :2] * places).sum(axis=1) + planes[voter, 2]
        off = (depths[None] - value[:, None]) / (REACH * step)
        votes += (w[:, None] / (1 + off**2)).astype(np.float32)
    cost = (1 - votes / votes.max(axis=1, keepdims=True)).reshape(rows, columns, -1)
    return np.repeat(np.repeat(cost, CELL, axis=0), CELL, axis=1)[:height, :width]
