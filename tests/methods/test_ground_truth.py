from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from realbench.errors import Unsupported
from realbench.method import Context
from realbench.methods.ground_truth import GroundTruth

PICTURE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
MASK = np.zeros((4, 6), bool)
MASK[1:3, 2:] = True


def test_it_is_the_declared_oracle_and_returns_the_truth(make_task) -> None:
    task = make_task(PICTURE, MASK, truth=True)
    image, notes = GroundTruth().complete(task, 0, Context())
    assert GroundTruth.card.oracle and notes == ()
    assert image.dtype == np.uint8 and (image == PICTURE).all()
    assert (task.target != PICTURE).any()


def test_without_truth_it_is_unsupported(make_task) -> None:
    with pytest.raises(Unsupported, match="no ground truth"):
        GroundTruth().complete(replace(make_task(PICTURE, MASK, truth=True), truth=None), 0, Context())
    with pytest.raises(Unsupported, match="no ground truth"):
        GroundTruth().complete(make_task(PICTURE, MASK), 0, Context())
