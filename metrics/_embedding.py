"""Semantic similarity: the cosine between a model's embeddings of the fill and of the truth, or of the references."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from realbench.errors import Unsupported
from realbench.metric import BaseMetric, Batch, Context, Score

from ._loan import Loan
from ._parts import truth_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from realbench.composite import Feather
    from realbench.scene import Scene

    from ._cosine import Embedded, Embedder
    from ._square import Square


@dataclass(frozen=True)
class Prepared:
    """What the fills are compared with, and the model that embedded it."""

    embedder: Embedder
    others: Embedded


class Embedding(BaseMetric):
    """One model, shared by all metrics that load it with the same `_key`; a child says which, and what it is compared with."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._loan = Loan()

    @property
    def square(self) -> Square:
        """The preprocessing that the configuration asks for."""
        found: Square = self.config.square
        return found

    @abstractmethod
    def _key(self) -> Hashable:
        """What decides the model's embeddings beside the preprocessing."""

    @abstractmethod
    def _load(self, device: str) -> Callable[[torch.Tensor], torch.Tensor]:
        """The model: normalised float32 N×3×S×S to N×D. Raises WeightsMissing or Unsupported with what to do."""

    def signature(self, feather: Feather) -> str:
        """As in BaseMetric, with the preprocessing before the version."""
        plain, bar, version = super().signature(feather).rpartition("|")
        return f"{plain}|{self.square}{bar}{version}"

    def close(self) -> None:
        """Give the model back; the last metric that uses it frees its memory."""
        self._loan.close()

    def _embedder(self, device: str) -> Embedder:
        from ._cosine import Embedder

        key = self._key()
        model = self._loan.take(("embedding", key, device), lambda: self._load(device))
        return Embedder(key, self.square, model, device)

    def _similarities(self, prepared: Prepared, batch: Batch) -> torch.Tensor:
        """float64 N×M, −1…1: each fill with each image it is compared with."""
        from ._cosine import embedded, similarities

        source = self.card.image
        return similarities(embedded(batch, source, batch.images(source), prepared.embedder), prepared.others)


class WithTruth(Embedding):
    """Cosine similarity with the truth."""

    def prepare(self, scene: Scene, *, context: Context) -> Prepared:
        """Embed the truth. Raises Unsupported where the scene has none, WeightsMissing where the model's weights can't be had."""
        from ._cosine import embedded

        truth = truth_of(scene)
        embedder = self._embedder(context.device)
        return Prepared(embedder, embedded(scene, "truth", [truth], embedder))

    def score(self, prepared: Prepared, batch: Batch) -> list[Score]:
        """−1…1; exactly 1 where the model sees fill and truth alike."""
        return [Score(value) for value in self._similarities(prepared, batch)[:, 0].tolist()]


class WithReferences(Embedding):
    """Cosine similarity with the references, their mean or the best (`combine`); needs no truth."""

    def prepare(self, scene: Scene, *, context: Context) -> Prepared:
        """Embed the references. Raises Unsupported where there is none, WeightsMissing where the model's weights can't be had."""
        from ._cosine import embedded

        if not scene.references:
            raise Unsupported(f"scene {scene.id} has no reference to compare with")
        embedder = self._embedder(context.device)
        return Prepared(embedder, embedded(scene, "references", scene.references, embedder))

    def score(self, prepared: Prepared, batch: Batch) -> list[Score]:
        """−1…1. Artefact `similarities`: one a reference."""
        return [self._score(row) for row in self._similarities(prepared, batch).tolist()]

    def _score(self, row: list[float]) -> Score:
        combine: Any = {"mean": lambda values: sum(values) / len(values), "best": max}[self.config.combine]
        return Score(float(combine(row)), artefacts={"similarities": row})
