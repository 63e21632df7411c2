"""Image towers of open_clip as embedders. open_clip builds them; realbench.weights finds the weights, open_clip downloads nothing."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import nn

from realbench.errors import RealbenchError


def load(model: str, file: Path, quick_gelu: bool, device: str) -> nn.Module:
    """The image tower: images to the embedding that `encode_image` returns.

    Raises RealbenchError where the file does not hold exactly this model's tensors.
    """
    import open_clip

    whole = open_clip.create_model(model, load_weights=False, pretrained_text=False, force_quick_gelu=quick_gelu)
    try:
        open_clip.load_checkpoint(whole, str(file))
    except RuntimeError as error:
        raise RealbenchError(
            f"{file}: expected the weights of open_clip's {model}, found others: {' '.join(str(error).split())[:300]}"
        ) from error
    tower = cast(nn.Module, whole.visual)  # the text tower, 40 % of ViT-B/32, is let go
    return tower.eval().requires_grad_(False).to(device, torch.float32)
