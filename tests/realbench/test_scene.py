"""Scenes and tasks: what is derived from a mask, what a method is shown and what it is not."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from realbench.errors import SceneError
from realbench.scene import BLANK, OracleTask, Scene

HEIGHT, WIDTH = 4, 6


def make(**changes: Any) -> Scene:
    """A 6 × 4 scene whose hole is two pixels, away from the border."""
    rng = np.random.default_rng(7)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[1:3, 2] = True
    values: dict[str, Any] = {
        "id": "x",
        "references": (rng.integers(0, 256, (3, 5, 3), dtype=np.uint8), rng.integers(0, 256, (7, 2, 3), dtype=np.uint8)),
        "target": rng.integers(0, 100, (HEIGHT, WIDTH, 3), dtype=np.uint8),
        "mask": mask,
        "truth": rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8),
        "prompt": "a photo",
    }
    return Scene(**(values | changes))


def hole(*pixels: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for pixel in pixels:
        mask[pixel] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "kind", "share"),
    [
        (hole((1, 1)), "inpainting", 1 / 24),
        (hole((1, 2), (2, 4)), "inpainting", 2 / 24),
        (hole((0, 3)), "outpainting", 1 / 24),
        (hole((3, 3)), "outpainting", 1 / 24),
        (hole((2, 0)), "outpainting", 1 / 24),
        (hole((2, 5), (1, 1)), "outpainting", 2 / 24),
        (np.ones((HEIGHT, WIDTH), bool), "outpainting", 1.0),
    ],
)
def test_hole(mask: np.ndarray, kind: str, share: float) -> None:
    scene = make(mask=mask)
    assert scene.hole_kind == kind
    assert scene.hole_share == pytest.approx(share)
    assert scene.size == (WIDTH, HEIGHT)


def test_a_task_shows_the_known_region_and_blanks_the_hole() -> None:
    scene = make()
    task = scene.task()
    assert (task.target[scene.mask] == BLANK).all()
    assert np.array_equal(task.target[~scene.mask], scene.target[~scene.mask])
    assert (task.id, task.prompt, task.size) == ("x", "a photo", (WIDTH, HEIGHT))
    assert task.mask is scene.mask
    assert all(given is own for given, own in zip(task.references, scene.references, strict=True))


def test_a_task_holds_nothing_of_what_the_hole_hides() -> None:
    """Two scenes that differ in the truth and in the target's hole alone give tasks that are equal in every field and digest."""
    scene = make()
    target = scene.target.copy()
    target[scene.mask] = 255
    other = make(target=target, truth=np.zeros_like(scene.target))
    first, second = scene.task(), other.task()
    assert {field.name for field in dataclasses.fields(first)} == {"id", "prompt", "references", "target", "mask"}
    assert first.digest == second.digest
    assert np.array_equal(first.target, second.target)
    assert first.target.base is None
    assert not hasattr(first, "truth")


def test_only_the_oracle_gets_the_truth() -> None:
    scene = make()
    task = scene.oracle_task()
    assert isinstance(task, OracleTask) and task.truth is scene.truth
    assert task.digest == scene.task().digest
    assert make(truth=None).oracle_task().truth is None


def test_nobody_can_write_into_a_scene() -> None:
    scene = make()
    task = scene.oracle_task()
    for image in (*scene.references, scene.target, scene.mask, scene.truth, task.target, *task.references, task.truth):
        assert image is not None
        with pytest.raises(ValueError, match="read-only"):
            image[0, 0] = 0


CHANGES = {
    "references": ({"references"}, lambda image: (image[1], image[0])),
    "truth": ({"truth"}, lambda image: image + 1),
    "mask": ({"mask"}, lambda image: ~image),
}


@pytest.mark.parametrize("part", CHANGES)
def test_digests_follow_what_is_read(part: str) -> None:
    scene = make()
    changed, change = CHANGES[part]
    before, after = scene.digests, make(**{part: change(getattr(scene, part))}).digests
    if part != "truth":
        changed = changed | {"task"}
    assert {name for name in before if before[name] != after[name]} == changed


def test_digest_of_a_target_counts_its_hole_but_the_tasks_does_not() -> None:
    scene = make()
    target = scene.target.copy()
    target[scene.mask] = 255
    before, after = scene.digests, make(target=target).digests
    assert {name for name in before if before[name] != after[name]} == {"target"}
    assert make(prompt="another").digests["task"] != before["task"]
    assert make(truth=None).digests["truth"] == ""


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"target": np.zeros((HEIGHT, WIDTH), np.uint8)}, r"target: expected H×W×3 uint8, found uint8 \(4, 6\)"),
        ({"target": np.zeros((HEIGHT, WIDTH, 3))}, "target: expected H×W×3 uint8, found float64"),
        ({"target": np.zeros((WIDTH, HEIGHT, 3), np.uint8)}, r"target is \(6, 4\), the mask \(4, 6\)"),
        ({"truth": np.zeros((HEIGHT, 5, 3), np.uint8)}, r"truth is \(4, 5\), the mask \(4, 6\)"),
        ({"truth": np.zeros((HEIGHT, WIDTH, 4), np.uint8)}, "truth: expected"),
        ({"mask": np.zeros((HEIGHT, WIDTH), np.uint8)}, "mask: expected H×W bool, found uint8"),
        ({"references": (np.zeros((0, 4, 3), np.uint8),)}, "reference 0: expected"),
    ],
)
def test_arrays_that_make_no_scene(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(SceneError, match=expected):
        make(**changes)
