"""Single-image completion by PatchMatch, vectorised in numpy: every step treats all patches of a level at once.

Barnes et al., "PatchMatch: A Randomized Correspondence Algorithm for Structural Image Editing", SIGGRAPH 2009. The search is that
of section 3 (random start, propagation, random search; propagation runs in parallel, with jump-flooding strides). The completion
is that of section 4, after Wexler et al., "Space-Time Completion of Video", PAMI 2007: from coarse to fine, find for each patch
that touches the hole the most similar patch of the known region, let all patches over a hole pixel vote on its colour, repeat.

A patch is named by the flat index of its top-left pixel in the image, its *position*; a displacement is a difference of positions.
A displacement that leaves one side of the image comes in on the other: a poor candidate, which is then judged like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from realbench.image import BoolImage, UInt8Image

from ._opencv import inpaint

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]

COMPONENTS = 24
"""Patches are compared by their first principal components: several times faster, with nearly the same neighbours."""
LEARNED_PATCHES = 4000
STRIDES = (8, 4, 2, 1)
RADIUS = 32
"""First radius of the random search around the best match, halved down to 1; one more draw covers the whole known region."""
ROUNDS = 48
"""Rounds of search and vote at the coarsest level, halved from level to level down to the setting's `iterations`."""
SEARCHES = 2
"""Searches (propagation and random search) a round."""
FALLOFF = 1.3
"""A patch's vote loses this factor with each pixel that its centre lies deeper in the hole (Wexler et al.)."""
MAX_DEPTH = 40.0
MIN_SOURCES = 64
"""Known patches that a level coarser than the image itself must have."""
CHUNK = 16384


class TooFewKnown(Exception):
    """No patch of the size asked for lies in the known region."""


@dataclass(frozen=True, eq=False)
class Level:
    """One level of the pyramid."""

    image: Floats
    """h×w×3, 0–255; its hole holds the present estimate."""
    hole: BoolImage
    side: int
    """Side of a patch, in pixels."""
    is_source: Bools
    """By position: the patch lies in the known region alone."""
    sources: Positions
    targets: Positions
    """Patches that touch the hole: those to be matched."""

    @classmethod
    def of(cls, image: Floats, hole: BoolImage, side: int) -> Level:
        """A level with the patches that lie within the image."""
        import cv2

        inside = np.zeros(hole.shape, np.bool_)
        inside[: max(0, hole.shape[0] - side + 1), : max(0, hole.shape[1] - side + 1)] = True
        window = np.ones((side, side), np.uint8)
        touching = cv2.dilate(hole.astype(np.uint8), window, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
        is_source = (inside & ~touching).ravel()
        return cls(image, hole, side, is_source, np.flatnonzero(is_source), np.flatnonzero(inside & touching))

    @property
    def width(self) -> int:
        """Pixels in a row, so the displacement of one row."""
        return int(self.hole.shape[1])

    @property
    def colours(self) -> Floats:
        """The image as a view, one pixel a row."""
        return self.image.reshape(-1, 3)

    @property
    def offsets(self) -> Positions:
        """Displacement of each pixel of a patch from its position."""
        y, x = np.divmod(np.arange(self.side**2), self.side)
        return y * self.width + x

    def patches(self, positions: Positions) -> Iterator[Floats]:
        """The patches' colours, one patch a row, in pieces that fit into the cache."""
        for start in range(0, len(positions), CHUNK):
            part = positions[start : start + CHUNK]
            yield self.colours[part[:, None] + self.offsets].reshape(len(part), -1)


def complete(
    target: UInt8Image,
    mask: BoolImage,
    *,
    seed: int,
    side: int = 7,
    iterations: int = 3,
    max_levels: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> UInt8Image:
    """Fill the hole of an H×W×3 image, 0–255, from patches of side × side pixels of its known region.

    At most max_levels levels (0: as many as the hole is deep), `iterations` rounds at the finest. The result depends on the seed
    alone. Memory: about 200 bytes a pixel. Raises TooFewKnown when no patch lies in the known region.
    """
    if not mask.any():
        return target.copy()
    rng = np.random.default_rng(seed)
    levels = _pyramid(target, mask, side, max_levels)
    coarse, match = levels[0], np.empty(0, np.int64)
    for index, level in enumerate(levels):
        search = Search(level, rng)
        if index == 0:
            level.image[:] = inpaint(np.rint(level.image).astype(np.uint8), level.hole, "telea")
            match = rng.choice(level.sources, len(level.targets))
        else:
            match = _refine(coarse, match, level)
            search.vote(match, np.zeros(len(match), np.float32))
        for _ in range(max(iterations, ROUNDS >> index)):
            match, costs = search.improve(match)
            search.vote(match, costs)
        coarse = level
        progress(index + 1, len(levels))
    result = np.clip(np.rint(coarse.image), 0, 255).astype(np.uint8)
    return np.where(mask[..., None], result, target)


class Search:
    """Matching and voting on one level."""

    def __init__(self, level: Level, rng: np.random.Generator) -> None:
        self.level = level
        self._rng = rng
        self._axes = _principal_axes(level, rng)
        self._known = np.zeros((level.hole.size, self._axes.shape[1]), np.float32)
        self._known[level.sources] = self._describe(level.sources)
        self._row = np.full(level.hole.size, -1, np.int64)
        self._row[level.targets] = np.arange(len(level.targets))
        self._trust = _trust(level)

    def improve(self, match: Positions) -> tuple[Positions, Floats]:
        """A better source for each target, given one for each, and its squared distance."""
        self._wanted = self._describe(self.level.targets)
        self._match = match.copy()
        self._costs = self._cost(match, self._wanted)
        for _ in range(SEARCHES):
            self._propagate()
            self._draw()
        return self._match, self._costs

    def vote(self, match: Positions, costs: Floats) -> None:
        """Set each hole pixel to the mean of what the patches over it propose (Wexler et al., section 3.3), weighted by similarity."""
        level = self.level
        spread = max(2 * float(np.quantile(costs, 0.75)), 1e-6)
        weights = (np.exp(-np.minimum(costs / spread, 20)) * self._trust).astype(np.float32)
        total = np.zeros(level.hole.size, np.float32)
        colours = np.zeros((level.hole.size, 3), np.float32)
        for offset in level.offsets:
            # Within one offset each target writes to another pixel, so that plain indexing adds up right.
            total[level.targets + offset] += weights
            colours[level.targets + offset] += level.colours[match + offset] * weights[:, None]
        hole = level.hole.ravel()
        level.colours[hole] = colours[hole] / total[hole, None]

    def _describe(self, positions: Positions) -> Floats:
        return np.concatenate([patches @ self._axes for patches in self.level.patches(positions)])

    def _cost(self, sources: Positions, wanted: Floats) -> Floats:
        difference = self._known[sources] - wanted
        return np.asarray(np.einsum("ij,ij->i", difference, difference), np.float32)

    def _propagate(self) -> None:
        """Offer each target what its neighbours at each stride found, moved along (Barnes et al., section 3.2)."""
        size, width = self.level.hole.size, self.level.width
        for stride in STRIDES:
            for step in (stride, -stride, stride * width, -stride * width):
                neighbours = self.level.targets - step
                row = self._row[np.clip(neighbours, 0, size - 1)]
                offered = self._match[row] + step
                self._offer(offered, (row >= 0) & (offered >= 0) & (offered < size))

    def _draw(self) -> None:
        """Offer each target a source from anywhere, and some ever closer to its best one (Barnes et al., section 3.2)."""
        count, (height, width) = len(self._match), self.level.hole.shape
        everywhere = np.ones(count, np.bool_)
        self._offer(self._rng.choice(self.level.sources, count), everywhere)
        radius = RADIUS
        while radius >= 1:
            y, x = np.divmod(self._match, width)
            y = np.clip(y + self._rng.integers(-radius, radius + 1, count), 0, height - 1)
            x = np.clip(x + self._rng.integers(-radius, radius + 1, count), 0, width - 1)
            self._offer(y * width + x, everywhere)
            radius //= 2

    def _offer(self, offered: Positions, valid: Bools) -> None:
        """Take the offered positions that are sources and fit better than the present match."""
        rows = np.flatnonzero(valid & (offered != self._match))
        rows = rows[self.level.is_source[offered[rows]]]
        costs = self._cost(offered[rows], self._wanted[rows])
        better = costs < self._costs[rows]
        rows = rows[better]
        self._match[rows] = offered[rows]
        self._costs[rows] = costs[better]


def _pyramid(target: UInt8Image, mask: BoolImage, side: int, max_levels: int) -> list[Level]:
    """Levels from coarse to fine, each half the size of the next, until the hole is no deeper than half a patch."""
    levels = [Level.of(target.astype(np.float32), mask, side)]
    if not len(levels[0].sources):
        raise TooFewKnown
    while len(levels) != max_levels and _depth(levels[-1].hole).max() > side / 2:
        coarser = _halve(levels[-1])
        if len(coarser.sources) < MIN_SOURCES or not len(coarser.targets):
            break
        levels.append(coarser)
    return levels[::-1]


def _halve(level: Level) -> Level:
    """The level at half the size: a pixel is known where at least half of its area is, and only known pixels enter its colour."""
    import cv2

    height, width = level.hole.shape
    size = ((width + 1) // 2, (height + 1) // 2)
    known = (~level.hole).astype(np.float32)
    share = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
    colours = cv2.resize(level.image * known[..., None], size, interpolation=cv2.INTER_AREA)
    image = colours / np.maximum(share, 1e-6)[..., None]
    return Level.of(np.ascontiguousarray(image, np.float32), share < 0.5, level.side)


def _depth(hole: BoolImage) -> Floats:
    """Distance in pixels of each hole pixel from the known region; the image's border does not count as known."""
    import cv2

    return np.asarray(cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)


def _trust(level: Level) -> Floats:
    """The weight of each target's vote by the depth of its centre."""
    half = level.side // 2
    centres = level.targets + half * (level.width + 1)
    return np.asarray(FALLOFF ** -np.minimum(_depth(level.hole).ravel()[centres], MAX_DEPTH), np.float32)


def _principal_axes(level: Level, rng: np.random.Generator) -> Floats:
    """Orthonormal axes along which known patches differ most, one a column."""
    count = min(len(level.sources), LEARNED_PATCHES)
    patches = np.concatenate(list(level.patches(rng.choice(level.sources, count, replace=False)))).astype(np.float64)
    patches -= patches.mean(axis=0)
    axes = np.linalg.eigh(patches.T @ patches)[1]
    return np.ascontiguousarray(axes[:, ::-1][:, :COMPONENTS], np.float32)


def _refine(coarse: Level, match: Positions, fine: Level) -> Positions:
    """A source for each target of the next finer level: displacements double, and the nearest source stands in for what is none."""
    is_target = np.zeros(coarse.hole.size, np.bool_)
    is_target[coarse.targets] = True
    row = np.zeros(coarse.hole.size, np.int64)
    row[coarse.targets] = np.arange(len(match))
    y, x = np.divmod(fine.targets, fine.width)
    half = fine.side // 2
    # Patches correspond by their centres, not by their corners.
    parents = row[_nearest(is_target, coarse, (y + half) // 2 - half, (x + half) // 2 - half)]
    from_y, from_x = np.divmod(coarse.targets[parents], coarse.width)
    to_y, to_x = np.divmod(match[parents], coarse.width)
    return _nearest(fine.is_source, fine, y + 2 * (to_y - from_y), x + 2 * (to_x - from_x))


def _nearest(wanted: Bools, level: Level, y: Positions, x: Positions) -> Positions:
    """The wanted position nearest to each point (clipped to the image)."""
    from scipy.ndimage import distance_transform_edt

    height, width = level.hole.shape
    rows, columns = distance_transform_edt(~wanted.reshape(height, width), return_distances=False, return_indices=True)
    y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    return np.asarray(rows[y, x] * width + columns[y, x], np.int64)
