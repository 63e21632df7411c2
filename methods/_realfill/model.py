"""The inpainting model under training: loaded, checked, asked."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from realbench.errors import RealbenchError
from realbench.method import Context
from realbench.portion import Portion
from realbench.scene import Task
from realbench.weights import resolve

from .._diffusion.backbones import backbone
from .._diffusion.conditions import time_ids
from .._diffusion.frame import Frame
from .._diffusion.inpainting import open_unet, working_size
from .._diffusion.loading import dtype_for, is_xl, spare
from .._diffusion.vae import at_latents, encode, overflows, precise
from . import lora
from .data import Batch, Entry, noise_of
from .loss import Objective, counted
from .settings import RealFillSettings

COMPILES = (7, 0)
"""Lowest CUDA capability that torch.compile writes kernels for."""


@dataclass(frozen=True, eq=False)
class Text:
    """The text encoders' answer to the prompt (row 0) and to the empty prompt (row 1)."""

    states: torch.Tensor
    pooled: torch.Tensor | None


class Model:
    """A diffusers inpainting pipeline on its device, its parameters frozen."""

    def __init__(self, pipeline: Any, settings: RealFillSettings, device: str, dtype: torch.dtype, revision: str = "") -> None:
        """Raises RealbenchError for a wrong size."""
        self.pipeline, self.settings, self.device, self.dtype, self.revision = pipeline, settings, device, dtype, revision
        for model in (pipeline.unet, pipeline.vae, *lora.text_encoders(pipeline).values()):
            model.requires_grad_(False).eval()
        self.scale = int(pipeline.vae_scale_factor)
        native, self.multiple = working_size(pipeline)
        self.size = settings.size or native
        if self.size % self.multiple:
            raise RealbenchError(f"size={self.size}: expected a multiple of {self.multiple}, which this backbone works at")
        self.objective = Objective(pipeline.scheduler)
        self.is_xl = is_xl(pipeline)
        self.notes: list[str] = []
        self._unet = pipeline.unet

    @classmethod
    def load(cls, settings: RealFillSettings, context: Context) -> Model:
        """From this machine's disk. Raises WeightsMissing, RealbenchError for a U-Net that does not see latent, mask and masked latent."""
        found = resolve(backbone(settings.backbone))
        dtype = _dtype(settings, context)
        pipeline = open_unet(found.path, context.device, dtype)
        if settings.memory == "low":
            spare(pipeline)
        return cls(pipeline, settings, context.device, dtype, found.revision)

    def serves(self, context: Context) -> bool:
        """Whether this is the model for a context."""
        return self.device == context.device and self.dtype == _dtype(self.settings, context)

    def frame(self, task: Task) -> Frame:
        """The target's place in the image that is worked at."""
        return Frame.fit(task.size, self.size, self.multiple)

    def begin(self) -> None:
        """Make the U-Net ready for training, its LoRA included."""
        self.notes.clear()
        unet = self.pipeline.unet
        if self.settings.memory == "low":
            unet.enable_gradient_checkpointing()
        if overflows(self.pipeline):
            self.pipeline.vae.to(torch.float32)
        self._unet = self._compiled(unet) if self.settings.accelerate and self.device.startswith("cuda") else unet

    def end(self) -> None:
        """Leave training."""
        self._unet = self.pipeline.unet
        if overflows(self.pipeline):
            self.pipeline.vae.to(self.dtype)
        self.pipeline.unet.disable_gradient_checkpointing()

    def micro_batch(self) -> int:
        """Images at a time within a step, to begin with."""
        wanted = self.settings.micro_batch or (1 if self.settings.memory == "low" else self.settings.batch)
        return min(wanted, self.settings.batch)

    def text(self) -> Text:
        """The states of the prompt and of the empty prompt; zeros for the latter where the backbone was trained so."""
        with self._autocast():
            answer = self.pipeline.encode_prompt(
                [self.settings.prompt, ""], device=self.device, num_images_per_prompt=1, do_classifier_free_guidance=False
            )
        states: torch.Tensor = answer[0]
        pooled: torch.Tensor | None = answer[2] if self.is_xl else None
        if pooled is not None and self.pipeline.config.get("force_zeros_for_empty_prompt"):
            shown = torch.tensor([1, 0], device=states.device, dtype=states.dtype)
            states, pooled = states * shown[:, None, None], pooled * shown[:, None]
        return Text(states, pooled)

    @torch.no_grad()
    def encode(self, entries: Sequence[Entry], portion: Portion) -> Batch:
        """Latents of images and masked images, masks and weights at their resolution."""
        mask, hole = (torch.stack([getattr(entry, name) for entry in entries]) for name in ("mask", "hole"))
        images = self._latents([entry.pixels for entry in entries], [entry.noises[0] for entry in entries], portion)
        masked = self._latents([entry.masked for entry in entries], [entry.noises[1] for entry in entries], portion)
        planes = at_latents(mask, self.scale), counted(hole, self.scale)
        return Batch(images, masked, *(item.to(self.device) for item in planes))

    def answer(self, noisy: torch.Tensor, times: torch.Tensor, batch: Batch, text: Text, rows: torch.Tensor) -> torch.Tensor:
        """What the U-Net predicts for n noisy latents; `rows` says which row of the text each of them has."""
        joined = torch.cat([noisy, batch.mask, batch.masked], 1).to(self.dtype)
        added = None
        if text.pooled is not None:
            size = noisy.shape[-1] * self.scale, noisy.shape[-2] * self.scale
            ids = time_ids(self.pipeline, size).to(self.device, self.dtype).repeat(len(noisy), 1)
            added = {"text_embeds": text.pooled[rows], "time_ids": ids}
        # A look at the held-out patch has a shape of its own: compiling for it would cost more than it saves.
        unet = self._unet if torch.is_grad_enabled() else self.pipeline.unet
        with self._autocast():
            answer: torch.Tensor = unet(joined, times, text.states[rows], added_cond_kwargs=added, return_dict=False)[0]
        return answer

    def _latents(self, images: Sequence[torch.Tensor], seeds: Sequence[int], portion: Portion) -> torch.Tensor:
        done: list[torch.Tensor] = []

        def some(part: slice) -> torch.Tensor:
            with precise(self.pipeline) as vae:
                answer = encode(vae, torch.stack(list(images[part])).to(self.device))
            return answer.sampled(len(answer.mean), lambda: torch.stack([noise_of(answer.mean.shape[1:], seed) for seed in seeds[part]]))

        def go_on() -> None:
            while len(done) < len(images):
                done.extend(some(slice(len(done), len(done) + portion.size)))

        portion.attempt(go_on)
        return torch.stack(done)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.partition(":")[0], self.dtype, enabled=self.dtype != torch.float32)

    def _compiled(self, unet: Any) -> Any:
        unet.to(memory_format=torch.channels_last)
        self.pipeline.vae.to(memory_format=torch.channels_last)
        if torch.cuda.get_device_capability(self.device) < COMPILES or importlib.util.find_spec("triton") is None:
            self.notes.append("not compiled: this GPU is too old for torch.compile, or Triton is not installed")
            return unet
        torch.compiler.reset()  # of the last scene's LoRA, or a few scenes later nothing would be compiled any more
        return torch.compile(unet)


def _dtype(settings: RealFillSettings, context: Context) -> torch.dtype:
    asked: str = settings.precision
    if asked == "auto":
        asked = "half" if settings.memory == "low" else "float32" if context.dtype == "auto" else context.dtype
    return dtype_for(context.device, "" if asked == "half" else asked)
