"""Decoding and encoding of images. Everything read is hostile until it has passed through here."""

from __future__ import annotations

import io
import stat
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


def read_rgb(path: Path) -> tuple[UInt8Image, list[str]]:
    """Decode a photograph to H×W×3 RGB, 0–255, as its viewer would show it.

    EXIF orientation is applied, transparency is flattened onto white, 16-bit samples are scaled to 8 bits, and grey, palette and
    CMYK images are converted. ICC profiles are ignored, as they are by the public RealFill code.

    Returns the image and what is worth a warning. Raises SceneError when the file cannot be decoded safely.
    """
    image = _open(path)
    warnings: list[str] = []
    if _is_transparent(image):
        warnings.append("has transparent pixels: they were flattened onto white")
    return _to_rgb(image), warnings


def read_mask(path: Path) -> tuple[BoolImage, list[str]]:
    """Decode a mask to H×W booleans, True (white, luminance ≥ 128) inside the hole; alpha is ignored.

    Returns the mask and what is worth a warning. Raises SceneError when the file cannot be decoded safely.
    """
    image = _open(path)
    warnings = []
    if "A" in image.getbands():
        warnings.append("has an alpha channel: ignored, the mask is read through its luminance")
    grey = _to_grey(image)
    if not np.isin(grey, (0, 255)).all():
        share = float(np.mean((grey != 0) & (grey != 255)))
        warnings.append(f"is not binary ({share:.1%} of its pixels are neither black nor white): thresholded at {MASK_THRESHOLD}")
    return grey >= MASK_THRESHOLD, warnings


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
    return _to_rgb(_decode(data, "PNG data", ("PNG",)))


def _open(path: Path) -> Image:
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            raise SceneError(f"{path}: expected an image file, found something that is no regular file")
        if info.st_size > MAX_BYTES:
            raise SceneError(f"{path}: {info.st_size:,} bytes, more than the {MAX_BYTES:,} accepted; make the file smaller")
        data = path.read_bytes()
    except OSError as error:
        raise SceneError(f"{path}: cannot be read ({error.strerror or error}); check the path and its permissions") from error
    return _decode(data, str(path), FORMATS)


def _decode(data: bytes, name: str, formats: tuple[str, ...]) -> Image:
    """Decode within the caps; anything a decoder can raise on hostile bytes becomes a SceneError."""
    from PIL import Image as pil
    from PIL import ImageOps

    try:
        image = pil.open(io.BytesIO(data), formats=formats)
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise SceneError(_too_large(name, f"{width} × {height}"))
        image.load()
        return ImageOps.exif_transpose(image)
    except pil.DecompressionBombError as error:
        raise SceneError(_too_large(name, "a decompression bomb's size")) from error
    except SceneError:
        raise
    except Exception as error:
        kind = "empty file" if not data else f"{type(error).__name__}: {error}"
        wanted = ", ".join(formats)
        raise SceneError(f"{name}: cannot be decoded ({kind}); expected a whole {wanted} image, export it again") from error


def _too_large(name: str, size: str) -> str:
    return f"{name}: its header says {size} pixels, more than the {MAX_PIXELS:,} accepted; scale the image down"


def _is_transparent(image: Image) -> bool:
    if not image.has_transparency_data:
        return False
    low, _ = image.convert("RGBA").getchannel("A").getextrema()
    return bool(low < 255)  # type: ignore[operator]


def _to_rgb(image: Image) -> UInt8Image:
    from PIL import Image as pil

    if image.mode.startswith("I"):
        grey = _to_grey(image)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = pil.alpha_composite(pil.new("RGBA", rgba.size, "white"), rgba)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _to_grey(image: Image) -> npt.NDArray[np.uint8]:
    """Luminance, 0–255, alpha ignored; 16-bit grey (which Pillow would clip) is scaled."""
    if image.mode.startswith("I"):
        wide = np.asarray(image, dtype=np.int64)
        return np.clip((wide + 128) // 257, 0, 255).astype(np.uint8)
    return np.array(image.convert("RGB").convert("L"), dtype=np.uint8)
