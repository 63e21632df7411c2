"""Cameras and scene points from tracks: incremental structure from motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from .bundle import Observations, adjust
from .cameras import Camera
from .matching import Pair, Tracks

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

MIN_POINTS = 12
MAX_STARTS = 4
PNP_PX = 4.0
KEEP_PX = 3.0
MIN_ANGLE = np.deg2rad(0.5)


@dataclass(frozen=True)
class Structure:
    """Cameras by photograph number, scene points N x 3, and which cameras see which point (N x photographs)."""

    cameras: dict[int, Camera]
    points: FloatArray
    seen: BoolArray

    def pixels(self, number: int) -> FloatArray:
        """Where photograph `number` shows the points that it sees, N x 2."""
        return self.cameras[number].project(self.points[self.seen[:, number]])[0]


def common_focal(pairs: Sequence[Pair], sizes: Sequence[tuple[int, int]]) -> float:
    """Focal length over the long side that makes the fundamental matrices most nearly essential.

    An essential matrix has two equal singular values; the ratio is searched on a grid, and 1 is the mild prior.
    """
    grid = np.geomspace(0.6, 2.4, 25)
    cost = 0.02 * np.log(grid) ** 2
    for pair in pairs:
        for k, ratio in enumerate(grid):
            left, right = (_calibration(sizes[i], ratio) for i in (pair.second, pair.first))
            values = np.linalg.svd(left.T @ pair.epipolar @ right, compute_uv=False)
            cost[k] += (1 - values[1] / values[0]) * len(pair.matches) / sum(len(p.matches) for p in pairs)
    return float(grid[cost.argmin()])


def _calibration(size: tuple[int, int], ratio: float) -> FloatArray:
    return Camera(np.zeros(3), np.zeros(3), ratio * max(size), 0.0, size).matrix


def _vector(column: npt.ArrayLike) -> FloatArray:
    return np.asarray(column, dtype=np.float64).ravel()


class Reconstruction:
    """The growing set of cameras and points (the state of one run)."""

    def __init__(self, tracks: Tracks, sizes: Sequence[tuple[int, int]], ratio: float) -> None:
        self.tracks = tracks
        self.blank = [Camera(np.zeros(3), np.zeros(3), ratio * max(s), 0.0, s) for s in sizes]
        self.cameras: dict[int, Camera] = {}
        self.points = np.full((tracks.count, 3), np.nan)
        self.table = np.full((len(sizes), tracks.count), -1, np.int64)
        self.table[tracks.view, tracks.point] = np.arange(len(tracks.view))

    def start(self, pair: tuple[int, int]) -> int:
        """Reset to two views; returns the number of well-angled points that they give."""
        a, b = pair
        both = np.flatnonzero((self.table[a] >= 0) & (self.table[b] >= 0))
        if len(both) < MIN_POINTS:
            return 0
        self.cameras.clear()
        self.points[:] = np.nan
        left = self.blank[a].rays(self.tracks.xy[self.table[a, both]])
        right = self.blank[b].rays(self.tracks.xy[self.table[b, both]])
        cv2.setRNGSeed(7)
        essential, inlier = cv2.findEssentialMat(
            left, right, np.eye(3), method=cv2.RANSAC, prob=0.9999, threshold=1.5 / self.blank[a].focal
        )
        if essential is None or essential.shape != (3, 3):
            return 0
        _, rotation, translation, _ = cv2.recoverPose(essential, left, right, np.eye(3), mask=inlier)[:4]
        self.cameras[a] = self.blank[a]
        self.cameras[b] = Camera(_vector(cv2.Rodrigues(rotation)[0]), _vector(translation), self.blank[b].focal, 0.0, self.blank[b].size)
        self.triangulate()
        self.refine()
        return int((self._angles() > 2 * MIN_ANGLE).sum())

    def triangulate(self) -> None:
        """Give every track that two cameras see a point, by the linear method on undistorted rays."""
        normal = np.zeros((self.tracks.count, 4, 4))
        views = np.zeros(self.tracks.count, np.int64)
        for i, camera in self.cameras.items():
            here = np.flatnonzero(self.table[i] >= 0)
            ray, pose = camera.rays(self.tracks.xy[self.table[i, here]]), camera.pose
            rows = ray[:, :, None] * pose[2] - pose[:2]
            normal[here] += rows.transpose(0, 2, 1) @ rows
            views[here] += 1
        ready = np.flatnonzero((views >= 2) & np.isnan(self.points[:, 0]))
        if ready.size:
            last = np.linalg.eigh(normal[ready])[1][:, :, 0]
            self.points[ready] = last[:, :3] / np.where(np.abs(last[:, 3:]) < 1e-9, 1e-9, last[:, 3:])
        self.prune()

    def prune(self) -> None:
        """Forget observations' points that lie behind a camera, reproject badly or have no parallax."""
        bad = np.zeros(self.tracks.count, bool)
        for i, camera in self.cameras.items():
            here = np.flatnonzero((self.table[i] >= 0) & ~np.isnan(self.points[:, 0]))
            pixel, depth = camera.project(self.points[here])
            error = np.linalg.norm(pixel - self.tracks.xy[self.table[i, here]], axis=1)
            bad[here] |= (depth <= 0) | (error > KEEP_PX)
        alive = ~np.isnan(self.points[:, 0])
        bad[alive] |= self._angles() < MIN_ANGLE
        self.points[bad] = np.nan

    def _angles(self) -> FloatArray:
        """Largest angle between two viewing rays of each live point."""
        alive = np.flatnonzero(~np.isnan(self.points[:, 0]))
        rays = []
        for i, camera in self.cameras.items():
            ray = self.points[alive] - camera.centre
            ray /= np.linalg.norm(ray, axis=1, keepdims=True)
            rays.append(np.where((self.table[i, alive] >= 0)[:, None], ray, np.nan))
        stack = np.stack(rays)
        cosine = np.einsum("apk,bpk->abp", stack, stack)
        lowest = np.nanmin(cosine.reshape(-1, len(alive)), axis=0) if len(alive) else np.zeros(0)
        return np.asarray(np.arccos(np.clip(lowest, -1, 1)))

    def refine(self) -> None:
        """Bundle adjustment of everything so far, then pruning."""
        numbers = sorted(self.cameras)
        alive = np.flatnonzero(~np.isnan(self.points[:, 0]))
        if len(alive) < MIN_POINTS:
            return
        rows = [(k, self.table[i, alive]) for k, i in enumerate(numbers)]
        view = np.concatenate([np.full(int((r >= 0).sum()), k) for k, r in rows])
        point = np.concatenate([np.flatnonzero(r >= 0) for _, r in rows])
        xy = self.tracks.xy[np.concatenate([r[r >= 0] for _, r in rows])]
        seen = Observations(view.astype(np.int64), point.astype(np.int64), xy)
        cameras, points = adjust([self.cameras[i] for i in numbers], self.points[alive], seen, [self.blank[i] for i in numbers])
        self.cameras = dict(zip(numbers, cameras, strict=True))
        self.points[alive] = points
        self.prune()

    def add(self, number: int) -> bool:
        """Pose a further photograph by PnP on the points it sees; False when that fails."""
        here = np.flatnonzero((self.table[number] >= 0) & ~np.isnan(self.points[:, 0]))
        if len(here) < MIN_POINTS:
            return False
        blank = self.blank[number]
        cv2.setRNGSeed(7)
        found, rotation, translation, inlier = cv2.solvePnPRansac(
            self.points[here],
            self.tracks.xy[self.table[number, here]],
            blank.matrix,
            None,
            iterationsCount=2000,
            reprojectionError=PNP_PX * 2,
            confidence=0.9999,
            flags=cv2.SOLVEPNP_SQPNP,
        )
        if not found or inlier is None or len(inlier) < MIN_POINTS:
            return False
        self.cameras[number] = Camera(_vector(rotation), _vector(translation), blank.focal, 0.0, blank.size)
        wrong = np.setdiff1d(here, here[inlier.ravel()])
        self.table[number, wrong] = -1
        return True

    def next_view(self, tried: set[int]) -> int | None:
        """The photograph, neither posed nor tried, that sees most points."""
        alive = ~np.isnan(self.points[:, 0])
        count = {i: int(((self.table[i] >= 0) & alive).sum()) for i in range(len(self.blank))}
        left = [i for i in count if i not in self.cameras and i not in tried and count[i] >= MIN_POINTS]
        return max(left, key=lambda i: count[i]) if left else None


def reconstruct(pairs: Sequence[Pair], tracks: Tracks, sizes: Sequence[tuple[int, int]]) -> Structure | None:
    """Cameras and points of the photographs that hang together with the target (number 0); None when nothing does.

    The pair that gives most well-angled points starts; where its structure doesn't reach the target, the next does.
    """
    if not pairs:
        return None
    ratio = common_focal(pairs, sizes)
    state = Reconstruction(tracks, sizes, ratio)
    ranked = sorted(pairs, key=lambda p: -len(p.matches))
    best = ranked[:8] + [p for p in ranked[8:] if p.first == 0][:2]
    score = {(p.first, p.second): state.start((p.first, p.second)) for p in best}
    for first in sorted(score, key=lambda k: -score[k])[:MAX_STARTS]:
        if score[first] < MIN_POINTS:
            break
        state = Reconstruction(tracks, sizes, ratio)
        state.start(first)
        _grow(state)
        if 0 in state.cameras:
            alive = np.flatnonzero(~np.isnan(state.points[:, 0]))
            return Structure(state.cameras, state.points[alive], (state.table[:, alive] >= 0).T)
    return None


def _grow(state: Reconstruction) -> None:
    """Add the other photographs one by one, each with its points and a bundle adjustment."""
    tried: set[int] = set()
    while (number := state.next_view(tried)) is not None:
        tried.add(number)
        if state.add(number):
            state.refine()
            state.triangulate()
            state.refine()
    for _ in range(2):
        state.triangulate()
        state.refine()
