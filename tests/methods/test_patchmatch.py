from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from realbench.errors import Unsupported, UsageError
from realbench.method import Context
from realbench.methods import _patchmatch
from realbench.methods._patchmatch import Level, Search
from realbench.methods.mean_color import MeanColor
from realbench.methods.patchmatch import PatchMatch
from realbench.methods.telea import Telea

TINY = PatchMatch.Settings(patch=5, iterations=1)


def hole(shape, *boxes):
    mask = np.zeros(shape, bool)
    for box in boxes:
        mask[box] = True
    return mask


def psnr(image, truth, mask):
    return 10 * np.log10(255**2 / max(np.mean((image[mask].astype(float) - truth[mask]) ** 2), 1e-9))


def stripes(height, width):
    y, x = np.mgrid[:height, :width]
    return np.stack([127 + 100 * np.sin(2 * np.pi * (x + y) / 12), 20 + 10 * (x % 12), np.full((height, width), 77)], axis=2).astype(
        np.uint8
    )


def checker(height, width):
    y, x = np.mgrid[:height, :width]
    return np.where(((x // 6 + y // 6) % 2)[..., None] > 0, (240, 200, 30), (10, 60, 90)).astype(np.uint8)


@pytest.mark.parametrize("texture", [stripes, checker])
@pytest.mark.parametrize(
    "mask",
    [hole((72, 96), np.s_[20:44, 30:62]), hole((72, 96), np.s_[40:, 60:]), hole((72, 96), np.s_[10, 10])],
    ids=["inside", "corner", "one pixel"],
)
def test_a_periodic_texture_is_continued(texture, mask, make_task) -> None:
    truth = texture(72, 96)
    task = make_task(truth, mask)
    image, notes = PatchMatch().complete(task, 0, Context())
    assert psnr(image, truth, mask) > 30 and notes == ()
    assert psnr(image, truth, mask) > psnr(MeanColor().complete(task, 0, Context())[0], truth, mask) + 10


def test_a_photograph_keeps_its_texture(make_task) -> None:
    """Averaging everything would score well in PSNR; a patch-based fill has the known region's detail."""
    truth = cv2.resize(data.chelsea(), (150, 100), interpolation=cv2.INTER_AREA)
    mask = hole((100, 150), np.s_[35:70, 5:45])
    task = make_task(truth, mask)
    detail = [np.abs(cv2.Laplacian(image.astype(np.float32), -1))[mask].mean() for image in (
        truth, PatchMatch().complete(task, 0, Context())[0], Telea().complete(task, 0, Context())[0])]  # fmt: skip
    assert detail[1] > 0.5 * detail[0] and detail[1] > 1.5 * detail[2]


def test_the_fill_has_only_colours_from_the_range_of_the_known_region(make_task) -> None:
    picture = np.random.default_rng(1).integers((100, 0, 30), (141, 21, 200), (40, 60, 3)).astype(np.uint8)
    mask = hole((40, 60), np.s_[10:30, 20:])
    image, _ = PatchMatch(TINY).complete(make_task(picture, mask), 0, Context())
    for channel in range(3):
        known, filled = picture[~mask][:, channel], image[mask][:, channel]
        assert known.min() <= filled.min() and filled.max() <= known.max()


@pytest.mark.parametrize("levels", [0, 1])
def test_what_lies_in_the_hole_does_not_matter(levels, make_task) -> None:
    picture = cv2.resize(data.coffee(), (90, 60), interpolation=cv2.INTER_AREA)
    mask = hole((60, 90), np.s_[20:, 30:63])
    task = make_task(picture, mask)
    method = PatchMatch(replace(TINY, levels=levels))
    fills = [method.complete(replace(task, target=np.where(mask[..., None], shown, picture)), 0, Context())[0] for shown in (0, picture)]
    fills = [fill.astype(np.uint8) for fill in fills]
    assert (fills[0] == fills[1]).all() and (fills[0][~mask] == picture[~mask]).all()


@pytest.mark.parametrize("mask", [hole((30, 40), np.s_[6:, :]), ~hole((30, 40), np.s_[10:16, 10:30]), ~hole((30, 40), np.s_[3, 3])])
def test_with_no_known_patch_it_fills_like_telea_and_says_so(mask, make_task) -> None:
    task = make_task(np.random.default_rng(3).integers(0, 256, (30, 40, 3), dtype=np.uint8), mask)
    image, notes = PatchMatch().complete(task, 0, Context())
    assert (image == Telea().complete(task, 0, Context())[0]).all()
    assert "7×7" in notes[0] and "telea" in notes[0]


def test_one_known_patch_is_enough_and_a_full_mask_unsupported(make_task) -> None:
    picture = np.random.default_rng(3).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    image, notes = PatchMatch().complete(make_task(picture, ~hole((30, 40), np.s_[10:17, 10:17])), 0, Context())
    assert notes == () and len(np.unique(image.reshape(-1, 3), axis=0)) > 40
    with pytest.raises(Unsupported, match="nothing is known"):
        PatchMatch().complete(make_task(picture, hole((30, 40), np.s_[:])), 0, Context())


def test_seed_and_settings_reach_the_algorithm(monkeypatch, make_task) -> None:
    seen = {}
    monkeypatch.setattr(_patchmatch, "complete", lambda target, mask, **options: seen.update(options))
    PatchMatch(PatchMatch.Settings(patch=9, iterations=5, levels=2)).complete(
        make_task(stripes(9, 9), hole((9, 9), np.s_[3, 3])), 11, Context()
    )
    seen.pop("progress")
    assert seen == {"seed": 11, "side": 9, "iterations": 5, "max_levels": 2}


def test_progress_counts_levels(make_task) -> None:
    seen = []
    task = make_task(stripes(64, 64), hole((64, 64), np.s_[16:48, 16:48]))
    PatchMatch(TINY).complete(task, 0, Context(progress=lambda *step: seen.append(step)))
    assert len(seen) > 1 and seen == [(step + 1, len(seen)) for step in range(len(seen))]
    seen.clear()
    PatchMatch(replace(TINY, levels=1)).complete(task, 0, Context(progress=lambda *step: seen.append(step)))
    assert seen == [(1, 1)]


@pytest.mark.parametrize(("name", "value"), [("patch", 2), ("iterations", 0), ("levels", -1)])
def test_senseless_settings_are_refused(name, value) -> None:
    with pytest.raises(UsageError, match=f"{name}: expected at least {value + 1}, found {value}"):
        PatchMatch.Settings(**{name: value})


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 14), st.integers(1, 14), st.integers(3, 6), st.integers(0, 2**32 - 1), st.floats(0, 0.3))
def test_sources_lie_in_the_known_region_and_targets_touch_the_hole(height, width, side, seed, share) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    level = Level.of(np.zeros((height, width, 3), np.float32), mask, side)
    corners = [(y, x) for y in range(height - side + 1) for x in range(width - side + 1)]
    touching = {y * width + x for y, x in corners if mask[y : y + side, x : x + side].any()}
    assert set(level.targets) == touching
    assert set(level.sources) == {y * width + x for y, x in corners} - touching
    assert set(np.flatnonzero(level.is_source)) == set(level.sources)


def test_search_finds_the_copies_that_exist() -> None:
    rng = np.random.default_rng(4)
    picture = rng.integers(0, 256, (60, 80, 3)).astype(np.float32)
    picture[20:45, 45:75] = picture[10:35, 5:35]
    level = Level.of(picture, hole((60, 80), np.s_[24:41, 49:71]), 5)
    search = Search(level, np.random.default_rng(0))
    match = rng.choice(level.sources, len(level.targets))
    for _ in range(3):
        match, costs = search.improve(match)
    assert level.is_source[match].all()
    assert np.mean(level.targets - match == 10 * 80 + 40) > 0.95
    assert np.median(costs) < 1e-3


def test_search_never_takes_a_patch_that_touches_the_hole() -> None:
    picture = np.random.default_rng(5).integers(150, 256, (40, 50, 3)).astype(np.float32)
    mask = hole((40, 50), np.s_[10:30, 15:35])
    picture[mask] = 0  # so that what the hole holds would be the best match for itself
    level = Level.of(picture, mask, 5)
    search = Search(level, np.random.default_rng(0))
    match, _ = search.improve(np.full(len(level.targets), level.sources[0]))
    assert level.is_source[match].all() and len(np.unique(match)) > 10


def test_votes_deep_in_the_hole_still_count() -> None:
    level = Level.of(np.zeros((12, 900, 3), np.float32), hole((12, 900), np.s_[:, 20:]), 5)
    trust = _patchmatch._trust(level)
    assert trust.min() > 0 and trust[0] > trust[30] > trust[50]


def test_votes_are_the_mean_of_equal_proposals() -> None:
    picture = np.zeros((3, 12, 3), np.float32)
    picture[:, 3:6], picture[:, 6:9] = 30, 90
    picture[:, 1] = 255
    level = Level.of(picture, hole((3, 12), np.s_[:, 1]), 3)
    assert list(level.targets) == [0, 1] and list(level.sources) == list(range(2, 10))
    search = Search(level, np.random.default_rng(0))
    search._trust = np.ones(2, np.float32)
    search.vote(np.array([3, 6]), np.zeros(2, np.float32))
    assert (level.image[:, 1] == 60).all() and (level.image[:, 0] == 0).all()


def test_displacements_double_from_level_to_level() -> None:
    mask = hole((64, 96), np.s_[24:40, 40:60])
    fine = Level.of(np.zeros((64, 96, 3), np.float32), mask, 5)
    coarse = _patchmatch._halve(fine)
    assert coarse.hole.shape == (32, 48) and (coarse.hole == mask[::2, ::2]).all()
    match = coarse.targets - 15  # 15 to the left, so 30 at the finer level
    assert coarse.is_source[match].all()
    assert (_patchmatch._refine(coarse, match, fine) == fine.targets - 30).all()
    nowhere = coarse.targets  # the patch itself is no source
    assert fine.is_source[_patchmatch._refine(coarse, nowhere, fine)].all()


def test_halving_takes_colours_from_known_pixels_alone() -> None:
    picture = np.full((5, 7, 3), (50, 100, 150), np.float32)
    mask = hole((5, 7), np.s_[1, 1], np.s_[2:4, 4:6])
    picture[mask] = 255
    coarse = _patchmatch._halve(Level.of(picture, mask, 3))
    assert coarse.hole.shape == (3, 4) and not coarse.hole[0, 0]
    assert np.allclose(coarse.image[~coarse.hole], (50, 100, 150), atol=1e-2)
