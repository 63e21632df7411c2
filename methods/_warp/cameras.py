"""A pinhole camera with one radial term, and the transfer of pixels from one camera to another."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Camera:
    """Pose (world to camera), focal length in pixels and radial term of a photograph of `size` (width, height)."""

    rotation: FloatArray  # Rodrigues vector, 3
    translation: FloatArray  # 3
    focal: float
    radial: float
    size: tuple[int, int]

    @property
    def middle(self) -> FloatArray:
        """Centre of the photograph (x, y), taken for the principal point."""
        return (np.array(self.size, dtype=np.float64) - 1) / 2

    @property
    def matrix(self) -> FloatArray:
        """3 x 3 calibration."""
        x, y = self.middle
        return np.array([[self.focal, 0, x], [0, self.focal, y], [0, 0, 1.0]])

    @property
    def distortion(self) -> FloatArray:
        """OpenCV's (k1, k2, p1, p2) with only k1 in use."""
        return np.array([self.radial, 0.0, 0.0, 0.0])

    @property
    def pose(self) -> FloatArray:
        """3 x 4 matrix [R | t]."""
        return np.hstack([cv2.Rodrigues(self.rotation)[0], self.translation.reshape(3, 1)])

    @property
    def centre(self) -> FloatArray:
        """Camera centre in the world."""
        pose = self.pose
        return np.asarray(-pose[:, :3].T @ pose[:, 3])

    def to_camera(self, points: FloatArray) -> FloatArray:
        """World points N x 3 in the camera's frame."""
        pose = self.pose
        return np.asarray(points @ pose[:, :3].T + pose[:, 3])

    def project(self, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        """World points N x 3 to pixels N x 2 and depths N (behind the camera: not positive, pixel meaningless)."""
        inside = self.to_camera(points)
        depth = inside[:, 2]
        flat = inside[:, :2] / np.where(np.abs(depth) < 1e-9, 1e-9, depth)[:, None]
        square = np.minimum((flat**2).sum(axis=1, keepdims=True), 4.0)  # a polynomial folds back far outside the frame
        pixel = flat * (1 + self.radial * square) * self.focal
        return pixel + self.middle, depth

    def rays(self, pixels: FloatArray) -> FloatArray:
        """Undistorted directions N x 2 (x/z, y/z in the camera's frame) of pixels N x 2."""
        seen = (pixels - self.middle) / self.focal
        flat = seen
        for _ in range(8):
            flat = seen / np.maximum(1 + self.radial * (flat**2).sum(axis=1, keepdims=True), 0.2)
        return np.asarray(flat)

    def lift(self, pixels: FloatArray, inverse_depth: FloatArray) -> FloatArray:
        """World points N x 3 at pixels N x 2 and inverse depths N (> 0)."""
        flat = self.rays(pixels)
        inside = np.column_stack([flat, np.ones(len(flat))]) / inverse_depth[:, None]
        pose = self.pose
        return np.asarray((inside - pose[:, 3]) @ pose[:, :3])

    def resized(self, size: tuple[int, int]) -> Camera:
        """The camera of the same photograph resampled to `size` (width, height) of equal shape."""
        return replace(self, focal=self.focal * size[0] / self.size[0], size=size)


@dataclass(frozen=True)
class Transfer:
    """Where target pixels land in one reference, as a function of inverse depth d: project(base + d * shift)."""

    base: Float32Array  # H x W x 3
    shift: Float32Array  # 3
    camera: Camera

    @classmethod
    def between(cls, target: Camera, reference: Camera, box: tuple[slice, slice]) -> Transfer:
        """The transfer for the pixels of `box` (rows, columns) of the target."""
        y, x = np.mgrid[box]
        flat = target.rays(np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64))
        rotation = reference.pose[:, :3] @ target.pose[:, :3].T
        shift = reference.pose[:, 3] - rotation @ target.pose[:, 3]
        base = (np.column_stack([flat, np.ones(len(flat))]) @ rotation.T).reshape(*x.shape, 3)
        return cls(base.astype(np.float32), shift.astype(np.float32), reference)

    def __call__(self, inverse_depth: Float32Array | float) -> tuple[Float32Array, BoolArray]:
        """Positions H x W x 2 in the reference and whether they lie in its frame."""
        d = np.asarray(inverse_depth, dtype=np.float32)
        x, y, z = (self.base[..., k] + d * self.shift[k] for k in range(3))
        front = z > 1e-4
        scale = 1 / np.where(front, z, 1)
        u, v = x * scale, y * scale
        stretch = self.camera.focal * (1 + self.camera.radial * np.minimum(u * u + v * v, 4.0))
        (width, height), middle = self.camera.size, self.camera.middle.astype(np.float32)
        u, v = u * stretch + middle[0], v * stretch + middle[1]
        inside = front & (u >= 0) & (v >= 0) & (u <= width - 1) & (v <= height - 1)
        return np.stack([u, v], axis=-1).astype(np.float32), inside
