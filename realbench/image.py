"""Decoding and encoding of images. Everything read is hostile until it has passed through here."""

from __future__ import annotations

import io
import stat
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from realbench.errors import SceneError

if TYPE_CHECKING:
    from PIL.Image import Image

UInt8Image = npt.NDArray[np.uint8]
"""H×W×3 RGB, 0–255."""
BoolImage = npt.NDArray[np.bool_]
"""H×W, True inside the hole."""

FORMATS = ("PNG", "JPEG", "WEBP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
MAX_PIXELS = 64_000_000
"""Largest image accepted, in pixels: 8,000 × 8,000. A photograph is smaller, a decompression bomb is not."""
MAX_BYTES = 256_000_000
MASK_THRESHOLD = 128
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_DEPTH_AT = 24
"""Where a PNG says how many bits a sample has."""


def read_rgb(path: Path) -> tuple[UInt8Image, list[str]]:
    """Decode a photograph to H×W×3 RGB, 0–255, as its viewer would show it.

    EXIF orientation is applied, transparency is flattened onto white, 16-bit samples are rounded to 8 bits, and grey, palette and
    CMYK images are converted. ICC profiles are ignored, as they are by the public RealFill code.

    Returns the image and what is worth a warning, each as `what was found; what to do`.
    Raises SceneError when the file cannot be decoded safely.
    """
    return _shown(*_open(path))


def decode_rgb(data: bytes, name: str, formats: tuple[str, ...] = FORMATS) -> tuple[UInt8Image, list[str]]:
    """Decode the bytes of a photograph as read_rgb does; `name` is what messages call it."""
    return _shown(*_decode(data, name, formats))


def _shown(image: Image, notes: list[str]) -> tuple[UInt8Image, list[str]]:
    if _is_transparent(image):
        notes.append("has transparent pixels: they were flattened onto white; save it without transparency")
    return _to_rgb(image), notes


def read_mask(path: Path) -> tuple[BoolImage, list[str]]:
    """Decode a mask to H×W booleans, True (white, luminance ≥ 128) inside the hole; alpha is ignored.

    Returns the mask and what is worth a warning, each as `what was found; what to do`.
    Raises SceneError when the file cannot be decoded safely.
    """
    image, notes = _open(path)
    if image.has_transparency_data:
        notes.append("has an alpha channel: ignored, the mask is read through its luminance; save it as 8-bit grey without alpha")
    grey = _to_grey(image)
    between = float(np.mean((grey != 0) & (grey != 255)))
    if between:
        notes.append(
            f"is not binary, {between:.2%} of its pixels are neither black nor white: thresholded at {MASK_THRESHOLD}; "
            "save it black and white, in a lossless format and without smoothing"
        )
    return grey >= MASK_THRESHOLD, notes


def encode_png(image: npt.NDArray[np.uint8] | BoolImage) -> bytes:
    """Encode H×W×3 RGB or an H×W mask as PNG, losslessly."""
    from PIL import Image as pil

    pixels = np.where(image, np.uint8(255), np.uint8(0)) if image.dtype == np.bool_ else image
    buffer = io.BytesIO()
    # Level 1 is a third of the time of level 6 for photographs, and a tenth larger.
    pil.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def decode_png(data: bytes) -> UInt8Image:
    """Decode the H×W×3 RGB PNG that encode_png wrote. Raises SceneError when it is broken."""
    image, _ = _decode(data, "PNG data", ("PNG",))
    return _to_rgb(image)


def _open(path: Path) -> tuple[Image, list[str]]:
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            raise SceneError(f"{path}: expected an image file, found something that is no regular file; replace it by the image")
        if info.st_size > MAX_BYTES:
            raise SceneError(f"{path}: {info.st_size:,} bytes, more than the {MAX_BYTES:,} accepted; make the file smaller")
        data = path.read_bytes()
    except OSError as error:
        raise SceneError(f"{path}: cannot be read ({error.strerror or error}); check the path and its permissions") from error
    return _decode(data, str(path), FORMATS)


def _decode(data: bytes, name: str, formats: tuple[str, ...]) -> tuple[Image, list[str]]:
    """Decode within the caps to 8 bits, upright; anything a decoder can raise on hostile bytes becomes a SceneError."""
    from PIL import Image as pil
    from PIL import ImageOps, UnidentifiedImageError

    try:
        _check_png_header(data, name)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            image: Image = pil.open(io.BytesIO(data), formats=formats)
            _check_pixels(image.width, image.height, name)
            image.load()
            if image.mode == "P" and image.palette is None:
                raise ValueError("its palette is missing")
            upright = ImageOps.exif_transpose(_to_8_bits(image, data))
    except SceneError:
        raise
    except pil.DecompressionBombError as error:
        raise SceneError(f"{name}: too many pixels, more than the {MAX_PIXELS:,} accepted ({error}); scale the image down") from error
    except UnidentifiedImageError as error:
        kind = "none, or a broken header" if data else "an empty file"
        raise SceneError(f"{name}: expected a {' or '.join(formats)} image, found {kind}; export it again") from error
    except Exception as error:
        kind = f"{type(error).__name__}: {error}"
        raise SceneError(f"{name}: cannot be decoded ({kind}); the file is broken or cut short, export it again") from error
    notes = [f"the decoder says {str(item.message)!r}; export it again" for item in caught if issubclass(item.category, UserWarning)]
    if image.format != "MPO" and getattr(image, "is_animated", False):
        notes.append("is animated: only its first frame is used; save that frame alone")
    return upright, notes


def _check_pixels(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        size = f"{width:,} × {height:,} pixels"
        raise SceneError(f"{name}: its header says {size}, more than the {MAX_PIXELS:,} accepted; scale the image down")


def _check_png_header(data: bytes, name: str) -> None:
    """Check a PNG's size before Pillow sees it, which would not name the size or, where no data follows, not even the kind."""
    if data.startswith(PNG_SIGNATURE + b"\0\0\0\rIHDR") and len(data) >= PNG_DEPTH_AT:
        width, height = struct.unpack_from(">II", data, 16)
        _check_pixels(width, height, name)


def _to_8_bits(image: Image, data: bytes) -> Image:
    """Round 16-bit samples to 8 bits (v / 257): Pillow clips 16-bit grey at 255 and truncates 16-bit colour."""
    from PIL import Image as pil

    rounded = ((np.arange(1 << 16) + 128) // 257).astype(np.uint8)
    if image.mode.startswith("I"):
        wide = np.asarray(image)
        samples = rounded[np.clip(wide, 0, 65535)]
        key = image.info.get("transparency")
        if key is not None:
            samples = np.dstack([samples, np.where(wide == key, np.uint8(0), np.uint8(255))])
    elif data.startswith(PNG_SIGNATURE) and data[PNG_DEPTH_AT] == 16:
        import cv2

        wide = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))
        samples = rounded[wide[..., [2, 1, 0, 3][: wide.shape[2]]]]
    else:
        return image
    narrow = pil.fromarray(samples)
    narrow.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return narrow


def _is_transparent(image: Image) -> bool:
    if not image.has_transparency_data:
        return False
    low, _ = image.convert("RGBA").getchannel("A").getextrema()
    return bool(low < 255)  # type: ignore[operator]


def _to_rgb(image: Image) -> UInt8Image:
    from PIL import Image as pil

    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = pil.alpha_composite(pil.new("RGBA", rgba.size, "white"), rgba)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _to_grey(image: Image) -> npt.NDArray[np.uint8]:
    """Luminance (ITU-R 601), 0–255, alpha ignored."""
    # By way of RGBA because Pillow's direct way from a palette with transparency warns.
    opaque = image.convert("RGBA") if image.has_transparency_data else image
    return np.array(opaque.convert("RGB").convert("L"), dtype=np.uint8)
