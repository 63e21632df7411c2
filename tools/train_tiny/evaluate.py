"""Quick looks at the networks themselves, before any adapter: is it an inpainter, does a fit on a scene help?"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image

from . import masks, models
from .data import UInt8
from .vae import unit

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Model:
    """Networks in evaluation."""

    nets: dict[str, Any]
    tokenizer: Any
    vae: Any

    @torch.no_grad()
    def states(self, texts: Sequence[str]) -> torch.Tensor:
        """n×POSITIONS×WIDTH."""
        states: torch.Tensor = self.nets["text"](models.tokens(self.tokenizer, list(texts))).last_hidden_state
        return states

    @torch.no_grad()
    def paint(
        self,
        images: UInt8,
        holes: Bool,
        states: torch.Tensor,
        empty: torch.Tensor,
        *,
        guidance: float = 1.0,
        steps: int = 30,
        seed: int = 0,
    ) -> UInt8:
        """Images (n×H×W×3) with their holes (n×H×W) painted, by DDIM from pure noise; `states` lead, `empty` is the unguided state."""
        pixels, mask = unit(images), torch.from_numpy(np.stack([masks.grown(hole) for hole in holes])).float()[:, None]
        masked = self.vae.encode(pixels * (1 - mask)).latent
        small = mask[:, :, :: masks.CELL, :: masks.CELL]
        scheduler = models.scheduler()
        scheduler.set_timesteps(steps)
        latents = torch.randn(masked.shape, generator=torch.Generator().manual_seed(seed))
        for time in scheduler.timesteps:
            joined = torch.cat([latents, small, masked], 1)
            answer = self.nets["unet"](joined, time, states, return_dict=False)[0]
            if guidance != 1:
                without = self.nets["unet"](joined, time, empty.expand(len(joined), -1, -1), return_dict=False)[0]
                answer = without + guidance * (answer - without)
            latents = scheduler.step(answer, time, latents).prev_sample
        painted = self.vae.decode(latents).sample
        return np.asarray(((painted + 1) * 127.5).clamp(0, 255).round().byte().permute(0, 2, 3, 1).numpy())


class Lpips:
    """LPIPS (AlexNet, 0.1) of whole images, from its tensors."""

    LAYERS = ((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))
    """Stride and padding of the convolutions; pooling comes before the second and the third."""

    def __init__(self, path: Path) -> None:
        from safetensors.torch import load_file

        self.weights = load_file(path)

    @torch.no_grad()
    def __call__(self, one: UInt8, other: UInt8) -> npt.NDArray[np.float32]:
        """n distances of n×H×W×3 images."""
        total = torch.zeros(len(one))
        for index, (a, b) in enumerate(zip(self._features(one), self._features(other), strict=True)):
            difference = (F.normalize(a, dim=1, eps=1e-10) - F.normalize(b, dim=1, eps=1e-10)) ** 2
            total += F.conv2d(difference, self.weights[f"lin{index}.weight"]).mean((1, 2, 3))
        return total.numpy()

    def _features(self, images: UInt8) -> list[torch.Tensor]:
        shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        x = (unit(images) - shift[:, None, None]) / scale[:, None, None]
        found = []
        for index, (stride, padding) in enumerate(self.LAYERS):
            if index in (1, 2):
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(F.conv2d(x, self.weights[f"conv{index}.weight"], self.weights[f"conv{index}.bias"], stride, padding))
            found.append(x)
        return found


def thick(size: int, rng: np.random.Generator) -> Bool:
    """A thick random mask over 20–40 % of the image."""
    while True:
        mask = (masks.rectangles, masks.strokes)[rng.integers(2)](size, rng)
        if 0.2 <= mask.mean() <= 0.4:
            return mask


@dataclass(frozen=True, eq=False)
class Found:
    """Fills by name, and their mean LPIPS and mean PSNR in the hole."""

    scores: dict[str, tuple[float, float]]
    fills: dict[str, UInt8]
    truth: UInt8
    holes: Bool


def inpainting(
    model: Model, photos: Path, lpips: Lpips, count: int, *, sizes: Sequence[int] = (128, 256), steps: int = 30, seed: int = 0
) -> Found:
    """Mean LPIPS and hole PSNR of telea, mean colour and the model on photographs that are for evaluation only, at 256 px."""
    from realbench.methods._opencv import inpaint  # type: ignore[import-not-found]

    with photos.with_suffix(".csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if "evaluation" in row["licence"]]
    rng = np.random.default_rng(seed)
    chosen = [rows[index] for index in np.sort(rng.permutation(len(rows))[:count])]
    truth = np.stack([_square(photos / row["file"]) for row in chosen])
    holes = np.stack([thick(256, rng) for _ in chosen])
    fills = {
        "telea": np.stack([inpaint(image, hole, "telea") for image, hole in zip(truth, holes, strict=True)]),
        "mean-color": np.stack([_plain(image, hole) for image, hole in zip(truth, holes, strict=True)]),
    }
    empty, states = model.states([""]), model.states(["a photo"]).expand(count, -1, -1)
    for size in sizes:
        small = truth if size == 256 else np.stack([_resized(image, size) for image in truth])
        reduced: Bool = np.asarray(holes.reshape(count, size, 256 // size, size, 256 // size).any(axis=(2, 4)))
        parts = [slice(first, first + 8) for first in range(0, count, 8)]
        painted = [model.paint(small[part], reduced[part], states[part], empty, steps=steps, seed=part.start) for part in parts]
        whole = np.concatenate(painted)
        fills[f"tiny at {size}"] = whole if size == 256 else np.stack([_resized(image, 256) for image in whole])
        fills[f"tiny at {size}, autoencoder alone"] = _through(model.vae, small)
    return Found({name: _scores(fill, truth, holes, lpips) for name, fill in fills.items()}, fills, truth, holes)


def _scores(fill: Any, truth: UInt8, holes: Bool, lpips: Lpips) -> tuple[float, float]:
    composite: UInt8 = np.where(np.expand_dims(holes, -1), fill, truth).round().astype(np.uint8)
    distances = np.concatenate([lpips(composite[i : i + 8], truth[i : i + 8]) for i in range(0, len(truth), 8)])
    return float(distances.mean()), float(np.mean([psnr(a, b, hole) for a, b, hole in zip(composite, truth, list(holes), strict=True)]))


def _through(vae: Any, images: UInt8) -> UInt8:
    with torch.no_grad():
        answer = vae.decode(vae.encode(unit(images)).latent).sample
    pixels = ((answer + 1) * 127.5).clamp(0, 255).round().byte().permute(0, 2, 3, 1).numpy()
    return np.stack([_resized(image, 256) for image in pixels])


def psnr(image: UInt8, truth: UInt8, hole: Bool) -> float:
    """Of the hole's pixels, in dB."""
    error: npt.NDArray[np.float32] = np.asarray(image, np.float32)[hole] - np.asarray(truth, np.float32)[hole]
    return float(10 * np.log10(255**2 / max(float((error**2).mean()), 1e-9)))


def _plain(image: UInt8, hole: Bool) -> UInt8:
    known: npt.NDArray[np.float32] = np.asarray(image, np.float32)[np.logical_not(hole)]
    filled = np.array(image)
    filled[hole] = known.mean(0).round().astype(np.uint8)
    return filled


def _square(path: Path) -> UInt8:
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    left, top = (rgb.width - 256) // 2, (rgb.height - 256) // 2
    return np.asarray(rgb.crop((left, top, left + 256, top + 256)))


def _resized(image: UInt8, size: int) -> UInt8:
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS))
