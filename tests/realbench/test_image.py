"""Decoding: every kind of image to its 8-bit RGB or mask, with values computed by hand; hostile bytes to clear errors."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from realbench import image as module
from realbench.errors import SceneError
from realbench.image import decode_png, encode_png, read_mask, read_rgb

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, rows: list[bytes], extra: bytes = b"") -> bytes:
    """A PNG made by hand, so that no library's own conversion stands between the samples and the test."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))) + chunk(b"IEND", b"")
    )


def wide(*values: int) -> bytes:
    return struct.pack(f">{len(values)}H", *values)


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def oriented(picture: Image.Image, orientation: int, kind: str = "PNG", **options: Any) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return encoded(picture, kind, exif=exif, **options)


def rgb_of(tmp_path: Path, data: bytes) -> tuple[np.ndarray, list[str]]:
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    return read_rgb(path)


def mask_of(tmp_path: Path, data: bytes) -> tuple[np.ndarray, list[str]]:
    path = tmp_path / "mask.png"
    path.write_bytes(data)
    return read_mask(path)


COLOURS = bytes([10, 20, 30, 200, 100, 50])
WHITE = [255, 255, 255]
PHOTOGRAPHS = {
    "1-bit": (png(3, 1, 1, GREY, [bytes([0b10100000])]), [WHITE, [0, 0, 0], WHITE]),
    "2-bit": (png(4, 1, 2, GREY, [bytes([0b00011011])]), [[0] * 3, [85] * 3, [170] * 3, WHITE]),
    "8-bit grey": (png(2, 1, 8, GREY, [bytes([7, 201])]), [[7] * 3, [201] * 3]),
    "8-bit": (png(2, 1, 8, RGB, [COLOURS]), [[10, 20, 30], [200, 100, 50]]),
    "16-bit grey": (png(3, 1, 16, GREY, [wide(0, 32768, 65535)]), [[0] * 3, [128] * 3, WHITE]),
    "16-bit grey rounds": (png(4, 1, 16, GREY, [wide(128, 129, 65406, 65407)]), [[0] * 3, [1] * 3, [254] * 3, WHITE]),
    "16-bit": (png(2, 1, 16, RGB, [wide(0, 255, 256, 32768, 65535, 128)]), [[0, 1, 1], [128, 255, 0]]),
    "palette": (png(2, 1, 8, PALETTE, [bytes([1, 0])], chunk(b"PLTE", COLOURS)), [[200, 100, 50], [10, 20, 30]]),
}
# 51 / 255 = 0.2 of the colour on white: 0.2 · 100 + 0.8 · 255 = 224; 0.2 · 200 + 204 = 244; 0.2 · 50 + 204 = 214.
TRANSPARENT = {
    "palette, key": (
        png(2, 1, 8, PALETTE, [bytes([0, 1])], chunk(b"PLTE", COLOURS) + chunk(b"tRNS", bytes([255, 0]))),
        [[10, 20, 30], WHITE],
    ),
    "palette, partly": (
        png(2, 1, 8, PALETTE, [bytes([0, 1])], chunk(b"PLTE", COLOURS) + chunk(b"tRNS", bytes([255, 51]))),
        [[10, 20, 30], [244, 224, 214]],
    ),
    "8-bit grey, key": (png(2, 1, 8, GREY, [bytes([100, 7])], chunk(b"tRNS", wide(7))), [[100] * 3, WHITE]),
    "8-bit, key": (png(2, 1, 8, RGB, [COLOURS], chunk(b"tRNS", wide(10, 20, 30))), [WHITE, [200, 100, 50]]),
    "grey and alpha": (png(2, 1, 8, GREY_ALPHA, [bytes([100, 51, 7, 255])]), [[224] * 3, [7] * 3]),
    "8-bit and alpha": (png(2, 1, 8, RGB_ALPHA, [bytes([200, 100, 50, 51, 1, 2, 3, 0])]), [[244, 224, 214], WHITE]),
    "16-bit grey, key": (png(2, 1, 16, GREY, [wide(32768, 257)], chunk(b"tRNS", wide(32768))), [WHITE, [1] * 3]),
    "16-bit, key": (
        png(2, 1, 16, RGB, [wide(0, 255, 256, 32768, 65535, 128)], chunk(b"tRNS", wide(0, 255, 256))),
        [WHITE, [128, 255, 0]],
    ),
    "16-bit and alpha": (png(1, 1, 16, RGB_ALPHA, [wide(200 * 257, 100 * 257, 50 * 257, 51 * 257)]), [[244, 224, 214]]),
    "16-bit grey and alpha": (png(1, 1, 16, GREY_ALPHA, [wide(100 * 257, 51 * 257)]), [[224] * 3]),
}


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photograph_as_its_viewer_shows_it(tmp_path: Path, name: str) -> None:
    data, expected = PHOTOGRAPHS[name]
    found, notes = rgb_of(tmp_path, data)
    assert found.dtype == np.uint8
    assert found.tolist() == [expected]
    assert notes == []


@pytest.mark.parametrize("name", TRANSPARENT)
def test_transparency_is_flattened_onto_white_and_said(tmp_path: Path, name: str) -> None:
    data, expected = TRANSPARENT[name]
    found, notes = rgb_of(tmp_path, data)
    assert np.abs(found.astype(int) - [expected]).max() <= 1  # Pillow's compositing rounds in two steps
    assert len(notes) == 1 and "transparent" in notes[0] and "; " in notes[0]


def test_opaque_alpha_is_no_warning(tmp_path: Path) -> None:
    found, notes = rgb_of(tmp_path, png(1, 1, 8, RGB_ALPHA, [bytes([1, 2, 3, 255])]))
    assert found.tolist() == [[[1, 2, 3]]]
    assert notes == []


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.new("CMYK", (24, 16), (0, 255, 255, 0)), [255, 0, 0]),
        (Image.new("CMYK", (24, 16), (0, 0, 0, 255)), [0, 0, 0]),
        (Image.new("L", (24, 16), 90), [90, 90, 90]),
        (Image.new("RGB", (24, 16), (200, 100, 50)), [200, 100, 50]),
    ],
    ids=["CMYK red", "CMYK black", "grey", "RGB"],
)
def test_jpeg_of_every_colour_space(tmp_path: Path, picture: Image.Image, expected: list[int]) -> None:
    found, notes = rgb_of(tmp_path, encoded(picture, "JPEG", quality=100))
    assert found.shape == (16, 24, 3)
    assert np.abs(found.astype(int) - expected).max() <= 2
    assert notes == []


ORIENTED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).T,
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", ORIENTED)
def test_exif_orientation_of_a_mask(tmp_path: Path, orientation: int) -> None:
    stored = np.zeros((4, 6), np.uint8)
    stored[0, :2] = 255
    found, notes = mask_of(tmp_path, oriented(Image.fromarray(stored), orientation))
    assert np.array_equal(found, ORIENTED[orientation](stored) > 0)
    assert notes == []


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_exif_orientation_of_a_photograph(tmp_path: Path, kind: str) -> None:
    """Orientation 6 asks the viewer to turn by 90° clockwise: what is stored top left is shown top right."""
    stored = np.zeros((32, 64, 3), np.uint8)
    stored[:16, :16] = 255
    found, _ = rgb_of(tmp_path, oriented(Image.fromarray(stored), 6, kind, quality=100))
    assert found.shape == (64, 32, 3)
    assert (found[4:12, 20:28] > 240).all() and (found[4:12, 4:12] < 15).all()


def test_exif_orientation_of_16_bit_samples(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    data = png(2, 1, 16, RGB, [wide(0, 0, 0, 65535, 65535, 65535)], chunk(b"eXIf", exif.tobytes()[6:]))
    found, _ = rgb_of(tmp_path, data)
    assert found[:, 0, 0].tolist() == [0, 255]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animation_is_said(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    found, notes = rgb_of(tmp_path, encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True))
    assert found[0, 0].tolist() == [255, 0, 0]
    assert len(notes) == 1 and "first frame" in notes[0]


def test_what_the_decoder_warns_of_is_said(tmp_path: Path) -> None:
    broken = b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01"
    found, notes = rgb_of(tmp_path, encoded(Image.new("RGB", (8, 8), "red"), "JPEG", exif=broken))
    assert found.shape == (8, 8, 3)
    assert notes and all("the decoder says" in note and "; " in note for note in notes)


def jpeg_header(width: int, height: int) -> bytes:
    """A small JPEG whose header claims another size."""
    data = encoded(Image.new("RGB", (8, 8)), "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


BAD = {
    "empty": (b"", "an empty file"),
    "text": (b"not an image", "PNG or JPEG or WEBP"),
    "GIF": (encoded(Image.new("L", (4, 4)), "GIF"), "PNG or JPEG or WEBP"),
    "truncated JPEG": (encoded(Image.effect_noise((64, 64), 50), "JPEG")[:700], "cut short"),
    "truncated PNG": (encoded(Image.effect_noise((64, 64), 50))[:900], "cut short"),
    "truncated WebP": (encoded(Image.effect_noise((64, 64), 50), "WEBP")[:300], "cut short"),
    "palette without colours": (png(2, 1, 8, PALETTE, [bytes([0, 7])]), "broken"),
    "PNG header of 40,000 × 40,000": (png(40_000, 40_000, 8, RGB, []), "40,000 × 40,000 pixels, more than the 64,000,000"),
    "the same, and nothing else": (png(40_000, 40_000, 8, RGB, [])[:33], "40,000 × 40,000 pixels"),
    "PNG header of 9,000 × 8,000": (png(9_000, 8_000, 8, RGB, []), "9,000 × 8,000 pixels"),
    "JPEG header of 60,000 × 60,000": (jpeg_header(60_000, 60_000), "too many pixels"),
    "JPEG header of 9,000 × 8,000": (jpeg_header(9_000, 8_000), "9,000 × 8,000 pixels"),
    "header without data": (png(40, 40, 8, RGB, []), "cut short"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("read", [read_rgb, read_mask])
def test_bad_bytes_are_a_clear_error(tmp_path: Path, name: str, read: Any) -> None:
    data, expected = BAD[name]
    path = tmp_path / "bad.png"
    path.write_bytes(data)
    with pytest.raises(SceneError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and expected in message and "; " in message


def test_what_is_no_file_is_a_clear_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for name, expected in {"absent.png": "cannot be read", ".": "no regular file", "pipe.png": "no regular file"}.items():
        with pytest.raises(SceneError, match=expected):
            read_rgb(tmp_path / name)


def test_caps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = png(8, 4, 8, GREY, [bytes(8)] * 4)
    monkeypatch.setattr(module, "MAX_PIXELS", 32)
    assert rgb_of(tmp_path, data)[0].shape == (4, 8, 3)
    monkeypatch.setattr(module, "MAX_PIXELS", 31)
    with pytest.raises(SceneError, match="8 × 4 pixels"):
        rgb_of(tmp_path, data)
    monkeypatch.setattr(module, "MAX_BYTES", len(data) - 1)
    with pytest.raises(SceneError, match="bytes, more than"):
        rgb_of(tmp_path, data)


@given(st.binary(max_size=40), st.integers(0, 400), st.integers(0, 255))
@settings(max_examples=60, deadline=None)
def test_damaged_files_never_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, tail: bytes, at: int, value: int) -> None:
    data = bytearray(encoded(Image.effect_noise((16, 16), 50).convert("RGB"))[: at + 100] + tail)
    data[at % len(data)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.png"
    path.write_bytes(bytes(data))
    try:
        assert read_rgb(path)[0].ndim == 3
    except SceneError as error:
        assert str(path) in str(error)


# Masks.


def luminance(rgb: np.ndarray) -> np.ndarray:
    """ITU-R 601 luma in 16-bit fixed point, rounded."""
    return (rgb.astype(np.int64) @ [19595, 38470, 7471] + 0x8000) >> 16


def as_mode(rng: np.random.Generator, mode: str, shape: tuple[int, int], binary: bool) -> tuple[Image.Image, np.ndarray]:
    """A random picture of a mode, and the luminance (0–255) that its pixels have."""

    def samples(*channels: int) -> np.ndarray:
        values = rng.integers(0, 256, (*shape, *channels), dtype=np.uint8)
        return np.where(values >= 128, np.uint8(255), np.uint8(0)) if binary else values

    if mode == "1":
        grey = samples()
        return Image.fromarray(grey).convert("1", dither=Image.Dither.NONE), np.where(grey >= 128, 255, 0)
    if mode in ("L", "LA"):
        grey, alpha = samples(), rng.integers(0, 256, shape, dtype=np.uint8)
        return Image.fromarray(grey if mode == "L" else np.dstack([grey, alpha])), grey
    if mode in ("RGB", "RGBA"):
        rgb, alpha = samples(3), rng.integers(0, 256, shape, dtype=np.uint8)
        if binary:
            rgb = np.repeat(rgb[..., :1], 3, axis=2)
        return Image.fromarray(rgb if mode == "RGB" else np.dstack([rgb, alpha])), luminance(rgb)
    if mode == "I;16":
        grey16 = rng.integers(0, 65536, shape, dtype=np.uint16)
        if binary:
            grey16 = np.where(grey16 >= 32768, np.uint16(65535), np.uint16(0))
        return Image.fromarray(grey16), np.rint(grey16 / 257)
    palette = (
        np.repeat(rng.integers(0, 2, (16, 1), dtype=np.uint8) * 255, 3, axis=1) if binary else rng.integers(0, 256, (16, 3), dtype=np.uint8)
    )
    indices = rng.integers(0, 16, shape, dtype=np.uint8)
    picture = Image.fromarray(indices).convert("P")
    picture.putpalette(palette.tobytes())
    return picture, luminance(palette[indices])


@given(
    mode=st.sampled_from(["1", "L", "P", "P transparent", "LA", "RGB", "RGBA", "I;16"]),
    kind=st.sampled_from(["PNG", "WEBP"]),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    binary=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=150, deadline=None)
@pytest.mark.filterwarnings("error")
def test_masks_of_every_mode(
    tmp_path_factory: pytest.TempPathFactory, mode: str, kind: str, shape: tuple[int, int], binary: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    picture, expected = as_mode(rng, mode.split()[0], shape, binary)
    options: dict[str, Any] = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    if kind == "WEBP" and mode not in ("L", "RGB", "RGBA"):
        kind, options = "PNG", {}
    if mode == "P transparent":
        options["transparency"] = rng.integers(0, 256, 16, dtype=np.uint8).tobytes()
    path = tmp_path_factory.getbasetemp() / "mask.any"
    path.write_bytes(encoded(picture, kind, **options))
    mask, notes = read_mask(path)
    assert mask.dtype == np.bool_
    assert np.array_equal(mask, expected >= 128)
    alpha = mode in ("LA", "P transparent") or (mode == "RGBA" and np.asarray(picture)[..., 3].min() < 255)
    if mode != "RGBA":  # lossless WebP drops an alpha channel that is opaque everywhere
        assert any("alpha" in note for note in notes) == alpha
    assert any("not binary" in note for note in notes) == bool(np.isin(expected, (0, 255), invert=True).any())


@given(shape=st.tuples(st.integers(1, 4), st.integers(1, 4)), seed=st.integers(0, 2**32 - 1), grey=st.booleans())
@settings(max_examples=30, deadline=None)
def test_masks_from_jpeg(tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, int], seed: int, grey: bool) -> None:
    """JPEG blurs a mask's edges; blocks of 16 pixels keep their inside."""
    blocks = np.random.default_rng(seed).integers(0, 2, shape).astype(np.uint8) * 255
    picture = Image.fromarray(np.kron(blocks, np.ones((16, 16), np.uint8)))
    path = tmp_path_factory.getbasetemp() / "mask.jpg"
    path.write_bytes(encoded(picture if grey else picture.convert("RGB"), "JPEG", quality=100))
    assert np.array_equal(read_mask(path)[0], np.asarray(picture) >= 128)


@pytest.mark.parametrize(("value", "inside"), [(0, False), (127, False), (128, True), (255, True)])
def test_threshold(tmp_path: Path, value: int, inside: bool) -> None:
    mask, notes = mask_of(tmp_path, png(2, 1, 8, GREY, [bytes([value, 0])]))
    assert mask.tolist() == [[inside, False]]
    assert [("not binary" in note, "50.00%" in note) for note in notes] == ([] if value in (0, 255) else [(True, True)])


def test_a_mask_is_never_read_through_its_alpha(tmp_path: Path) -> None:
    """The public code's masks are RGBA and opaque everywhere; their alpha would make the hole the whole image."""
    mask, notes = mask_of(tmp_path, png(2, 1, 8, RGB_ALPHA, [bytes([0, 0, 0, 255, 255, 255, 255, 255])]))
    assert mask.tolist() == [[False, True]]
    assert len(notes) == 1 and "alpha" in notes[0]


# Encoding.


@given(st.tuples(st.integers(1, 12), st.integers(1, 12)), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_png_keeps_every_pixel(shape: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert np.array_equal(decode_png(encode_png(image)), image)
    assert np.array_equal(decode_png(encode_png(image[:, ::-1])), image[:, ::-1])
    mask = image[..., 0] > 127
    assert np.array_equal(decode_png(encode_png(mask))[..., 1], mask * 255)


def test_decoding_png_takes_nothing_else() -> None:
    with pytest.raises(SceneError, match="PNG data"):
        decode_png(encoded(Image.new("RGB", (8, 8)), "JPEG"))
