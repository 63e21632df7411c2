"""What a U-Net is told beside the image: a text, or an example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .loading import is_xl

if TYPE_CHECKING:
    from PIL.Image import Image

AESTHETIC = 6.0, 2.5
"""Scores that SDXL's pipelines state where a model was trained on scores: of the image wanted, and of the one to keep away from."""


@dataclass(frozen=True, eq=False)
class Condition:
    """For n images, or under guidance for 2n: the unguided half comes first."""

    states: torch.Tensor
    """n×tokens×c."""
    added: dict[str, torch.Tensor] | None = None
    """SDXL's further conditions."""
    known_last: bool = False
    """The U-Net's channels are latent, masked latent, mask of the known region (Paint-by-Example), not latent, mask, masked latent."""


@torch.no_grad()
def of_text(pipeline: Any, prompt: str, negative: str, count: int, size: tuple[int, int], *, guided: bool) -> Condition:
    """The prompt for `count` images of (width, height) pixels; an empty negative prompt is the model's own unguided state."""
    said = pipeline.encode_prompt(
        prompt=prompt,
        device=pipeline._execution_device,
        num_images_per_prompt=count,
        do_classifier_free_guidance=guided,
        negative_prompt=negative or None,
    )
    states = torch.cat([said[1], said[0]]) if guided else said[0]
    if not is_xl(pipeline):
        return Condition(states)
    pooled = torch.cat([said[3], said[2]]) if guided else said[2]
    ids = [time_ids(pipeline, size, wanted=wanted).repeat(count, 1) for wanted in ((False, True) if guided else (True,))]
    return Condition(states, {"text_embeds": pooled, "time_ids": torch.cat(ids).to(states)})


@torch.no_grad()
def of_examples(pipeline: Any, images: Sequence[Image], *, guided: bool) -> Condition:
    """One example an image."""
    states = pipeline._encode_image(list(images), pipeline._execution_device, 1, guided)
    return Condition(states, known_last=True)


def time_ids(pipeline: Any, size: tuple[int, int], *, wanted: bool = True) -> torch.Tensor:
    """SDXL's size conditions (1×6, or 1×5 with a score), as its pipeline gives them for an uncropped image of (width, height) pixels."""
    shown = [size[1], size[0]]
    last = [AESTHETIC[0 if wanted else 1]] if pipeline.config.get("requires_aesthetics_score") else shown
    return torch.tensor([[*shown, 0, 0, *last]], dtype=torch.float32)
