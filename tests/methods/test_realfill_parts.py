"""RealFill's parts: settings, masks, crops, weights of the loss, rates, portions. No backbone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from realbench.errors import RealbenchError, Unsupported, UsageError
from realbench.methods._diffusion.vae import at_latents
from realbench.methods._realfill import holdout
from realbench.methods._realfill.data import Batch, Draw, Entry, Photo, Photos, generator, whole_cells
from realbench.methods._realfill.loss import counted, squared_error
from realbench.methods._realfill.masks import LAWS, Rectangles
from realbench.methods._realfill.settings import FAST, PAPER, PUBLIC, RealFillSettings
from realbench.methods._realfill.sources import Fresh, Pool
from realbench.methods._realfill.turns import Turn, clock, rate
from realbench.portion import Portion
from realbench.scene import Task
from tests.conftest import photograph

PRINTED = {
    "rank": 8,
    "steps": 2000,
    "batch": 16,
    "unet_lr": 2e-4,
    "text_lr": 4e-5,
    "dropout_prompt": 0.1,
    "dropout_mask": 0.1,
    "dropout_lora": 0.1,
    "sampler": "ddpm",
    "inference_steps": 200,
    "guidance": 1.0,
}


def task(references: int = 2, hole: tuple[slice, slice] = (slice(10, 30), slice(20, 50)), seed: int = 0) -> Task:
    """A target of 77×50 and references of other sizes."""
    mask = np.zeros((50, 77), np.bool_)
    mask[hole] = True
    target = photograph(seed, 77, 50).copy()
    target[mask] = 127
    return Task("scene", None, tuple(photograph(seed + 1 + i, 90 - i, 60 + 2 * i) for i in range(references)), target, mask)


# Settings


@pytest.mark.parametrize(
    ("preset", "figures"),
    [(PAPER, PRINTED | {"masks": "paper"}), (PUBLIC, PRINTED | {"masks": "public", "alpha": 16, "warmup": 100})],
)
def test_presets_have_the_published_figures(preset: dict[str, object], figures: dict[str, object]) -> None:
    settings = RealFillSettings(**preset)
    assert {name: getattr(settings, name) for name in figures} == figures
    assert settings.pool == settings.stop_every == 0 and settings.text_every == 1  # no shortcut
    assert settings.prompt == "a photo of sks" and settings.crop == 1.125 and settings.backbone == "sd2"


def test_the_public_masks_have_the_public_figures() -> None:
    assert LAWS["public"] == Rectangles(1, 29, 0.03, 0.25, 0.5, 0.01)


def test_fast_does_less_of_everything() -> None:
    fast, paper = RealFillSettings(**FAST), RealFillSettings(**PAPER)
    assert fast.steps * fast.batch <= paper.steps * paper.batch / 6 and 2 * fast.refresh < fast.batch <= fast.pool


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rank": 0}, "rank: expected at least 1, found 0"),
        ({"crop": 0.5}, "crop: expected at least 1, found 0.5"),
        ({"dropout_mask": 1.5}, "dropout_mask: expected a probability from 0 to 1, found 1.5"),
        ({"unet_lr": 0, "text_lr": 0}, "nothing would be trained"),
        ({"unet_lr": 0, "text_every": 2}, "text_every: expected 1 with unet_lr=0"),
        ({"pool": 3, "refresh": 4}, "refresh: expected at most the pool's 3, found 4"),
        ({"unet_lr": float("nan")}, "unet_lr: expected at least 0, found nan"),
    ],
)
def test_senseless_settings_are_refused(changes: dict[str, float], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        RealFillSettings(**changes)


def test_every_setting_has_a_help() -> None:
    assert all(item.metadata.get("help") for item in RealFillSettings.__dataclass_fields__.values())


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        ("constant", 0, 0.2),  # the public code's constant schedule ignored its warm-up
        ("constant", 3, 0.8),
        ("constant", 4, 1.0),
        ("constant", 23, 1.0),
        ("linear", 4, 1.0),
        ("linear", 14, 0.5),
        ("cosine", 14, 0.5),
        ("cosine", 9, (1 + 2**-0.5) / 2),
    ],
)
def test_rates(schedule: str, step: int, expected: float) -> None:
    settings = RealFillSettings(steps=24, warmup=4, schedule=schedule)  # type: ignore[arg-type]
    assert rate(settings, step) == pytest.approx(expected)


@pytest.mark.parametrize(("seconds", "said"), [(0, "0 s"), (99, "99 s"), (130, "2 min"), (5900, "98 min"), (9000, "2.5 h")])
def test_times_are_said_as_a_person_says_them(seconds: float, said: str) -> None:
    assert clock(seconds) == said


# Masks


def covering(law: Rectangles, length: int) -> np.ndarray:
    """Probability that one rectangle covers each place along an axis, by going through all its sides and starts."""
    shortest, longest = law.sides(length)
    chance, margin = np.zeros(length), round(law.margin * length)
    for side in range(shortest, longest + 1):
        for start in range(margin, length - margin - side + 1):
            chance[start : start + side] += 1 / (length - 2 * margin - side + 1) / (longest - shortest + 1)
    return chance


@pytest.mark.parametrize("law", [LAWS["paper"], LAWS["public"], Rectangles(1, 4, 0.1, 0.5, margin=0.15)])
def test_masks_cover_each_pixel_as_often_as_their_definition_says(law: Rectangles) -> None:
    (width, height), count = (23, 14), 6000
    one = covering(law, height)[:, None] * covering(law, width)
    union = np.mean([1 - (1 - one) ** n for n in range(law.least, law.most + 1)], axis=0)
    expected = 0.1 + 0.9 * (law.complement * (1 - union) + (1 - law.complement) * union)
    rng = np.random.default_rng(0)
    found = np.mean([law.draw((width, height), 0.1, rng) for _ in range(count)], axis=0)
    assert np.abs(found - expected).max() < 5 * 0.5 / count**0.5


def test_a_mask_covers_everything_as_often_as_asked_for() -> None:
    rng = np.random.default_rng(0)
    full = np.mean([LAWS["paper"].draw((40, 30), 0.25, rng).all() for _ in range(3000)])
    assert abs(full - 0.25) < 5 * (0.25 * 0.75 / 3000) ** 0.5


def test_half_of_the_masks_are_complements() -> None:
    """Of tiny rectangles, so that what covers less than half of the image is a union, and what covers more its complement."""
    law, rng = Rectangles(1, 2, 0.1, 0.3), np.random.default_rng(0)
    complements = np.mean([law.draw((40, 30), 0, rng).mean() > 0.5 for _ in range(3000)])
    assert abs(complements - 0.5) < 5 * 0.5 / 3000**0.5


@given(width=st.integers(4, 60), height=st.integers(4, 60), seed=st.integers(0, 10**6))
def test_one_rectangle_is_a_rectangle_with_sides_in_range(width: int, height: int, seed: int) -> None:
    law = Rectangles(1, 1, 0.2, 0.5, 0.0)
    mask = law.draw((width, height), 0, np.random.default_rng(seed))
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert max(1, round(0.2 * height)) <= len(rows) == rows[-1] - rows[0] + 1 <= max(1, round(0.5 * height))
    assert max(1, round(0.2 * width)) <= len(columns) == columns[-1] - columns[0] + 1 <= max(1, round(0.5 * width))


# Crops


def test_a_crop_is_cut_and_scaled_without_stretching() -> None:
    rows, columns = np.mgrid[:60, :90].astype(np.uint8)
    pixels, hole = Photo.of(np.dstack([rows, columns, rows])).crop((30.0, 10.0, 70.0, 50.0), (80, 80))
    assert not hole.any()
    assert np.abs(pixels[..., 0][:, 40] - (10 + (np.arange(80) + 0.5) / 2 - 0.5)).max() <= 1
    assert np.abs(pixels[..., 1][40] - (30 + (np.arange(80) + 0.5) / 2 - 0.5)).max() <= 1


@pytest.mark.parametrize(
    ("size", "least"),
    [((16, 16), None), ((24, 20), None), ((64, 64), None), ((16, 16), (32, 32)), ((24, 24), (31, 20)), ((20, 40), (10, 31))],
)
def test_what_the_hole_shows_never_enters_a_crop(size: tuple[int, int], least: tuple[int, int] | None) -> None:
    """Not even into the known pixels beside it, and every pixel that touches the hole is hole."""
    hole = np.zeros((40, 60), np.bool_)
    hole[10:25, 20:33] = True
    grey = np.full((40, 60, 3), 90, np.uint8)
    loud = grey.copy()
    loud[hole] = np.random.default_rng(0).integers(0, 256, (int(hole.sum()), 3))
    box = (10.3, 4.7, 43.3, 37.7)
    width, height = Photo.of(grey, hole, least).image.size
    inner = (10.3 * width / 60, 4.7 * height / 40, 43.3 * width / 60, 37.7 * height / 40)
    pixels, found = Photo.of(loud, hole, least).crop(inner, size)
    assert np.array_equal(pixels, Photo.of(grey, hole, least).crop(inner, size)[0]) and (pixels == 90).all()
    edges = box[0] + np.arange(size[0] + 1) * 33 / size[0], box[1] + np.arange(size[1] + 1) * 33 / size[1]
    inside_x = (edges[0][1:] > 20 + 1e-6) & (edges[0][:-1] < 33 - 1e-6)
    inside_y = (edges[1][1:] > 10 + 1e-6) & (edges[1][:-1] < 25 - 1e-6)
    touches = inside_y[:, None] & inside_x
    assert found[touches].all() and found.sum() < 1.5 * touches.sum() + 4 * sum(size)


def test_images_are_drawn_uniformly_with_replacement() -> None:
    """The public code's batch of 16 held each of at most six images once."""
    flat = tuple(np.full((20, 30, 3), 40 * i, np.uint8) for i in range(5))
    scene = Task("scene", None, flat[1:], flat[0], np.zeros((20, 30), np.bool_))
    photos = Photos.of(scene, RealFillSettings(), (8, 8), 8, seed=3)
    counts = Counter(round((float(photos.entry(n).pixels[0, 0, 0]) + 1) * 127.5) // 40 for n in range(2000))
    assert sorted(counts) == [0, 1, 2, 3, 4] and max(counts.values()) - min(counts.values()) < 5 * (2 * 400) ** 0.5


def test_an_entry_is_the_same_whenever_it_is_drawn() -> None:
    photos = Photos.of(task(), RealFillSettings(), (64, 64), 8, seed=3)
    first, again, other = photos.entry(5), photos.entry(5), replace(photos, seed=4).entry(5)
    assert torch.equal(first.pixels, again.pixels) and torch.equal(first.mask, again.mask) and first.noises == again.noises
    assert not torch.equal(first.pixels, other.pixels)


def test_the_targets_hole_is_masked_and_blank_in_every_entry() -> None:
    photos = Photos.of(replace(task(), references=()), RealFillSettings(dropout_mask=0), (64, 64), 8, seed=0)
    for entry in (photos.entry(n) for n in range(20)):
        hole = entry.hole[0].bool()
        assert hole.any() and bool((entry.mask >= entry.hole).all())
        assert bool(((entry.pixels[:, hole] + 1) * 127.5 - 127).abs().max() < 1e-3) and bool(
            (entry.masked[:, entry.mask[0] == 1] == 0).all()
        )
        assert torch.equal(entry.masked[:, entry.mask[0] == 0], entry.pixels[:, entry.mask[0] == 0])


def test_crops_lie_all_over_the_image_at_every_allowed_scale() -> None:
    """A crop of a ramp says where it lies and how large it is."""
    columns = np.broadcast_to(np.linspace(0, 255, 256).astype(np.uint8), (128, 256))
    photos = Photos.of(
        Task("s", None, (), np.dstack([columns] * 3), np.zeros((128, 256), np.bool_)), RealFillSettings(crop=2.0), (64, 64), 8, seed=0
    )
    rows = [(photos.entry(n).pixels[0, 32] + 1) * 127.5 for n in range(200)]
    widths = np.array([float(row[-1] - row[0]) * 64 / 63 for row in rows])
    assert 62 < widths.min() < 68 and 120 < widths.max() < 130
    assert min(float(row[0]) for row in rows) < 6 and max(float(row[-1]) for row in rows) > 249


def test_nothing_to_learn_from() -> None:
    blank = Task("s", None, (), np.zeros((20, 30, 3), np.uint8), np.ones((20, 30), np.bool_))
    with pytest.raises(Unsupported, match="no reference, and the mask covers the whole target"):
        Photos.of(blank, RealFillSettings(), (64, 64), 8, seed=0)
    assert len(Photos.of(replace(blank, references=(blank.target,)), RealFillSettings(), (64, 64), 8, seed=0).photos) == 1


# The loss's weights


def test_cells_at_the_hole_and_beside_it_do_not_count() -> None:
    hole = torch.zeros(1, 1, 48, 64)
    hole[..., 17, 33] = 1  # in the cell of row 2, column 4
    expected = torch.ones(6, 8)
    expected[1:4, 3:6] = 0
    assert torch.equal(counted(hole, 8)[0, 0], expected)
    assert bool((counted(torch.zeros(1, 1, 48, 64), 8) == 1).all())


def test_a_mask_at_the_latents_is_the_first_pixel_of_each_cell() -> None:
    mask = (torch.rand(2, 1, 24, 40, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    assert torch.equal(at_latents(mask, 8), mask[:, :, ::8, ::8])


def test_whole_cells() -> None:
    hole = np.zeros((16, 24), np.bool_)
    hole[7, 8] = True
    grown = whole_cells(hole, 8)
    assert grown[:8, 8:16].all() and grown.sum() == 64


def test_squared_error_is_a_share_of_the_batchs_mean() -> None:
    answer, wanted = torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[0.0, 5.0]]]])
    assert float(squared_error(answer, wanted, torch.tensor([[[[1.0, 1.0]]]]), samples=4)) == (1 + 9) / 8
    assert float(squared_error(answer, wanted, torch.tensor([[[[1.0, 0.0]]]]), samples=4)) == 1 / 8


# Draws of a step, sources, portions


def test_turns_draw_what_they_say() -> None:
    settings = RealFillSettings(batch=400, dropout_prompt=0.25)
    turn = Turn.draw(settings, 0, 7, 1000, (4, 2, 3), "cpu")
    assert turn.noise.shape == (400, 4, 2, 3) and abs(float(turn.noise.mean())) < 0.05 and abs(float(turn.noise.std()) - 1) < 0.03
    assert abs(float(turn.rows.float().mean()) - 0.25) < 5 * (0.25 * 0.75 / 400) ** 0.5
    assert int(turn.times.min()) >= 0 and int(turn.times.max()) < 1000 and abs(float(turn.times.float().mean()) - 499.5) < 5 * 289 / 20
    assert torch.equal(turn.noise, Turn.draw(settings, 0, 7, 1000, (4, 2, 3), "cpu").noise)
    assert not torch.equal(turn.noise, Turn.draw(settings, 0, 8, 1000, (4, 2, 3), "cpu").noise)


def encode(entries: list[Entry]) -> Batch:
    """Latents that say which entry they are."""
    values = torch.stack([entry.pixels.mean().reshape(1, 1, 1) for entry in entries])
    return Batch(values, values, values, values)


def test_fresh_samples_are_entries_in_order() -> None:
    photos = Photos.of(task(), RealFillSettings(batch=3, steps=4), (16, 16), 8, seed=0)
    with Fresh(photos, encode) as source:  # type: ignore[arg-type]
        steps = [source.batch(step, []).latents.flatten() for step in range(4)]
        again = source.batch(2, []).latents.flatten()
    assert torch.equal(torch.cat(steps), torch.stack([photos.entry(n).pixels.mean() for n in range(12)]))
    assert torch.equal(again, steps[2])


def test_a_pools_content_follows_from_the_step() -> None:
    photos = Photos.of(task(), RealFillSettings(pool=5, refresh=2, steps=20), (16, 16), 8, seed=0)
    picks = [0, 1, 2, 3, 4, 7]
    with Pool(photos, encode, "cpu") as source:  # type: ignore[arg-type]
        steps = [source.batch(step, picks).latents.flatten() for step in range(8)]
    held = {slot: slot for slot in range(5)}
    for step, found in enumerate(steps):
        if step:
            held |= {number % 5: number for number in range(5 + 2 * (step - 1), 5 + 2 * step)}
        assert torch.equal(found, torch.stack([photos.entry(held[pick % 5]).pixels.mean() for pick in picks]))
    with Pool(photos, encode, "cpu") as source:  # type: ignore[arg-type]
        assert torch.equal(source.batch(6, picks).latents.flatten(), steps[6])  # as after a resume
        assert torch.equal(source.batch(7, picks).latents.flatten(), steps[7])


def test_a_portion_is_halved_until_it_fits() -> None:
    said: list[str] = []
    portion = Portion(5, "training", said.append)

    def work() -> list[slice]:
        if portion.size > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.\nmore")
        return list(portion.parts(3))

    assert portion.attempt(work) == [slice(0, 1), slice(1, 2), slice(2, 3)]
    assert (
        said
        == portion.notes
        == [
            "training: out of memory with 5 images at a time, went on with 2",
            "training: out of memory with 2 images at a time, went on with 1",
        ]
    )


def test_a_portion_of_one_that_does_not_fit_says_what_to_do() -> None:
    def work() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    with pytest.raises(RealbenchError, match=r"one image at a time \(CUDA out of memory. Tried.*memory=low"):
        Portion(1, "training").attempt(work)


# The held-out patch


@given(height=st.integers(8, 60), width=st.integers(8, 60), seed=st.integers(0, 1000), share=st.floats(0, 0.9))
def test_the_patch_is_a_known_rectangle(height: int, width: int, seed: int, share: float) -> None:
    hole = np.zeros((height, width), np.bool_)
    hole[: round(share * height)] = True
    patch = holdout.choose(hole, seed)
    if patch is None:
        assert (height - round(share * height)) < round(height / 8) or height - round(share * height) == 0
        return
    rows, columns = np.flatnonzero(patch.any(1)), np.flatnonzero(patch.any(0))
    assert patch[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all() and not (patch & hole).any()
    sizes = [(max(1, round(height * part)), max(1, round(width * part))) for part in holdout.SHARES]
    assert (len(rows), len(columns)) in sizes


def test_no_patch_in_a_full_hole() -> None:
    assert holdout.choose(np.ones((20, 30), np.bool_), 0) is None


def test_purposes_have_their_own_random_numbers() -> None:
    draws = {purpose: generator(0, purpose, 1).integers(2**60) for purpose in Draw}
    assert len(set(draws.values())) == len(Draw)
