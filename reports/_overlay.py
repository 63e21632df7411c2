"""Match lines from the references into a fill, laid out as one drawing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._images import Picture

WIDTH = 640
"""Of the fill in the drawing, in its own units."""
COLUMN = 300
"""Most of a reference's width."""
GAP = 24
BETWEEN = 12
"""Between two references."""
SERIES = 5
"""Colours that references take in turn."""
_NUMBERS = 5


@dataclass(frozen=True)
class Placed:
    """A picture in the drawing."""

    picture: Picture
    x: float
    y: float
    width: float
    height: float
    scale: float
    """Drawing units a pixel of the original."""


@dataclass(frozen=True)
class Bundle:
    """The lines of one reference."""

    series: int
    """Which colour, from 1."""
    path: str
    """The `d` of an SVG path."""


@dataclass(frozen=True)
class Overlay:
    """References on the left, the fill on the right, lines between them."""

    width: float
    height: float
    fill: Placed
    references: tuple[Placed, ...]
    bundles: tuple[Bundle, ...]
    lines: int
    """Lines drawn; a metric keeps a part of its matches for drawing."""


def overlay(
    artefacts: Mapping[str, Any], fill: Picture, size: tuple[int, int], references: Sequence[tuple[Picture, tuple[int, int]]]
) -> Overlay | None:
    """The drawing; `size` are width and height of the target, each reference comes with its own. None where nothing can be drawn.

    What is no line of five finite numbers, or names a reference that does not exist, is left out: a record may hold anything.
    """
    lines = list(_lines(artefacts.get("lines"), len(references)))
    if not lines or not references:
        return None
    height = WIDTH * size[1] / size[0]
    cell = (height - BETWEEN * (len(references) - 1)) / len(references)
    left = list(_column(references, max(cell, 40.0)))
    edge = max(item.width for item in left)
    left = [Placed(item.picture, edge - item.width, item.y, item.width, item.height, item.scale) for item in left]
    right = Placed(fill, edge + GAP, 0, WIDTH, height, WIDTH / size[0])
    bundles = tuple(_bundles(lines, left, right))
    tall = max(height, left[-1].y + left[-1].height)
    return Overlay(round(edge + GAP + WIDTH, 1), round(tall, 1), right, tuple(left), bundles, len(lines))


def counts(artefacts: Mapping[str, Any]) -> list[float]:
    """How much each reference brought to the score; empty where the record does not tell."""
    found = artefacts.get("counts")
    return [float(item) for item in found if _is_number(item)] if isinstance(found, list) else []


def _column(references: Iterable[tuple[Picture, tuple[int, int]]], cell: float) -> Iterator[Placed]:
    """One reference below the other, each as large as its share of the height allows."""
    y = 0.0
    for picture, (width, height) in references:
        scale = min(COLUMN / width, cell / height)
        yield Placed(picture, 0, round(y, 1), round(width * scale, 1), round(height * scale, 1), scale)
        y += height * scale + BETWEEN


def _lines(found: Any, references: int) -> Iterator[tuple[int, float, float, float, float]]:
    for line in found if isinstance(found, list) else ():
        if isinstance(line, list) and len(line) == _NUMBERS and all(map(_is_number, line)) and 0 <= line[0] < references:
            yield (int(line[0]), *(float(number) for number in line[1:]))  # type: ignore[misc]


def _bundles(lines: Iterable[tuple[int, float, float, float, float]], left: Sequence[Placed], right: Placed) -> Iterator[Bundle]:
    paths: dict[int, list[str]] = {}
    for number, *ends in lines:
        start, end = _inside(left[number], *ends[:2]), _inside(right, *ends[2:])
        paths.setdefault(number, []).append(f"M{start[0]:.0f} {start[1]:.0f}L{end[0]:.0f} {end[1]:.0f}")
    for number, parts in sorted(paths.items()):
        yield Bundle(1 + number % SERIES, "".join(parts))


def _inside(item: Placed, x: float, y: float) -> tuple[float, float]:
    """A point of the original in the drawing, kept within its picture."""
    return item.x + min(max(x * item.scale, 0), item.width), item.y + min(max(y * item.scale, 0), item.height)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
