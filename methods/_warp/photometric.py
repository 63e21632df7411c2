"""Exposure and white balance of a reference brought to the target's."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
ByteImage = npt.NDArray[np.uint8]

MIN_SAMPLES = 12
GAIN_LIMITS = (0.4, 2.5)
TRUST = 20.0  # grey levels: strength of the prior "gain 1" as the spread of the samples that would outweigh it


def resample(image: Float32Array, place: Float32Array) -> Float32Array:
    """Bilinear colours of a float image H x W x 3 at positions h x w x 2 (x, y); its edge pixels go on outside it."""
    x, y = np.ascontiguousarray(place[..., 0]), np.ascontiguousarray(place[..., 1])
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), dtype=np.float32)


def sample(image: ByteImage, xy: FloatArray) -> FloatArray:
    """Colours N x 3 around pixels N x 2, each a small Gaussian mean."""
    if not len(xy):
        return np.zeros((0, 3))
    soft = np.asarray(cv2.GaussianBlur(image, (0, 0), 2.0), dtype=np.float32)
    place = xy.astype(np.float32).reshape(-1, 1, 2)
    return np.asarray(resample(soft, place).reshape(-1, 3), dtype=np.float64)


def fit(source: FloatArray, wanted: FloatArray) -> FloatArray:
    """Gain and bias per channel (3 x 2) that take colours `source` (N x 3) to `wanted`, robust to outliers.

    Least squares with Cauchy weights; identity when there are too few samples.
    """
    result = np.tile([1.0, 0.0], (3, 1))
    if len(source) < MIN_SAMPLES:
        return result
    for c in range(3):
        x, y = source[:, c], wanted[:, c]
        weight = np.ones(len(x))
        for _ in range(8):
            mean_x, mean_y = np.average(x, weights=weight), np.average(y, weights=weight)
            dx, dy = x - mean_x, y - mean_y
            prior = TRUST**2 * MIN_SAMPLES
            gain = ((weight * dx * dy).sum() + prior) / ((weight * dx * dx).sum() + prior)
            gain = float(np.clip(gain, *GAIN_LIMITS))
            residual = np.abs(dy - gain * dx)
            weight = 1 / (1 + (residual / max(1.5 * float(np.median(residual)), 2.0)) ** 2)
        result[c] = gain, mean_y - gain * mean_x
    return result


def apply(image: ByteImage | Float32Array, curve: FloatArray) -> Float32Array:
    """The image under per-channel gain and bias, float in grey levels within [0, 255]."""
    return np.clip(image * curve[:, 0] + curve[:, 1], 0, 255).astype(np.float32)
