"""The method as a whole: photographs in, a completed target and notes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from realbench.scene import BLANK

from .._opencv import inpaint
from . import blend, photometric
from .cameras import Transfer
from .matching import BoolArray, ByteImage, Features, build_tracks, detect, match_all, mutual_matches, usac
from .structure import Structure, reconstruct
from .sweep import inverse_depth

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
Box = tuple[slice, slice]

MARGIN = 0.1  # of the long side: how much known region around the hole takes part
HOMOGRAPHY_PX = 3.0
MIN_HOMOGRAPHY = 15
RING = 0.04  # of the long side: width of the ring of known pixels around the hole that tests the references
AGREEMENT = 0.3  # of references and target in that ring, see Job.agreement; unrelated content reaches 0.1
MIN_SEEN = 12  # scene points that the target must show for its camera to count


@dataclass(frozen=True)
class Completion:
    """A completed target (uint8, H x W x 3) and what there is to say about it."""

    image: ByteImage
    notes: tuple[str, ...]


@dataclass(frozen=True)
class View:
    """A reference by its `number` in the caller's list, whole and at working size, with its features there."""

    number: int
    full: ByteImage
    small: ByteImage
    features: Features


def shrink(image: ByteImage, side: int) -> ByteImage:
    """The image with its long side at most `side` pixels."""
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    size = [max(round(n * scale), 1) for n in image.shape[1::-1]]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def shrink_mask(mask: BoolArray, size: tuple[int, int]) -> BoolArray:
    """The mask at `size` (width, height); a pixel that holds any part of the hole belongs to the hole."""
    return np.asarray(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0)


def box_around(mask: BoolArray, margin: int) -> Box:
    """Rows and columns of the hole, `margin` pixels wider, within the frame."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(int(rows[0]) - margin, 0), min(int(rows[-1]) + 1 + margin, mask.shape[0])),
        slice(max(int(columns[0]) - margin, 0), min(int(columns[-1]) + 1 + margin, mask.shape[1])),
    )


class Job:
    """One target with its hole: what the stages share."""

    def __init__(self, target: ByteImage, mask: BoolArray, max_side: int, sweep_side: int) -> None:
        self.target = np.where(mask[..., None], np.uint8(BLANK), target)
        self.mask = mask
        self.sweep_side = sweep_side
        self.max_side = max_side
        self.small = shrink(self.target, max_side)
        self.features = detect(self.small, ~shrink_mask(mask, self.small.shape[1::-1]))
        self.box = box_around(mask, round(MARGIN * max(mask.shape)))

    @property
    def hole(self) -> BoolArray:
        """The hole within the box."""
        return np.asarray(self.mask[self.box])

    @property
    def patch(self) -> ByteImage:
        """The target within the box."""
        return np.asarray(self.target[self.box])

    def agreement(self, mixed: Float32Array, covered: BoolArray) -> float:
        """Correlation in [-1, 1] of the merged references' detail with the target's on known pixels around the hole.

        Detail, because a wrong exposure or a washed-out sky can be mended, and wrong content can't; 1 without a ring.
        """
        side = max(self.mask.shape)
        width = 2 * max(round(RING * side), 2) + 1
        near = cv2.dilate(self.hole.astype(np.uint8), np.ones((width, width), np.uint8)) > 0
        known = (covered & ~self.hole).astype(np.float32)
        ring = near & (known > 0)
        if ring.sum() < 64:
            return 1.0
        details = []
        for image in (self.patch.astype(np.float32), mixed):
            share = cv2.GaussianBlur(known, (0, 0), RING * side / 2)[..., None] + 1e-6
            smooth = cv2.GaussianBlur(image * known[..., None], (0, 0), RING * side / 2) / share
            details.append((image - smooth)[ring].ravel().astype(np.float64))
        a, b = details
        return float(a @ b) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9)

    def candidate(self, colour: Float32Array, valid: BoolArray) -> blend.Candidate:
        """A warped reference with its error around the hole, once its exposure is fitted to the overlap."""
        overlap = valid & ~self.hole
        wanted, source = self.patch[overlap].astype(np.float64), colour[overlap].astype(np.float64)
        step = max(len(source) // 20000, 1)
        fitted = photometric.apply(colour, photometric.fit(source[::step], wanted[::step]))
        return blend.Candidate(fitted, valid, blend.overlap_error(fitted, self.patch, overlap))


def complete(
    references: Sequence[ByteImage],
    target: ByteImage,
    mask: BoolArray,
    *,
    max_side: int = 768,
    sweep_side: int = 384,
    max_references: int = 8,
) -> Completion:
    """Fill the hole of `target` (uint8, H x W x 3, RGB) from photographs of the same scene (same form, any sizes).

    `mask` is bool, H x W, True in the hole; what the target holds there is not read. Known pixels come back as they
    were. Features are matched and cameras found at a long side of `max_side` pixels, depth at `sweep_side`; colours
    are taken at full size. At most `max_references` references take part, those with most matches to the target.

    The steps are those of TransFill (Zhou et al. 2021) and GeoFill (Zhao et al. 2022): align, adjust colours, merge;
    with structure from motion and multi-view stereo in place of their networks. Without a camera for the target,
    each reference is warped by one homography (MAGSAC++, Barath et al. 2020). Where neither is to be had, or the
    references do not show what is known around the hole, the image is `telea`'s. Raises Unsupported where nothing is known.
    """
    plain = inpaint(target, mask, "telea")
    if not mask.any():
        return Completion(plain, ())
    job = Job(target, mask, max_side, sweep_side)
    views = _best_views(job, references, max_references)
    candidates, notes = _candidates(job, views)
    if len(references) > len(views):
        notes.append(f"{len(references) - len(views)} references with fewer matches left out")
    if not candidates:
        return Completion(plain, (*notes, "no reference could be used: filled by telea"))
    image, told = _assemble(job, candidates)
    used = f"{len(candidates)} of {len(references)} references matched"
    return Completion(plain if image is None else image, (used, *notes, *told))


def _best_views(job: Job, references: Sequence[ByteImage], limit: int) -> list[View]:
    """The references with most matches to the target, best first and at most `limit`."""
    found = []
    for number, full in enumerate(references):
        small = shrink(full, job.max_side)
        view = View(number, full, small, detect(small))
        found.append((len(mutual_matches(job.features, view.features)), view))
    found.sort(key=lambda item: -item[0])
    return [view for _, view in found[:limit]]


def _candidates(job: Job, views: Sequence[View]) -> tuple[list[blend.Candidate], list[str]]:
    """Every reference in the target's frame, by depth if it has a camera and else by one plane; notes on the rest."""
    notes: list[str] = []
    posed = _by_structure(job, views)
    flat = [_by_homography(job, v, notes) for v in views if v.number not in posed]
    return [*posed.values(), *(c for c in flat if c is not None)], notes


def _by_structure(job: Job, views: Sequence[View]) -> dict[int, blend.Candidate]:
    """Candidates by cameras and depth, by reference number; none when the target's camera can't be had."""
    features = [job.features, *(v.features for v in views)]
    pairs = match_all(features)
    images = [job.small, *(v.small for v in views)]
    scene = reconstruct(pairs, build_tracks(features, pairs), [i.shape[1::-1] for i in images])
    if scene is None or scene.seen[:, 0].sum() < MIN_SEEN:
        return {}
    posed = [(k, v) for k, v in enumerate(views, start=1) if k in scene.cameras]
    depth = _depth(job, scene, posed)
    whole = scene.cameras[0].resized(job.target.shape[1::-1])
    result = {}
    for k, view in posed:
        transfer = Transfer.between(whole, scene.cameras[k].resized(view.full.shape[1::-1]), job.box)
        place, inside = transfer(depth)
        colour = photometric.resample(view.full.astype(np.float32), place)
        result[view.number] = job.candidate(colour, inside)
    return result


def _exposures(job: Job, scene: Structure, posed: Sequence[tuple[int, View]]) -> dict[int, FloatArray]:
    """Gain and bias of each reference by scene points that it shares with the target, or with one fitted before."""
    colour = np.full((len(scene.points), 3), np.nan)
    colour[scene.seen[:, 0]] = photometric.sample(job.small, scene.pixels(0))
    curves = {}
    for k, view in sorted(posed, key=lambda item: -int((scene.seen[:, 0] & scene.seen[:, item[0]]).sum())):
        seen = scene.seen[:, k]
        own, known = photometric.sample(view.small, scene.pixels(k)), ~np.isnan(colour[seen, 0])
        curves[k] = photometric.fit(own[known], colour[seen][known])
        new = np.flatnonzero(seen)[~known]
        colour[new] = own[~known] * curves[k][:, 0] + curves[k][:, 1]
    return curves


def _depth(job: Job, scene: Structure, posed: Sequence[tuple[int, View]]) -> Float32Array:
    """Inverse depth of the box at the target's full size."""
    small = shrink(job.target, job.sweep_side)
    size = small.shape[1::-1]
    hole = shrink_mask(job.mask, size)
    box = box_around(hole, round((MARGIN + 0.01) * max(size)))
    references, curves = [], _exposures(job, scene, posed)
    for k, view in posed:
        tiny = shrink(view.small, job.sweep_side)
        exposed = photometric.apply(tiny, curves[k])
        references.append((exposed, scene.cameras[k].resized(tiny.shape[1::-1])))
    depth = inverse_depth(small[box], ~hole[box], scene.cameras[0].resized(size), references, scene.points, box)
    frame = np.pad(depth, [(s.start, n - s.stop) for s, n in zip(box, hole.shape, strict=True)], mode="edge")
    whole = cv2.resize(frame, job.target.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return np.asarray(whole[job.box], dtype=np.float32)


def _by_homography(job: Job, view: View, notes: list[str]) -> blend.Candidate | None:
    """The candidate by one plane of a reference without a camera; None, with a note, when matching fails."""
    matches = mutual_matches(view.features, job.features)
    if len(matches) < MIN_HOMOGRAPHY:
        notes.append(f"reference {view.number}: too few matches ({len(matches)})")
        return None
    there, here = view.features.xy[matches[:, 0]], job.features.xy[matches[:, 1]]
    plane, inlier = cv2.findHomography(there, here, usac(HOMOGRAPHY_PX))
    if plane is None or inlier.sum() < MIN_HOMOGRAPHY:
        notes.append(f"reference {view.number}: no common geometry in {len(matches)} matches")
        return None
    return _flat(job, view, np.asarray(plane, np.float64))


def _scaling(before: tuple[int, ...], after: tuple[int, ...]) -> FloatArray:
    """The matrix from pixels of an image of size `before` (width, height) to those of its resampling to `after`."""
    x, y = np.array(after, dtype=np.float64) / before
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def _flat(job: Job, view: View, plane: FloatArray) -> blend.Candidate:
    """A reference under a homography that is given at working size."""
    grow = _scaling(job.small.shape[1::-1], job.target.shape[1::-1])
    cut = np.array([[1, 0, -job.box[1].start], [0, 1, -job.box[0].start], [0, 0, 1.0]])
    less = _scaling(view.full.shape[1::-1], view.small.shape[1::-1])
    whole, size = cut @ grow @ plane @ less, job.hole.shape[::-1]
    colour = cv2.warpPerspective(view.full.astype(np.float32), whole, size)
    inside = cv2.warpPerspective(np.ones(view.full.shape[:2], np.float32), whole, size) > 0.99
    return job.candidate(np.asarray(colour, np.float32), np.asarray(inside))


def _assemble(job: Job, candidates: Sequence[blend.Candidate]) -> tuple[ByteImage | None, list[str]]:
    """The completed target with notes; None when the references contradict what is known around the hole."""
    mixed, covered = blend.merge(candidates)
    agreement = job.agreement(mixed, covered)
    if agreement < AGREEMENT:
        return None, [f"references agree too little ({agreement:.2f}) with the known pixels at the hole: filled by telea"]
    mixed = blend.membrane(mixed, job.patch, job.hole, covered & ~job.hole)
    image, rest = job.target.copy(), job.mask.copy()
    use = job.hole & covered
    image[job.box][use] = np.clip(np.round(mixed[use]), 0, 255).astype(np.uint8)
    rest[job.box] &= ~covered
    if not rest.any():
        return image, []
    share = 100 * rest.sum() / job.mask.sum()
    return inpaint(image, rest, "telea"), [f"{share:.1f} % of the hole covered by no reference: filled by telea"]
