"""Inverse depth of the target's pixels: plane sweep over the references, scene points as votes, semi-global matching.

In the known region the target itself takes part; inside the hole the references must agree with each other, which is
what makes depth observable where the target is blank. (GeoFill, Zhao et al. 2022, section 3, has a learned network
guess that depth from one photograph instead.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
import numpy.typing as npt

from .cameras import Camera, Transfer
from .photometric import resample
from .planes import vote_cost
from .semiglobal import aggregate, cheapest

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
ByteImage = npt.NDArray[np.uint8]
Box = tuple[slice, slice]

WINDOW = 7
NEUTRAL = 0.5  # matching cost where nothing can be compared
NOISE = 25.0  # variance, in squared grey levels, under which a window has no texture
COLOUR_RANGE = 40.0  # grey levels: a difference beyond it is no worse
COLOUR_SHARE = 0.5
MAX_LEVELS = 112
MAX_PAIRS = 12
NARROW = 0.2  # of the widest baseline: pairs of references closer together are not compared
VOTE_SHARE = 0.2
LONE_VOTE_SHARE = 1.0  # where nothing can be compared


def depth_levels(target: Camera, references: Sequence[Camera], points: FloatArray) -> Float32Array:
    """Inverse depths that span the scene points in the target's view with a margin.

    One step moves the target's centre by about one pixel in the widest reference, within MAX_LEVELS.
    """
    pixel, depth = target.project(points)
    size = np.array(target.size)
    inside = (depth > 0) & np.all((pixel > -0.1 * size) & (pixel < 1.1 * size), axis=1)
    low, high = np.percentile(1 / depth[inside], [0.5, 99.5]) * [0.8, 1.15]
    ends = [target.lift((size[None] - 1) / 2, np.array([v])) for v in (low, high)]
    span = max(float(np.linalg.norm(c.project(ends[0])[0] - c.project(ends[1])[0])) for c in references)
    return np.linspace(low, high, int(np.clip(span, 24, MAX_LEVELS)), dtype=np.float32)


@dataclass(frozen=True)
class Patch:
    """An image (float grey levels, H x W x 3) with the window statistics that its comparisons share."""

    colour: Float32Array
    grey: Float32Array
    mean: Float32Array
    variance: Float32Array

    @classmethod
    def of(cls, colour: Float32Array) -> Patch:
        """The patch of an image."""
        grey = np.asarray(cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY), dtype=np.float32)
        mean = cv2.blur(grey, (WINDOW, WINDOW))
        variance = np.maximum(cv2.blur(grey * grey, (WINDOW, WINDOW)) - mean * mean, 0)
        return cls(colour, grey, np.asarray(mean, np.float32), np.asarray(variance, np.float32))

    def cost(self, other: Patch) -> Float32Array:
        """Difference in [0, 1]: of texture (normalised cross-correlation) and of colour."""
        mean = cv2.blur(self.grey * other.grey, (WINDOW, WINDOW)) - self.mean * other.mean
        texture = 0.5 - 0.5 * mean / np.sqrt((self.variance + NOISE) * (other.variance + NOISE))
        apart = cv2.blur(np.abs(self.colour - other.colour).sum(axis=2) / 3, (3, 3))
        colour = np.minimum(apart / COLOUR_RANGE, 1)
        return np.asarray((1 - COLOUR_SHARE) * texture + COLOUR_SHARE * colour, dtype=np.float32)


def cost_volume(
    image: ByteImage,
    known: BoolArray,
    transfers: Sequence[Transfer],
    references: Sequence[Float32Array],
    depths: Float32Array,
) -> Float32Array:
    """Matching costs H x W x levels in [0, 1]: the mean over the better half of the comparisons at hand.

    `references` are float images in grey levels at the target's exposure.
    """
    pairs = wide_pairs([t.camera for t in transfers])
    own = Patch.of(image.astype(np.float32))
    trusted = cv2.erode(known.astype(np.uint8), np.ones((WINDOW, WINDOW), np.uint8), borderValue=1) > 0
    volume = np.empty((*known.shape, len(depths)), np.float32)
    for k, value in enumerate(depths):
        warped, valid = [], []
        for colour, transfer in zip(references, transfers, strict=True):
            place, inside = transfer(float(value))
            warped.append(Patch.of(resample(colour, place)))
            valid.append(inside)
        costs = [np.where(v & trusted, own.cost(w), np.inf) for w, v in zip(warped, valid, strict=True)]
        for i, j in pairs:
            costs.append(np.where(valid[i] & valid[j] & ~trusted, warped[i].cost(warped[j]), np.inf))
        volume[:, :, k] = better_half(np.stack(costs))
    return volume


def wide_pairs(cameras: Sequence[Camera]) -> list[tuple[int, int]]:
    """Pairs of cameras far enough apart to say something on depth: two shots from one place agree at any depth.

    At most MAX_PAIRS, of the first cameras before the last.
    """
    apart = {(i, j): float(np.linalg.norm(a.centre - b.centre)) for (i, a), (j, b) in combinations(enumerate(cameras), 2)}
    wide = [pair for pair, length in apart.items() if length >= NARROW * max(apart.values())]
    return sorted(wide, key=sum)[:MAX_PAIRS]


def better_half(costs: FloatArray | Float32Array) -> Float32Array:
    """Mean over the lower half of the finite numbers along the first axis (an occluded view agrees with nobody)."""
    ranked = np.sort(costs, axis=0)
    half = (np.isfinite(ranked).sum(axis=0) + 1) // 2
    use = np.arange(len(ranked))[:, None, None] < half
    total = np.where(use, ranked, 0).sum(axis=0)
    return np.where(half > 0, total / np.maximum(half, 1), NEUTRAL).astype(np.float32)


def inverse_depth(
    image: ByteImage,
    known: BoolArray,
    target: Camera,
    references: Sequence[tuple[Float32Array, Camera]],
    points: FloatArray,
    box: Box,
) -> Float32Array:
    """Inverse depth of the pixels of `box`; `image` and `known` are cut to it, `target` is the whole frame's camera."""
    transfers = [Transfer.between(target, camera, box) for _, camera in references]
    depths = depth_levels(target, [camera for _, camera in references], points)
    volume = cost_volume(image, known, transfers, [colour for colour, _ in references], depths)
    blind = np.ptp(volume, axis=2, keepdims=True) == 0
    volume += np.where(blind, LONE_VOTE_SHARE, VOTE_SHARE) * vote_cost(target, points, box, depths)
    return np.asarray(cv2.medianBlur(cheapest(aggregate(volume), depths), 5), np.float32)
