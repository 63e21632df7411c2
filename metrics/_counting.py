"""From pairs to scores: which pairs hold, which of them end in the hole, and how they are added up."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from realbench.metric import Batch, Score

from ._matching import Backend, FloatArray, View, core, fundamental_magsac, resized

if TYPE_CHECKING:
    from realbench.image import BoolImage, UInt8Image
    from realbench.scene import Scene

    from ._matches_config import Config

MAX_LINES = 200
"""Match lines kept for reports, a fill."""
COMBINE: Mapping[str, Callable[[Sequence[float]], float]] = {"sum": sum, "max": max, "mean": statistics.fmean}


@dataclass(frozen=True)
class Prepared:
    """The references, described once, the hole, and where in it matches count."""

    backend: Backend
    references: tuple[View, ...]
    mask: BoolImage
    counted: BoolImage


def prepare(backend: Backend, scene: Scene, inset: float) -> Prepared:
    """What a backend and a scene allow before any fill is seen."""
    views = tuple(_views(backend, scene, [image], number)[0] for number, image in enumerate(scene.references))
    return Prepared(backend, views, scene.mask, core(scene.mask, inset))


def scores(prepared: Prepared, config: Config, batch: Batch, part: slice) -> list[Score]:
    """One score a fill of the batch's part."""
    fills = _views(prepared.backend, batch, batch.composite[part], part.start)
    described = [fill.described for fill in fills]
    found = [prepared.backend.pair(reference.described, described) for reference in prepared.references]
    return [_score(prepared, config, fill, [pairs[number] for pairs in found]) for number, fill in enumerate(fills)]


def _score(prepared: Prepared, config: Config, fill: View, found: Sequence[FloatArray]) -> Score:
    """One fill's score from its pairs with each reference."""
    kept = [_kept(prepared, config, *both) for both in zip(prepared.references, [fill] * len(found), found, strict=True)]
    counts = [len(pairs) if config.count == "matches" else float(pairs[:, 4].sum()) for pairs in kept]
    numbered = [np.insert(pairs[:, :4], 0, number, axis=1) for number, pairs in enumerate(kept)]
    artefacts = {"counts": counts, "lines": _lines(np.concatenate(numbered))}
    return Score(float(COMBINE[config.combine](counts)), artefacts=artefacts)


def _kept(prepared: Prepared, config: Config, reference: View, fill: View, pairs: FloatArray) -> FloatArray:
    """N×5 verified matches of one reference that end in the hole, in original pixels."""
    starts, ends = reference.original(pairs[:, :2]), fill.original(pairs[:, 2:4])
    height, width = prepared.mask.shape
    column, row = np.clip(np.rint(ends).astype(np.intp), 0, (width - 1, height - 1)).T
    kept = prepared.counted[row, column]
    if config.epipolar is not None:
        voters = prepared.mask[row, column] if config.vote == "hole" else np.ones_like(kept)
        kept = kept & fundamental_magsac(pairs, voters, config.epipolar)
    return np.asarray(np.column_stack([starts, ends, pairs[:, 4]])[kept])


def _views(backend: Backend, owner: object, images: Sequence[UInt8Image], first: int) -> list[View]:
    """Images of one size, resized and described; `first` numbers them among those of their owner, a Batch or Scene."""
    height, width = images[0].shape[:2]
    shape = backend.shape(height, width)

    def describe() -> list[Any]:
        return backend.describe([resized(image, shape) for image in images])

    if backend.shared is None:
        described = describe()
    else:
        from ._torch import remembered

        described = remembered(owner, (backend.shared, first, len(images)), describe)
    scale = np.array([width / shape[1], height / shape[0]])
    return [View(one, scale) for one in described]


def _lines(numbered: FloatArray) -> list[list[float]]:
    """At most MAX_LINES rows [reference, x, y, x, y], spread evenly over the references, rounded to 0.1 pixels."""
    chosen = np.linspace(0, len(numbered) - 1, min(len(numbered), MAX_LINES)).round().astype(np.intp)
    return [[int(row[0]), *(round(float(value), 1) for value in row[1:])] for row in numbered[chosen]]
