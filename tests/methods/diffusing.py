"""What the tests of diffusion methods share: scenes, runs in this process, comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from realbench import plan, registry
from realbench.fills import scene_arrays, scene_head
from realbench.image import UInt8Image
from realbench.method import Context, Fill
from realbench.scene import BLANK, Scene, Task
from realbench.wire import Message
from realbench.worker import Session
from tests.conftest import photograph


def scene(references: int = 3, size: tuple[int, int] = (77, 50), *, prompt: str | None = None, seed: int = 0) -> Scene:
    """A photograph with a hole in its upper right, and references of other sizes; different pictures for different seeds."""
    mask = np.zeros((size[1], size[0]), bool)
    mask[size[1] // 5 : size[1] // 2, size[0] // 2 :] = True
    others = tuple(photograph(100 * seed + index + 1, 60 + 10 * index, 70) for index in range(references))
    picture = photograph(100 * seed, *size)
    return Scene(f"scene-{seed}", others, picture, mask, picture.copy(), prompt=prompt)


def make(name: str, preset: str | None = None, **settings: Any) -> Any:
    """A method with a preset's settings and others on top, as the command line makes it."""
    row = plan.plan_rows([f"{name}:{preset}" if preset else name], [f"{name}.{key}={value}" for key, value in settings.items()])[0]
    kind = registry.load("methods", name)
    return kind(plan.validate(kind.Settings, row.settings, name))


def fills(method: Any, task: Task, seeds: Sequence[int] = (0,), **context: Any) -> list[Fill]:
    """Its fills, in the order they come."""
    return list(method.fill(task, seeds, context=Context(**context)))


def paint(method: Any, task: Task, seed: int = 0) -> UInt8Image:
    """One fill's image."""
    (fill,) = fills(method, task, (seed,))
    assert isinstance(fill.image, np.ndarray) and fill.image.dtype == np.uint8
    return fill.image


def close(first: UInt8Image, second: UInt8Image) -> bool:
    """Equal across batch sizes: within 2 levels on 99 % of the pixels."""
    return bool((np.abs(first.astype(int) - second).max(-1) <= 2).mean() >= 0.99)


def apart(first: UInt8Image, second: UInt8Image) -> bool:
    """Clearly not the same image."""
    return bool(np.abs(first.astype(int) - second).mean() > 0.05)


def reveal(task: Task) -> Task:
    """The task with something in its hole that no method may look at."""
    target = task.target.copy()
    target[task.mask] = np.random.default_rng(0).integers(0, 256, (int(task.mask.sum()), 3))
    assert (task.target[task.mask] == BLANK).all()
    return replace(task, target=target)


def reply(
    method: str, settings: Mapping[str, Any], shown: Scene, seeds: Sequence[int] = (0,), session: Session | None = None
) -> list[Message]:
    """A worker's replies to a request for fills, from within this process."""
    row = plan.plan_rows([method], [f"{key}={value}" for key, value in settings.items()])[0]
    head = {
        "stage": "fill",
        "items": [str(seed) for seed in seeds],
        "method": row.method,
        "settings": row.settings,
        "oracle": False,
        "fit": 0,
        "feather": 4.0,
        "device": "cpu",
        "dtype": "float32",
        "work": None,
        "state": None,
        **scene_head(shown),
    }
    return list((session or Session()).handle(Message(head, scene_arrays(shown, blanked=True, truth=False))))
