"""Inpainting pipelines that are led by a prompt: which one a folder is for, and how each is called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from realbench.errors import RealbenchError, UsageError
from realbench.image import BoolImage, UInt8Image

from .adapter import Steps, pil
from .loading import generator, load_pipeline, pipeline_name

UNETS = {
    "StableDiffusionInpaintPipeline": "StableDiffusionInpaintPipeline",
    "StableDiffusionPipeline": "StableDiffusionInpaintPipeline",
    "StableDiffusionXLInpaintPipeline": "StableDiffusionXLInpaintPipeline",
    "StableDiffusionXLPipeline": "StableDiffusionXLInpaintPipeline",
}
"""The pipeline that fills holes with the U-Net of a folder, by the class that the folder was saved as."""
FILL = "FluxFillPipeline"
FLUX = ("FluxPipeline", "FluxControlNetPipeline", "FluxControlNetInpaintPipeline")
FLUX_NATIVE = 1024


def open_inpainting(folders: Sequence[Path], device: str, dtype: Any, memory: str) -> Any:
    """The pipeline of a model's folder, or of FLUX.1's and its ControlNet's. Raises RealbenchError for any other."""
    saved = pipeline_name(folders[0])
    if len(folders) == 2:
        from .flux_controlnet import load_controlnet

        if saved not in FLUX:
            raise RealbenchError(f"{folders[0]}: expected FLUX.1 for this ControlNet, found a {saved}")
        controlnet = load_controlnet(folders[1], dtype)
        return load_pipeline("FluxControlNetPipeline", folders[0], device=device, dtype=dtype, memory=memory, controlnet=controlnet)
    if saved == FILL:
        return load_pipeline(FILL, folders[0], device=device, dtype=dtype, memory=memory)
    return open_unet(folders[0], device, dtype, memory, others=(FILL,))


def open_unet(path: Path, device: str, dtype: Any, memory: str = "auto", *, others: Sequence[str] = ()) -> Any:
    """The pipeline of an inpainting U-Net's folder. Raises RealbenchError for any other, whose message names `others` as welcome too."""
    from .sampling import check_channels

    saved = pipeline_name(path)
    if saved not in UNETS:
        raise RealbenchError(f"{path}: expected an inpainting pipeline ({', '.join((*UNETS, *others))}), found a {saved}")
    pipeline = load_pipeline(UNETS[saved], path, device=device, dtype=dtype, memory=memory)
    check_channels(pipeline, path)
    return pipeline


def working_size(pipeline: Any) -> tuple[int, int]:
    """Native side and multiple of a pipeline's working size, in pixels."""
    factor: int = pipeline.vae_scale_factor
    if not hasattr(pipeline, "unet"):
        return FLUX_NATIVE, 2 * factor
    unet = pipeline.unet.config
    side = max(unet.sample_size) if isinstance(unet.sample_size, list | tuple) else int(unet.sample_size)
    return side * factor, factor * 2 ** (len(unet.block_out_channels) - 1)


def mask_cell(pipeline: Any) -> int:
    """Side in pixels of the cells that a mask must cover wholly: a model that reads one pixel a cell would take the rest for known.

    FLUX.1 Fill reads every pixel.
    """
    return 1 if type(pipeline).__name__ == FILL else int(pipeline.vae_scale_factor)


def paint(pipeline: Any, image: UInt8Image, mask: BoolImage, prompt: str, seeds: Sequence[int], settings: Any, steps: Steps) -> Any:
    """A working image painted once for each seed: n×H×W×3 from 0 to 1."""
    if not hasattr(pipeline, "unet"):
        return pipeline(**_arguments(pipeline, image, mask, prompt, seeds, settings), callback_on_step_end=steps).images
    from .conditions import of_text
    from .sampling import Course, sample

    course = Course(settings.steps, settings.guidance, settings.strength)
    size = (image.shape[1], image.shape[0])
    condition = of_text(pipeline, prompt, settings.negative_prompt, len(seeds), size, guided=course.guided)
    return sample(pipeline, condition, image, mask, seeds, course, steps.at)


def _arguments(pipeline: Any, image: UInt8Image, mask: BoolImage, prompt: str, seeds: Sequence[int], settings: Any) -> dict[str, Any]:
    """The call of a FLUX pipeline.

    Image and mask are repeated, since a pipeline that encodes them once takes that encoding's random numbers from the first seed only.
    """
    count = len(seeds)
    call = {
        "prompt": [prompt] * count,
        "height": image.shape[0],
        "width": image.shape[1],
        "num_inference_steps": settings.steps,
        "guidance_scale": settings.guidance,
        "generator": [generator(seed) for seed in seeds],
        "output_type": "np",
    }
    if hasattr(pipeline, "controlnet"):
        from .flux_controlnet import condition

        return call | {
            "control_image": condition(pipeline, image, mask, count),
            "controlnet_conditioning_scale": settings.control_scale,
            "true_cfg_scale": settings.true_guidance,
            "negative_prompt": [settings.negative_prompt] * count,
        }
    if settings.negative_prompt:
        raise UsageError(f"negative_prompt: expected none, since {type(pipeline).__name__} takes none, found {settings.negative_prompt!r}")
    return call | {"image": [pil(image)] * count, "mask_image": [pil(mask)] * count, "strength": settings.strength}
