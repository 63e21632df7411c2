"""Which references a seed sees, and in what form."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from realbench.errors import Unsupported
from realbench.image import UInt8Image

from .frame import Frame


def drawn(seed: int, count: int, wanted: int) -> tuple[int, ...]:
    """Which `wanted` of `count` references the seed draws, in their order, counted from 0; all where wanted is 0 or as many."""
    if wanted in (0, count) or wanted > count:
        return tuple(range(count))
    return tuple(sorted(int(index) for index in np.random.default_rng(seed).choice(count, wanted, replace=False)))


def one(seed: int, count: int, asked: int) -> int:
    """The one reference of a seed, counted from 0: the asked one (counted from 1), or for 0 one that the seed draws.

    Raises Unsupported where the scene has no such reference.
    """
    if asked > count:
        raise Unsupported(f"reference {asked} was asked for, the scene has {count}")
    return asked - 1 if asked else drawn(seed, count, 1)[0]


def note(indices: Sequence[int], count: int) -> str:
    """What a fill's notes say of its references."""
    if len(indices) == count:
        return f"all {count} references" if count > 1 else "the only reference"
    return f"reference {', '.join(str(index + 1) for index in indices)} of {count}"


def framed(image: UInt8Image, native: int, multiple: int) -> UInt8Image:
    """A reference at a model's size, aspect kept, its edge repeated up to the multiple."""
    return Frame.fit((image.shape[1], image.shape[0]), native, multiple).image_in(image)


def same_size(images: Sequence[UInt8Image], native: int, multiple: int) -> list[UInt8Image]:
    """References on canvases of one size, their mean aspect and at most native² pixels; each shows all of its reference.

    What a reference leaves free of its canvas repeats its edge.
    """
    aspect = math.exp(sum(math.log(image.shape[1] / image.shape[0]) for image in images) / len(images))
    canvas = Frame.fit((round(1e4 * aspect), 10_000), native, multiple, at_most=True).working
    return [_inside(image, canvas) for image in images]


def _inside(image: UInt8Image, canvas: tuple[int, int]) -> UInt8Image:
    size = (image.shape[1], image.shape[0])
    scale = min(canvas[0] / size[0], canvas[1] / size[1])
    content = (max(1, min(round(size[0] * scale), canvas[0])), max(1, min(round(size[1] * scale), canvas[1])))
    return Frame(size, content, canvas).image_in(image)
