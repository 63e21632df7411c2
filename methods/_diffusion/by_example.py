"""Paint-by-Example's pipeline, put together from its parts.

Its folder names the image encoder's class as `paint_by_example.PaintByExampleImageEncoder`, a place that diffusers has moved, so that
from_pretrained on the whole folder fails.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from .loading import pipeline_class, pipeline_name, placed, reading
from .parts import load_model, load_models
from .sampling import check_channels

NAME = "PaintByExamplePipeline"


def load_by_example(path: Path, *, device: str, dtype: Any, memory: str) -> Any:
    """The pipeline of a folder. Raises Unsupported where diffusers has it no more, RealbenchError where the folder holds another model."""
    import diffusers
    from transformers import CLIPImageProcessor

    kind = pipeline_class(NAME)
    encoder = sys.modules[kind.__module__].PaintByExampleImageEncoder
    with reading(path, NAME):
        if (saved := pipeline_name(path)) != NAME:
            raise ValueError(f"a {saved}")
        scheduler = getattr(diffusers, json.loads((path / "model_index.json").read_text())["scheduler"][1])
        if not issubclass(scheduler, diffusers.SchedulerMixin):
            raise ValueError(f"{scheduler.__name__} in the place of its scheduler")
        pipeline = kind(
            **load_models(path, dtype, leave=("image_encoder", "safety_checker")),
            image_encoder=load_model(encoder, path, "image_encoder", dtype),
            scheduler=scheduler.from_pretrained(path, subfolder="scheduler", local_files_only=True),
            feature_extractor=CLIPImageProcessor.from_pretrained(path, subfolder="feature_extractor", local_files_only=True),
            safety_checker=None,
        )
    check_channels(pipeline, path)
    return placed(pipeline, device, memory)
