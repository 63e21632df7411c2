"""Filling, one random generator a seed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from realbench.image import BoolImage, UInt8Image
from realbench.method import Context, Fill
from realbench.portion import Portion
from realbench.scene import Task

from .._diffusion.adapter import Steps
from .._diffusion.conditions import of_text
from .._diffusion.frame import Frame
from .._diffusion.sampling import Course, sample
from .model import Model

SAMPLERS = {"ddpm": "DDPMScheduler", "ddim": "DDIMScheduler", "dpm++": "DPMSolverMultistepScheduler"}
XL_STRENGTH = 0.9999
"""SDXL's inpainting model degrades from pure noise (its card), so its sampling starts from the blanked target under almost all noise."""
AT_A_TIME = 4
"""Seeds on a GPU."""


def fill(model: Model, task: Task, seeds: Sequence[int], context: Context) -> Iterator[Fill]:
    """One Fill a seed. A fill depends on the model and its seed alone; how many share a call changes rounding only."""
    settings = model.settings
    many = context.device.startswith("cuda") and settings.memory == "auto"
    portion = Portion(settings.fill_batch or (AT_A_TIME if many else 1), "filling", lambda text: context.progress(0, len(seeds), text))
    frame = model.frame(task)
    image, mask = frame.image_in(task.target, task.mask), frame.mask_in(task.mask, model.scale)
    done = 0

    def work() -> list[UInt8Image]:
        part = seeds[done : done + portion.size]
        return _sample(model, frame, image, mask, part, Steps(context, done, len(seeds), len(part)))

    while done < len(seeds):
        start = time.perf_counter()
        images = portion.attempt(work)
        seconds = (time.perf_counter() - start) / len(images)
        first, done = done, done + len(images)
        yield from (Fill(seeds[first + i], image, tuple(portion.notes), {"sample": seconds}) for i, image in enumerate(images))


def _sample(model: Model, frame: Frame, image: UInt8Image, mask: BoolImage, seeds: Sequence[int], steps: Steps) -> list[UInt8Image]:
    settings, pipeline = model.settings, model.pipeline
    pipeline.scheduler = scheduler(pipeline.scheduler, settings.sampler)
    course = Course(settings.inference_steps, settings.guidance, XL_STRENGTH if model.is_xl else 1.0)
    condition = of_text(pipeline, settings.prompt, "", len(seeds), frame.working, guided=course.guided)
    images = sample(pipeline, condition, image, mask, seeds, course, steps.at)
    return [frame.image_out(working) for working in images]


def scheduler(present: Any, sampler: str) -> Any:
    """A fresh scheduler for the backbone's noise schedule; latents are never clipped (DDPMScheduler would, by its defaults)."""
    import diffusers

    options = {} if sampler == "dpm++" else {"clip_sample": False}
    return getattr(diffusers, SAMPLERS[sampler]).from_config(present.config, thresholding=False, **options)
