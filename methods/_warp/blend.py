"""From warped references to one fill: weighted mean, membrane correction, TELEA for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, diags_array
from scipy.sparse.linalg import spsolve

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
ByteImage = npt.NDArray[np.uint8]

CLIP = 40.0  # grey levels: a larger difference at the hole's edge is a wrong warp, not shading
GRID = 4
SPREAD = 0.01
NO_OVERLAP_ERROR = 60.0  # grey levels, assumed of a reference that shows nothing of the known region


@dataclass(frozen=True)
class Candidate:
    """A reference in the target's frame: float colours H x W x 3, where they are valid, and their error.

    `error` is the root mean square difference, in grey levels, to the known pixels around the hole.
    """

    colour: Float32Array
    valid: BoolArray
    error: float


def overlap_error(colour: Float32Array, target: ByteImage, overlap: BoolArray) -> float:
    """Root mean square difference over `overlap`, in grey levels, at least 1."""
    if overlap.sum() < 64:
        return NO_OVERLAP_ERROR
    return max(float(np.sqrt(np.mean((colour[overlap] - target[overlap]) ** 2))), 1.0)


def merge(candidates: Sequence[Candidate]) -> tuple[Float32Array, BoolArray]:
    """Mean of the candidates by inverse squared error, and where there is one."""
    weight = np.stack([c.valid / c.error**2 for c in candidates])
    total = weight.sum(axis=0)
    mixed = sum(w[..., None] * c.colour for w, c in zip(weight, candidates, strict=True))
    return np.asarray(mixed / np.maximum(total, 1e-12)[..., None], dtype=np.float32), total > 0


def membrane(fill: Float32Array, target: ByteImage, hole: BoolArray, overlap: BoolArray) -> Float32Array:
    """`fill` plus the smoothest correction that meets the target around the hole.

    Poisson image editing (Perez et al. 2003, section 2) in its membrane form: the Laplace equation of the difference,
    on a coarse grid, free at the frame's border. The difference is averaged over a neighbourhood and clipped first,
    because single pixels at the edge are misaligned rather than badly exposed.
    """
    sigma = max(SPREAD * max(hole.shape), 1.0)
    weight = overlap.astype(np.float32)
    apart = np.clip(target.astype(np.float32) - fill, -CLIP, CLIP) * weight[..., None]
    size = max(hole.shape[1] // GRID, 1), max(hole.shape[0] // GRID, 1)
    share = cv2.resize(cv2.GaussianBlur(weight, (0, 0), sigma), size, interpolation=cv2.INTER_AREA)
    total = cv2.resize(cv2.GaussianBlur(apart, (0, 0), sigma), size, interpolation=cv2.INTER_AREA)
    inner = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.01
    fixed = ~inner & (share > 0.2)
    if not fixed.any():
        return fill
    values = np.where(fixed[..., None], total / np.maximum(share, 1e-3)[..., None], 0)
    correction = _laplace(values.reshape(-1, 3), fixed)
    return fill + np.asarray(cv2.resize(correction, hole.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _laplace(values: FloatArray | Float32Array, fixed: BoolArray) -> Float32Array:
    """Harmonic extension of `values` (pixels x 3) from the `fixed` pixels (H x W) to all, H x W x 3."""
    number = np.arange(fixed.size).reshape(fixed.shape)
    first = np.concatenate([number[:, :-1].ravel(), number[:-1].ravel()])
    second = np.concatenate([number[:, 1:].ravel(), number[1:].ravel()])
    half = coo_array((np.ones(len(first)), (first, second)), shape=(fixed.size, fixed.size))
    links = half + half.T
    hold = np.where(fixed.ravel(), 1e4, 1e-6)
    system = diags_array(links.sum(axis=1) + hold) - links
    solution = spsolve(system.tocsc(), hold[:, None] * values)
    return np.asarray(solution, dtype=np.float32).reshape(*fixed.shape, 3)
