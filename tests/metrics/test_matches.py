"""Matches: counting by hand through a backend of known pairs, verification, sizes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from realbench.errors import Unsupported
from realbench.method import Context
from realbench.metric import Batch
from realbench.metrics import _matches_config, _matching, matches
from realbench.metrics.matches import Config, Matches
from realbench.portion import Portion
from realbench.scene import Scene

CONTEXT = Context(work=Path())


def score(scene, *images, config=None):
    metric = Matches(config)
    return metric.score(metric.prepare(scene, context=CONTEXT), Batch(tuple(range(len(images))), images, images))


# --- counting, with a backend whose pairs are known -------------------------------------------------------------------------------


class Known:
    """Finds the pairs that its table lists for a reference, told by the value of its first pixel; rows of 4, or 5 with a confidence."""

    shared = None

    def __init__(self, table):
        self.table = table
        self.seen = []
        self.at_once = 1
        self.size = 1024
        self.closed = 0

    def shape(self, height, width):
        return _matching.shrunk(height, width, self.size)

    def portion(self, height, width):
        return Portion(self.at_once, "known")

    def describe(self, images):
        self.seen += [image.shape for image in images]
        return list(images)

    def pair(self, reference, fills):
        pairs = np.array(self.table[int(reference[0, 0, 0])], float)
        pairs = pairs.reshape(-1, 4 if pairs.size == 0 else pairs.shape[1])
        full = pairs if pairs.shape[1] == 5 else np.insert(pairs, 4, 1.0, axis=1)
        return [full for _ in fills]

    def close(self):
        self.closed += 1


def plain(value, shape):
    return np.full((*shape, 3), value, np.uint8)


@pytest.fixture
def known(monkeypatch):
    """Install a backend of known pairs; returns it."""

    def install(table):
        backend = Known(table)

        def make(config, context):
            backend.size = config.size
            return backend

        monkeypatch.setitem(_matches_config.DEFAULTS, "known", {"confidence": 0.5, "size": 1024, "epipolar": 1.5})
        monkeypatch.setitem(_matches_config.RESIZED, "known", {"resize": "area"})
        monkeypatch.setitem(matches.BACKENDS, "known", make)
        return backend

    return install


def small_scene(*references):
    """A 10 × 6 target whose hole is columns 4 to 7 of rows 1 to 3."""
    mask = np.zeros((6, 10), bool)
    mask[1:4, 4:8] = True
    return Scene("s", references, plain(0, (6, 10)), mask)


PAIRS = {
    1: [(0, 0, 4, 1), (1, 2, 7, 3), (2, 2, 8, 3), (3, 3, 3, 1), (5, 5, 4, 4)],  # two in the hole, three beside it
    2: [(0, 0, 5.4, 2.4), (1, 1, 7.4, 1.0), (2, 2, 7.6, 1.0), (4, 4, 3.6, 0.6)],  # ends are rounded: in, in, out, in
    3: [],
}


def unverified(**changes):
    return Config(backend="known", geometry="none", **changes)


@pytest.mark.parametrize(("combine", "value"), [("sum", 5.0), ("max", 3.0), ("mean", 5 / 3)])
def test_counts_pairs_that_end_in_the_hole(known, combine, value):
    known(PAIRS)
    scene = small_scene(*(plain(number, (5, 7)) for number in (1, 2, 3)))
    (result,) = score(scene, plain(9, (6, 10)), config=unverified(combine=combine))
    assert result.value == pytest.approx(value)
    assert result.artefacts["counts"] == [2, 3, 0]
    assert result.artefacts["lines"] == [
        [0, 0.0, 0.0, 4.0, 1.0],
        [0, 1.0, 2.0, 7.0, 3.0],
        [1, 0.0, 0.0, 5.4, 2.4],
        [1, 1.0, 1.0, 7.4, 1.0],
        [1, 4.0, 4.0, 3.6, 0.6],
    ]
    assert type(result.artefacts["lines"][0][0]) is int


def test_pairs_of_resized_images_are_counted_and_drawn_in_original_pixels(known):
    """Target 10 × 6 shown at 5 × 3, reference 20 × 8 at 5 × 2: pixel centres map by x ↦ (x + ½)·scale − ½."""
    backend = known({1: [(1, 1, 2, 1), (1, 1, 1, 1), (4, 0, 3, 0)]})
    scene = small_scene(plain(1, (8, 20)))
    (result,) = score(scene, plain(9, (6, 10)), config=unverified(size=5))
    assert backend.seen == [(2, 5, 3), (3, 5, 3)]
    assert result.artefacts["lines"] == [[0, 5.5, 5.5, 4.5, 2.5]]


def test_small_images_are_not_enlarged(known):
    backend = known({1: []})
    score(small_scene(plain(1, (5, 7))), plain(9, (6, 10)), config=unverified(size=1000))
    assert backend.seen == [(5, 7, 3), (6, 10, 3)]


def test_references_are_described_once(known):
    backend = known({1: [], 2: []})
    score(small_scene(plain(1, (5, 7)), plain(2, (4, 7))), *[plain(9, (6, 10))] * 3, config=unverified())
    assert [shape[:2] for shape in backend.seen] == [(5, 7), (4, 7), (6, 10), (6, 10), (6, 10)]


def test_at_most_200_lines_from_all_references(known):
    known({1: [(0, 0, 5, 2)] * 700, 2: [(0, 0, 5, 2)] * 300})
    (result,) = score(small_scene(plain(1, (5, 7)), plain(2, (5, 7))), plain(9, (6, 10)), config=unverified())
    numbers = [line[0] for line in result.artefacts["lines"]]
    assert result.value == 1000
    assert len(numbers) == 200
    assert 130 <= numbers.count(0) <= 150


FITS_NOTHING = [
    (8, 2, 1, 5),
    (4, 3, 4, 9),
    (7, 4, 8, 0),
    (8, 6, 8, 9),
    (7, 0, 3, 4),
    (3, 9, 7, 3),
    (6, 9, 0, 8),
    (3, 2, 1, 5),
    (6, 0, 5, 6),
]
"""Makes OpenCV 5.0 raise."""


@pytest.mark.parametrize("pairs", [[], [(1, 1, 5, 2)] * 7, [(1, 1, 5, 2)] * 30, [(x, 1, x, 2) for x in range(20)], FITS_NOTHING])
def test_pairs_that_fix_no_geometry_count_zero_or_more_but_never_fail(known, pairs):
    known({1: pairs})
    (result,) = score(small_scene(plain(1, (5, 20))), plain(9, (6, 10)), config=Config(backend="known"))
    assert result.state == "ok"
    assert result.value >= 0
    if len(pairs) < 8:
        assert result.value == 0


def test_seven_pairs_fix_no_geometry_and_eight_do(known):
    x, y, depth = np.random.default_rng(1).uniform(5, 90, (3, 8))
    agreeing = np.column_stack([x + depth / 5, y + depth / 9, x, y])
    known({1: agreeing[:7], 2: agreeing})
    scene = Scene("s", (plain(1, (100, 120)), plain(2, (100, 120))), plain(0, (100, 100)), np.ones((100, 100), bool))
    assert score(scene, plain(9, (100, 100)), config=Config(backend="known"))[0].artefacts["counts"] == [0, 8]


def test_geometry_drops_outliers(known):
    """40 pairs of one epipolar geometry (rows kept, parallax along them) and 10 far off it."""
    generator = np.random.default_rng(0)
    x, y, depth = generator.uniform(5, 90, (3, 40))
    agreeing = np.column_stack([x + depth / 5, y, x, y])
    stray = np.column_stack([generator.uniform(5, 90, (10, 2)), agreeing[:10, 2:]])
    stray[:, 1] = (stray[:, 3] + generator.uniform(20, 60, 10)) % 95
    known({1: np.vstack([agreeing, stray])})
    scene = Scene("s", (plain(1, (100, 120)),), plain(0, (100, 100)), np.ones((100, 100), bool))
    (result,) = score(scene, plain(9, (100, 100)), config=Config(backend="known"))
    (all_pairs,) = score(scene, plain(9, (100, 100)), config=unverified())
    assert all_pairs.value == 50
    assert 40 <= result.value <= 42


def test_confidences_are_added_up_where_asked(known):
    known({1: [(0, 0, 4, 1, 0.5), (0, 0, 5, 2, 0.25), (0, 0, 0, 0, 0.9)], 2: [(0, 0, 7, 3, 0.125)]})
    scene = small_scene(plain(1, (5, 7)), plain(2, (5, 7)))
    (result,) = score(scene, plain(9, (6, 10)), config=unverified(count="confidence"))
    assert result.value == 0.875
    assert result.artefacts["counts"] == [0.75, 0.125]
    assert result.artefacts["lines"] == [[0, 0.0, 0.0, 4.0, 1.0], [0, 0.0, 0.0, 5.0, 2.0], [1, 0.0, 0.0, 7.0, 3.0]]


@pytest.mark.parametrize(("inset", "value"), [(0.0, 12), (0.9, 12), (1.0, 2), (1.9, 2), (2.0, 0)])
def test_inset_takes_the_hole_s_rim_away(known, inset, value):
    """One pair on each pixel of the 4 × 3 hole: ten lie at distance 1 from the known region, two at distance 2."""
    known({1: [(0, 0, x, y) for x in range(4, 8) for y in range(1, 4)]})
    (result,) = score(small_scene(plain(1, (5, 7))), plain(9, (6, 10)), config=unverified(inset=inset))
    assert result.value == value


def test_inset_counts_the_image_s_edge_as_no_border(known):
    known({1: [(0, 0, 0, 0), (0, 0, 9, 5)]})
    scene = replace(small_scene(plain(1, (5, 7))), mask=np.ones((6, 10), bool))
    assert score(scene, plain(9, (6, 10)), config=unverified(inset=50.0))[0].value == 2


def test_pairs_of_the_hole_alone_may_vote(known):
    """Beside the hole 40 pairs of one geometry, in the hole 20 of another: the vote decides which survive."""
    generator = np.random.default_rng(0)
    x, y, depth = generator.uniform(5, 95, (3, 60))
    x = np.where(np.arange(60) < 20, x / 3, 40 + x / 2)
    moved = np.where(np.arange(60) < 20, 12.0, 0.0)
    known({1: np.column_stack([x + depth / 5, y + moved, x, y])})
    mask = np.zeros((100, 100), bool)
    mask[:, :36] = True
    scene = Scene("s", (plain(1, (120, 120)),), plain(0, (100, 100)), mask)
    image, hole = (score(scene, plain(9, (100, 100)), config=Config(backend="known", vote=vote))[0].value for vote in ("image", "hole"))
    assert image < 10
    assert hole == 20


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_fills_are_described_and_paired_in_portions(known, at_once):
    backend = known({1: PAIRS[1], 2: PAIRS[2]})
    backend.at_once = at_once
    scene = small_scene(plain(1, (5, 7)), plain(2, (5, 7)))
    fills = [plain(value, (6, 10)) for value in (9, 8, 7)]
    assert [result.artefacts["counts"] for result in score(scene, *fills, config=unverified())] == [[2, 3]] * 3
    assert len(backend.seen) == 5


def test_close_frees_the_backend_once(known):
    backend = known({1: []})
    metric = Matches(unverified())
    metric.close()
    metric.prepare(small_scene(plain(1, (5, 7))), context=CONTEXT)
    metric.close()
    metric.close()
    assert backend.closed == 1


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((100, 200, 50, 1), (25, 50)),
        ((100, 200, 500, 1), (100, 200)),
        ((200, 100, 150, 8), (144, 72)),
        ((3, 5, 100, 8), (8, 8)),
        ((1, 1000, 100, 1), (1, 100)),
    ],
)
def test_size_is_cut_to_multiples_and_never_nothing(size, shape):
    assert _matching.shrunk(*size) == shape


def test_resizing_averages_where_a_side_shrinks_and_interpolates_where_it_grows():
    image = np.zeros((2, 4, 3), np.uint8)
    image[:, 1::2] = 100
    assert (_matching.resized(image, (2, 2)) == 50).all()
    wide = _matching.resized(image, (1, 8))
    assert wide.shape == (1, 8, 3)
    assert list(wide[0, :4, 0]) == [0, 25, 75, 75]
    assert _matching.resized(image, (2, 4)) is image


def test_no_reference_is_unsupported():
    with pytest.raises(Unsupported, match="reference"):
        score(small_scene(), plain(9, (6, 10)))
