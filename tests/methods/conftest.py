"""Tasks made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from realbench.scene import OracleTask, Scene, Task

MakeTask = Callable[..., Task]


@pytest.fixture
def make_task() -> MakeTask:
    """make_task(picture, mask): the task of a scene whose truth is the picture; truth=True makes it an OracleTask."""

    def make(
        picture: npt.NDArray[np.uint8],
        mask: npt.NDArray[np.bool_],
        references: Sequence[npt.NDArray[np.uint8]] = (),
        *,
        scene: str = "scene",
        truth: bool = False,
    ) -> Task | OracleTask:
        shown = Scene(scene, tuple(references) or (picture[::-1].copy(),), picture.copy(), mask.copy(), picture.copy())
        return shown.oracle_task() if truth else shown.task()

    return make
