"""A virtual camera that photographs a photograph: known geometry, known light, known noise, all drawn from a seed.

The source photograph is taken as what a pinhole camera at zoom 1 saw. The virtual camera stands at the same point, turns (pan, tilt,
roll) and zooms, so the view and the source are related by the homography K_view · R · K_source⁻¹ exactly.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from realbench.errors import UsageError
from realbench.image import UInt8Image

FloatArray = npt.NDArray[np.float64]
Size = tuple[int, int]
"""Width and height, in pixels."""
Range = tuple[float, float]

FOCAL = 1.2
"""Focal length of the source photograph in units of its longer side: a field of view of 45 degrees."""
READ_NOISE = 0.02
"""Light, as a share of white, whose shot noise is as strong as the read noise."""
ATTEMPTS = 1000
DECIMALS = 4
"""Drawn values are rounded to this, so that scene.toml holds exactly what was used."""


@dataclass(frozen=True)
class Shot:
    """Everything a photograph by the virtual camera depends on beside the source and the view's size."""

    pan: float = 0.0
    """Degrees to the right."""
    tilt: float = 0.0
    """Degrees down."""
    roll: float = 0.0
    """Degrees by which the camera turns anticlockwise, the picture clockwise."""
    zoom: float = 1.0
    """View pixels per source pixel on the optical axis."""
    exposure: float = 0.0
    """Exposure value: linear light is multiplied by 2 to this power."""
    red: float = 1.0
    """White balance: gain of red in linear light."""
    blue: float = 1.0
    """White balance: gain of blue in linear light."""
    defocus: float = 0.0
    """Sigma of the blur, in view pixels."""
    noise: float = 0.0
    """Standard deviation of the shot noise at white, as a share of white; read noise scales with it."""
    seed: int = 0
    """Seed of the noise."""

    def __post_init__(self) -> None:
        positive = min(self.zoom, self.red, self.blue) > 0 and min(self.defocus, self.noise) >= 0
        if not (positive and max(abs(self.pan), abs(self.tilt)) < 90):
            raise UsageError(f"expected zoom and gains above 0, defocus and noise from 0, pan and tilt within ±90 degrees; found {self}")


@dataclass(frozen=True)
class Ranges:
    """From where to where `draw` draws each value of a Shot, uniformly."""

    pan: Range = (-8.0, 8.0)
    tilt: Range = (-6.0, 6.0)
    roll: Range = (-6.0, 6.0)
    zoom: Range = (0.8, 1.2)
    exposure: Range = (-0.6, 0.6)
    red: Range = (0.85, 1.18)
    blue: Range = (0.85, 1.18)
    defocus: Range = (0.0, 0.8)
    noise: Range = (0.002, 0.012)


def draw(seed: int, source_size: Size, view_size: Size, ranges: Ranges | None = None) -> Shot:
    """The first Shot that this seed draws whose view lies within the source.

    Raises UsageError when ATTEMPTS draws gave none.
    """
    ranges = ranges or Ranges()
    generator = np.random.default_rng(seed)
    for _ in range(ATTEMPTS):
        values = {part.name: round(float(generator.uniform(*getattr(ranges, part.name))), DECIMALS) for part in fields(ranges)}
        shot = Shot(**values, seed=seed)
        if overhang(shot, source_size, view_size) <= 0:
            return shot
    raise UsageError(
        f"seed {seed}: no view of {_times(view_size)} pixels within a source of {_times(source_size)} in {ATTEMPTS} draws from {ranges}; "
        "ask for a smaller view, narrower angles or more zoom"
    )


def homography(shot: Shot, source_size: Size, view_size: Size) -> FloatArray:
    """3×3 matrix from source pixels to view pixels (pixel centres are whole numbers).

    It is scaled so that the third coordinate of a mapped point is its depth, positive in front of the camera.
    """
    focal = FOCAL * max(source_size)
    turn = _rotation(2, shot.roll) @ _rotation(0, shot.tilt) @ _rotation(1, -shot.pan)
    return np.asarray(_intrinsics(focal * shot.zoom, view_size) @ turn @ invert(_intrinsics(focal, source_size)), np.float64)


def project(matrix: FloatArray, points: FloatArray) -> FloatArray:
    """Map N×2 points; a point behind the camera becomes infinite."""
    mapped = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    depth = np.where(mapped[:, 2:] > 0, mapped[:, 2:], np.nan)
    return np.nan_to_num(mapped[:, :2] / depth, nan=np.inf)


def invert(matrix: FloatArray) -> FloatArray:
    """The 3×3 matrix that undoes this one."""
    return np.asarray(np.linalg.inv(matrix), np.float64)


def overhang(shot: Shot, source_size: Size, view_size: Size) -> float:
    """By how many source pixels the view reaches beyond the source at its worst corner; 0 or less where it lies within."""
    (width, height), (right, bottom) = view_size, source_size
    edges = np.array([(-0.5, -0.5), (width - 0.5, -0.5), (-0.5, height - 0.5), (width - 0.5, height - 0.5)])
    corners = project(invert(homography(shot, source_size, view_size)), edges)
    return float(np.maximum(-0.5 - corners, corners - (right - 0.5, bottom - 0.5)).max())


def photograph(source: UInt8Image, shot: Shot, size: Size) -> UInt8Image:
    """Take the shot: a view of `size` (width, height), H×W×3 RGB, 0–255; the same bytes for the same arguments.

    Optics first (perspective with area averaging, defocus), then light (exposure, white balance), then the sensor (shot and read
    noise, clipping), all in linear light. Raises UsageError when the view does not lie within the source.
    """
    source_size = source.shape[1], source.shape[0]
    beyond = overhang(shot, source_size, size)
    if beyond > 1e-6:
        raise UsageError(
            f"the view of {_times(size)} pixels reaches {beyond:.1f} pixels beyond the source of {_times(source_size)}; "
            f"turn less, zoom in or ask for a smaller view: {shot}"
        )
    light = _through_lens(_LINEAR[source], homography(shot, source_size, size), size)
    light = _defocused(light, shot.defocus)
    light = light * np.float32(2.0**shot.exposure) * np.array([shot.red, 1.0, shot.blue], np.float32)
    return _encode(_sensed(light, shot))


def record(shot: Shot, source_size: Size, view_size: Size) -> dict[str, Any]:
    """Plain data for scene.toml: the shot, the view's size and the homography from source to view, row by row."""
    return asdict(shot) | {"size": list(view_size), "homography": homography(shot, source_size, view_size).tolist()}


def _intrinsics(focal: float, size: Size) -> FloatArray:
    return np.array([[focal, 0, (size[0] - 1) / 2], [0, focal, (size[1] - 1) / 2], [0, 0, 1]])


def _rotation(axis: int, degrees: float) -> FloatArray:
    """Right-handed rotation about x (right), y (down) or z (forward)."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = np.eye(3)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix[first, first] = matrix[second, second] = cosine
    matrix[second, first], matrix[first, second] = sine, -sine
    return matrix


def _through_lens(light: npt.NDArray[np.float32], matrix: FloatArray, size: Size) -> npt.NDArray[np.float32]:
    """Warp to `factor` times the size, then average: no view pixel skips a source pixel."""
    import cv2

    factor = _shrinkage(matrix, size)
    finer = np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]])
    fine_size = size[0] * factor, size[1] * factor
    fine = cv2.warpPerspective(light, finer @ matrix, fine_size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(fine if factor == 1 else cv2.resize(fine, size, interpolation=cv2.INTER_AREA), np.float32)


def _shrinkage(matrix: FloatArray, size: Size) -> int:
    """Source pixels that a view pixel spans where it spans most, rounded up."""
    corners = np.array([(x, y) for x in (0.0, size[0] - 1.0) for y in (0.0, size[1] - 1.0)])
    back = invert(matrix)
    start = project(back, corners)
    widest = max(float(np.linalg.norm(project(back, corners + step) - start, axis=1).max()) for step in ((1.0, 0.0), (0.0, 1.0)))
    return max(1, math.ceil(widest - 1e-6))


def _defocused(light: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    import cv2

    return np.asarray(cv2.GaussianBlur(light, (0, 0), sigma), np.float32) if sigma > 0 else light


def _sensed(light: npt.NDArray[np.float32], shot: Shot) -> npt.NDArray[np.float32]:
    """Noise of variance noise² · (light + READ_NOISE), then saturation at 0 and 1."""
    normal = np.random.default_rng(shot.seed).standard_normal(light.shape, dtype=np.float32)
    deviation = np.float32(shot.noise) * np.sqrt(np.maximum(light, 0) + np.float32(READ_NOISE))
    return np.clip(light + deviation * normal, 0, 1)


def _encode(light: npt.NDArray[np.float32]) -> UInt8Image:
    """Linear light 0–1 to sRGB 0–255 (IEC 61966-2-1)."""
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(light, 1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * curve), np.uint8)


def _linear_levels() -> npt.NDArray[np.float32]:
    """Linear light 0–1 of each sRGB level."""
    level = np.arange(256) / 255
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4).astype(np.float32)


_LINEAR = _linear_levels()


def _times(size: Size) -> str:
    return f"{size[0]} × {size[1]}"
