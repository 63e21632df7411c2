"""Bundle adjustment: Levenberg-Marquardt on the Schur complement, with a robust loss."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from .cameras import Camera

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

PARAMETERS = 8  # rotation 3, translation 3, log focal length, radial term
FOCAL_SPREAD = 0.08  # prior: one standard deviation of a camera's log focal length from the others'
COMMON_SPREAD = 0.3  # and of the mean log focal length from the start
RADIAL_SPREAD = 0.1
LOSS_PX = 1.0


@dataclass(frozen=True)
class Observations:
    """Row i: camera `view[i]` sees point `point[i]` at pixel `xy[i]` (numbers into the arrays at hand)."""

    view: IntArray
    point: IntArray
    xy: FloatArray


def _linearise(cameras: list[Camera], points: FloatArray, seen: Observations) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Residuals N x 2 and their derivatives by camera (N x 2 x 8) and by point (N x 2 x 3)."""
    residual = np.zeros((len(seen.view), 2))
    by_camera = np.zeros((len(seen.view), 2, PARAMETERS))
    by_point = np.zeros((len(seen.view), 2, 3))
    for i, camera in enumerate(cameras):
        rows = np.flatnonzero(seen.view == i)
        if not rows.size:
            continue
        pixel, jacobian = cv2.projectPoints(
            points[seen.point[rows]], camera.rotation, camera.translation, camera.matrix, camera.distortion
        )[:2]
        jacobian = jacobian.reshape(len(rows), 2, -1)
        residual[rows] = pixel.reshape(-1, 2) - seen.xy[rows]
        by_camera[rows, :, :6] = jacobian[:, :, :6]
        by_camera[rows, :, 6] = jacobian[:, :, 6:8].sum(axis=2) * camera.focal
        by_camera[rows, :, 7] = jacobian[:, :, 10]
        by_point[rows] = jacobian[:, :, 3:6] @ cv2.Rodrigues(camera.rotation)[0]
    return residual, by_camera, by_point


def _prior(cameras: list[Camera], start: list[Camera]) -> tuple[FloatArray, FloatArray, float]:
    """Precision of the log focal lengths (C x C), their deviations from the start (C), and the cost of both priors."""
    mean = np.full((len(cameras),) * 2, 1 / len(cameras))
    precision = (np.eye(len(cameras)) - mean) / FOCAL_SPREAD**2 + mean / COMMON_SPREAD**2
    off = np.array([np.log(c.focal / s.focal) for c, s in zip(cameras, start, strict=True)])
    radial = np.array([c.radial for c in cameras])
    return precision, off, float(off @ precision @ off + (radial**2).sum() / RADIAL_SPREAD**2)


def _cost(residual: FloatArray) -> float:
    return float(LOSS_PX**2 * np.log1p((residual**2).sum(axis=1) / LOSS_PX**2).sum())


@dataclass(frozen=True)
class Normal:
    """Normal equations in blocks: cameras (8C x 8C), points (P x 3 x 3), both (P x 8C x 3), and the two gradients."""

    camera: FloatArray
    point: FloatArray
    cross: FloatArray
    camera_slope: FloatArray
    point_slope: FloatArray


def _normal(
    count: tuple[int, int],
    seen: Observations,
    parts: tuple[FloatArray, FloatArray, FloatArray],
    prior: tuple[FloatArray, FloatArray, float],
    cameras: list[Camera],
) -> Normal:
    """Accumulate the observations with Cauchy weights, then the priors; `count` is (cameras, points)."""
    residual, by_camera, by_point = parts
    weight = (1 / (1 + (residual**2).sum(axis=1) / LOSS_PX**2))[:, None, None]
    camera_t, point_t = by_camera.transpose(0, 2, 1) * weight, by_point.transpose(0, 2, 1) * weight
    own = np.zeros((count[0], PARAMETERS, count[0], PARAMETERS))
    point = np.zeros((count[1], 3, 3))
    cross = np.zeros((count[1], count[0], PARAMETERS, 3))
    camera_slope, point_slope = np.zeros((count[0], PARAMETERS)), np.zeros((count[1], 3))
    np.add.at(own.transpose(0, 2, 1, 3), (seen.view, seen.view), camera_t @ by_camera)
    np.add.at(point, seen.point, point_t @ by_point)
    np.add.at(cross, (seen.point, seen.view), camera_t @ by_point)
    np.add.at(camera_slope, seen.view, (camera_t @ residual[:, :, None])[:, :, 0])
    np.add.at(point_slope, seen.point, (point_t @ residual[:, :, None])[:, :, 0])
    each = np.arange(count[0])
    own[:, 6, :, 6] += prior[0]
    own[each, 7, each, 7] += 1 / RADIAL_SPREAD**2
    camera_slope[:, 6] += prior[0] @ prior[1]
    camera_slope[:, 7] += np.array([c.radial for c in cameras]) / RADIAL_SPREAD**2
    size = count[0] * PARAMETERS
    return Normal(own.reshape(size, size), point, cross.reshape(-1, size, 3), camera_slope.ravel(), point_slope)


def _step(normal: Normal, damping: float) -> tuple[FloatArray, FloatArray]:
    """One damped Gauss-Newton step by the Schur complement: increments of the cameras (C x 8) and points (P x 3)."""
    camera = normal.camera + np.diag(damping * np.diag(normal.camera) + 1e-9)
    inverse = np.linalg.inv(normal.point + np.eye(3) * (damping * normal.point + 1e-12))
    scaled = normal.cross @ inverse
    reduced = camera - np.einsum("pik,pjk->ij", scaled, normal.cross, optimize=True)
    right = np.einsum("pik,pk->i", scaled, normal.point_slope) - normal.camera_slope
    move = np.linalg.lstsq(reduced, right, rcond=None)[0]
    back = normal.point_slope + np.einsum("pik,i->pk", normal.cross, move)
    return move.reshape(-1, PARAMETERS), -(inverse @ back[:, :, None])[:, :, 0]


def _moved(camera: Camera, step: FloatArray) -> Camera:
    return replace(
        camera,
        rotation=camera.rotation + step[:3],
        translation=camera.translation + step[3:6],
        focal=float(camera.focal * np.exp(np.clip(step[6], -0.2, 0.2))),
        radial=float(np.clip(camera.radial + step[7], -0.5, 0.5)),
    )


def adjust(
    cameras: list[Camera], points: FloatArray, seen: Observations, start: list[Camera], *, rounds: int = 15
) -> tuple[list[Camera], FloatArray]:
    """Refine cameras and points (P x 3) to the observations under a Cauchy loss of 1 pixel.

    `start` gives the focal lengths that the prior pulls to: they keep a scene without depth (a wall) solvable.
    """
    parts, prior = _linearise(cameras, points, seen), _prior(cameras, start)
    cost, damping = _cost(parts[0]) + prior[2], 1e-3
    normal = _normal((len(cameras), len(points)), seen, parts, prior, cameras)
    for _ in range(rounds):
        move, shift = _step(normal, damping)
        trial, moved = [_moved(c, m) for c, m in zip(cameras, move, strict=True)], points + shift
        parts, prior = _linearise(trial, moved, seen), _prior(trial, start)
        new_cost = _cost(parts[0]) + prior[2]
        if not np.isfinite(new_cost) or new_cost >= cost:
            damping *= 8
            continue
        done = cost - new_cost < 1e-5 * cost
        cameras, points, cost, damping = trial, moved, new_cost, max(damping / 4, 1e-7)
        if done:
            break
        normal = _normal((len(cameras), len(points)), seen, parts, prior, cameras)
    return cameras, points
