"""The recipe of the small model, at a size that runs in seconds."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from realbench.methods._realfill.data import whole_cells
from realbench.suite import open_suite
from tools.train_tiny import card, data, evaluate, export, masks, models, optimizer, unet, vae

LICENCES = ("CC BY 4.0", "none stated (evaluation only)", "CC0 1.0", "GPL-2+")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photographs of blurred noise, under four licences."""
    folder = tmp_path_factory.mktemp("photos") / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    with folder.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "source", "licence", "class"])
        for number, licence in enumerate(LICENCES):
            noise = Image.fromarray(rng.integers(0, 256, (20, 25, 3), np.uint8))
            noise.resize((400, 320), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
            writer.writerow([f"{number}.png", "someone", licence, f"thing {number}"])
    return folder


@pytest.fixture(scope="module")
def library(photos: Path) -> data.Library:
    return data.Library.load(data.sources(photos))


@pytest.fixture(scope="module")
def autoencoder(library: data.Library) -> Any:
    return vae.build(*vae.statistics(library, seed=0, crops=40))


@pytest.fixture(scope="module")
def crops(library: data.Library) -> data.UInt8:
    rng = np.random.default_rng(1)
    return np.stack([library.crop(index % 2, 128, rng) for index in range(4)])


def test_only_free_photographs_are_trained_on(photos: Path) -> None:
    found = data.sources(photos)
    assert [source.licence for source in found] == ["CC BY 4.0", "CC0 1.0"]
    assert "GPL" not in data.attribution(found)
    assert "| 1 (thing 0) | someone | CC BY 4.0 |" in data.attribution(found)


def test_debian_photographs_are_free() -> None:
    assert {licence for _, _, licence, _ in data.DEBIAN} <= set(data.LICENCES)


def test_crops_have_their_size_and_classes(library: data.Library) -> None:
    pool = data.Pool(library, 128, 6, seed=0)
    drawn = pool.draw(5, np.random.default_rng(0))
    assert drawn.pixels.shape == (5, 128, 128, 3)
    assert drawn.examples.shape == (5, data.EXAMPLE, data.EXAMPLE, 3)
    assert set(pool.crops.classes) <= {0, 1}


def test_a_pool_is_replaced_in_turn(library: data.Library) -> None:
    pool = data.Pool(library, 64, 4, seed=0)
    before = pool.crops.pixels.copy()
    pool.refresh(3)
    assert pool._thread is not None
    pool._thread.join()
    changed = (before != pool.crops.pixels).any((1, 2, 3))
    assert changed.tolist() == [True, True, True, False]


def test_crop_and_example_share_their_change_of_colours() -> None:
    change = np.concatenate([np.eye(3)[[1, 0, 2]], [[0.0], [10.0], [300.0]]], 1).astype(np.float32)
    pixels = np.array([[[1, 2, 3]]], np.uint8)
    assert data.recoloured(pixels, change).tolist() == [[[2, 11, 255]]]


def test_masks_cover_what_they_should() -> None:
    rng = np.random.default_rng(0)
    drawn = [masks.draw(128, rng) for _ in range(200)]
    for mask, whole in drawn:
        assert mask.shape == (128, 128)
        assert mask.any()
        if whole:
            assert (whole_cells(mask, masks.CELL) == mask).all()
    shares = np.array([mask.mean() for mask, _ in drawn])
    assert (shares == 1).sum() in range(3, 30)
    assert 0.2 < np.median(shares) < 0.5


def test_colours_are_made_paler_more_often_than_stronger() -> None:
    """Of a grey pixel nothing but brightness and a small tint changes; of a red one, the distance to grey shrinks on average."""
    rng = np.random.default_rng(0)
    pixels = np.array([[[100, 100, 100], [200, 50, 50]]], np.uint8)
    changed = np.stack([data.recoloured(pixels, data.look(rng)) for _ in range(300)]).astype(float)[:, 0]
    spread = changed.max(2) - changed.min(2)
    assert spread[:, 0].mean() < 20
    assert 0.5 * 150 < spread[:, 1].mean() < 0.85 * 150
    assert (changed[:, 1, 0] > changed[:, 1, 1]).mean() > 0.95, "red stays red"


def test_detail_tells_a_picture_from_a_blurred_background() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    assert data.detail(np.full((32, 48, 3), 90, np.uint8)) == 0 < data.detail(noise // 4) < data.detail(noise)


def test_photographs_for_evaluation_are_others_than_those_trained_on(photos: Path, tmp_path: Path) -> None:
    suite = open_suite(evaluate.photographs(photos, 1, tmp_path / "suite"))
    assert suite.ids == ("1",), "the one whose licence says evaluation"
    scene = suite.load("1")
    assert scene.target.shape == (256, 256, 3)
    assert 0.2 <= scene.mask.mean() <= 0.4
    assert scene.truth is not None and (scene.truth[~scene.mask] == scene.target[~scene.mask]).all()
    with Image.open(photos / "1.png") as image:
        middle = np.asarray(image.convert("RGB"))[32:288, 72:328]
    assert (scene.truth == middle).all()


def test_the_autoencoder_is_the_closed_form(library: data.Library, autoencoder: Any, crops: data.UInt8) -> None:
    mean, components, deviations = vae.statistics(library, seed=0, crops=40)
    pixels = vae.unit(crops)
    patches = torch.nn.functional.pixel_unshuffle(pixels, vae.PATCH).movedim(1, -1)
    scores = (patches - mean) @ components.T
    expected = (scores * vae.gains(deviations)).movedim(-1, 1)
    with torch.no_grad():
        latents = autoencoder.encode(pixels).latent
        decoded = autoencoder.decode(latents).sample
    torch.testing.assert_close(latents, expected, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(vae.linear(autoencoder)(pixels), latents, atol=1e-4, rtol=1e-4)
    inverse = torch.nn.functional.pixel_shuffle((scores @ components + mean).movedim(-1, 1), vae.PATCH)
    assert float((decoded - inverse).abs().max()) < 0.02


def test_structure_is_scaled_up_beside_texture() -> None:
    """By hand: half-whitening makes a deviation of 4 a latent's 2 and one of 1 a 1; emphasis doubles the first; mean variance is 1."""
    deviations = torch.ones(24)
    deviations[0] = 4.0
    found = vae.gains(deviations) * deviations
    variances = torch.tensor([2.0**2 * 4, 2.25**2, 2.25**2, 1.4**2, 1.4**2, *[1.0] * 19])
    torch.testing.assert_close(found.square(), variances / variances.mean())


def test_a_blanked_cell_changes_no_other(autoencoder: Any, crops: data.UInt8) -> None:
    pixels = vae.unit(crops[:1])
    blanked = pixels.clone()
    blanked[:, :, 40:48, 64:72] = 0
    with torch.no_grad():
        changed = (autoencoder.encode(pixels).latent != autoencoder.encode(blanked).latent).any(1)[0]
    assert changed.nonzero().tolist() == [[5, 8]]


def test_refining_lowers_the_error(autoencoder: Any, library: data.Library, crops: data.UInt8, tmp_path: Path) -> None:
    import copy

    other = copy.deepcopy(autoencoder)
    vae.refine(other, data.Pool(library, 128, 4, seed=0), 4.0, tmp_path / "decoder.pt", batch=4)
    assert vae.psnr(other, crops) > vae.psnr(autoencoder, crops)
    with torch.no_grad():
        pixels = vae.unit(crops[:1])
        assert torch.equal(other.encode(pixels).latent, autoencoder.encode(pixels).latent)
    kept = torch.load(tmp_path / "decoder.pt", weights_only=True)
    assert torch.equal(kept["conv_in.weight"], other.decoder.conv_in.weight)


def test_any_text_can_be_written() -> None:
    tokenizer = models.tokenizer(["a photo of a dog"])
    ids = models.tokens(tokenizer, ["a photo of a dog", "", "Zebra, é 猫!"])
    assert ids.shape == (3, models.POSITIONS)
    unknown = tokenizer.convert_tokens_to_ids("never seen")
    words = ids[2].tolist()
    assert words.index(tokenizer.eos_token_id) > 8
    assert unknown not in words[1 : words.index(tokenizer.eos_token_id)]
    assert tokenizer.tokenize("a dog") == ["a</w>", "dog</w>"]
    assert int(ids.max()) < models.text_encoder(len(tokenizer)).config.vocab_size


@pytest.mark.parametrize("shape", [(8, 40), (40, 8)])
def test_muon_makes_matrices_orthogonal(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(optimizer.orthogonal(torch.randn(shape)).float())
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.3


def test_muon_descends() -> None:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(6, 3, 3, 3))
    wanted = torch.randn(6, 3, 3, 3)
    muon = optimizer.Muon([weight], lr=0.1)
    losses = []
    for _ in range(100):
        loss = (weight - wanted).square().sum()
        losses.append(float(loss.detach()))
        loss.backward()  # type: ignore[no-untyped-call]
        muon.step()
        muon.zero_grad()
    assert losses[-1] < 0.2 * losses[0]


def small(work: Path, library: data.Library, autoencoder: Any, samples: int = 10**6) -> unet.Trainer:
    plan = unet.Plan(samples=samples, batch=4, pool=4, wide_pool=2, refresh=0)
    return unet.Trainer(work, library, vae.linear(autoencoder), plan)


def test_training_goes_on_where_it_stopped(tmp_path: Path, library: data.Library, autoencoder: Any) -> None:
    first = small(tmp_path, library, autoencoder, samples=5)
    before = [value.detach().clone() for value in first.parameters]
    first.run(60)
    assert first.done >= 5
    assert any(not torch.equal(a, b) for a, b in zip(before, first.parameters, strict=True))
    second = small(tmp_path, library, autoencoder)
    assert (second.step, second.done) == (first.step, first.done)
    for a, b in zip(first.parameters + first.averages, second.parameters + second.averages, strict=True):
        assert torch.equal(a, b)
    for a, b in zip(first._states(), second._states(), strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_processes_train_the_same_weights(tmp_path: Path, library: data.Library, autoencoder: Any) -> None:
    first, second = (small(tmp_path / name, library, autoencoder) for name in "ab")
    second.adopt(first.shared())
    before = [value.detach().clone() for value in first.averages]
    pools = data.Pool(library, 128, 2, 0), data.Pool(library, 256, 2, 0)
    second._step(pools)
    assert first.step == 1
    assert all(torch.equal(a, b) for a, b in zip(first.parameters, second.parameters, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(before, first.averages, strict=True))


def test_the_rate_rises_and_falls() -> None:
    plan = unet.Plan(samples=1000, falling=0.5, rate=1.0, warmup=10)
    assert [plan.rate_at(step, done) for step, done in ((0, 0), (9, 100), (50, 500), (75, 750), (100, 1000), (120, 1200))] == [
        pytest.approx(value) for value in (0.1, 1.0, 1.0, 0.5, 0.0, 0.0)
    ]


def test_the_two_folders_load(tmp_path: Path, library: data.Library, autoencoder: Any, photos: Path) -> None:
    import diffusers

    trainer = small(tmp_path, library, autoencoder)
    nets = trainer.averaged()
    facts = card.Facts(1, 1, 1.0, {"unet": 4}, 30.0)
    text, credit = card.write(facts, data.sources(photos), tmp_path / "losses.csv")
    export.folders(tmp_path, nets, trainer.tokenizer, autoencoder, text, credit)
    assert "someone" in (tmp_path / export.INPAINT / "ATTRIBUTION.md").read_text()
    kind: Any = diffusers.StableDiffusionInpaintPipeline
    inpaint = kind.from_pretrained(tmp_path / export.INPAINT, safety_checker=None, dtype=torch.float32)
    assert inpaint.vae_scale_factor == vae.PATCH
    assert inpaint.unet.config.in_channels == 2 * vae.LATENTS + 1
    by_example = diffusers.UNet2DConditionModel.from_pretrained(tmp_path / export.EXAMPLE / "unet", dtype=torch.float32)
    total = sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors"))
    assert total < 30_000_000
    latent, masked = torch.randn(1, vae.LATENTS, 6, 6), torch.randn(1, vae.LATENTS, 6, 6)
    mask = (torch.rand(1, 1, 6, 6) < 0.5).float()
    one = inpaint.unet.conv_in(torch.cat([latent, mask, masked], 1))
    other = by_example.conv_in(torch.cat([latent, masked, 1 - mask], 1))
    torch.testing.assert_close(one[..., 1:-1, 1:-1], other[..., 1:-1, 1:-1], atol=2e-3, rtol=2e-3)
