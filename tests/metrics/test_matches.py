"""Matches: counting by hand through a backend of known pairs, and the SIFT backend on a real stereo pair."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from realbench.composite import Feather
from realbench.errors import Unsupported, UsageError
from realbench.method import Context
from realbench.metric import Batch
from realbench.metrics import matches
from realbench.metrics._sift import Features, Sift
from realbench.metrics.matches import Config, Matches
from realbench.scene import Scene

CONTEXT = Context(work=Path())


def score(scene, *images, config=None):
    metric = Matches(config)
    return metric.score(metric.prepare(scene, context=CONTEXT), Batch(tuple(range(len(images))), images, images))


# --- counting, with a backend whose pairs are known -------------------------------------------------------------------------------


class Known:
    """Finds the pairs that its table lists for a reference, told by the value of its first pixel."""

    def __init__(self, table):
        self.table = table
        self.seen = []

    def describe(self, image):
        self.seen.append(image.shape)
        return image

    def pair(self, reference, fill):
        return np.array(self.table[int(reference[0, 0, 0])], float).reshape(-1, 4)


def plain(value, shape):
    return np.full((*shape, 3), value, np.uint8)


@pytest.fixture
def known(monkeypatch):
    """Install a backend of known pairs; returns it."""

    def install(table):
        backend = Known(table)
        monkeypatch.setitem(matches.BACKENDS, "known", lambda config: backend)
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


def test_no_reference_is_unsupported():
    with pytest.raises(Unsupported, match="reference"):
        score(small_scene(), plain(9, (6, 10)))


# --- the SIFT backend -------------------------------------------------------------------------------------------------------------


def features(*rows):
    """Key points at (row number, 10 · row number) with the given first descriptor values."""
    descriptors = np.zeros((len(rows), 128), np.float32)
    for number, row in enumerate(rows):
        descriptors[number, : len(row)] = row
    return Features(np.array([(number, 10 * number) for number in range(len(rows))], float).reshape(-1, 2), descriptors)


PAIRING = [
    ("each finds its own", features((9, 0), (0, 9)), features((0, 8), (8, 0)), [(0, 0, 1, 10), (1, 10, 0, 0)]),
    ("two like one: only the nearer", features((9, 0), (0, 9)), features((7, 0), (8, 0)), [(0, 0, 1, 10)]),
    ("distances 1 and 1.2: not clear enough", features((9, 0), (6.8, 0)), features((8, 0)), []),
    ("distances 1 and 1.3: clear enough", features((9, 0), (6.7, 0)), features((8, 0)), [(0, 0, 0, 0)]),
    ("one descriptor leaves nothing to compare with", features((9, 0)), features((9, 0)), []),
    ("nothing found in the fill", features((9, 0), (0, 9)), features(), []),
    ("nothing found in the reference", features(), features((9, 0), (0, 9)), []),
]


@pytest.mark.parametrize(("name", "reference", "fill", "pairs"), PAIRING, ids=[row[0] for row in PAIRING])
def test_pairs_are_mutual_and_clear(name, reference, fill, pairs):
    assert [tuple(row) for row in Sift(100, 0.8).pair(reference, fill)] == pairs


# --- the SIFT backend on photographs ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stereo():
    """Middlebury's motorcycle, half size: reference left, truth right, a hole over the engine."""
    left, right, _ = skimage.data.stereo_motorcycle()
    left, right = (cv2.resize(image, (370, 250), interpolation=cv2.INTER_AREA) for image in (left, right))
    mask = np.zeros((250, 370), bool)
    mask[80:200, 130:280] = True
    return left, right, mask


def scene_of(stereo, **changes):
    left, right, mask = stereo
    return replace(Scene("s", (left,), right.copy(), mask.copy(), right.copy()), **changes)


def noise_in_the_hole(image, mask):
    noisy = image.copy()
    noisy[mask] = np.random.default_rng(0).integers(0, 256, (int(mask.sum()), 3))
    return noisy


def test_truth_gives_many_and_noise_or_a_flat_fill_gives_none(stereo):
    _, right, mask = stereo
    flat = right.copy()
    flat[mask] = 127
    truth, noise, plain_fill = (result.value for result in score(scene_of(stereo), right, noise_in_the_hole(right, mask), flat))
    assert truth > 60
    assert noise <= 3
    assert plain_fill <= 3


def test_an_identical_reference_gives_more_than_a_neighbour(stereo):
    _, right, _ = stereo
    same = score(scene_of(stereo, references=(right,)), right)[0].value
    assert same > 1.5 * score(scene_of(stereo), right)[0].value


def test_moving_content_out_of_the_hole_lowers_it(stereo):
    _, right, mask = stereo
    moved = right.copy()
    moved[mask] = np.roll(right, 60, axis=0)[mask]  # across the epipolar lines, which are rows
    assert score(scene_of(stereo), moved)[0].value < 0.3 * score(scene_of(stereo), right)[0].value


def test_more_of_the_content_counts_more(stereo):
    _, right, mask = stereo
    half = mask.copy()
    half[:, :205] = False
    whole, partly, none = (r.value for r in score(scene_of(stereo), right, noise_in_the_hole(right, half), noise_in_the_hole(right, mask)))
    assert whole > 1.3 * partly
    assert partly > 20 * (none + 1)


def test_neither_truth_nor_target_is_read(stereo):
    _, right, mask = stereo
    plain_result = score(scene_of(stereo), right)
    assert score(scene_of(stereo, truth=None, target=255 - right), right) == plain_result
    assert score(scene_of(stereo, truth=noise_in_the_hole(right, mask)), right) == plain_result


def test_order_batch_and_global_random_state_do_not_matter(stereo):
    _, right, mask = stereo
    fills = (right, noise_in_the_hole(right, mask), right[:, ::-1].copy())
    together = score(scene_of(stereo), *fills)
    cv2.setRNGSeed(12345)
    reverse = score(scene_of(stereo), *fills[::-1])
    assert together == reverse[::-1]
    assert together == [score(scene_of(stereo), fill)[0] for fill in fills]


def test_no_match_is_counted_twice(stereo):
    """A SIFT point with two orientations has two descriptors, but it is one point."""
    _, right, _ = stereo
    lines = score(scene_of(stereo), right)[0].artefacts["lines"]
    assert len({tuple(line) for line in lines}) == len(lines) > 60


def test_lines_lie_in_the_images_and_end_in_the_hole(stereo):
    left, right, mask = stereo
    (result,) = score(scene_of(stereo, references=(left, right)), right, config=Config(size=300))
    lines = np.array(result.artefacts["lines"])
    assert len(lines) == min(200, result.value)
    assert sum(result.artefacts["counts"]) == result.value
    assert set(lines[:, 0]) == {0, 1}
    ends = np.rint(lines[:, 3:]).astype(int)
    assert cv2.dilate(mask.astype(np.uint8), np.ones((3, 3)))[ends[:, 1], ends[:, 0]].all()
    # Rectified stereo: a match keeps its row, and the left camera sees it farther right.
    of_left = lines[lines[:, 0] == 0]
    assert np.median(np.abs(of_left[:, 2] - of_left[:, 4])) < 1
    assert np.median(of_left[:, 1] - of_left[:, 3]) > 5
    of_right = lines[lines[:, 0] == 1]
    assert np.abs(of_right[:, 1:3] - of_right[:, 3:]).max() < 0.2


@pytest.mark.parametrize("shape", [(1, 1), (4, 9), (20, 13)])
def test_featureless_and_tiny_images_score_zero(shape):
    scene = Scene("s", (plain(50, shape),), plain(0, (6, 10)), np.ones((6, 10), bool))
    assert score(scene, plain(50, (6, 10)))[0] == matches.Score(0.0, artefacts={"counts": [0], "lines": []})


def test_one_pixel_hole_and_full_hole(stereo):
    _, right, mask = stereo
    one = np.zeros_like(mask)
    one[125, 200] = True
    pixel, full = (score(scene_of(stereo, mask=m), right)[0].value for m in (one, np.ones_like(mask)))
    assert 0 <= pixel <= 5
    assert full > score(scene_of(stereo), right)[0].value


# --- configuration ----------------------------------------------------------------------------------------------------------------

SIGNATURE = (
    "matches|region:hole|image:composite|feather:4/512|backend:sift|features:4096|ratio:0.8|geometry:fundamental-magsac"
    "|threshold:1.5|size:1024|combine:sum|v:1"
)
OTHERS = {"backend": "known", "features": 100, "ratio": 0.9, "geometry": "none", "threshold": 3.0, "size": 512, "combine": "mean"}


def test_signature(known):
    known({})
    assert Matches().signature(Feather()) == SIGNATURE
    assert set(OTHERS) == {field.name for field in fields(Config)}
    changed = {Matches(replace(Config(), **{name: value})).signature(Feather()) for name, value in OTHERS.items()}
    assert len(changed | {SIGNATURE}) == len(OTHERS) + 1


@pytest.mark.parametrize("change", [{"features": 40}, {"ratio": 0.5}, {"threshold": 0.2}, {"size": 150}, {"geometry": "none"}])
def test_every_setting_is_used(stereo, change):
    _, right, _ = stereo
    assert score(scene_of(stereo), right, config=Config(**change))[0].value != score(scene_of(stereo), right)[0].value


WRONG = [
    {"backend": "surf"},
    {"geometry": "affine"},
    {"combine": "median"},
    {"size": 0},
    {"features": 0},
    {"ratio": 1.5},
    {"threshold": 0.0},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(UsageError, match="matches"):
        Config(**wrong)
