"""Paint-by-Example's pipeline, put together from its parts.

Its folder names the image encoder's class as `paint_by_example.PaintByExampleImageEncoder`, a place that diffusers has moved, so that
from_pretrained on the whole folder fails.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from realbench.errors import RealbenchError

from .loading import pipeline_class, placed

NAME = "PaintByExamplePipeline"


def load_by_example(path: Path, *, device: str, dtype: Any, memory: str) -> Any:
    """The pipeline of a folder. Raises Unsupported where diffusers has it no more, RealbenchError where the folder holds another model."""
    import diffusers
    from transformers import CLIPImageProcessor

    kind = pipeline_class(NAME)
    encoder = sys.modules[kind.__module__].PaintByExampleImageEncoder
    try:
        index = json.loads((path / "model_index.json").read_text())
        if index["_class_name"] != NAME:
            raise ValueError(f"a {index['_class_name']}")
        scheduler = getattr(diffusers, index["scheduler"][1])
        if not issubclass(scheduler, diffusers.SchedulerMixin):
            raise ValueError(f"{scheduler.__name__} in the place of its scheduler")
        parts = {name: _part(model, path, name, dtype) for name, model in _models(diffusers, encoder).items()}
        pipeline = kind(
            **parts,
            scheduler=scheduler.from_pretrained(path, subfolder="scheduler", local_files_only=True),
            feature_extractor=CLIPImageProcessor.from_pretrained(path, subfolder="feature_extractor", local_files_only=True),
            safety_checker=None,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise RealbenchError(f"{path}: expected the folder of a diffusers {NAME}, found one that does not load: {error}") from error
    return placed(pipeline, device, memory)


def _models(diffusers: Any, encoder: Any) -> dict[str, Any]:
    return {"vae": diffusers.AutoencoderKL, "unet": diffusers.UNet2DConditionModel, "image_encoder": encoder}


def _part(kind: Any, path: Path, name: str, dtype: Any) -> Any:
    """One of its models, with all of its weights."""
    model, found = kind.from_pretrained(path, subfolder=name, dtype=dtype, local_files_only=True, output_loading_info=True)
    if found["missing_keys"]:
        raise ValueError(f"{name} lacks {sorted(found['missing_keys'])[:3]} …")
    return model.eval()
