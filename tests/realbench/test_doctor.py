"""The doctor: every finding on a scene that has it, and its limits on scenes that just have not."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

from realbench.doctor import Finding, examine, inspect
from realbench.image import encode_png
from realbench.scene import Scene
from realbench.suite import open_suite

HEIGHT, WIDTH = 80, 120
HOLE = np.zeros((HEIGHT, WIDTH), bool)
HOLE[20:60, 30:80] = True


def photograph(name: str, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    return np.asarray(Image.fromarray(getattr(skimage.data, name)()).resize((width, height), Image.Resampling.LANCZOS))


TRUTH = photograph("astronaut")
OTHER = photograph("coffee")


def painted(image: np.ndarray, region: np.ndarray, value: int = 255) -> np.ndarray:
    result = image.copy()
    result[region] = value
    return result


def make(**changes: Any) -> Scene:
    """A scene without fault, with these changes."""
    values: dict[str, Any] = {"id": "x", "references": (OTHER,), "target": painted(TRUTH, HOLE), "mask": HOLE, "truth": TRUTH}
    return Scene(**{key: value.copy() if isinstance(value, np.ndarray) else value for key, value in (values | changes).items()})


def found(**changes: Any) -> list[str]:
    findings = inspect(make(**changes))
    assert all(finding.level == "warning" and finding.scene == "x" and finding.mend for finding in findings)
    return [finding.message for finding in findings]


def test_a_good_scene_is_clean() -> None:
    assert found() == []
    assert found(truth=None) == []
    assert found(target=painted(TRUTH, HOLE, 0)) == []


# The mask.


def test_full_mask() -> None:
    full = np.ones_like(HOLE)
    assert [text[:45] for text in found(mask=full, target=np.full_like(TRUTH, 255))] == ["target/mask: the hole covers the whole target"]
    assert len(found(mask=full, target=np.full_like(TRUTH, 255), truth=None)) == 1


INVERTED: dict[str, dict[str, Any]] = {
    "truth known": {"mask": ~HOLE},
    "truth unknown": {"mask": ~HOLE, "truth": None},
    "blank of another colour": {"mask": ~HOLE, "truth": None, "target": painted(TRUTH, HOLE, 0)},
    "noise for a blank": {"mask": ~HOLE, "target": np.where(HOLE[..., None], OTHER, TRUTH)},
    "truth partly white": {
        "mask": ~HOLE,
        "truth": (white := painted(TRUTH, HOLE & (np.arange(HEIGHT)[:, None] < 45))),
        "target": painted(white, HOLE),
    },
    "nearly all": {"mask": (most := np.arange(WIDTH) >= np.full((HEIGHT, 1), 5)), "target": painted(TRUTH, most), "truth": None},
}


@pytest.mark.parametrize("name", INVERTED)
def test_likely_inverted(name: str) -> None:
    """One finding: that target and truth differ outside the hole follows from it and is not said again."""
    messages = found(**INVERTED[name])
    assert len(messages) == 1 and messages[0].startswith("target/mask: likely inverted, ")


NOT_INVERTED: dict[str, dict[str, Any]] = {
    "large hole": {"mask": (large := np.arange(WIDTH) >= np.full((HEIGHT, 1), 7)), "target": painted(TRUTH, large)},
    "flat hole and flat known region": {"target": np.full_like(TRUTH, 250), "truth": None},
    "flat known region as in the truth": {
        "truth": (object_on_white := painted(TRUTH, ~HOLE)),
        "target": np.where(HOLE[..., None], OTHER, object_on_white),
    },
}


@pytest.mark.parametrize("name", NOT_INVERTED)
def test_not_inverted(name: str) -> None:
    assert found(**NOT_INVERTED[name]) == []


# Target and truth.


def changed(share: float, region: np.ndarray, levels: int, channel: int = 1) -> np.ndarray:
    """The truth, with one channel of this share of a region's pixels moved by some levels."""
    result = np.clip(TRUTH, 20, 235)
    at = np.flatnonzero(region)[: round(share * region.sum())]
    result.reshape(-1, 3)[at, channel] += np.uint8(levels)
    return result


@pytest.mark.parametrize(
    ("share", "levels", "warned"), [(0.0101, 9, True), (0.01, 9, False), (1.0, 8, False), (0.5, 9, True), (0.0, 9, False)]
)
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_truth_that_differs_outside_the_hole(share: float, levels: int, warned: bool, channel: int) -> None:
    base = np.clip(TRUTH, 20, 235)
    messages = found(target=painted(base, HOLE), truth=changed(share, ~HOLE, levels, channel), references=(OTHER,))
    assert [text.startswith("target/gt: differs from the target") for text in messages] == [True] * warned


def test_truth_may_differ_inside_the_hole() -> None:
    assert found(truth=np.where(HOLE[..., None], OTHER, TRUTH)) == []


@pytest.mark.parametrize(
    ("share", "levels", "warned"), [(0.0, 0, True), (1.0, 8, True), (0.09, 9, True), (0.11, 9, False), (0.11, 8, True)]
)
def test_target_that_shows_the_truth(share: float, levels: int, warned: bool) -> None:
    base = np.clip(TRUTH, 20, 235)
    messages = found(target=changed(share, HOLE, levels), truth=base)
    assert [text.startswith("target/target: still shows the truth") for text in messages] == [True] * warned


def test_a_flat_truth_like_the_blank_is_not_shown() -> None:
    """A white wall behind a white hole proves nothing."""
    wall = painted(TRUTH, HOLE)
    wall[20:23, 30:80] = TRUTH[20:23, 30:80]  # 7.5 % of the hole
    assert found(truth=wall, target=painted(wall, HOLE)) == []


def test_full_mask_that_shows_the_truth() -> None:
    assert len(found(mask=np.ones_like(HOLE), target=TRUTH)) == 2


# Copies of the truth among the references.


def jpeg(image: np.ndarray, quality: int = 95) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def scaled(image: np.ndarray, factor: float) -> np.ndarray:
    size = round(image.shape[1] * factor), round(image.shape[0] * factor)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


LEFT, RIGHT, _ = skimage.data.stereo_motorcycle()

COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "the truth itself": lambda image: image,
    "JPEG": jpeg,
    "half the size": lambda image: scaled(image, 0.5),
    "a quarter of the size": lambda image: scaled(image, 0.25),
    "somewhat smaller": lambda image: scaled(image, 0.8),
    "larger": lambda image: scaled(image, 1.3),
    "one pixel to the right": lambda image: np.roll(image, 1, axis=1),
    "two pixels up and left": lambda image: np.roll(image, (-2, -2), axis=(0, 1)),
    "two pixels down, JPEG": lambda image: jpeg(np.roll(image, 2, axis=0)),
    "two rows and columns cut off": lambda image: image[2:, 2:],
    "one pixel cut off all around, JPEG": lambda image: jpeg(image[1:-1, 1:-1]),
    "one level brighter": lambda image: np.minimum(image, 254) + np.uint8(1),
    "without a small part": lambda image: painted(image, np.arange(image.shape[0] * image.shape[1]).reshape(image.shape[:2]) < 400),
}
NO_COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "six pixels to the right": lambda image: np.roll(image, 6, axis=1),
    "six pixels down": lambda image: np.roll(image, -6, axis=0),
    "mirrored": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
    "turned": lambda image: np.rot90(image),
    "brighter by three levels": lambda image: np.minimum(image, 252) + np.uint8(3),
    "zoomed by a tenth": lambda image: scaled(image, 1.1)[10 : 10 + image.shape[0], 10 : 10 + image.shape[1]],
    "widened": lambda image: np.asarray(Image.fromarray(image).resize((round(image.shape[1] * 1.02), image.shape[0]))),
    "a single pixel": lambda image: image[:1, :1],
}


def scene_of(truth: np.ndarray, reference: np.ndarray) -> Scene:
    mask = np.zeros(truth.shape[:2], bool)
    mask[200:300, 300:400] = True
    return make(
        truth=truth,
        target=painted(truth, mask),
        mask=mask,
        references=(photograph("chelsea"), reference),
        reference_names=("0.png", "b.jpg"),
    )


@pytest.mark.parametrize("name", COPIES)
def test_copies_of_the_truth_are_found(name: str) -> None:
    findings = inspect(scene_of(RIGHT, COPIES[name](RIGHT)))
    assert [finding.message[:40] for finding in findings] == ["ref/b.jpg: is the ground truth or a near"]


@pytest.mark.parametrize("name", NO_COPIES)
def test_other_pictures_are_no_copies(name: str) -> None:
    assert inspect(scene_of(RIGHT, np.ascontiguousarray(NO_COPIES[name](RIGHT)))) == []


def test_a_stereo_neighbour_is_no_copy() -> None:
    assert inspect(scene_of(RIGHT, LEFT)) == []


def test_copies_are_compared_over_the_whole_image() -> None:
    """A reference that is the truth in a part that holds the hole, or in all but a part of that kind, is no copy."""
    middle = np.zeros(RIGHT.shape[:2], bool)
    middle[150:350, 200:500] = True
    for equal in (middle, ~middle):
        assert inspect(scene_of(RIGHT, np.where(equal[..., None], RIGHT, RIGHT[::-1]))) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (3, 2), (2, 40)])
def test_tiny_scenes(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    mask = np.zeros(shape, bool)
    mask[0, 0] = True
    messages = [finding.message for finding in inspect(make(truth=truth, target=255 - truth, mask=mask, references=(truth, truth[::-1])))]
    assert any(text.startswith("ref/0: is the ground truth") for text in messages)


# A suite.


def write(folder: Path, **changes: bytes) -> None:
    files = {"target/target.png": encode_png(painted(TRUTH, HOLE)), "target/mask.png": encode_png(HOLE), "target/gt.png": encode_png(TRUTH)}
    for name, data in (files | {"ref/0.png": encode_png(OTHER)} | changes).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def test_examine_reports_scene_by_scene(tmp_path: Path) -> None:
    alpha = io.BytesIO()
    Image.fromarray(HOLE.astype(np.uint8) * 255).convert("RGBA").save(alpha, "PNG")
    write(tmp_path / "1")
    write(tmp_path / "2", **{"target/gt.png": b"broken"})
    write(tmp_path / "10", **{"target/mask.png": alpha.getvalue(), "ref/1.png": encode_png(TRUTH), "ref/note.txt": b""})
    iterator = examine(open_suite(tmp_path))
    assert next(iterator) == ("1", [])
    name, (error,) = next(iterator)
    assert name == "2" and isinstance(error, Finding)
    assert (error.scene, error.level, error.mend) == ("2", "error", "export it again")
    assert error.message == f"{tmp_path}/2/target/gt.png: expected a PNG or JPEG or WEBP image, found none, or a broken header"
    name, warnings = next(iterator)
    assert name == "10" and {warning.level for warning in warnings} == {"warning"}
    assert [warning.message.split(": ")[0] for warning in warnings] == ["10/ref/note.txt", "10/target/mask.png", "ref/1.png"]
    assert warnings[1].mend == "save it as 8-bit grey without alpha"
    assert str(warnings[2]).startswith("10: warning: ref/1.png: is the ground truth") and str(warnings[2]).endswith("; remove it")
    assert next(iterator, None) is None


def test_real_scenes(shared_scenes: Path) -> None:
    """The public code's two scenes have RGBA masks; nothing else is wrong with any of the eight."""
    found = {name: [finding.message for finding in findings] for name, findings in examine(open_suite(shared_scenes))}
    assert len(found) == 8
    for name, messages in found.items():
        expected = [f"{name}/target/mask.png: has an alpha channel"] if name in ("flowerwoman", "pumpkinlady2") else []
        assert [message.split(": ignored")[0] for message in messages] == expected


def test_real_scenes_with_swapped_masks(shared_scenes: Path) -> None:
    suite = open_suite(shared_scenes)
    for name in ("realbench20", "pumpkinlady2"):
        scene = suite.load(name)
        for truth in {id(scene.truth): scene.truth, id(None): None}.values():
            swapped = Scene(name, scene.references, scene.target, ~scene.mask, truth)
            assert [finding.message[:28] for finding in inspect(swapped)] == ["target/mask: likely inverted"]
