from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from realbench.errors import RealbenchError, Unsupported, UsageError
from realbench.methods._diffusion import loading
from realbench.methods._diffusion.backbones import BACKBONES, FLUX, backbone
from realbench.methods._diffusion.frame import Frame
from realbench.methods._diffusion.references import drawn, framed, note, one, same_size
from tests.conftest import photograph

SIZES = st.tuples(st.integers(1, 300), st.integers(1, 300))


@pytest.mark.parametrize(
    ("size", "native", "multiple", "content", "working"),
    [
        ((512, 512), 512, 64, (512, 512), (512, 512)),
        ((1024, 1024), 512, 64, (512, 512), (512, 512)),
        ((600, 400), 512, 64, (576, 384), (576, 384)),
        ((400, 600), 512, 64, (384, 576), (384, 576)),
        ((96, 64), 64, 16, (72, 48), (80, 48)),
        ((48, 32), 64, 8, (72, 48), (72, 48)),
    ],
)
def test_a_frame_is_near_the_native_size_and_wastes_little(size, native, multiple, content, working) -> None:
    assert Frame.fit(size, native, multiple) == Frame(size, content, working)


@given(SIZES, st.sampled_from([64, 96, 512]), st.sampled_from([8, 16, 32, 64]), st.booleans())
def test_a_frame_keeps_the_aspect_and_has_sides_of_the_multiple(size, native, multiple, at_most) -> None:
    frame = Frame.fit(size, native, multiple, at_most=at_most)
    for inner, outer in zip(frame.content, frame.working, strict=True):
        assert 1 <= inner <= outer < inner + multiple and outer % multiple == 0
    if not at_most:
        assert 0.85 * native < (frame.content[0] * frame.content[1]) ** 0.5 or max(size) > 30 * min(size)
    stretch = (frame.content[0] / size[0]) / (frame.content[1] / size[1])
    if min(frame.content) > 1:
        assert abs(stretch - 1) < 1.2 * (0.5 / frame.content[0] + 0.5 / frame.content[1])


@given(st.tuples(st.integers(40, 300), st.integers(40, 300)))
def test_at_most_the_native_area_where_it_is_asked_for(size) -> None:
    frame = Frame.fit(size, 64, 8, at_most=True)
    assert 0.5 * 64**2 < frame.working[0] * frame.working[1] <= 64**2


@pytest.mark.parametrize("size", [(77, 50), (50, 77), (200, 30), (33, 33)])
def test_an_image_comes_back_at_its_size_and_much_as_it_was(size) -> None:
    image = photograph(1, *size)
    frame = Frame.fit(size, 96, 16)
    working = frame.image_in(image)
    assert working.shape == (frame.working[1], frame.working[0], 3) and working.dtype == np.uint8
    back = frame.image_out(working)
    assert back.shape == image.shape and np.abs(back.astype(int) - image).mean() < 2
    assert (frame.image_out(working / np.float32(255)) == back).all()


def test_padding_repeats_the_edge_and_is_cut_off_again() -> None:
    image = photograph(2, 60, 64)
    frame = Frame((60, 64), (60, 64), (64, 80))
    working = frame.image_in(image)
    assert (working[:64, :60] == image).all() and (working[:64, 60:] == image[:, -1:]).all() and (working[64:, :60] == image[-1:]).all()
    assert (frame.image_out(working) == image).all()


def test_what_is_in_the_hole_is_mixed_into_nothing() -> None:
    mask = np.zeros((50, 77), bool)
    mask[10:30, 40:] = True
    image = np.full((50, 77, 3), 200, np.uint8)
    frame = Frame.fit((77, 50), 64, 16)
    image[mask] = (255, 0, 3)
    working, hole = frame.image_in(image, mask), frame.mask_in(mask)
    assert (working[hole] == 127).all() and (working[~hole] == 200).all() and 0 < hole.mean() < 1
    assert (frame.image_in(image, np.ones_like(mask)) == 127).all()


@settings(max_examples=40)
@given(SIZES, st.tuples(st.integers(1, 60), st.integers(1, 60)), st.data())
def test_a_working_pixel_is_hole_where_it_touches_the_hole(size, content, data) -> None:
    frame = Frame(size, content, (content[0] + data.draw(st.integers(0, 3)), content[1] + data.draw(st.integers(0, 3))))
    column, row = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    mask = np.zeros((size[1], size[0]), bool)
    mask[row, column] = True
    working = frame.mask_in(mask)

    def touched(place: int, source: int, count: int) -> list[bool]:
        scale = Fraction(source, count)
        return [cell * scale < place + 1 and (cell + 1) * scale > place for cell in range(count)]

    expected = np.outer(touched(row, size[1], content[1]), touched(column, size[0], content[0]))
    assert (working[: content[1], : content[0]] == expected).all()
    assert (working[content[1] :, : content[0]] == expected[-1:]).all() and (working[: content[1], content[0] :] == expected[:, -1:]).all()


def test_a_mask_in_cells_covers_whole_cells_and_no_others() -> None:
    mask = np.zeros((32, 48), bool)
    mask[7, 16] = mask[31, 47] = True
    working = Frame((48, 32), (48, 32), (48, 32)).mask_in(mask, 16)
    expected = np.zeros((32, 48), bool)
    expected[:16, 16:32] = expected[16:, 32:] = True
    assert (working == expected).all()


def test_an_output_that_is_no_image_is_an_error() -> None:
    frame = Frame.fit((77, 50), 64, 16)
    working = np.zeros((frame.working[1], frame.working[0], 3), np.float32)
    with pytest.raises(RealbenchError, match="shape"):
        frame.image_out(working[1:])
    working[3, 4, 1] = np.nan
    with pytest.raises(RealbenchError, match="--dtype float32"):
        frame.image_out(working)


def test_a_seed_draws_its_references_alone() -> None:
    assert {drawn(seed, 3, 1) for seed in range(40)} == {(0,), (1,), (2,)}
    assert {drawn(seed, 3, 2) for seed in range(40)} == {(0, 1), (0, 2), (1, 2)}
    assert drawn(5, 3, 2) == drawn(5, 3, 2)
    assert drawn(5, 3, 0) == drawn(5, 3, 3) == drawn(5, 3, 9) == (0, 1, 2)
    assert one(0, 1, 0) == 0 and one(7, 5, 0) == drawn(7, 5, 1)[0] and one(7, 5, 2) == 1
    with pytest.raises(Unsupported, match="reference 4 was asked for, the scene has 3"):
        one(0, 3, 4)


@pytest.mark.parametrize(
    ("indices", "count", "text"),
    [([1], 3, "reference 2 of 3"), ([0, 2], 3, "reference 1, 3 of 3"), ([0, 1, 2], 3, "all 3 references"), ([0], 1, "the only reference")],
)
def test_notes_count_references_from_one(indices, count, text) -> None:
    assert note(indices, count) == text


def test_references_of_one_size_show_all_of_each() -> None:
    images = [photograph(1, 90, 60), photograph(2, 60, 90), photograph(3, 200, 40)]
    sized = same_size(images, 96, 16)
    assert len({image.shape for image in sized}) == 1
    height, width = sized[0].shape[:2]
    assert height % 16 == width % 16 == 0 and width * height <= 96**2
    for image, canvas in zip(images, sized, strict=True):
        scale = min(width / image.shape[1], height / image.shape[0])
        content = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        shown = Frame((image.shape[1], image.shape[0]), content, (width, height)).image_out(canvas)
        assert np.abs(shown.astype(int) - image).mean() < 6
    assert framed(images[0], 64, 16).shape[0] % 16 == 0


def test_backbones_are_names_folders_or_hub_ids(tmp_path: Path, monkeypatch) -> None:
    assert backbone("sd2") is BACKBONES["sd2"] and BACKBONES["sd2"].id == "sd2-community/stable-diffusion-2-inpainting"
    assert all(name == item.name for name, item in {**BACKBONES, **FLUX}.items())
    assert backbone("someone/model@abc").revision == "abc"
    with pytest.raises(UsageError, match="neither"):
        backbone("sd3")
    (tmp_path / "sd2" / "unet").mkdir(parents=True)
    for name in ("model_index.json", "unet/b.safetensors", "unet/a.safetensors", "unet/readme.md"):
        (tmp_path / "sd2" / name).write_text("")
    monkeypatch.chdir(tmp_path)
    assert backbone(str(tmp_path / "sd2")).id == "" and backbone("sd2").id


def test_a_seed_has_one_source_of_random_numbers() -> None:
    first, again, other = (torch.randn(4, generator=loading.generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other) and loading.generator(3).device.type == "cpu"


@pytest.mark.parametrize(
    ("device", "asked", "capability", "expected"),
    [
        ("cpu", "auto", None, torch.float32),
        ("cpu", "bfloat16", None, torch.bfloat16),
        ("cuda", "auto", (8, 0), torch.bfloat16),
        ("cuda:1", "auto", (9, 0), torch.bfloat16),
        ("cuda", "auto", (7, 5), torch.float16),
        ("cuda", "auto", (6, 1), torch.float16),
        ("cuda", "float32", (9, 0), torch.float32),
        ("cuda", "float16", (9, 0), torch.float16),
        ("mps", "auto", None, torch.float16),
        ("mps", "float32", None, torch.float32),
    ],
)
def test_the_type_is_what_the_device_does_well(device, asked, capability, expected, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda of: capability)
    assert loading.dtype_for(device, asked) is expected


def test_what_does_not_load_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="has no NoSuchPipeline: upgrade"):
        loading.load_pipeline("NoSuchPipeline", tmp_path, device="cpu", dtype=torch.float32)
    with pytest.raises(RealbenchError, match=f"{tmp_path.name}: expected the folder of a diffusers FluxPipeline"):
        loading.load_pipeline("FluxPipeline", tmp_path, device="cpu", dtype=torch.float32)
    (tmp_path / "model_index.json").write_text("[]")
    with pytest.raises(RealbenchError, match=r"model_index\.json"):
        loading.pipeline_name(tmp_path)
