"""The scenes a conformance check asks for: one to begin with, and what becomes of it when it is turned, cut and covered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from realbench.image import BoolImage, UInt8Image, encode_png
from realbench.scene import Scene

ID = "conformance"
SIZE = (96, 64)
"""Width and height of the scene to begin with."""
PROMPT = "a photo of a <img src=x onerror=alert(1)> | `$(exit 1)` {0} %s \\x00 \u202eтест\u202c 猫 🐈\n'; --" + " very" * 400
"""Any text may stand in a scene.toml, but for control characters."""


def first() -> Scene:
    """A made-up photograph with a rectangular hole, two references of other sizes that show it shifted, and its truth."""
    width, height = SIZE
    world = _clouds(150, 110)
    truth = world[20 : 20 + height, 25 : 25 + width].copy()
    mask = np.zeros((height, width), bool)
    mask[18:46, 30:66] = True
    near, far = world[14:84, 18:130], np.clip(world[26:102:2, 10:118:2].astype(np.int16) + 9, 0, 255).astype(np.uint8)
    target = truth.copy()
    target[mask] = 255
    return Scene(ID, (near.copy(), far.copy()), target, mask, truth, prompt="a photo of clouds")


def variants(scene: Scene) -> dict[str, Scene]:
    """What a suite may hold besides, by what is odd about it; each has an id of its own."""
    height, width = scene.mask.shape
    tall, wide = height - 1 + height % 2, width - 1 + width % 2
    if tall == wide > 2:
        wide -= 2
    frame = max(2, min(height, width) // 16)
    border = np.zeros_like(scene.mask)
    border[frame:-frame, frame:-frame] = True
    speck = np.zeros_like(scene.mask)
    speck[height // 2, width // 3] = True
    made = {
        "odd sides": _cut(scene, (slice(tall), slice(wide))),
        "all but a border": replace(scene, mask=border),
        "a hole of one pixel": replace(scene, mask=speck),
        "one reference": replace(scene, references=scene.references[:1]),
        "a hostile prompt": replace(scene, prompt=PROMPT),
    }
    return {word: replace(other, id=f"{scene.id}-{word.replace(' ', '-')}") for word, other in made.items()}


def turned(scene: Scene) -> Scene:
    """Another scene: width and height exchanged, the hole at the border, no prompt."""
    height, width = scene.size
    mask = np.zeros((height, width), bool)
    mask[2 * height // 3 :] = True
    target, *references = (np.ascontiguousarray(image.swapaxes(0, 1)) for image in (scene.target, *scene.references))
    truth = None if scene.truth is None else np.ascontiguousarray(scene.truth.swapaxes(0, 1))
    return replace(scene, id=f"{scene.id}-turned", references=tuple(references), target=target, truth=truth, mask=mask, prompt=None)


def noise(scene: Scene, seed: int) -> UInt8Image:
    """The scene's target with noise in its hole, of another mean for another seed."""
    image = scene.target.copy()
    low = 61 * seed % 180
    image[scene.mask] = np.random.default_rng(seed).integers(low, low + 76, (int(scene.mask.sum()), 3), dtype=np.uint8)
    return image


def lay(scene: Scene, suite: Path, seed: int) -> None:
    """Write a scene in a suite's layout, with noise for its truth and in its target's hole: other noise for another seed."""
    folder = suite / scene.id
    images: dict[str, npt.NDArray[Any]] = {f"ref/{index}.png": image for index, image in enumerate(scene.references)}
    images |= {"target/target.png": noise(scene, seed), "target/gt.png": noise(scene, seed + 1), "target/mask.png": scene.mask}
    for name, image in images.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(image))


def _cut(scene: Scene, part: tuple[slice, slice]) -> Scene:
    """A part of the target; where the hole lies outside it, its middle pixel is the hole."""
    mask: BoolImage = scene.mask[part].copy()
    mask[mask.shape[0] // 2, mask.shape[1] // 2] |= not mask.any()
    truth = None if scene.truth is None else scene.truth[part].copy()
    return replace(scene, target=scene.target[part].copy(), mask=mask, truth=truth)


def _clouds(width: int, height: int, octaves: Sequence[int] = (4, 9, 20, 45)) -> UInt8Image:
    """A colour picture with structure at several scales, the same each time."""
    from PIL import Image

    rng = np.random.default_rng(8)
    total = np.zeros((height, width, 3))
    for number, cells in enumerate(octaves):
        small = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        total += np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)) * 0.6**number
    low, high = total.min(), total.max()
    return np.asarray(np.rint(20 + 215 * (total - low) / (high - low)), dtype=np.uint8)
