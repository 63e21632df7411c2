"""What the six scenes of the embedded suite are: the source photograph, the view, the hole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from realbench.camera import Size
from realbench.image import BoolImage

Grid = npt.NDArray[np.float64]
Hole = Callable[[Grid, Grid], BoolImage]
"""Which points (x, y), each 0–1 from the left and from the top, lie in the hole."""


def rectangle(left: float, top: float, right: float, bottom: float) -> Hole:
    """The pixels between four sides, given as shares of width and height."""
    return lambda x, y: (x >= left) & (x < right) & (y >= top) & (y < bottom)


def ellipse(x0: float, y0: float, radius_x: float, radius_y: float) -> Hole:
    """An upright ellipse."""
    return lambda x, y: ((x - x0) / radius_x) ** 2 + ((y - y0) / radius_y) ** 2 <= 1


def blob(x0: float, y0: float, radius: float, seed: int) -> Hole:
    """A freeform outline: a circle whose radius swings with four random harmonics."""
    generator = np.random.default_rng(seed)
    swings = [(k, generator.uniform(0.1, 0.5) / k, generator.uniform(0, 2 * np.pi)) for k in (2, 3, 4, 5)]

    def inside(x: Grid, y: Grid) -> BoolImage:
        angle = np.arctan2(y - y0, x - x0)
        outline = radius * (1 + sum(size * np.cos(k * angle + phase) for k, size, phase in swings))
        return np.asarray(np.hypot(x - x0, y - y0) <= outline)

    return inside


def strips(left: float = 0, top: float = 0, right: float = 0, bottom: float = 0) -> Hole:
    """Strips along the image's sides, given by their widths; two neighbours make an L."""
    return lambda x, y: (x < left) | (x >= 1 - right) | (y < top) | (y >= 1 - bottom)


@dataclass(frozen=True)
class Source:
    """One photograph of the wheel, and the scene that is made of it."""

    id: str
    file: str
    title: str
    prompt: str
    licence: str
    tags: tuple[str, ...]
    hole: Hole
    view: Size
    """The target's size."""
    references: tuple[Size, ...]
    seed: int


SOURCES = (
    Source(
        id="astronaut",
        file="astronaut.png",
        title="Eileen Collins",
        prompt="a photo of an astronaut",
        licence="public domain (NASA)",
        tags=("person", "freeform hole"),
        hole=blob(0.52, 0.42, 0.22, seed=5),
        view=(352, 384),
        references=((352, 384), (384, 320), (320, 400)),
        seed=2,
    ),
    Source(
        id="chelsea",
        file="chelsea.png",
        title="Chelsea the cat",
        prompt="a photo of a cat",
        licence="CC0 1.0 (Stefan van der Walt)",
        tags=("animal", "border strips"),
        hole=strips(left=0.2, right=0.18),
        view=(288, 208),
        references=((304, 208), (288, 208), (256, 224), (320, 192)),
        seed=4,
    ),
    Source(
        id="coffee",
        file="coffee.png",
        title="Coffee cup",
        prompt="a photo of a cup of coffee",
        licence="CC0 1.0 (Rachel Michetti)",
        tags=("object", "border strip"),
        hole=strips(right=0.28),
        view=(416, 288),
        references=((400, 304), (432, 272)),
        seed=6,
    ),
    Source(
        id="hubble",
        file="hubble_deep_field.jpg",
        title="Hubble eXtreme Deep Field",
        prompt="a photo of galaxies in deep space",
        licence="public domain (NASA)",
        tags=("sky", "elliptical hole"),
        hole=ellipse(0.45, 0.55, 0.17, 0.16),
        view=(512, 416),
        references=((512, 416), (448, 448), (480, 384)),
        seed=3,
    ),
    Source(
        id="rocket",
        file="rocket.jpg",
        title="Falcon 9 on the launch pad",
        prompt="a photo of a rocket on a launch pad",
        licence="public domain (SpaceX)",
        tags=("night", "L-shaped hole"),
        hole=strips(left=0.3, top=0.214),
        view=(288, 320),
        references=((288, 320), (320, 320), (272, 336), (304, 304), (336, 288)),
        seed=8,
    ),
)
STEREO_HOLE = rectangle(0.42, 0.28, 0.72, 0.72)
