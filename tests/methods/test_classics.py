"""What every method that fills a hole must do, whatever the sizes of target and references."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from realbench import registry
from realbench.method import BaseMethod, Context

METHODS = ("mean-color", "nearest-reference", "telea", "navier-stokes", "patchmatch", "reference-warp")
PICTURE = data.coffee()[::4, ::4]  # 100 × 150


def boxes(*parts):
    def draw(shape):
        mask = np.zeros(shape, bool)
        for part in parts:
            mask[part] = True
        return mask

    return draw


HOLES = {
    "one pixel": boxes(np.s_[5, 7]),
    "pixel in the corner": boxes(np.s_[-1, -1]),
    "inside": boxes(np.s_[4:9, 5:11]),
    "left border": boxes(np.s_[:, :6]),
    "two holes": boxes(np.s_[:4, :3], np.s_[-5:-2, -6:]),
    "all around": lambda shape: ~boxes(np.s_[3:11, 2:12])(shape),
    "all but one pixel": lambda shape: ~boxes(np.s_[6, 6])(shape),
}
SIZES = [(16, 16), (40, 64), (61, 33)]
MORE = [  # height, width, hole
    (1, 2, boxes(np.s_[0, 0])),
    (2, 1, boxes(np.s_[1, 0])),
    (1, 40, boxes(np.s_[0, 10:20])),
    (3, 5, boxes(np.s_[1, 1:3])),
    (6, 90, boxes(np.s_[2:, 30:60])),
    (60, 90, boxes(np.s_[20:50, 50:])),
    (20, 30, boxes()),
]
CASES = [
    *(pytest.param(*size, draw, id=f"{size[1]}x{size[0]}-{name}") for size in SIZES for name, draw in HOLES.items()),
    *(pytest.param(*case, id=f"{case[1]}x{case[0]}") for case in MORE),
]


@pytest.mark.parametrize(("height", "width", "draw"), CASES)
@pytest.mark.parametrize("name", METHODS)
def test_a_classic_fills_the_hole_and_leaves_the_rest(name, height, width, draw, make_task) -> None:
    references = [PICTURE[: height + 9, : width + 4], PICTURE[::3, ::2], PICTURE[:5, :3], PICTURE[:1, :1]]
    task = make_task(PICTURE[:height, :width], draw((height, width)), references)
    before = task.target.copy()
    method: BaseMethod = registry.load("methods", name)()
    first, second = method.fill(task, (3, 8), context=Context())
    [alone] = type(method)().fill(task, (8,), context=Context())
    for fill in (first, second):
        assert fill.image.dtype == np.uint8 and fill.image.shape == task.target.shape
        assert (fill.image[~task.mask] == before[~task.mask]).all()
        assert all(isinstance(note, str) and note for note in fill.notes)
    assert (first.seed, second.seed) == (3, 8)
    assert (second.image == alone.image).all() and second.notes == alone.notes
    assert method.card.stochastic or (first.image == second.image).all()
    assert (task.target == before).all()


@pytest.mark.parametrize("name", [name for name in METHODS if name != "nearest-reference"])
def test_no_blank_remains(name, make_task) -> None:
    """The blank is grey 127; next to a known region without grey, a method that leaves it is caught."""
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[..., 0] = np.linspace(200, 240, 64)
    mask = np.zeros((48, 64), bool)
    mask[:30, 20:] = True
    [fill] = registry.load("methods", name)().fill(make_task(picture, mask, [picture]), (0,), context=Context())
    assert np.abs(fill.image[mask].astype(int) - (220, 0, 0)).max() < 60
