"""From a published file to tensors in a safetensors file, under the names of the model that loads them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realbench import unpickle
from realbench.errors import RealbenchError
from realbench.packages import Converted

if TYPE_CHECKING:
    from torch import Tensor

VERSION = "1"
"""Raised whenever the same file would convert to something else."""


def convert(member: Path, wanted: Converted, target: Path) -> list[str]:
    """Write the tensors of a file whose SHA-256 was verified as safetensors; returns their names.

    Raises RealbenchError for a file that holds anything but tensors, and where two get one name.
    """
    from safetensors.torch import save_file

    state = _numpy(member) if wanted.form == "numpy" else _torch(member)
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        new = _renamed(name, wanted)
        if new in renamed:
            raise RealbenchError(f"weights {wanted.name}: two of its tensors are renamed to {new}; mend `rename` on its card")
        if new:
            renamed[new] = (tensor.permute(3, 2, 0, 1) if wanted.channels_last and tensor.ndim == 4 else tensor).clone().contiguous()
    if not renamed:
        raise RealbenchError(f"weights {wanted.name}: none of its tensors is left; mend `rename` on its card")
    save_file(renamed, target)
    return sorted(renamed)


def _renamed(name: str, wanted: Converted) -> str:
    for pattern, replacement in wanted.rename:
        name = re.sub(pattern, replacement, name)
    return name


def _numpy(member: Path) -> dict[str, Tensor]:
    import torch

    return {name: torch.from_numpy(array.copy()) for name, array in unpickle.arrays(member).items()}


def _torch(member: Path) -> dict[str, Tensor]:
    import torch

    try:
        content = torch.load(member, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its reader happens to stumble over
        words = str(error).split("\n")[0][:200]
        raise RealbenchError(f"{member}: expected tensors as torch.save writes them, found {type(error).__name__}: {words}") from error
    return dict(_tensors(content, member))


def _tensors(content: Any, member: Path, before: str = "") -> Iterator[tuple[str, Tensor]]:
    import torch

    if isinstance(content, torch.Tensor):
        yield before, content.detach()
        return
    if not isinstance(content, Mapping) or before.count(".") > unpickle.DEEPEST:
        raise RealbenchError(f"{member}: expected tensors by name, found a {type(content).__name__} at {before or 'its top'}")
    for key, value in content.items():
        yield from _tensors(value, member, f"{before}.{key}" if before else str(key))
