"""What telea and navier-stokes share is tested in test_telea.py, for both."""

from __future__ import annotations

import numpy as np

from realbench.method import Context
from realbench.methods.navier_stokes import NavierStokes
from realbench.methods.telea import Telea


def test_one_colour_is_continued_exactly_and_the_algorithm_is_not_teleas(make_task) -> None:
    mask = np.zeros((16, 24), bool)
    mask[4:12, :9] = True
    flat = np.full((16, 24, 3), (40, 90, 200), np.uint8)
    assert (NavierStokes().complete(make_task(flat, mask), 0, Context())[0] == (40, 90, 200)).all()
    noise = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    fills = [method().complete(make_task(noise, mask), 0, Context())[0] for method in (NavierStokes, Telea)]
    assert (fills[0] != fills[1]).any()
