from __future__ import annotations

import numpy as np
import pytest

from realbench.method import Context
from realbench.methods.mean_color import MeanColor


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ([(10, 20, 30), (10, 20, 30), (10, 20, 30)], (10, 20, 30)),
        ([(0, 0, 0), (0, 0, 0), (1, 10, 100)], (0, 3, 33)),  # a third of each
        ([(255, 0, 4), (255, 255, 5), (0, 255, 5)], (170, 170, 5)),  # 4.67 rounds up
    ],
)
def test_the_hole_takes_the_mean_of_the_known_pixels_alone(known, expected, make_task) -> None:
    picture = np.full((2, 3, 3), 99, np.uint8)
    mask = np.array([[True, True, False], [False, True, False]])
    picture[~mask] = known
    image, notes = MeanColor().complete(make_task(picture, mask), 0, Context())
    assert (image[mask] == expected).all() and (image[~mask] == known).all() and notes == ()


def test_under_a_full_mask_each_reference_counts_once_whatever_its_size(make_task) -> None:
    references = [np.full((2, 2, 3), (10, 0, 90), np.uint8), np.full((9, 7, 3), (20, 0, 100), np.uint8)]
    picture = np.zeros((3, 5, 3), np.uint8)
    image, notes = MeanColor().complete(make_task(picture, np.ones((3, 5), bool), references), 0, Context())
    assert (image == (15, 0, 95)).all() and image.shape == (3, 5, 3)
    assert "references" in notes[0]
