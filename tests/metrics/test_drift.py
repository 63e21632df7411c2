"""Drift against values computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from realbench.composite import Feather
from realbench.method import Context
from realbench.metric import Batch
from realbench.metrics.drift import Drift
from realbench.scene import Scene

CONTEXT = Context(work=Path())


def score(target, mask, *raw, composites=None, truth=None):
    metric = Drift()
    prepared = metric.prepare(Scene("s", (target,), target.copy(), mask.copy(), truth), context=CONTEXT)
    return metric.score(prepared, Batch(tuple(range(len(raw))), raw, composites or raw))


def grey(value, shape=(2, 4)):
    return np.full((*shape, 3), value, np.uint8)


def hole(*pixels):
    mask = np.zeros((2, 4), bool)
    for pixel in pixels:
        mask[pixel] = True
    return mask


def with_changes():
    """Grey 100 with 10 more at (0, 0) red, 40 less at (1, 3) blue, and 99 more in the hole's pixel (0, 2)."""
    image = grey(100).astype(int)
    image[0, 0, 0] += 10
    image[1, 3, 2] -= 40
    image[0, 2] += 99
    return image.astype(np.uint8)


TABLE = [
    ("untouched", grey(100), hole((0, 2)), 0.0),
    ("one level up everywhere", grey(101), hole((0, 2)), 1.0),
    ("one level down everywhere", grey(99), hole((0, 2)), 1.0),
    ("two values of 7 · 3", with_changes(), hole((0, 2)), 50 / 21),
    ("a larger hole, 10 left over 6 · 3", with_changes(), hole((0, 2), (1, 3)), 10 / 18),
    ("no wrap-around", grey(255), hole((1, 1)), 155.0),
]


@pytest.mark.parametrize(("name", "raw", "mask", "value"), TABLE, ids=[row[0] for row in TABLE])
def test_by_hand(name, raw, mask, value):
    (result,) = score(grey(100), mask, raw)
    assert result.state == "ok"
    assert result.value == pytest.approx(value, abs=1e-12)


def test_reads_the_raw_fill_and_neither_truth_nor_composite():
    mask = hole((0, 2))
    plain = score(grey(100), mask, with_changes())
    assert score(grey(100), mask, with_changes(), composites=(grey(0),), truth=grey(7)) == plain


def test_full_hole_is_unsupported():
    results = score(grey(100), np.ones((2, 4), bool), grey(1), grey(2))
    assert [(r.value, r.state) for r in results] == [(None, "unsupported")] * 2
    assert "known region" in results[0].reason


def test_each_fill_stands_alone():
    mask = hole((0, 2))
    together = score(grey(100), mask, grey(103), with_changes(), grey(90))
    assert [result.value for result in together] == pytest.approx([3, 50 / 21, 10])


def test_signature():
    assert Drift().signature(Feather()) == "drift|region:known|image:raw|v:1"
