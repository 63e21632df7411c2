"""Scenes: what a scene folder holds, and the Task a method sees of it (which carries no ground truth)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from realbench import fingerprint
from realbench.errors import SceneError
from realbench.image import BoolImage, UInt8Image

BLANK = 127
"""The grey that hides the hole in a Task's target, 0–255."""

HoleKind = Literal["inpainting", "outpainting"]


@dataclass(frozen=True, eq=False)
class Task:
    """What a method may know of a scene: no ground truth, no path to it."""

    id: str
    """The scene's id."""
    prompt: str | None
    """Text from scene.toml, or None where the scene has none."""
    references: tuple[UInt8Image, ...]
    """One or more photographs of the scene, each H×W×3 RGB of its own size, 0–255."""
    target: UInt8Image
    """The photograph to complete, H×W×3 RGB, its hole blanked to BLANK."""
    mask: BoolImage
    """H×W, True inside the hole."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the target, in pixels."""
        return self.mask.shape[1], self.mask.shape[0]

    @cached_property
    def digest(self) -> str:
        """Content hash of all that a method can see."""
        return fingerprint.of_data(
            {
                "id": self.id,
                "prompt": self.prompt,
                "references": [fingerprint.of_array(image) for image in self.references],
                "target": fingerprint.of_array(self.target),
                "mask": fingerprint.of_array(self.mask),
            }
        )


@dataclass(frozen=True, eq=False)
class OracleTask(Task):
    """A Task with the ground truth, given only to methods whose card declares `oracle`."""

    truth: UInt8Image | None = None
    """The ground truth, target's size, or None where the scene has none."""


@dataclass(frozen=True, eq=False)
class Scene:
    """One scene, decoded: references, target, mask and, where it exists, ground truth. Arrays are read-only."""

    id: str
    references: tuple[UInt8Image, ...]
    target: UInt8Image
    """As released: what it shows inside the hole is anyone's guess, so methods get `task()` instead."""
    mask: BoolImage
    truth: UInt8Image | None = None
    prompt: str | None = None
    title: str | None = None
    licence: str | None = None
    tags: tuple[str, ...] = ()
    reference_names: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    """What loading this scene had to say, each `file: what was found; what to do`; realbench.doctor judges the content."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Other tables of scene.toml, for example the virtual camera's record."""

    def __post_init__(self) -> None:
        self._check()
        for image in (*self.references, self.target, self.mask, self.truth):
            if image is not None:
                image.flags.writeable = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the target, in pixels."""
        return self.mask.shape[1], self.mask.shape[0]

    @cached_property
    def hole_kind(self) -> HoleKind:
        """`outpainting` when the hole touches the image's border, else `inpainting`."""
        edges = (self.mask[0], self.mask[-1], self.mask[:, 0], self.mask[:, -1])
        return "outpainting" if any(edge.any() for edge in edges) else "inpainting"

    @cached_property
    def hole_share(self) -> float:
        """Share of the target's pixels that lie in the hole, 0–1."""
        return float(self.mask.mean())

    @cached_property
    def digests(self) -> dict[str, str]:
        """Content hashes of the parts a metric can read (`references`, `target`, `truth`) and of the method's `task`."""
        return {
            "task": self.task().digest,
            "references": fingerprint.of_data([fingerprint.of_array(image) for image in self.references]),
            "target": fingerprint.of_array(self.target),
            "mask": fingerprint.of_array(self.mask),
            "truth": "" if self.truth is None else fingerprint.of_array(self.truth),
        }

    def _check(self) -> None:
        """Raise SceneError unless every array has its type, and target, mask and truth have one size."""
        photographs = {"target": self.target, "truth": self.truth, **{f"reference {i}": image for i, image in enumerate(self.references)}}
        for name, image in photographs.items():
            if image is not None and (image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0):
                raise SceneError(f"scene {self.id!r}: {name}: expected H×W×3 uint8, found {image.dtype} {image.shape}; convert it")
        if self.mask.dtype != np.bool_ or self.mask.ndim != 2:
            raise SceneError(f"scene {self.id!r}: mask: expected H×W bool, found {self.mask.dtype} {self.mask.shape}; convert it")
        for name in ("target", "truth"):
            image = photographs[name]
            if image is not None and image.shape[:2] != self.mask.shape:
                raise SceneError(f"scene {self.id!r}: {name} is {image.shape[:2]}, the mask {self.mask.shape}; bring them to one size")

    def task(self) -> Task:
        """The scene as a method sees it."""
        return Task(self.id, self.prompt, self.references, self._blanked, self.mask)

    def oracle_task(self) -> OracleTask:
        """The scene as a declared oracle sees it."""
        return OracleTask(self.id, self.prompt, self.references, self._blanked, self.mask, self.truth)

    @cached_property
    def _blanked(self) -> UInt8Image:
        blanked = self.target.copy()
        blanked[self.mask] = np.uint8(BLANK)
        blanked.flags.writeable = False
        return blanked
