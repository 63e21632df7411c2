"""Random masks: unions of rectangles or their complements, True where the model is to fill."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realbench.image import BoolImage


@dataclass(frozen=True)
class Rectangles:
    """A law of random masks: how many rectangles, how large, how often their complement."""

    least: int
    most: int
    """Rectangles, uniform from `least` to `most`."""
    shortest: float
    longest: float
    """A rectangle's width as a share of the image's, and its height likewise, uniform and independent."""
    complement: float = 0.5
    """Probability that the known part is the union, instead of the part to fill."""
    margin: float = 0.0
    """What no rectangle touches along each edge, as a share of the image's side."""

    def draw(self, size: tuple[int, int], everything: float, rng: np.random.Generator) -> BoolImage:
        """A mask (bool H×W) of `size` = (width, height), all True with the probability `everything`."""
        union = np.zeros((size[1], size[0]), np.bool_)
        for _ in range(rng.integers(self.least, self.most + 1)):
            union[self._span(size[1], rng), self._span(size[0], rng)] = True
        complement, covered = rng.random() < self.complement, rng.random() < everything
        return np.ones_like(union) if covered else ~union if complement else union

    def sides(self, length: int) -> tuple[int, int]:
        """Shortest and longest side of a rectangle along an axis of `length` pixels."""
        return max(1, round(self.shortest * length)), max(1, round(self.longest * length))

    def _span(self, length: int, rng: np.random.Generator) -> slice:
        shortest, longest = self.sides(length)
        side = int(rng.integers(shortest, longest + 1))
        margin = min(round(self.margin * length), (length - side) // 2)
        start = int(rng.integers(margin, length - side - margin + 1))
        return slice(start, start + side)


LAWS = {"paper": Rectangles(2, 5, 0.1, 0.5), "public": Rectangles(1, 29, 0.03, 0.25, margin=0.01)}
"""`paper`: "several" rectangles, the numbers are ours since it states none; `public`: the numbers of the public code."""
