"""Embeddings of images, computed once for all metrics that share a model, and the cosine of the angle between them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from . import _torch
from ._square import Square

if TYPE_CHECKING:
    from realbench.image import UInt8Image

AT_A_TIME = 2**22
"""Pixels of squares in one forward pass: 83 of 224², 15 of 518²."""


@dataclass(frozen=True)
class Embedder:
    """A model with its preprocessing."""

    key: Hashable
    """Equal for equal models."""
    square: Square
    model: Callable[[torch.Tensor], torch.Tensor]
    """Normalised float32 N×3×S×S to N×D, a row for each image."""
    device: str


@dataclass(frozen=True)
class Embedded:
    """N images as a model sees them (uint8 N×3×S×S) and their embeddings (float64 N×D), both on the CPU."""

    squares: torch.Tensor
    vectors: torch.Tensor


def embedded(owner: object, name: str, images: Sequence[UInt8Image], embedder: Embedder) -> Embedded:
    """Images of a scene or batch, embedded at most once for as long as `owner` lives; `name` says which (`truth`)."""
    square = embedder.square
    squares = _torch.remembered(owner, ("squares", name, square.key(images)), lambda: square.of(images))
    key = ("embedded", name, embedder.key, square, embedder.device)
    return _torch.remembered(owner, key, lambda: Embedded(squares, _vectors(squares, embedder)))


def similarities(fills: Embedded, others: Embedded) -> torch.Tensor:
    """float64 N×M cosines, −1…1, of each fill with each other image.

    1 exactly where the model sees the same pixels; 0 where an embedding is zero, as in torch's cosine_similarity.
    """
    lengths = fills.vectors.norm(dim=1)[:, None] * others.vectors.norm(dim=1)
    products = fills.vectors @ others.vectors.T
    cosines = torch.where(lengths > 0, products / lengths, torch.zeros(()).double()).clamp(-1, 1)
    # The same image embedded alone and in a batch differs by a rounding or two; that it is the same is known from its pixels.
    same = torch.stack([(fills.squares == square).flatten(1).all(1) for square in others.squares], dim=1)
    return torch.where(same, torch.ones(()).double(), cosines)


def _vectors(squares: torch.Tensor, embedder: Embedder) -> torch.Tensor:
    """float64 N×D on the CPU."""

    def work(part: torch.Tensor) -> torch.Tensor:
        return embedder.model(embedder.square.normalised(part.to(embedder.device)))

    with _torch.exact():
        size = _torch.portion("embedding", embedder.square.size**2, AT_A_TIME)
        return _torch.in_portions(work, squares, size).cpu().double()
