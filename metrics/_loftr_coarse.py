"""Coarse LoFTR backend of `matches`: a distilled LoFTR without fine stage, 16-pixel cells, run by onnxruntime on the CPU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from realbench.errors import RealbenchError, Unsupported, UsageError, WeightsMissing
from realbench.image import UInt8Image
from realbench.portion import Portion
from realbench.weightfiles import verify
from realbench.weights import VARIABLE

from ._matching import FloatArray
from ._matching_weights import COARSE_FILE, COARSE_SHA256, COARSE_URL

HEIGHT, WIDTH = 480, 640
CELL = 16
COLUMNS = WIDTH // CELL
CELLS = HEIGHT // CELL * COLUMNS


@dataclass(frozen=True)
class Plate:
    """One image as the network takes it, 1×1×480×640 in 0–1, and how much of it the image covers."""

    grey: npt.NDArray[np.float32]
    shape: tuple[int, ...]

    def covers(self, points: FloatArray) -> npt.NDArray[np.bool_]:
        """Which of N×2 points lie on the image, not on the black around it."""
        return np.asarray((points < (self.shape[1], self.shape[0])).all(axis=1))


class CoarseLoFTR:
    """Kolodiazhnyi 2022 (arXiv 2202.00770): the confidences of 1,200 × 1,200 cells, and each other's best above `confidence`."""

    shared = None

    def __init__(self, confidence: float, fit: str, threads: int, own: str = "") -> None:
        self._confidence = confidence
        self._letterbox = fit == "letterbox"
        self._session = _session(_file(own), threads)

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """480 × 640, or the largest size in proportion within it; small images are enlarged."""
        if not self._letterbox:
            return HEIGHT, WIDTH
        scale = min(HEIGHT / height, WIDTH / width)
        return max(1, round(height * scale)), max(1, round(width * scale))

    def portion(self, height: int, width: int) -> Portion:
        """The network takes one pair."""
        return Portion(1, "matches (loftr-coarse)")

    def describe(self, images: Sequence[UInt8Image]) -> list[Plate]:
        """Grey, at the upper left of a black plate."""
        return [_plate(image) for image in images]

    def pair(self, reference: Plate, fills: Sequence[Plate]) -> list[FloatArray]:
        """The network is one piece: it computes both images' features for each pair."""
        return [self._pair(reference, fill) for fill in fills]

    def close(self) -> None:
        """Free the session."""
        self._session = None

    def _pair(self, reference: Plate, fill: Plate) -> FloatArray:
        names = [one.name for one in self._session.get_inputs()]
        confidences = self._session.run(None, dict(zip(names, (reference.grey, fill.grey), strict=True)))[0][0]
        there = confidences.argmax(axis=1)
        first = np.arange(CELLS)
        value = confidences[first, there]
        kept = (confidences.argmax(axis=0)[there] == first) & (value > self._confidence)
        starts, ends = _points(first[kept]), _points(there[kept])
        inside = reference.covers(starts) & fill.covers(ends)
        return np.column_stack([starts, ends, value[kept]])[inside]


def _points(cells: npt.NDArray[np.intp]) -> FloatArray:
    """N×2: the pixel on which a cell's receptive field is centred."""
    return np.stack([cells % COLUMNS, cells // COLUMNS], axis=1).astype(np.float64) * CELL


def _plate(image: UInt8Image) -> Plate:
    grey = np.zeros((1, 1, HEIGHT, WIDTH), np.float32)
    grey[0, 0, : image.shape[0], : image.shape[1]] = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    return Plate(grey, image.shape[:2])


def _file(own: str) -> Path:
    """The model's file: named in the configuration, or below REALBENCH_WEIGHTS. Raises UsageError, WeightsMissing, RealbenchError."""
    if own:
        path = Path(own).expanduser()
        path = path / COARSE_FILE if path.is_dir() else path
        if path.suffix != ".onnx" or not path.is_file():
            raise UsageError(f"matches: weights {own!r}: expected an .onnx file, or a folder with {COARSE_FILE}, found none")
        return path
    root = Path(os.environ.get(VARIABLE, "")).expanduser()
    names = (root / COARSE_FILE, root / "loftr-coarse" / COARSE_FILE) if os.environ.get(VARIABLE) else ()
    found = [name for name in names if name.is_file()]
    if not found:
        raise WeightsMissing(
            f"weights loftr-coarse (1.8 MB) of matches are not on this machine: get {COARSE_URL} "
            f"and put it into the folder that {VARIABLE} names, or name it: --metric matches:backend=loftr-coarse,weights=FILE"
        )
    verify(found[0], COARSE_SHA256)
    return found[0]


def _session(path: Path, threads: int) -> Any:
    """The network, checked for what goes in and comes out. Raises Unsupported without onnxruntime, RealbenchError for another network."""
    try:
        import onnxruntime
    except ImportError as error:
        raise Unsupported("matches: backend loftr-coarse needs onnxruntime: pip install 'realbench[onnx]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise RealbenchError(f"{path}: expected an ONNX network, found a file that onnxruntime cannot read ({error})") from error
    found = [one.shape for one in session.get_inputs()], session.get_outputs()[0].shape
    wanted = [[1, 1, HEIGHT, WIDTH]] * 2, [1, CELLS, CELLS]
    if found != wanted:
        raise RealbenchError(f"{path}: expected two inputs and an output of shapes {wanted}, found {found}: it is another network")
    return session
