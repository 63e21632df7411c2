"""Seam against values computed by hand on small non-square images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from realbench.composite import Feather
from realbench.errors import Unsupported
from realbench.method import Context
from realbench.metric import Batch
from realbench.metrics.seam import Seam
from realbench.scene import Scene

CONTEXT = Context(work=Path())
TRUTH = np.random.default_rng(3).integers(80, 170, (3, 5, 3)).astype(np.uint8)
MIDDLE = np.zeros((3, 5), bool)
MIDDLE[1, 2] = True
"""One pixel: four pairs."""
LEFT = np.zeros((3, 5), bool)
LEFT[:, :2] = True
"""A strip: three horizontal pairs, none vertical."""
CORNER = np.zeros((3, 5), bool)
CORNER[0, 0] = True
"""Two pairs."""


def score(mask, *images, truth=TRUTH, raw=None):
    metric = Seam()
    prepared = metric.prepare(Scene("s", (TRUTH,), TRUTH.copy(), mask.copy(), truth), context=CONTEXT)
    return metric.score(prepared, Batch(tuple(range(len(images))), raw or images, images))


def plus(*changes):
    image = TRUTH.astype(int)
    for place, amount in changes:
        image[place] += amount
    return image.astype(np.uint8)


TABLE = [
    ("perfect", MIDDLE, plus(), 0.0),
    ("a constant shift of everything", MIDDLE, plus((np.s_[:], 9)), 0.0),
    ("the hole's pixel 6 up: 6 on each of 4 pairs", MIDDLE, plus(((1, 2), 6)), 6.0),
    ("the hole's pixel 6 down", MIDDLE, plus(((1, 2), -6)), 6.0),
    ("one channel of three", MIDDLE, plus(((1, 2, 0), 6)), 2.0),
    ("one known neighbour 8 up: one pair of four", MIDDLE, plus(((0, 2), 8)), 2.0),
    ("hole +6, one neighbour −8: (6·3 + 14) / 4", MIDDLE, plus(((1, 2), 6), ((0, 2), -8)), 8.0),
    ("a diagonal neighbour is no neighbour", MIDDLE, plus(((0, 1), 50)), 0.0),
    ("strip: only column 1 touches the border", LEFT, plus((np.s_[:, 0], 50)), 0.0),
    ("strip: one row of three 9 up", LEFT, plus(((1, 1), 9)), 3.0),
    ("strip: known column 2, all rows 9 down", LEFT, plus((np.s_[:, 2], -9)), 9.0),
    ("corner: right neighbour 10 up, below 2 up", CORNER, plus(((0, 1), 10), ((1, 0), 2)), 6.0),
]


@pytest.mark.parametrize(("name", "mask", "image", "value"), TABLE, ids=[row[0] for row in TABLE])
def test_by_hand(name, mask, image, value):
    (result,) = score(mask, image)
    assert result.state == "ok"
    assert result.value == pytest.approx(value, abs=1e-12)


def test_horizontal_and_vertical_pairs_weigh_alike():
    """An L of two pixels, (0, 0) and (1, 0): pairs right of both and below the second; 12 and 0 and 0 give 4."""
    mask = np.zeros((3, 5), bool)
    mask[:2, 0] = True
    assert score(mask, plus(((2, 0), 12)))[0].value == pytest.approx(4)


def test_inverted_mask_has_the_same_border():
    image = plus(((1, 2), 6), ((0, 0), 20))
    assert score(MIDDLE, image) == score(~MIDDLE, image)


def test_extremes_do_not_wrap_around():
    truth, image = np.zeros((3, 5, 3), np.uint8), np.zeros((3, 5, 3), np.uint8)
    truth[1, 2], image[~MIDDLE] = 255, 255
    assert score(MIDDLE, image, truth=truth)[0].value == 510


def test_full_hole_is_unsupported():
    results = score(np.ones((3, 5), bool), TRUTH, TRUTH)
    assert [(r.value, r.state) for r in results] == [(None, "unsupported")] * 2
    assert "border" in results[0].reason


def test_reads_the_composite():
    assert score(MIDDLE, TRUTH.copy(), raw=(plus(((1, 2), 60)),))[0].value == 0


def test_each_fill_stands_alone():
    images = (plus(((1, 2), 6)), plus(), plus(((1, 2), -3)))
    assert [result.value for result in score(MIDDLE, *images)] == [6, 0, 3]


def test_no_truth_is_unsupported():
    with pytest.raises(Unsupported, match="ground truth"):
        score(MIDDLE, TRUTH, truth=None)


def test_signature():
    assert Seam().signature(Feather(0)) == "seam|region:border|image:composite|feather:0/512|v:1"
