"""Image towers of open_clip as embedders. open_clip builds them; realbench.weights finds the weights, open_clip downloads nothing."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from realbench.errors import RealbenchError
from realbench.weights import load_state


def load(model: str, file: Path, quick_gelu: bool, device: str) -> nn.Module:
    """The image tower: images to the embedding that `encode_image` returns.

    Raises RealbenchError where the file does not hold exactly this model's tensors. Not open_clip's `load_checkpoint`: it resizes
    positional embeddings of another model without a word.
    """
    import open_clip

    whole = open_clip.create_model(model, load_weights=False, pretrained_text=False, force_quick_gelu=quick_gelu)
    try:
        whole.load_state_dict(_named(whole, load_state(file)))
    except RuntimeError as error:
        raise RealbenchError(
            f"{file}: expected the weights of open_clip's {model}, found others: {' '.join(str(error).split())[:300]}"
        ) from error
    tower = cast(nn.Module, whole.visual)  # the text tower, 40 % of ViT-B/32, is let go
    return tower.eval().requires_grad_(False).to(device, torch.float32)


def _named(whole: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by the names that the model has, for each layout of files that open_clip knows."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    state = convert_state_dict(whole, state)
    if "positional_embedding" in state and not hasattr(whole, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    for name in ("logit_scale", "logit_bias"):  # one number, with or without a dimension
        own = getattr(whole, name, None)
        if name in state and own is not None and state[name].numel() == 1:
            state[name] = state[name].reshape(own.shape)
    return dict(state)
