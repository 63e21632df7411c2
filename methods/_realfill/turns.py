"""What a training step draws beside its crops, and its learning rate: both follow from the step alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .data import Draw, generator, noise_of
from .settings import RealFillSettings


@dataclass(frozen=True, eq=False)
class Turn:
    """What each sample of a step draws beside its crop: the noise level, the noise, whether its prompt is empty."""

    picks: list[int]
    times: torch.Tensor
    noise: torch.Tensor
    rows: torch.Tensor
    """Row of the text: 0 the prompt, 1 the empty prompt."""

    @classmethod
    def draw(cls, settings: RealFillSettings, seed: int, step: int, steps: int, shape: Sequence[int], device: str) -> Turn:
        """Numbers of one sample follow from (seed, step, its place in the batch): micro-batches change nothing."""
        drawn: list[tuple[int, int, bool, torch.Tensor]] = []
        for index in range(settings.batch):
            rng = generator(seed, Draw.TURN, step, index)
            pick, at, empty = int(rng.integers(2**62)), int(rng.integers(steps)), bool(rng.random() < settings.dropout_prompt)
            drawn.append((pick, at, empty, noise_of(shape, int(rng.integers(2**62)))))
        picks, times, rows, noises = zip(*drawn, strict=True)
        planes = torch.tensor(times, device=device), torch.stack(noises).to(device), torch.tensor(rows, dtype=torch.long, device=device)
        return cls(list(picks), *planes)


def clock(seconds: float) -> str:
    """A time as a person says it."""
    minutes = round(seconds / 60)
    return f"{round(seconds)} s" if seconds < 100 else f"{minutes} min" if minutes < 100 else f"{seconds / 3600:.1f} h"


def rate(settings: RealFillSettings, step: int) -> float:
    """What both learning rates are multiplied by at a step, counted from 0."""
    if step < settings.warmup:
        return (step + 1) / (settings.warmup + 1)
    done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[settings.schedule]
