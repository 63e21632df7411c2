"""Models of timm as embedders. timm builds them; realbench.weights finds the weights, timm downloads nothing."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from realbench.errors import RealbenchError
from realbench.weights import load_state


def load(name: str, file: Path, device: str) -> nn.Module:
    """A timm model without its classifier: images to the embedding that its classifier would read (a ViT's class token, normed).

    Raises RealbenchError where the file does not hold exactly this model's tensors.
    """
    import timm

    model = timm.create_model(name, pretrained=False, num_classes=0)
    state = {key: tensor for key, tensor in load_state(file).items() if not key.startswith(("head.", "classifier."))}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise RealbenchError(
            f"{file}: expected the weights of timm's {name}, found others: {' '.join(str(error).split())[:300]}"
        ) from error
    return model.eval().requires_grad_(False).to(device, torch.float32)
