"""The SIFT backend of `matches`: pairing by hand, and a real stereo pair."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

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


def plain(value, shape):
    return np.full((*shape, 3), value, np.uint8)


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
    (found,) = Sift(100, 0.8, 1024).pair(reference, [fill])
    assert [tuple(row) for row in found] == [(*row, 1.0) for row in pairs]


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


@pytest.mark.parametrize("change", [{"features": 40}, {"ratio": 0.5}, {"epipolar": 0.2}, {"size": 150}, {"geometry": "none"}])
def test_every_setting_is_used(stereo, change):
    _, right, _ = stereo
    assert score(scene_of(stereo), right, config=Config(**change))[0].value != score(scene_of(stereo), right)[0].value
