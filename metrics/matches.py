"""Matches: how much of the hole's content corresponds to the references; needs no truth, so it can select seeds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from realbench.errors import Unsupported, UsageError
from realbench.metric import BaseMetric, Batch, Context, MetricCard, Score

if TYPE_CHECKING:
    from realbench.image import BoolImage, UInt8Image
    from realbench.scene import Scene

FloatArray = npt.NDArray[np.float64]

MIN_PAIRS = 8
"""Pairs that a fundamental matrix takes (eight-point algorithm)."""
CONFIDENCE = 0.999
ITERATIONS = 10_000
MAX_LINES = 200
"""Match lines kept for reports, a fill."""


class Backend(Protocol):
    """Finds corresponding points of two images. A detector-free matcher returns the image from `describe` and works in `pair`."""

    def describe(self, image: UInt8Image) -> Any:
        """What can be had from one image alone, H×W×3 RGB, 0–255."""

    def pair(self, reference: Any, fill: Any) -> FloatArray:
        """N×4: x, y in the reference and x, y in the fill, in pixels of the images given to `describe`."""


@dataclass(frozen=True)
class Config:
    """Everything the count depends on beside the images; the paper states none of it."""

    backend: str = "sift"
    features: int = 4096
    """Most key points an image."""
    ratio: float = 0.8
    """A pair counts when its distance is below this share of the distance to the second nearest."""
    geometry: str = "fundamental-magsac"
    """How pairs are verified: `fundamental-magsac` or `none`."""
    threshold: float = 1.5
    """Largest distance from the epipolar line, in pixels of the resized images."""
    size: int = 1024
    """Images with a longer side above this are scaled down to it."""
    combine: str = "sum"
    """How the references' counts become one: `sum`, `max` or `mean`."""

    def __post_init__(self) -> None:
        for name, known in (("backend", BACKENDS), ("geometry", GEOMETRIES), ("combine", COMBINERS)):
            if getattr(self, name) not in known:
                raise UsageError(f"matches: no {name} {getattr(self, name)!r}; the known ones are {', '.join(sorted(known))}")
        if min(self.features, self.size) < 1 or not (0 < self.ratio <= 1 and self.threshold > 0):
            raise UsageError(f"matches: features, size and threshold must be positive and ratio lie in 0–1, found {self}")


@dataclass(frozen=True)
class View:
    """One described image, and how many of its original pixels one of its resized pixels spans, in x and y."""

    described: Any
    scale: FloatArray

    def original(self, points: FloatArray) -> FloatArray:
        """N×2 points in pixels of the original image; pixel centres are whole numbers in both."""
        return (points + 0.5) * self.scale - 0.5


@dataclass(frozen=True)
class Prepared:
    """The references, described once, and the hole."""

    references: tuple[View, ...]
    mask: BoolImage


class Matches(BaseMetric):
    """Number of verified point matches between references and composite whose composite end lies in the hole."""

    card = MetricCard(
        id="matches",
        title="Matches",
        summary="Point matches with the references that agree on one epipolar geometry and end in the hole; needs no truth.",
        direction="higher",
        region="hole",
        image="composite",
        reads=("references",),
        unit="matches",
        digits=0,
        paper="RealFill, arXiv 2309.16668, seed selection; SIFT: Lowe 2004; MAGSAC++: arXiv 1912.05909",
    )
    Config: ClassVar[type] = Config

    def prepare(self, scene: Scene, *, context: Context) -> Prepared:
        """Describe the references. Raises Unsupported where there is none."""
        if not scene.references:
            raise Unsupported(f"scene {scene.id} has no reference to match with")
        return Prepared(tuple(self._view(image) for image in scene.references), scene.mask)

    def score(self, prepared: Prepared, batch: Batch) -> list[Score]:
        """Matches ≥ 0; too few pairs for a geometry count as 0. Artefacts: `counts` a reference, and `lines` (see docs/metrics.md)."""
        return [self._score(self._view(image), prepared) for image in batch.composite]

    @cached_property
    def _backend(self) -> Backend:
        return BACKENDS[self.config.backend](self.config)

    def _view(self, image: UInt8Image) -> View:
        import cv2

        height, width = image.shape[:2]
        shrink = min(1.0, self.config.size / max(height, width))
        size = max(1, round(width * shrink)), max(1, round(height * shrink))
        resized = image if shrink == 1.0 else cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        return View(self._backend.describe(resized), np.array([width / size[0], height / size[1]]))

    def _score(self, fill: View, prepared: Prepared) -> Score:
        found = [self._in_hole(reference, fill, prepared.mask) for reference in prepared.references]
        counts = [len(pairs) for pairs in found]
        numbered = [np.insert(pairs, 0, number, axis=1) for number, pairs in enumerate(found)]
        artefacts = {"counts": counts, "lines": _lines(np.concatenate(numbered))}
        return Score(float(COMBINERS[self.config.combine](counts)), artefacts=artefacts)

    def _in_hole(self, reference: View, fill: View, mask: BoolImage) -> FloatArray:
        """N×4 verified matches of one reference that end in the hole, in original pixels."""
        pairs = self._backend.pair(reference.described, fill.described)
        pairs = pairs[GEOMETRIES[self.config.geometry](pairs, self.config.threshold)]
        starts, ends = reference.original(pairs[:, :2]), fill.original(pairs[:, 2:])
        column, row = np.clip(np.rint(ends).astype(np.intp), 0, (mask.shape[1] - 1, mask.shape[0] - 1)).T
        inside = mask[row, column]
        return np.hstack([starts[inside], ends[inside]])


def _sift(config: Config) -> Backend:
    from ._sift import Sift

    return Sift(config.features, config.ratio)


def _fundamental_magsac(pairs: FloatArray, threshold: float) -> npt.NDArray[np.bool_]:
    """Which of the N×4 pairs agree on one fundamental matrix."""
    import cv2

    if len(pairs) < MIN_PAIRS:
        return np.zeros(len(pairs), np.bool_)
    # USAC draws from a generator of its own with a fixed seed, so the same pairs give the same answer.
    try:
        _, inliers = cv2.findFundamentalMat(pairs[:, :2], pairs[:, 2:], cv2.USAC_MAGSAC, threshold, CONFIDENCE, ITERATIONS)
    except cv2.error:  # pairs that fit no model at all can trip an assertion of OpenCV's
        inliers = None
    return np.zeros(len(pairs), np.bool_) if inliers is None else inliers.ravel().astype(np.bool_)


def _unverified(pairs: FloatArray, threshold: float) -> npt.NDArray[np.bool_]:
    return np.ones(len(pairs), np.bool_)


def _lines(numbered: FloatArray) -> list[list[float]]:
    """At most MAX_LINES rows [reference, x, y, x, y], spread evenly over the references, rounded to 0.1 pixels."""
    chosen = np.linspace(0, len(numbered) - 1, min(len(numbered), MAX_LINES)).round().astype(np.intp)
    return [[int(row[0]), *(round(float(value), 1) for value in row[1:])] for row in numbered[chosen]]


BACKENDS: Mapping[str, Callable[[Config], Backend]] = {"sift": _sift}
GEOMETRIES: Mapping[str, Callable[[FloatArray, float], npt.NDArray[np.bool_]]] = {
    "fundamental-magsac": _fundamental_magsac,
    "none": _unverified,
}
COMBINERS: Mapping[str, Callable[[list[int]], float]] = {"sum": sum, "max": max, "mean": statistics.fmean}
