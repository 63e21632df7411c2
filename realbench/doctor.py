"""The doctor: what is wrong with a scene, or likely to be, and how to mend it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from realbench.errors import SceneError
from realbench.image import BoolImage, UInt8Image
from realbench.scene import Scene
from realbench.suite import Suite

LEVELS = 8
"""Two pixels are alike when no channel differs by more than this, of 255."""
DIFFERING_SHARE = 0.01
"""Share of known pixels in which the truth may differ from the target."""
SHOWN_SHARE = 0.9
"""Share of hole pixels alike in target and truth from which on the target is said to show the truth."""
FLAT_SHARE = 0.9
"""A region is flat when this share of its pixels is like its median colour."""
INVERTED_SHARE = 0.95
"""A hole that covers more of the target than this is likely to be the known region."""
COPY_SHIFT = 2
"""Pixels by which a copy of the truth may be shifted."""
COPY_LEVELS = 2.0
"""Mean difference over all samples, of 255, below which a reference is a copy of the truth."""
COPY_ASPECT = 0.01
"""Relative difference in aspect ratio that a copy of the truth may have."""
COPY_SCALE = 4
"""A reference is compared at its own size if that is smaller than the truth's, but at no less than a fourth of it."""
GLANCE_SCALE = 16
GLANCE_LEVELS = 8.0
"""Mean difference, at a sixteenth of the size, above which no shift of COPY_SHIFT pixels makes a copy."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a scene."""

    scene: str
    level: Literal["error", "warning"]
    """`error`: the scene cannot be used; `warning`: it can, but look at it first."""
    message: str
    """What was found, and in which file."""
    mend: str
    """What to do."""

    def __str__(self) -> str:
        return f"{self.scene}: {self.level}: {self.message}; {self.mend}"


def examine(suite: Suite) -> Iterator[tuple[str, list[Finding]]]:
    """Load and inspect every scene, and yield (id, findings) as each is done; a scene that cannot be loaded is an error finding."""
    for id in suite.ids:
        try:
            scene = suite.load(id)
        except SceneError as error:
            yield id, [_finding(id, "error", str(error))]
            continue
        yield id, [*(_finding(id, "warning", text) for text in scene.warnings), *inspect(scene)]


def inspect(scene: Scene) -> list[Finding]:
    """What is suspicious in a scene's content, as warnings; what its loading had to say is in `Scene.warnings`."""
    return [_finding(scene.id, "warning", text) for text in (*_of_mask(scene), *_of_references(scene))]


def _finding(scene: str, level: Literal["error", "warning"], text: str) -> Finding:
    """Split `what was found; what to do`, the form of every SceneError and warning."""
    message, _, mend = text.rpartition("; ")
    return Finding(scene, level, message, mend) if message else Finding(scene, level, mend, "see docs/scenes.md")


def _of_mask(scene: Scene) -> Iterator[str]:
    """Whether mask, target and truth go together."""
    like = None if scene.truth is None else _alike(scene.target, scene.truth)
    if scene.mask.all():
        yield "target/mask: the hole covers the whole target, no pixel is known; paint the known region black"
    elif evidence := _evidence_of_inversion(scene, like):
        yield f"target/mask: likely inverted, {evidence}; white is the hole, invert the mask if that is what happened"
        return
    if like is None or scene.truth is None:
        return
    known, hole = ~scene.mask, scene.mask
    differing = float((~like[known]).mean()) if known.any() else 0.0
    if differing > DIFFERING_SHARE:
        yield (
            f"target/gt: differs from the target by more than {LEVELS} levels in {differing:.1%} of the known pixels; "
            "make the target from gt by painting its hole, without scaling or lossy compression"
        )
    shown = float(like[hole].mean())
    if shown >= SHOWN_SHARE and not _is_flat(scene.truth[hole]):
        yield f"target/target: still shows the truth in {shown:.1%} of the hole; paint its hole white"


def _evidence_of_inversion(scene: Scene, like: BoolImage | None) -> str:
    """Why hole and known region seem to be swapped, or nothing."""
    known, hole = ~scene.mask, scene.mask
    if like is not None:
        inside, outside = float(like[hole].mean()), float(like[known].mean())
        blank = outside < 0.5 or (outside < 1 - DIFFERING_SHARE and _is_flat_outside_only(scene))
        if inside >= SHOWN_SHARE and blank:
            return f"target and gt agree in {inside:.0%} of the hole, but only in {outside:.0%} of the known region"
    elif _is_flat_outside_only(scene):
        return "the target is flat in the known region and not in the hole"
    if scene.hole_share > INVERTED_SHARE:
        return f"the hole covers {scene.hole_share:.1%} of the target"
    return ""


def _is_flat_outside_only(scene: Scene) -> bool:
    return _is_flat(scene.target[~scene.mask]) and not _is_flat(scene.target[scene.mask])


def _is_flat(pixels: npt.NDArray[np.uint8]) -> bool:
    """Whether nearly all of N×3 pixels are like their median colour."""
    median = np.median(pixels, axis=0)
    return bool(np.mean((np.abs(pixels - median) <= LEVELS).all(axis=1)) >= FLAT_SHARE)


def _alike(first: UInt8Image, second: UInt8Image) -> BoolImage:
    """H×W, True where no channel differs by more than LEVELS."""
    import cv2

    difference = np.asarray(cv2.absdiff(first, second))
    return np.asarray((difference <= LEVELS).all(axis=2))


def _of_references(scene: Scene) -> Iterator[str]:
    """Whether the truth is given away."""
    if scene.truth is None:
        return
    for index, reference in enumerate(scene.references):
        name = scene.reference_names[index] if index < len(scene.reference_names) else str(index)
        difference = _difference_as_copy(scene.truth, reference)
        if difference < COPY_LEVELS:
            yield f"ref/{name}: is the ground truth or a near-duplicate of it (mean difference {difference:.2f} levels); remove it"


def _difference_as_copy(truth: UInt8Image, reference: UInt8Image) -> float:
    """Smallest mean difference (levels of 255) of the two over shifts up to COPY_SHIFT pixels; infinite where they are no copies.

    A copy may be scaled, so both are brought to the coarser of their sizes; one that lost a margin is compared as it is, too.
    """
    (height, width), (other_height, other_width) = truth.shape[:2], reference.shape[:2]
    if abs(other_width * height / (other_height * width) - 1) > COPY_ASPECT:
        return math.inf
    glance = max(1, width // GLANCE_SCALE), max(1, height // GLANCE_SCALE)
    if _mean_difference(_resized(truth, glance), _resized(reference, glance)) > GLANCE_LEVELS:
        return math.inf
    scale = min(1.0, max(other_height / height, 1 / COPY_SCALE))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    smallest = _smallest_difference(_resized(truth, size), _resized(reference, size), math.ceil(COPY_SHIFT * scale))
    if 0 < max(abs(other_height - height), abs(other_width - width)) <= 2 * COPY_SHIFT:
        smallest = min(smallest, _smallest_difference(truth, reference, COPY_SHIFT))
    return smallest


def _smallest_difference(first: UInt8Image, second: UInt8Image, reach: int) -> float:
    """Smallest mean difference of the overlaps when `second` is moved over `first` by up to `reach` pixels.

    The overlaps are compared at half their size, where what JPEG and resampling do to fine detail weighs less.
    """
    smallest = math.inf
    for down, right in itertools.product(range(-reach, reach + 1), repeat=2):
        height = min(first.shape[0], second.shape[0] + down) - max(0, down)
        width = min(first.shape[1], second.shape[1] + right) - max(0, right)
        if height > 0 and width > 0:
            here = first[max(0, down) :, max(0, right) :][:height, :width]
            there = second[max(0, -down) :, max(0, -right) :][:height, :width]
            half = max(1, width // 2), max(1, height // 2)
            smallest = min(smallest, _mean_difference(_resized(here, half), _resized(there, half)))
    return smallest


def _mean_difference(first: UInt8Image, second: UInt8Image) -> float:
    import cv2

    return float(cv2.norm(first, second, cv2.NORM_L1)) / first.size


def _resized(image: UInt8Image, size: tuple[int, int]) -> UInt8Image:
    """The image at another (width, height): averaged over areas where it shrinks."""
    import cv2

    if (image.shape[1], image.shape[0]) == size:
        return image
    shrinks = size[0] < image.shape[1]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC), dtype=np.uint8)
