"""The paper's objective: E ‖ε_θ(x_t, t, p, m, (1 − m) ⊙ x) − ε‖², for the target weighted by (1 − M_tgt)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from realbench.errors import Unsupported

MARGIN = 1
"""Latent cells around the hole that do not count either: the VAE's convolutions carry the hole's blank into them."""


def counted(hole: torch.Tensor, scale: int) -> torch.Tensor:
    """1 − M_tgt at the latents' resolution (n×1×h×w): 0 in every cell that touches the hole, and in the MARGIN cells around it."""
    touched = F.max_pool2d(hole, scale)
    return 1 - F.max_pool2d(touched, 2 * MARGIN + 1, stride=1, padding=MARGIN)


class Objective:
    """Noising, and what the U-Net should answer."""

    def __init__(self, scheduler: Any) -> None:
        """Follow a diffusers scheduler's noise schedule and prediction type. Raises Unsupported for a type that is none of two."""
        from diffusers import DDPMScheduler

        kind: Any = DDPMScheduler
        self.schedule = kind.from_config(scheduler.config)
        self.steps = int(self.schedule.config.num_train_timesteps)
        self.kind = str(self.schedule.config.prediction_type)
        if self.kind not in ("epsilon", "v_prediction"):
            raise Unsupported(f"the backbone predicts {self.kind!r}, expected epsilon or v_prediction; use another backbone")

    def noisy(self, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """x_t = √ᾱ_t x + √(1 − ᾱ_t) ε (n×k×h×w; times: n integers)."""
        mixed: torch.Tensor = self.schedule.add_noise(latents, noise, times)
        return mixed

    def wanted(self, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """ε, or v = √ᾱ_t ε − √(1 − ᾱ_t) x for a backbone that predicts it."""
        if self.kind == "epsilon":
            return noise
        velocity: torch.Tensor = self.schedule.get_velocity(latents, noise, times)
        return velocity


def squared_error(answer: torch.Tensor, wanted: torch.Tensor, weight: torch.Tensor, samples: int) -> torch.Tensor:
    """The weighted sum of squares of a part of a batch of `samples`, over the number of values of the whole batch."""
    return ((answer.float() - wanted.float()) ** 2 * weight).sum() / (samples * wanted[0].numel())
