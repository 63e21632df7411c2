"""What the tests of embedding metrics share: photographs, scenes, random models whose scores differ, and where weights are looked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from realbench.method import Context
from realbench.metric import Batch, Score
from realbench.scene import Scene

CONTEXT = Context(work=Path())
TOLERANCE = 1e-4
"""Ours against the package's own call."""
BATCHES = 1e-5
"""A fill's score in one batch against another."""


def photograph(seed: int, width: int = 300, height: int = 200) -> np.ndarray:
    """A coloured picture with detail at several scales, H×W×3, 0–255, another one for each seed."""
    rng = np.random.default_rng(seed)
    layers = [Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).resize((width, height), 3) for side in (3, 9, 40)]
    return np.mean([np.asarray(layer) for layer in layers], axis=0).astype(np.uint8)


def hole(image: np.ndarray) -> np.ndarray:
    """The middle third of an image."""
    mask = np.zeros(image.shape[:2], bool)
    mask[image.shape[0] // 3 : 2 * image.shape[0] // 3, image.shape[1] // 3 : 2 * image.shape[1] // 3] = True
    return mask


def scene(truth: np.ndarray | None, references: Sequence[np.ndarray] = (), mask: np.ndarray | None = None, size: Any = None) -> Scene:
    """A scene around a truth; without one, its target is a grey image of `size` (height, width)."""
    target = np.full((*size, 3), 99, np.uint8) if truth is None else truth.copy()
    return Scene("s", tuple(references), target, hole(target) if mask is None else mask, truth)


def score(metric: Any, where: Scene, *fills: np.ndarray, raw: Sequence[np.ndarray] | None = None) -> list[Score]:
    """Prepare, score and close, fills as composites."""
    try:
        return metric.score(metric.prepare(where, context=CONTEXT), batch(*fills, raw=raw))
    finally:
        metric.close()


def batch(*fills: np.ndarray, raw: Sequence[np.ndarray] | None = None) -> Batch:
    """Fills as composites."""
    return Batch(tuple(range(len(fills))), tuple(raw or fills), tuple(fills))


def values(scores: Sequence[Score]) -> list[float]:
    """The numbers; each must be one."""
    assert all(item.state == "ok" and item.value is not None for item in scores), scores
    return [float(item.value) for item in scores]


def randomised(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The module with weights so large, and tokens so small, that different images get clearly different embeddings."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.named_parameters():
            noise = torch.randn(tensor.shape, generator=generator)
            if any(word in name for word in ("token", "embedding", "pos_embed", "bias")):
                tensor.copy_(0.05 * noise)
            elif tensor.ndim < 2:
                tensor.copy_(1 + 0.1 * noise)
            else:
                tensor.copy_(2 * noise / tensor[0].numel() ** 0.5)
    return module.eval()


def saved(state: dict[str, torch.Tensor], file: Path) -> Path:
    """A safetensors file, its folder made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in state.items()}, file)
    return file


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    """torch's own, of two rows."""
    return float(torch.nn.functional.cosine_similarity(one, other).item())
