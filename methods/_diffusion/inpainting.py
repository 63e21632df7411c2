"""Inpainting pipelines that are led by a prompt: which one a folder is for, and how each is called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from realbench.errors import RealbenchError, UsageError
from realbench.image import BoolImage, UInt8Image

from .adapter import pil
from .loading import generator, load_pipeline, pipeline_name

RUNS_AS = {
    "StableDiffusionInpaintPipeline": "StableDiffusionInpaintPipeline",
    "StableDiffusionPipeline": "StableDiffusionInpaintPipeline",
    "StableDiffusionXLInpaintPipeline": "StableDiffusionXLInpaintPipeline",
    "StableDiffusionXLPipeline": "StableDiffusionXLInpaintPipeline",
    "FluxFillPipeline": "FluxFillPipeline",
}
"""The pipeline that fills holes with the model of a folder, by the class that the folder was saved as."""
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
    if saved not in RUNS_AS:
        raise RealbenchError(f"{folders[0]}: expected an inpainting pipeline ({', '.join(RUNS_AS)}), found a {saved}")
    pipeline = load_pipeline(RUNS_AS[saved], folders[0], device=device, dtype=dtype, memory=memory)
    _check_channels(pipeline, folders[0])
    return pipeline


def _check_channels(pipeline: Any, path: Path) -> None:
    if hasattr(pipeline, "unet"):
        latent, found = pipeline.vae.config.latent_channels, pipeline.unet.config.in_channels
        if found != 2 * latent + 1:
            raise RealbenchError(
                f"{path}: expected an inpainting U-Net of {2 * latent + 1} input channels (latent, mask, masked latent), found {found}"
            )


def working_size(pipeline: Any) -> tuple[int, int]:
    """Native side and multiple of a pipeline's working size, in pixels."""
    factor: int = pipeline.vae_scale_factor
    if not hasattr(pipeline, "unet"):
        return FLUX_NATIVE, 2 * factor
    unet = pipeline.unet.config
    side = max(unet.sample_size) if isinstance(unet.sample_size, list | tuple) else int(unet.sample_size)
    return side * factor, factor * 2 ** (len(unet.block_out_channels) - 1)


def arguments(pipeline: Any, image: UInt8Image, mask: BoolImage, prompt: str, seeds: Sequence[int], settings: Any) -> dict[str, Any]:
    """The call that paints a working image once for each seed.

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
    call |= {"image": [pil(image)] * count, "mask_image": [pil(mask)] * count, "strength": settings.strength}
    if hasattr(pipeline, "unet"):
        return call | {"negative_prompt": [settings.negative_prompt] * count}
    if settings.negative_prompt:
        raise UsageError(f"negative_prompt: expected none, since {type(pipeline).__name__} takes none, found {settings.negative_prompt!r}")
    return call
