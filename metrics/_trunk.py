"""What LPIPS and DISTS do with a convolutional trunk: load it without ever downloading, resize its input, bound its memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from realbench.errors import RealbenchError
from realbench.portion import Portion

from . import _torch

PIXELS = {"cpu": 512 * 512, "cuda": 4 * 1024 * 1024}
"""Pixels seen at a time: one 512² image on the CPU, where more are no faster; about 4 GB with VGG16 on a GPU."""


@contextmanager
def unfilled() -> Iterator[None]:
    """Networks built inside take neither time nor memory, and pretrained ones are not asked for: their tensors are assigned later."""
    with torch.device("meta"):
        yield


def assign(module: nn.Module, state: Mapping[str, torch.Tensor], name: str) -> None:
    """Give an unfilled module its tensors. Raises RealbenchError unless each has its tensor, of its shape, and none is left over."""
    wanted = dict(module.named_parameters())
    wrong = [key for key in wanted.keys() & state.keys() if wanted[key].shape != state[key].shape]
    wrong += wanted.keys() ^ state.keys()
    if wrong:
        first = sorted(wrong)[0]
        expected, found = (str(tuple(where[first].shape)) if first in where else "no such tensor" for where in (wanted, state))
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise RealbenchError(f"weights {name}: {first}: expected {expected}, found {found}{more}; pull {name} again")
    module.load_state_dict({key: tensor.float() for key, tensor in state.items()}, strict=False, assign=True)


def placed(module: nn.Module, device: str) -> nn.Module:
    """For inference on the device; on a CPU, channels last convolve and pool about twice as fast."""
    ready = module.eval().requires_grad_(False).to(device)
    return ready.to(memory_format=torch.channels_last) if device == "cpu" else ready


def resized(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """N×C×H×W of floats to this height and width: bilinear, with antialiasing where it scales down."""
    if images.shape[2:] == size:
        return images
    return nn.functional.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)


def portion(what: str, size: tuple[int, int], device: str) -> Portion:
    """As many images of this height and width as a machine of this kind should see at a time."""
    return _torch.portion(what, size[0] * size[1], PIXELS["cpu" if device == "cpu" else "cuda"])
