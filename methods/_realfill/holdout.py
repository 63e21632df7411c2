"""A patch of the target's known region that training never sees: when its loss stops to fall, the fit may stop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from realbench.image import BoolImage
from realbench.portion import Portion
from realbench.scene import Task

from .._diffusion.vae import at_latents, plane, unit
from .data import Batch, Draw, Entry, generator, noise_of
from .loss import squared_error
from .model import Model, Text

SHARES = (1 / 4, 1 / 6, 1 / 8)
"""Sides of the patch as shares of the target's, the first that fits."""
LOOKS = 8
"""Noise levels at which the patch is judged, spread evenly."""


def choose(hole: BoolImage, seed: int) -> BoolImage | None:
    """A random rectangle (bool H×W) of the known region; None where none fits."""
    height, width = hole.shape
    sums = np.pad(np.cumsum(np.cumsum(hole, 0, dtype=np.int64), 1), ((1, 0), (1, 0)))
    for share in SHARES:
        rows, columns = max(1, round(height * share)), max(1, round(width * share))
        inside = sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns] + sums[:-rows, :-columns]
        free = np.argwhere(inside == 0)
        if len(free):
            top, left = free[generator(seed, Draw.PATCH).integers(len(free))]
            patch = np.zeros_like(hole)
            patch[top : top + rows, left : left + columns] = True
            return patch
    return None


@dataclass(eq=False)
class HeldOut:
    """The patch, encoded: the whole target at the working size, the patch and the hole to fill, the loss on the patch alone."""

    model: Model
    batch: Batch
    seed: int

    @classmethod
    def of(cls, model: Model, task: Task, patch: BoolImage, seed: int, portion: Portion) -> HeldOut | None:
        """None where no latent cell lies wholly inside the patch."""
        frame = model.frame(task)
        cell = model.scale
        hole, mask, inside = frame.mask_in(task.mask, cell), frame.mask_in(task.mask | patch, cell), plane(~frame.mask_in(~patch, cell))
        pixels = unit(frame.image_in(task.target, task.mask))
        seeds = generator(seed, Draw.LOOK).integers(2**62, size=2)
        batch = model.encode([Entry(pixels, plane(mask), plane(hole), (int(seeds[0]), int(seeds[1])))], portion)
        batch.weight.mul_(at_latents(inside[None], cell).to(batch.weight.device))
        return cls(model, batch, seed) if bool(batch.weight.any()) else None

    @torch.no_grad()
    def loss(self, text: Text) -> float:
        """Mean square error over the patch, at LOOKS noise levels that are the same every time."""
        objective, latents, total = self.model.objective, self.batch.latents, 0.0
        row = torch.zeros(1, dtype=torch.long, device=latents.device)
        for look in range(LOOKS):
            times = torch.tensor([(2 * look + 1) * objective.steps // (2 * LOOKS)], device=latents.device)
            seed = int(generator(self.seed, Draw.LOOK, look).integers(2**62))
            noise = noise_of(latents.shape, seed).to(latents.device)
            answer = self.model.answer(objective.noisy(latents, noise, times), times, self.batch, text, row)
            total += float(squared_error(answer, objective.wanted(latents, noise, times), self.batch.weight, 1))
        return total * self.batch.weight.numel() / float(self.batch.weight.sum()) / LOOKS
