"""Between pixels and the latents that a U-Net sees, for training and sampling alike, whatever the VAE's class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from realbench.errors import RealbenchError
from realbench.image import BoolImage, UInt8Image

from .loading import is_xl


def unit(pixels: UInt8Image) -> torch.Tensor:
    """3×H×W from -1 to 1, of H×W×3 from 0 to 255; or n of each."""
    return torch.from_numpy(np.array(pixels)).movedim(-1, -3).float() / 127.5 - 1


def plane(mask: BoolImage) -> torch.Tensor:
    """1×H×W of 0 and 1."""
    return torch.from_numpy(mask.astype(np.float32))[None]


def at_latents(mask: torch.Tensor, scale: int) -> torch.Tensor:
    """n×1×h×w of an n×1×H×W mask: each cell has its first pixel's value, as in diffusers' pipelines."""
    return F.interpolate(mask, size=(mask.shape[-2] // scale, mask.shape[-1] // scale))


@dataclass(frozen=True, eq=False)
class Encoded:
    """A VAE's answer to n images: the mean and standard deviation of its latents; n×k×h×w, float32, in the VAE's own scale."""

    vae: Any
    mean: torch.Tensor
    deviation: torch.Tensor | None
    """None where the answer is no distribution."""

    def sampled(self, count: int, noise: Callable[[], torch.Tensor]) -> torch.Tensor:
        """`count` latents as the U-Net sees them (n, or any number of the only one); `noise` draws as much standard normal noise."""
        latents = self.mean.expand(count, -1, -1, -1)
        if self.deviation is not None:
            latents = latents + self.deviation * noise().to(latents)
        shift, scale = _affine(self.vae, latents.device)
        return torch.as_tensor((latents - shift) * scale).contiguous()


def encode(vae: Any, images: torch.Tensor) -> Encoded:
    """The latents of n×3×H×W pixels from -1 to 1. Raises RealbenchError where the VAE answers in an unknown form."""
    answer = vae.encode(images.to(vae.dtype))
    if hasattr(answer, "latent_dist"):
        return Encoded(vae, answer.latent_dist.mean.float(), answer.latent_dist.std.float())
    for name in ("latents", "latent"):
        if hasattr(answer, name):
            return Encoded(vae, getattr(answer, name).float(), None)
    raise RealbenchError(f"expected a VAE that answers with latent_dist, latents or latent, found {type(vae).__name__}: {sorted(answer)}")


def decode(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """n×3×H×W pixels (float32, from -1 to 1 and a little beyond) of latents as the U-Net sees them."""
    shift, scale = _affine(vae, latents.device)
    pixels: torch.Tensor = vae.decode((latents / scale + shift).to(vae.dtype), return_dict=False)[0]
    return pixels.float()


def _affine(vae: Any, device: torch.device) -> tuple[Any, Any]:
    """Shift and scale from the VAE's latents to the U-Net's: numbers, or tensors where channels have their own."""
    config = vae.config
    shift, scale = config.get("shift_factor") or 0.0, config["scaling_factor"]
    mean, deviation = (
        None if config.get(name) is None else torch.tensor(config[name], device=device)[:, None, None]
        for name in ("latents_mean", "latents_std")
    )
    return shift if mean is None else mean, scale if deviation is None else scale / deviation


def overflows(pipeline: Any) -> bool:
    """Whether the VAE needs float32, as SDXL's does where its configuration says so (others say it by default and do not)."""
    return is_xl(pipeline) and bool(pipeline.vae.config.get("force_upcast"))


@contextmanager
def precise(pipeline: Any) -> Iterator[Any]:
    """The pipeline's VAE at work: in float32 where it overflows in half precision."""
    vae, dtype = pipeline.vae, pipeline.vae.dtype
    changes = overflows(pipeline) and dtype != torch.float32
    if changes:
        vae.to(torch.float32)
    try:
        yield vae
    finally:
        if changes:
            vae.to(dtype)
