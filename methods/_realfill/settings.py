"""RealFill's settings and presets. Import-free: the card is made of this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from realbench.errors import UsageError


def _say(text: str, **more: str) -> Mapping[str, str]:
    return {"help": text, **more}


@dataclass(frozen=True)
class RealFillSettings:
    """How RealFill fits and fills. Raises UsageError for values that make no sense."""

    backbone: str = field(
        default="sd2", metadata=_say("tiny, sd2, sd15, sdxl, or the folder or hub id of an inpainting pipeline", path="or name")
    )
    rank: int = field(default=8, metadata=_say("rank of the LoRA"))
    layers: Literal["attention", "all"] = field(
        default="attention", metadata=_say("what of the U-Net has a LoRA: its attention, or every linear layer and convolution")
    )
    alpha: int = field(default=0, metadata=_say("LoRA updates are scaled by alpha / rank; 0: alpha is the rank"))
    steps: int = field(default=2000, metadata=_say("most training steps"))
    batch: int = field(default=16, metadata=_say("images a step, drawn with replacement"))
    unet_lr: float = field(default=2e-4, metadata=_say("learning rate of the U-Net's LoRA"))
    text_lr: float = field(default=4e-5, metadata=_say("learning rate of the text encoder's LoRA; 0: it is not trained"))
    clip: float = field(default=0.0, metadata=_say("gradients are shortened to this norm, all layers together; 0: never"))
    schedule: Literal["constant", "linear", "cosine"] = field(default="constant", metadata=_say("course of both rates after the warm-up"))
    warmup: int = field(default=0, metadata=_say("steps over which both rates rise from 0"))
    prompt: str = field(default="a photo of sks", metadata=_say("text of every image, in training and in filling"))
    dropout_prompt: float = field(default=0.1, metadata=_say("probability that a sample's prompt is empty"))
    dropout_mask: float = field(default=0.1, metadata=_say("probability that a sample's mask covers all: nothing is known"))
    dropout_lora: float = field(default=0.1, metadata=_say("probability that a LoRA layer is off for a step"))
    masks: Literal["paper", "public"] = field(default="paper", metadata=_say("few large or many small random rectangles"))
    crop: float = field(default=1.125, metadata=_say("training images are scaled by up to this before a square is cropped"))
    size: int = field(default=0, metadata=_say("working size in pixels; 0: the backbone's own"))
    sampler: Literal["ddpm", "ddim", "dpm++"] = field(default="ddpm", metadata=_say("how fills are sampled", stage="fill"))
    inference_steps: int = field(default=200, metadata=_say("sampling steps of a fill", stage="fill"))
    guidance: float = field(default=1.0, metadata=_say("classifier-free guidance; 1: none", stage="fill"))
    fill_batch: int = field(default=0, metadata=_say("seeds filled at a time; 0: 4 on a GPU with memory=auto, else 1", stage="fill"))
    memory: Literal["auto", "low"] = field(default="auto", metadata=_say("low: checkpointing, micro-batches, half precision, VAE in tiles"))
    micro_batch: int = field(default=0, metadata=_say("images at a time within a step; 0: all, or 1 with memory=low"))
    precision: Literal["auto", "half", "float32", "float16", "bfloat16"] = field(
        default="auto", metadata=_say("half: what the device has; auto: half with memory=low, else --dtype")
    )
    checkpoint_every: int = field(default=200, metadata=_say("steps between checkpoints; 0: none"))
    pool: int = field(default=0, metadata=_say("encoded crops kept and used again; 0: encode a new one for every sample"))
    refresh: int = field(default=2, metadata=_say("crops of the pool replaced each step, in the background"))
    text_every: int = field(default=1, metadata=_say("the text encoder is trained every so many steps; between, its states are kept"))
    accelerate: bool = field(default=False, metadata=_say("fused AdamW; on a GPU also compile and channels-last"))
    stop_every: int = field(default=0, metadata=_say("steps between looks at a held-out patch of the known region; 0: no early stop"))
    stop_patience: int = field(default=3, metadata=_say("stop after so many looks without a better loss"))

    def __post_init__(self) -> None:
        least = {"rank": 1, "alpha": 0, "steps": 1, "batch": 1, "unet_lr": 0, "text_lr": 0, "warmup": 0, "clip": 0, "crop": 1, "size": 0}
        least |= {"inference_steps": 1, "guidance": 0, "fill_batch": 0, "micro_batch": 0, "checkpoint_every": 0, "pool": 0}
        least |= {"refresh": 0, "text_every": 1, "stop_every": 0, "stop_patience": 1}
        for name, bound in least.items():
            if not getattr(self, name) >= bound:
                raise UsageError(f"{name}: expected at least {bound}, found {getattr(self, name)}")
        for name in ("dropout_prompt", "dropout_mask", "dropout_lora"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name}: expected a probability from 0 to 1, found {getattr(self, name)}")
        if self.unet_lr == 0 and self.text_lr == 0:
            raise UsageError("unet_lr and text_lr are both 0: nothing would be trained")
        if self.unet_lr == 0 and self.text_every > 1:
            raise UsageError("text_every: expected 1 with unet_lr=0, since most steps would train nothing")
        if self.pool and self.refresh > self.pool:
            raise UsageError(f"refresh: expected at most the pool's {self.pool}, found {self.refresh}")


FILLING = tuple(item.name for item in fields(RealFillSettings) if item.metadata.get("stage") == "fill")
"""Settings that a fit does not read: rows that differ in them share their fits."""
PAPER: Mapping[str, Any] = {
    "rank": 8,
    "steps": 2000,
    "batch": 16,
    "unet_lr": 2e-4,
    "text_lr": 4e-5,
    "dropout_prompt": 0.1,
    "dropout_mask": 0.1,
    "dropout_lora": 0.1,
    "masks": "paper",
    "sampler": "ddpm",
    "inference_steps": 200,
    "guidance": 1.0,
}
"""Tang et al., section 4 and the supplement; what they leave open has the defaults of the settings."""
PUBLIC: Mapping[str, Any] = {**PAPER, "alpha": 16, "warmup": 100, "clip": 1.0, "masks": "public"}
"""The README's run of the public code, without that code's bugs."""
FAST: Mapping[str, Any] = {
    **PAPER,
    "steps": 600,
    "batch": 8,
    "schedule": "cosine",
    "warmup": 30,
    "precision": "half",
    "pool": 64,
    "text_every": 4,
    "accelerate": True,
    "stop_every": 50,
    "sampler": "dpm++",
    "inference_steps": 30,
}
"""Ours: about a tenth of the paper's arithmetic."""
TINY: Mapping[str, Any] = {
    "backbone": "tiny",
    "rank": 32,
    "layers": "all",
    "size": 128,
    "steps": 250,
    "batch": 8,
    "unet_lr": 2e-3,
    "text_lr": 0.0,
    "schedule": "linear",
    "warmup": 20,
    "clip": 1.0,
    "dropout_lora": 0.0,
    "pool": 256,
    "refresh": 4,
    "sampler": "ddim",
    "inference_steps": 3,
}
"""Ours, for the small model: few parameters, so the LoRA is on all layers; few minutes, so the rate is high and falls."""
PRESETS: Mapping[str, Mapping[str, Any]] = {"tiny": TINY, "paper": PAPER, "public": PUBLIC, "fast": FAST}
