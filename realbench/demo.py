"""The embedded suite `demo`: six scenes built on first use from photographs that scikit-image's wheel ships."""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from realbench import camera, fingerprint
from realbench.camera import Ranges, Shot, Size
from realbench.demo_scenes import SOURCES, STEREO_HOLE, Hole, Source
from realbench.errors import SceneError
from realbench.image import BoolImage, UInt8Image, encode_png, read_rgb

NAME = "demo"
VERSION = "1"
"""Raised whenever the suite's content changes: an older build is then built anew."""
CACHE_VARIABLE = "REALBENCH_CACHE"
LONGER_SIDE = 512
MANIFEST = ".manifest.json"

TARGET = Ranges(
    pan=(-4, 4),
    tilt=(-3, 3),
    roll=(-3, 3),
    zoom=(0.95, 1.1),
    exposure=(-0.1, 0.1),
    red=(0.97, 1.03),
    blue=(0.97, 1.03),
    defocus=(0, 0.3),
    noise=(0.002, 0.004),
)
"""The target is taken with more care than the references, which use the whole of Ranges()."""
MIN_SEEN = 0.75
"""Share of the hole that each reference shows, at least."""
MIN_SHIFT = 10.0
"""Pixels by which each corner of the target moves in each reference, at least: no reference is a copy of the truth."""


def build(cache: Path | None = None) -> Path:
    """The suite's folder in the cache folder, built or rebuilt first where it is missing, incomplete or of another version.

    The cache is `cache`, else the environment's REALBENCH_CACHE, else the user's cache folder. Several processes may call this at
    once. Raises SceneError where the folder cannot be written or the wheel lacks a photograph.
    """
    from filelock import FileLock

    root = cache or default_cache()
    suite = root / NAME
    if is_whole(suite):
        return suite
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{NAME}.lock"):
            if not is_whole(suite):
                _rebuild(suite)
    except OSError as error:
        reason = error.strerror or error
        raise SceneError(f"{suite}: the embedded suite cannot be built ({reason}); set {CACHE_VARIABLE} to a writable folder") from error
    return suite


def default_cache() -> Path:
    """Where the suite lives unless told otherwise."""
    import platformdirs

    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_path("realbench"))


def is_whole(suite: Path) -> bool:
    """Whether the folder holds exactly the files that this version built there."""
    try:
        manifest = json.loads((suite / MANIFEST).read_bytes())
        return bool(manifest == {"version": VERSION, "files": _digests(suite)})
    except (OSError, ValueError):
        return False


def _digests(suite: Path) -> dict[str, str]:
    """SHA-256 of each file by its path below the suite; hidden files are not ours."""
    found = (path for path in suite.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(suite).as_posix(): fingerprint.of_file(path) for path in found}


def _rebuild(suite: Path) -> None:
    """Build beside the suite's place, then swap. Only the holder of the lock is ever here."""
    with tempfile.TemporaryDirectory(prefix=f".{NAME}-", dir=suite.parent, ignore_cleanup_errors=True) as work:
        new = Path(work, "new")
        for folder, content in _content():
            _write(new / folder, content)
        manifest = {"version": VERSION, "files": _digests(new)}
        (new / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
        if suite.exists():
            suite.rename(Path(work, "old"))
        new.rename(suite)


def _write(folder: Path, content: dict[str, bytes]) -> None:
    for name, data in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _content() -> Iterator[tuple[str, dict[str, bytes]]]:
    """Each scene's folder name, and its files by name."""
    yield "motorcycle", _stereo()
    for source in SOURCES:
        yield source.id, _rephotographed(source)


def _stereo() -> dict[str, bytes]:
    """The Middlebury pair: reference left, target right."""
    import cv2

    left, right = _photo("motorcycle_left.png"), _photo("motorcycle_right.png")
    scale = LONGER_SIDE / max(left.shape)
    size = round(left.shape[1] * scale), round(left.shape[0] * scale)
    left, right = (cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8) for image in (left, right))
    record = {
        "title": "Motorcycle (Middlebury stereo 2014)",
        "prompt": "a photo of a motorcycle",
        "licence": "none stated; Scharstein et al., GCPR 2014, as shipped in scikit-image's wheel",
        "tags": ["object", "stereo", "parallax", "rectangular hole"],
        # Calibration as scikit-image documents it, at this size.
        "camera": {"kind": "stereo", "reference": "left", "target": "right", "focal": 994.978 * scale, "baseline_mm": 193.001},
    }
    return _scene([left], right, _mask(STEREO_HOLE, size), record)


def _rephotographed(source: Source) -> dict[str, bytes]:
    """One photograph seen by the virtual camera, once as the target and once a reference."""
    photo = _photo(source.file)
    size = photo.shape[1], photo.shape[0]
    mask = _mask(source.hole, source.view)
    target = camera.draw(source.seed, size, source.view, TARGET)
    shots = [_reference(source, size, target, mask, number) for number in range(len(source.references))]
    views = list(zip(shots, source.references, strict=True))
    record = {
        "title": source.title,
        "prompt": source.prompt,
        "licence": source.licence,
        "tags": list(source.tags),
        "camera": {
            "kind": "virtual",
            "source": source.file,
            "source_size": list(size),
            "target": camera.record(target, size, source.view),
            "references": [camera.record(shot, size, view) for shot, view in views],
        },
    }
    references = [camera.photograph(photo, shot, view) for shot, view in views]
    return _scene(references, camera.photograph(photo, target, source.view), mask, record)


def _reference(source: Source, size: Size, target: Shot, mask: BoolImage, number: int) -> Shot:
    """The first Shot, by seed, that shows enough of the hole and is no copy of the target's."""
    view = source.references[number]
    back = camera.invert(camera.homography(target, size, source.view))
    hole = np.argwhere(mask)[:, ::-1].astype(np.float64)
    corners = np.array([(x, y) for x in (0.0, source.view[0] - 1.0) for y in (0.0, source.view[1] - 1.0)])
    for seed in itertools.count(1000 * source.seed + 100 * number):
        shot = camera.draw(seed, size, view)
        across = camera.homography(shot, size, view) @ back
        seen = camera.project(across, hole)
        shift = np.linalg.norm(camera.project(across, corners) - corners, axis=1)
        if np.mean(((seen >= 0) & (seen <= np.subtract(view, 1))).all(axis=1)) >= MIN_SEEN and shift.min() >= MIN_SHIFT:
            return shot
    raise AssertionError("unreachable")


def _scene(references: list[UInt8Image], truth: UInt8Image, mask: BoolImage, record: dict[str, Any]) -> dict[str, bytes]:
    """A scene's files in RealBench's layout; the hole is painted white in the target."""
    import tomli_w

    target = truth.copy()
    target[mask] = 255
    images = {f"ref/{number}.png": image for number, image in enumerate(references)}
    images |= {"target/target.png": target, "target/gt.png": truth}
    content = {name: encode_png(image) for name, image in images.items()}
    return content | {"target/mask.png": encode_png(mask), "scene.toml": tomli_w.dumps(record).encode()}


def _mask(hole: Hole, size: Size) -> BoolImage:
    x, y = np.meshgrid((np.arange(size[0]) + 0.5) / size[0], (np.arange(size[1]) + 0.5) / size[1])
    return hole(x, y)


def _photo(name: str) -> UInt8Image:
    """A photograph from the wheel's own files: skimage.data's functions could reach for the network."""
    path = Path(str(files("skimage") / "data" / name))
    if not path.is_file():
        raise SceneError(f"{path}: the installed scikit-image ships no such photograph; install scikit-image from its wheel")
    return read_rgb(path)[0]
