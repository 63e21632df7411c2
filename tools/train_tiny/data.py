"""Photographs to train on, with their licences, and the pools of crops that training draws from."""

from __future__ import annotations

import csv
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

UInt8 = npt.NDArray[np.uint8]

LARGEST = 640
"""Photographs are kept with at most this shorter side."""
EXAMPLE = 64
"""Side of an example, in pixels."""
LICENCES = ("CC BY 4.0", "CC0 1.0")
"""What may be trained on: neither copyleft (GPL, CC BY-SA), so that the weights can carry CC BY 4.0, nor non-free."""
DEBIAN = (
    ("aitzgorri_by_Aitzol_Berasategi.jpg", "mountains", "CC BY 4.0", "Aitzol Berasategi, 2018"),
    ("friends_by_Aitzol_Berasategi.jpg", "statue", "CC BY 4.0", "Aitzol Berasategi, 2018"),
    ("life_by_Aitzol_Berasategi.jpg", "forest", "CC BY 4.0", "Aitzol Berasategi, 2018"),
    ("picosdeeuropa_by_Aitzol_Berasategi.jpg", "mountains", "CC BY 4.0", "Aitzol Berasategi, 2018"),
    ("sunset_by_Aitzol_Berasategi.jpg", "sunset", "CC BY 4.0", "Aitzol Berasategi, 2018"),
    ("Picture_0B_by_freespace.jpg", "ring", "CC BY 4.0", 'Trevor "Freespace", 2018'),
    ("Picture_1A_by_freespace.jpg", "paint tubes", "CC BY 4.0", 'Trevor "Freespace", 2018'),
    ("Wine_by_Jakkub_Mede.jpg", "wine", "CC BY 4.0", "Jakub Mede, 2018"),
    ("seeding_by_Clements_Engelhardt.jpg", "dandelion", "CC0 1.0", "Clemens Engelhardt, 2018"),
)
"""Photographs of Debian's package lomiri-wallpapers-16.04: file, class, licence, author (from the package's copyright file)."""


@dataclass(frozen=True)
class Source:
    """A photograph on this disk, and where it is from."""

    path: Path
    name: str
    """Its class, as a prompt names it."""
    licence: str
    author: str


def sources(photos: Path, debian: Path | None = None) -> list[Source]:
    """The photographs of a folder with its `photos.csv` beside it, and of an unpacked lomiri-wallpapers-16.04; free ones only."""
    with photos.with_suffix(".csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["licence"] in LICENCES]
    found = [Source(photos / row["file"], row["class"], row["licence"], row["source"]) for row in rows]
    if debian is not None:
        backgrounds = debian / "usr/share/backgrounds"
        found += [Source(backgrounds / file, name, licence, author) for file, name, licence, author in DEBIAN]
    return found


def attribution(found: list[Source]) -> str:
    """A table (Markdown) of the photographs, for the file that goes with the weights."""
    groups: dict[tuple[str, str], list[Source]] = {}
    for source in found:
        groups.setdefault((source.author, source.licence), []).append(source)
    lines = ["| Photographs | Author or publisher | Licence |", "| --- | --- | --- |"]
    for (author, licence), members in groups.items():
        classes = ", ".join(sorted({member.name for member in members}))
        lines.append(f"| {len(members)} ({classes}) | {author} | {licence} |")
    return "\n".join(lines) + "\n"


def prompts(names: list[str]) -> list[str]:
    """The texts of the classes, in order."""
    return [f"a photo of a {name}" for name in names]


@dataclass(frozen=True, eq=False)
class Library:
    """All photographs in memory, each in halving sizes, so that a crop at any scale reads few pixels."""

    levels: list[list[Image.Image]]
    classes: npt.NDArray[np.int64]
    """Class number of each photograph."""
    names: list[str]

    @classmethod
    def load(cls, found: list[Source], largest: int = LARGEST) -> Library:
        """Read and shrink the photographs."""
        names = sorted({source.name for source in found})
        levels = [list(_halves(_opened(source.path, largest))) for source in found]
        return cls(levels, np.array([names.index(source.name) for source in found]), names)

    def crop(self, index: int, size: int, rng: np.random.Generator, least: float = 0.0, most: float = 1.0) -> UInt8:
        """A random square of a photograph at size×size pixels, mirrored half of the time.

        Its side is a share of the photograph's shorter one: log-uniform from `least` (at least as many pixels as asked for) to `most`.
        """
        base = self.levels[index][0]
        shorter = min(base.size)
        least = min(max(least, size / shorter), most)
        side = shorter * float(np.exp(rng.uniform(np.log(least), np.log(most))))
        left, top = rng.uniform(0, 1, 2) * (base.width - side, base.height - side)
        level = min(int(np.log2(max(1.0, side / size))), len(self.levels[index]) - 1)
        image = self.levels[index][level]
        x, y = image.width / base.width, image.height / base.height
        box = (left * x, top * y, min((left + side) * x, image.width), min((top + side) * y, image.height))
        pixels: UInt8 = np.asarray(image.resize((size, size), Image.Resampling.LANCZOS, box=box))
        mirrored: UInt8 = pixels[:, ::-1] if rng.random() < 0.5 else pixels
        return mirrored

    def kin(self, index: int, rng: np.random.Generator) -> int:
        """Another photograph of the same thing where there is one (files of a subject follow each other), often the same."""
        other = index + int(rng.integers(-2, 3))
        return other if 0 <= other < len(self.classes) and self.classes[other] == self.classes[index] else index


def _opened(path: Path, largest: int) -> Image.Image:
    with Image.open(path) as image:
        scale = min(1.0, largest / min(image.size))
        image.draft("RGB", (round(image.width * scale), round(image.height * scale)))
        rgb = image.convert("RGB")
    scale = min(1.0, largest / min(rgb.size))
    return rgb.resize((round(rgb.width * scale), round(rgb.height * scale)), Image.Resampling.LANCZOS)


def _halves(image: Image.Image) -> Iterator[Image.Image]:
    yield image
    while min(image.size) >= 192:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
        yield image


def look(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A change of colours (3×4: matrix and shift): saturation, white balance, exposure.

    Objects that were bought for their colours are more colourful than the world is: most are made paler. Colours that vary more than
    those of the photographs to fill would come out of the model as noise.
    """
    saturation = rng.uniform(0.25, 1.15)
    matrix = saturation * np.eye(3) + (1 - saturation) / 3
    matrix = matrix * rng.uniform(0.93, 1.07, (3, 1)) * rng.uniform(0.8, 1.15)
    return np.concatenate([matrix, rng.uniform(-15, 15, (3, 1))], 1).astype(np.float32)


def detail(pixels: UInt8) -> float:
    """Mean difference of vertical neighbours: how much there is to see."""
    return float(np.abs(np.diff(pixels[::2, ::2].astype(np.int16), axis=0)).mean())


def recoloured(pixels: UInt8, change: npt.NDArray[np.float32]) -> UInt8:
    """The pixels under a change of colours."""
    changed: UInt8 = np.rint((pixels @ change[:, :3].T + change[:, 3]).clip(0, 255)).astype(np.uint8)
    return changed


@dataclass(frozen=True, eq=False)
class Crops:
    """Crops drawn from a pool: n×S×S×3, their classes (n), n×E×E×3 examples of the same thing."""

    pixels: UInt8
    classes: npt.NDArray[np.int64]
    examples: UInt8


class Pool:
    """Crops in memory, replaced one by one in the background."""

    def __init__(self, library: Library, size: int, count: int, seed: int) -> None:
        self.library, self.size, self.rng = library, size, np.random.default_rng(seed)
        self.crops = Crops(
            np.empty((count, size, size, 3), np.uint8),
            np.empty(count, np.int64),
            np.empty((count, EXAMPLE, EXAMPLE, 3), np.uint8),
        )
        self._at = 0
        self._thread: threading.Thread | None = None
        self._replace_some(count)

    def _replace(self) -> None:
        rng, library = self.rng, self.library
        index = int(rng.integers(len(library.levels)))
        change = look(rng)
        crop = max((library.crop(index, self.size, rng) for _ in range(2)), key=detail)  # many are all blurred background
        self.crops.pixels[self._at] = recoloured(crop, change)
        self.crops.classes[self._at] = library.classes[index]
        self.crops.examples[self._at] = recoloured(library.crop(library.kin(index, rng), EXAMPLE, rng, least=0.6), change)
        self._at = (self._at + 1) % len(self.crops.classes)

    def draw(self, count: int, rng: np.random.Generator) -> Crops:
        """Random crops with replacement."""
        rows = rng.integers(len(self.crops.classes), size=count)
        return Crops(self.crops.pixels[rows], self.crops.classes[rows], self.crops.examples[rows])

    def refresh(self, count: int) -> None:
        """Replace the oldest crops by new ones, beside the training step that follows."""
        if self._thread is not None:
            self._thread.join()
        self._thread = threading.Thread(target=self._replace_some, args=(count,), daemon=True)
        self._thread.start()

    def _replace_some(self, count: int) -> None:
        for _ in range(count):
            self._replace()
