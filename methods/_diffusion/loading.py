"""Pipelines loaded one way, whatever the method; and the random numbers they draw."""

from __future__ import annotations

import gc
import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realbench.errors import RealbenchError, Unsupported

if TYPE_CHECKING:
    import torch


def load_pipeline(cls_name: str, path: Path, *, device: str, dtype: Any, memory: str = "auto", **components: Any) -> Any:
    """A diffusers pipeline from a folder on this disk, ready on its device; no download, no remote code, no progress bars.

    Components take the place of the folder's. `memory="low"` trades speed for memory: on a GPU only the part at work is there, and
    images are decoded one by one and, large ones, in tiles.
    Raises Unsupported where this diffusers has no such pipeline, RealbenchError where the folder does not hold one.
    """
    kind = pipeline_class(cls_name)
    if "safety_checker" in inspect.signature(kind.__init__).parameters:
        components = {"safety_checker": None, "requires_safety_checker": False} | components
    try:
        pipeline = kind.from_pretrained(path, dtype=dtype, local_files_only=True, **components)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RealbenchError(f"{path}: expected the folder of a diffusers {cls_name}, found one that does not load: {error}") from error
    return placed(pipeline, device, memory)


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


def placed(pipeline: Any, device: str, memory: str = "auto") -> Any:
    """The pipeline on its device, or with `memory="low"` in a form that needs less of it."""
    pipeline.set_progress_bar_config(disable=True)
    if memory == "low":
        pipeline.vae.enable_slicing()
        pipeline.vae.enable_tiling()
        if device.startswith("cuda"):
            pipeline.enable_model_cpu_offload(device=device)
            return pipeline
    return pipeline.to(device)


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
