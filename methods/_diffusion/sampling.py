"""Sampling a hole with a U-Net that sees latent, mask and masked latent, of any number of channels.

diffusers' inpainting pipelines do the same for latents of 4 channels and refuse others; random numbers are drawn in their order, so that
where they run they give the same images. One difference: the latents are float32 between the steps in half precision too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from realbench.errors import RealbenchError, UsageError
from realbench.image import BoolImage, UInt8Image

from .conditions import Condition
from .loading import generator
from .vae import at_latents, decode, encode, plane, precise, unit


@dataclass(frozen=True)
class Course:
    """How a hole is sampled."""

    steps: int
    guidance: float = 1.0
    strength: float = 1.0
    """1: from pure noise; below: from the image under the noise of the first step left, of steps that are fewer by that share."""

    @property
    def guided(self) -> bool:
        """Whether the U-Net is asked twice a step, with and without the condition."""
        return self.guidance > 1


def check_channels(pipeline: Any, path: Path) -> None:
    """Raises RealbenchError for a U-Net, loaded from a folder, that takes anything but latent, mask and masked latent."""
    latents, unet = pipeline.vae.config.latent_channels, pipeline.unet.config
    wanted = 2 * latents + 1
    if (unet.in_channels, unet.out_channels) != (wanted, latents):
        raise RealbenchError(
            f"{path}: expected an inpainting U-Net of {wanted} input channels (latent, mask, masked latent) and {latents} output channels, "
            f"found {unet.in_channels} and {unet.out_channels}"
        )
    if unet.get("time_cond_proj_dim"):
        raise RealbenchError(f"{path}: expected a U-Net that is guided from outside, found one that was distilled with its guidance")


@torch.no_grad()
def sample(
    pipeline: Any,
    condition: Condition,
    image: UInt8Image,
    mask: BoolImage,
    seeds: Sequence[int],
    course: Course,
    progress: Callable[[int, int], Any],
) -> npt.NDArray[np.float32]:
    """n×H×W×3 images (0–1), one a seed, of an image (H×W×3) and its hole (H×W); the condition is for n images.

    Every random number of an image comes from its seed's CPU generator. `progress` is told steps done and steps in all.
    """
    generators = [generator(seed) for seed in seeds]
    scheduler, device = pipeline.scheduler, pipeline._execution_device
    times = _times(scheduler, course, device)
    latents, told = _begin(pipeline, image, mask, course, times, generators, known_last=condition.known_last)
    options = pipeline.prepare_extra_step_kwargs(generators, 0.0)
    for step, time in enumerate(times):
        answer = _answer(pipeline, scheduler.scale_model_input(latents, time), told, time, condition, course)
        latents = scheduler.step(answer, time, latents, **options, return_dict=False)[0]
        progress(step + 1, len(times))
    with precise(pipeline) as vae:
        pixels = decode(vae, latents)
    images: npt.NDArray[np.float32] = pipeline.image_processor.postprocess(pixels, output_type="np")
    pipeline.maybe_free_model_hooks()
    return images


def _times(scheduler: Any, course: Course, device: torch.device) -> torch.Tensor:
    """The scheduler's timesteps that the strength leaves. Raises UsageError where it leaves none."""
    scheduler.set_timesteps(course.steps, device=device)
    first = (course.steps - int(course.steps * course.strength)) * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    times: torch.Tensor = scheduler.timesteps[first:]
    if not len(times):
        raise UsageError(f"steps: expected more, since of {course.steps} a strength of {course.strength} leaves none")
    return times


def _begin(
    pipeline: Any,
    image: UInt8Image,
    mask: BoolImage,
    course: Course,
    times: torch.Tensor,
    generators: Sequence[torch.Generator],
    *,
    known_last: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The latents before the first step (n×k×h×w), and what the U-Net sees beside them in every step (n×(k+1)×h×w)."""
    device, scale = times.device, pipeline.vae_scale_factor
    pixels, hole = unit(image[None]), plane(mask)[None]
    small = at_latents(hole, scale)
    shape = (pipeline.vae.config.latent_channels, *small.shape[-2:])

    def noise() -> torch.Tensor:
        return torch.stack([torch.randn(shape, generator=source) for source in generators]).to(device)

    def encoded(shown: torch.Tensor) -> torch.Tensor:
        with precise(pipeline) as vae:
            return encode(vae, shown.to(device)).sampled(len(generators), noise)

    if course.strength < 1:
        start = encoded(pixels)
        latents = pipeline.scheduler.add_noise(start, noise(), times[:1].repeat(len(generators)))
    else:
        latents = noise() * pipeline.scheduler.init_noise_sigma
    masked, small = encoded(pixels * (1 - hole)), small.to(device).repeat(len(generators), 1, 1, 1)
    return latents, torch.cat([masked, 1 - small] if known_last else [small, masked], 1)


def _answer(
    pipeline: Any, latents: torch.Tensor, told: torch.Tensor, time: torch.Tensor, condition: Condition, course: Course
) -> torch.Tensor:
    """What the U-Net predicts (n×k×h×w, float32)."""
    unet = pipeline.unet
    seen = torch.cat([latents, told], 1).to(unet.dtype)
    seen = torch.cat([seen] * 2) if course.guided else seen
    answer: torch.Tensor = unet(seen, time, condition.states, added_cond_kwargs=condition.added, return_dict=False)[0].float()
    if course.guided:
        without, guided = answer.chunk(2)
        answer = without + course.guidance * (guided - without)
    return answer
