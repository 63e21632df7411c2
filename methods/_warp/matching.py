"""Features, verified matches and tracks between a set of photographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
ByteImage = npt.NDArray[np.uint8]

RATIO = 0.8
CONTRAST = 0.005
EPIPOLAR_PX = 1.5
MIN_MATCHES = 16


@dataclass(frozen=True)
class Features:
    """Key points of one photograph: `xy` is N x 2 in pixels, `descriptors` N x 128 of unit length (RootSIFT)."""

    xy: FloatArray
    descriptors: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """Verified matches of photographs `first` and `second`; `matches` is M x 2 feature numbers, `epipolar` is F."""

    first: int
    second: int
    matches: IntArray
    epipolar: FloatArray


@dataclass(frozen=True)
class Tracks:
    """Observations of scene points: row i says that `view[i]` sees point `point[i]` at pixel `xy[i]`."""

    view: IntArray
    point: IntArray
    xy: FloatArray

    @property
    def count(self) -> int:
        """Number of scene points."""
        return int(self.point.max()) + 1 if self.point.size else 0


def detect(image: ByteImage, known: BoolArray | None = None, *, limit: int = 4000) -> Features:
    """SIFT key points with RootSIFT descriptors; none within reach of a pixel that is not `known`."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    allowed = None
    if known is not None:
        # a descriptor that straddles the hole's edge would describe the blank
        allowed = cv2.erode(known.astype(np.uint8), np.ones((9, 9), np.uint8), borderValue=1)
    sift = cv2.SIFT.create(nfeatures=limit, contrastThreshold=CONTRAST)
    points, raw = sift.detectAndCompute(grey, allowed)
    if raw is None or len(points) == 0:
        return Features(np.zeros((0, 2)), np.zeros((0, 128), np.float32))
    raw = np.sqrt(raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-9))
    return Features(np.array([p.pt for p in points], dtype=np.float64), raw.astype(np.float32))


def mutual_matches(first: Features, second: Features) -> IntArray:
    """Mutual nearest neighbours that pass Lowe's ratio test, as M x 2 feature numbers."""
    if min(len(first.xy), len(second.xy)) < 2:
        return np.zeros((0, 2), np.int64)
    similarity = first.descriptors @ second.descriptors.T
    best = similarity.argmax(axis=1)
    rows = np.arange(len(best))
    top = similarity[rows, best]
    back = similarity.argmax(axis=0)
    similarity[rows, best] = -1.0
    distance, runner_up = 1.0 - top, 1.0 - similarity.max(axis=1)
    good = (back[best] == rows) & (distance < RATIO**2 * runner_up)
    return np.stack([rows[good], best[good]], axis=1).astype(np.int64)


def usac(threshold: float) -> cv2.UsacParams:
    """MAGSAC++ (Barath et al. 2020) with local optimisation, seeded so that equal input gives equal output."""
    params = cv2.UsacParams()
    params.threshold = threshold
    params.confidence = 0.9999
    params.maxIterations = 5000
    params.randomGeneratorState = 7
    params.score = cv2.SCORE_METHOD_MAGSAC
    params.loMethod = cv2.LOCAL_OPTIM_SIGMA
    params.loIterations = 10
    params.loSampleSize = 20
    return params


def verify(first: Features, second: Features, matches: IntArray) -> tuple[IntArray, FloatArray] | None:
    """The matches that obey one epipolar geometry, and its fundamental matrix; None when there are too few."""
    if len(matches) < MIN_MATCHES:
        return None
    a, b = first.xy[matches[:, 0]], second.xy[matches[:, 1]]
    try:
        epipolar, inlier = cv2.findFundamentalMat(a, b, usac(EPIPOLAR_PX))
    except cv2.error:  # USAC trips over its own degenerate model on some planar scenes; plain RANSAC does not
        cv2.setRNGSeed(7)
        epipolar, inlier = cv2.findFundamentalMat(a, b, cv2.FM_RANSAC, EPIPOLAR_PX, 0.9999, 5000)
    if epipolar is None or epipolar.shape != (3, 3) or inlier.sum() < MIN_MATCHES:
        return None
    return matches[inlier.ravel() > 0], np.asarray(epipolar, np.float64)


def match_all(features: Sequence[Features]) -> list[Pair]:
    """Every verified pair of photographs."""
    pairs = []
    for i, j in combinations(range(len(features)), 2):
        found = verify(features[i], features[j], mutual_matches(features[i], features[j]))
        if found is not None:
            pairs.append(Pair(i, j, *found))
    return pairs


def build_tracks(features: Sequence[Features], pairs: Sequence[Pair]) -> Tracks:
    """Join pairwise matches to tracks; a track that meets one photograph twice contradicts itself and is dropped."""
    start = np.concatenate([[0], np.cumsum([len(f.xy) for f in features])])
    total = int(start[-1])
    ends = [p.matches + start[[p.first, p.second]] for p in pairs]
    edges = np.concatenate(ends) if ends else np.zeros((0, 2), np.int64)
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(total, total))
    label = connected_components(graph, directed=False)[1]
    view = np.searchsorted(start, np.arange(total), side="right") - 1
    size = np.bincount(label, minlength=1)
    distinct = np.bincount(np.unique(np.stack([label, view]), axis=1)[0], minlength=len(size))
    keep = ((size > 1) & (size == distinct))[label]
    xy = np.concatenate([f.xy for f in features])[keep]
    point = np.unique(label[keep], return_inverse=True)[1]
    return Tracks(view[keep].astype(np.int64), point.astype(np.int64), xy)
