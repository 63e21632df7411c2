"""Pipelines loaded one way, whatever the method; and the random numbers they draw."""

from __future__ import annotations

import gc
import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from realbench.errors import RealbenchError, Unsupported

if TYPE_CHECKING:
    import torch

LARGE = 1024
"""Native side of a U-Net's images, in pixels, from which a VAE works in tiles to spare memory."""


def load_pipeline(cls_name: str, path: Path, *, device: str, dtype: Any, memory: str = "auto", **components: Any) -> Any:
    """A diffusers pipeline from a folder on this disk, ready on its device; no download, no remote code, no progress bars.

    Components take the place of the folder's. `memory="low"` trades speed for memory: on a GPU only the part at work is there, and
    the VAE spares memory.
    Raises Unsupported where this diffusers has no such pipeline, RealbenchError where the folder does not hold one.
    """
    from .parts import load_models

    kind = pipeline_class(cls_name)
    if "safety_checker" in inspect.signature(kind.__init__).parameters:
        components = {"safety_checker": None, "requires_safety_checker": False} | components
    with reading(path, cls_name):
        models = load_models(path, dtype, leave=components)
        pipeline = kind.from_pretrained(path, dtype=dtype, local_files_only=True, use_safetensors=True, **models, **components)
    return placed(pipeline, device, memory)


@contextmanager
def reading(path: Path, name: str) -> Iterator[None]:
    """While a pipeline's folder is read: errors that tell of a broken one become a RealbenchError.

    The libraries' warnings are kept back: of what they warn, missing weights are refused, and other VAEs than a pipeline names are meant.
    """
    import diffusers
    import transformers

    loggers = diffusers.utils.logging, transformers.utils.logging
    levels = [logger.get_verbosity() for logger in loggers]
    for logger in loggers:
        logger.set_verbosity_error()
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, NotImplementedError) as error:
        raise RealbenchError(f"{path}: expected the folder of a diffusers {name}, found one that does not load: {error}") from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.set_verbosity(level)


def pipeline_class(name: str) -> Any:
    """A pipeline's class by name. Raises Unsupported where this diffusers has none of that name."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
    kind = getattr(diffusers, name, None)
    if kind is None:
        raise Unsupported(f"diffusers {diffusers.__version__} has no {name}: upgrade it (pip install -U diffusers)")
    return kind


def pipeline_name(path: Path) -> str:
    """The class that a pipeline's folder was saved as. Raises RealbenchError where the folder is none."""
    try:
        return str(json.loads((path / "model_index.json").read_text())["_class_name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RealbenchError(f"{path}: expected the folder of a diffusers pipeline with a model_index.json, found none: {error}") from error


def is_xl(pipeline: Any) -> bool:
    """Whether the pipeline is one of SDXL: two text encoders, further conditions for the U-Net."""
    return hasattr(pipeline, "text_encoder_2")


def placed(pipeline: Any, device: str, memory: str = "auto") -> Any:
    """The pipeline on its device, or with `memory="low"` in a form that needs less of it."""
    pipeline.set_progress_bar_config(disable=True)
    if memory == "low":
        spare(pipeline)
        if device.startswith("cuda"):
            pipeline.enable_model_cpu_offload(device=device)
            return pipeline
    return pipeline.to(device)


def spare(pipeline: Any) -> None:
    """Let the VAE work image by image, and in tiles where images are LARGE: below, tiles save little and change what is painted."""
    pipeline.vae.enable_slicing()
    unet = getattr(pipeline, "unet", None)
    if unet is None or np.max(unet.config.sample_size) * pipeline.vae_scale_factor >= LARGE:
        pipeline.vae.enable_tiling()


def free() -> None:
    """Give back the memory of what is no longer referred to, on a GPU too."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def generator(seed: int) -> torch.Generator:
    """The one source of a seed's random numbers: on the CPU, so that no device has its own."""
    import torch

    return torch.Generator("cpu").manual_seed(seed)


def dtype_for(device: str, asked: str) -> torch.dtype:
    """The type a pipeline computes in: float32 on the CPU and where asked for, else half precision as the device has it."""
    import torch

    named = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if asked in named:
        return named[asked]
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    return torch.float16 if device.startswith("mps") else torch.float32
