"""The trained networks as the folders of two diffusers pipelines, in half precision, with model card and attribution."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import torch

from . import models
from .vae import LATENTS

INPAINT, EXAMPLE = "inpaint", "example"


def folders(out: Path, nets: dict[str, Any], tokenizer: Any, autoencoder: Any, card: str, attribution: str) -> None:
    """Write `out`/inpaint (a StableDiffusionInpaintPipeline) and `out`/example (a PaintByExamplePipeline)."""
    import diffusers

    kinds: tuple[Any, Any] = diffusers.StableDiffusionInpaintPipeline, diffusers.PaintByExamplePipeline

    half = {name: _half(net) for name, net in nets.items()}
    common = {"vae": _half(autoencoder), "scheduler": models.scheduler(), "safety_checker": None}
    inpaint = kinds[0](
        **common,
        unet=half["unet"],
        text_encoder=half["text"],
        tokenizer=tokenizer,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    _write(inpaint, out / INPAINT, card, attribution)
    example = kinds[1](
        **common,
        unet=by_example(half["unet"]),
        image_encoder=half["image"],
        feature_extractor=models.feature_extractor(),
        requires_safety_checker=False,
    )
    _write(example, out / EXAMPLE, card, attribution)


def by_example(unet: Any) -> Any:
    """The U-Net for Paint-by-Example's order of channels: latent, masked latent, and a mask that is 1 where the image is known."""
    other = _copy(unet)
    weight = unet.conv_in.weight.detach().float()
    latent, mask, masked = weight.split([LATENTS, 1, LATENTS], 1)
    with torch.no_grad():
        other.conv_in.weight.copy_(torch.cat([latent, masked, -mask], 1))
        other.conv_in.bias.add_(mask.sum((1, 2, 3)))
    return other


def _copy(net: Any) -> Any:
    other = type(net).from_config(net.config)
    other.load_state_dict(net.state_dict())
    return other.to(next(net.parameters()).dtype).cpu().eval()


def _half(net: Any) -> Any:
    """A copy in float16."""
    return copy.deepcopy(net).cpu().half().eval()


def _write(pipeline: Any, folder: Path, card: str, attribution: str) -> None:
    new = folder.with_name(f".{folder.name}-new")
    shutil.rmtree(new, ignore_errors=True)
    pipeline.save_pretrained(new)
    (new / "README.md").write_text(card, encoding="utf-8")
    (new / "ATTRIBUTION.md").write_text(attribution, encoding="utf-8")
    for path in new.rglob("*.json"):
        if path.name in ("config.json", "model_index.json", "scheduler_config.json"):
            found = json.loads(path.read_text())
            found.pop("_name_or_path", None)
            path.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
        path.chmod(0o644)
    for path in new.rglob("*.safetensors"):
        path.chmod(0o644)
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
