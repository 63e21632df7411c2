"""Small WebP copies of images, named after their content, so that a second report writes none twice."""

from __future__ import annotations

import base64
import io
import os
import shutil
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from realbench import fingerprint
from realbench.errors import SceneError
from realbench.image import BoolImage, UInt8Image
from realbench.store import write_atomic

if TYPE_CHECKING:
    from PIL.Image import Image

FOLDER = "images"
TINY = 128
SMALL = 320
LARGE = 1024
"""Longer sides of the copies, in pixels; a smaller image keeps its size."""
_RECIPE = "2"
"""Raised whenever the same image gives other copies."""
_QUALITY = {TINY: 75, SMALL: 80, LARGE: 88}
_RINGS = ((2, (20, 20, 24)), (1, (255, 196, 0)))
"""The hole's outline: width in units and colour (RGB, 0–255), the outermost first."""
_WIDTH_TAG, _HEIGHT_TAG = 0x0100, 0x0101
"""EXIF: a copy tells the size of what it was made from, which match lines are measured in."""
_HEADER = 30

Source = Callable[[], tuple[UInt8Image, BoolImage | None]]
"""Gives an image (H×W×3 RGB, 0–255) and the hole to outline on it, if any. Raises SceneError when it cannot."""


@dataclass(frozen=True)
class Picture:
    """Where the copies of an image are, relative to the report's folder."""

    small: str
    large: str
    """The same as `small` where only one copy was asked for."""
    width: int
    """Of the small copy, in pixels."""
    height: int


Job = tuple[str, Source, tuple[int, ...]]
"""Content key, source, and longer sides of the copies, the largest last."""


class Images:
    """The folder of copies beside a page."""

    def __init__(self, page: Path, shelf: Path | None = None) -> None:
        self.page = page
        self.shelf = shelf
        """Where reports of one run leave copies for each other, so that one written elsewhere makes none anew; None for nowhere."""
        self._made: dict[tuple[str, tuple[int, ...]], Picture] = {}
        self._originals: dict[str, tuple[int, int] | None] = {}

    def picture(self, key: str, source: Source, sides: tuple[int, ...] = (SMALL, LARGE)) -> Picture:
        """The copies of an image, made first where they are missing. Raises what `source` raises."""
        return self._found(key, sides) or self._make(key, source, sides)

    def pictures(self, jobs: Sequence[Job]) -> list[Picture | SceneError]:
        """Many pictures, those that are missing made on all processors at once; where a source fails, its error."""
        missing = {(key, sides): (key, source, sides) for key, source, sides in jobs if self._found(key, sides) is None}
        errors: dict[tuple[str, tuple[int, ...]], SceneError] = {}
        if missing:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                made = pool.map(self._attempt, missing.values())
                errors = {name: error for name, error in zip(missing, made, strict=True) if error}
        return [errors[key, sides] if (key, sides) in errors else self._made[key, sides] for key, _, sides in jobs]

    def original_size(self, picture: Picture) -> tuple[int, int] | None:
        """Width and height of what a picture was made from, in pixels; None where its copy does not tell."""
        if picture.large not in self._originals:
            self._originals[picture.large] = _told_size(self.page / picture.large)
        return self._originals[picture.large]

    def _attempt(self, job: Job) -> SceneError | None:
        try:
            self._make(*job)
        except SceneError as error:
            return error
        return None

    def _found(self, key: str, sides: tuple[int, ...]) -> Picture | None:
        """The copies, if all of them are there and whole."""
        if (key, sides) not in self._made:
            names = [_name(key, side) for side in sides]
            sizes = [size_of(self.page / name) or self._fetched(name) for name in names]
            if sizes[0] is None or None in sizes:
                return None
            self._made[key, sides] = Picture(names[0], names[-1], *sizes[0])
        return self._made[key, sides]

    def _fetched(self, name: str) -> tuple[int, int] | None:
        """The size of a copy that lay on the shelf, and now beside the page too; None where there is none."""
        found = None if self.shelf is None else self.shelf / Path(name).name
        if found is None or size_of(found) is None:
            return None
        _share(found, self.page / name)
        return size_of(self.page / name)

    def _make(self, key: str, source: Source, sides: tuple[int, ...]) -> Picture:
        image, hole = source()
        copies = {_name(key, side): encode(image, hole, side) for side in sides}
        # Not synced to the last: a copy that a power failure takes is made again.
        write_atomic({self.page / name: data for name, data in copies.items()}, durable=False)
        if self.shelf is not None:
            for name in copies:
                _share(self.page / name, self.shelf / Path(name).name)
        found = self._found(key, sides)
        assert found is not None, "they have just been written"
        return found


class EmbeddedImages(Images):
    """Pictures that stand in the page itself, as data: addresses, one small copy each; none past the budget."""

    def __init__(self, page: Path, budget: int) -> None:
        super().__init__(page)
        self.left = budget
        """Bytes that may still be embedded, before base64 adds a third."""
        self.left_out = 0
        """Pictures that there was no room for."""
        self._data: dict[str, str] = {}

    def picture(self, key: str, source: Source, sides: tuple[int, ...] = (SMALL,)) -> Picture:
        """The smallest of the copies, embedded. Raises SceneError past the budget, and what `source` raises."""
        found = super().picture(key, source, sides[:1])
        if found.small not in self._data:
            data = (self.page / found.small).read_bytes()
            if len(data) > self.left:
                self.left_out += 1
                raise SceneError("left out of this file, which is kept small; the full report shows it")
            self.left -= len(data)
            self._data[found.small] = data_address(data)
        address = self._data[found.small]
        return Picture(address, address, found.width, found.height)


def data_address(data: bytes, kind: str = "image/webp") -> str:
    """An image as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def size_of(path: Path) -> tuple[int, int] | None:
    """Width and height of a WebP copy from its first bytes; None when there is none, or one that is cut short."""
    try:
        with path.open("rb") as file:
            head, length = file.read(_HEADER), os.fstat(file.fileno()).st_size
    except OSError:
        return None
    if len(head) < _HEADER or head[:4] != b"RIFF" or head[8:12] != b"WEBP" or struct.unpack_from("<I", head, 4)[0] != length - 8:
        return None
    if head[12:16] == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF


def _told_size(path: Path) -> tuple[int, int] | None:
    """What a copy says of the size of its original."""
    from PIL import Image as pil

    try:
        with pil.open(path, formats=("WEBP",)) as image:
            found = image.getexif()
    except OSError:
        return None
    width, height = found.get(_WIDTH_TAG), found.get(_HEIGHT_TAG)
    return (width, height) if isinstance(width, int) and isinstance(height, int) and min(width, height) > 0 else None


def encode(image: UInt8Image, hole: BoolImage | None, side: int, *, told: bool = True) -> bytes:
    """A WebP copy of at most `side` pixels; with `told` it says in EXIF how large the image was."""
    from PIL import Image as pil

    copy = pil.fromarray(image)
    copy.thumbnail((side, side), pil.Resampling.LANCZOS)
    if hole is not None:
        copy = pil.fromarray(_outlined(np.array(copy), _resized(hole, copy)))
    exif = pil.Exif()
    if told:
        exif[_WIDTH_TAG], exif[_HEIGHT_TAG] = image.shape[1], image.shape[0]
    buffer = io.BytesIO()
    copy.save(buffer, "WEBP", quality=_QUALITY.get(side, _QUALITY[LARGE]), method=4, exif=exif.tobytes() if told else b"")
    return buffer.getvalue()


def _share(source: Path, target: Path) -> None:
    """The same file in two folders, or a copy of it where a file system has no links. Nothing where it refuses: then it is made again."""
    with suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            target.hardlink_to(source)
        except FileExistsError:
            pass  # another report has just put it there
        except OSError:
            shutil.copyfile(source, target)


def _name(key: str, side: int) -> str:
    return f"{FOLDER}/{fingerprint.of_data([_RECIPE, key, side])[:32]}.webp"


def _resized(hole: BoolImage, like: Image) -> BoolImage:
    """The hole at another size: a pixel counts once half of it lies inside, or any of it where nothing else would remain."""
    from PIL import Image as pil

    share = np.asarray(pil.fromarray(np.where(hole, np.uint8(255), np.uint8(0))).resize(like.size, pil.Resampling.BOX))
    return share >= 128 if (share >= 128).any() else share > 0


def _outlined(image: UInt8Image, hole: BoolImage) -> UInt8Image:
    """A line along the hole's border, just inside the hole so that it hides nothing known; also where the image ends."""
    import cv2

    unit = max(1, round(max(hole.shape) / 200))
    padded = np.pad(hole, 1).astype(np.uint8)
    depth = cv2.distanceTransform(padded, cv2.DIST_C, 3)[1:-1, 1:-1]
    marked = image.copy()
    for width, colour in _RINGS:
        marked[(depth > 0) & (depth <= width * unit)] = colour
    return marked
