"""The inpainting ControlNets for FLUX.1-dev, whose condition has a mask that diffusers' own class leaves no room for.

Their condition is the latent of the image, its hole painted black, and the known region's mask at the latent's size; packed, 64 + 4
channels (code published with the weights: github.com/alimama-creative/FLUX-Controlnet-Inpainting, prepare_image_with_mask).
diffusers' pipeline encodes and packs the first 64; the ControlNet itself appends the 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxControlNetModel
from diffusers.configuration_utils import register_to_config

from realbench.errors import RealbenchError
from realbench.image import BoolImage, UInt8Image


class InpaintingControlNet(FluxControlNetModel):
    """A FluxControlNetModel whose condition embedding takes `extra_condition_channels` more, which are `known`."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        patch_size: int = 1,
        in_channels: int = 64,
        num_layers: int = 19,
        num_single_layers: int = 38,
        attention_head_dim: int = 128,
        num_attention_heads: int = 24,
        joint_attention_dim: int = 4096,
        pooled_projection_dim: int = 768,
        guidance_embeds: bool = False,
        axes_dims_rope: Sequence[int] = (16, 56, 56),
        extra_condition_channels: int = 4,
    ) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            patch_size=patch_size,
            in_channels=in_channels,
            num_layers=num_layers,
            num_single_layers=num_single_layers,
            attention_head_dim=attention_head_dim,
            num_attention_heads=num_attention_heads,
            joint_attention_dim=joint_attention_dim,
            pooled_projection_dim=pooled_projection_dim,
            guidance_embeds=guidance_embeds,
            axes_dims_rope=axes_dims_rope,
        )
        self.controlnet_x_embedder = torch.nn.Linear(in_channels + extra_condition_channels, num_attention_heads * attention_head_dim)
        self.known: torch.Tensor | None = None
        """1×tokens×4, 1 where known; set before the pipeline is called."""

    def forward(self, hidden_states: torch.Tensor, controlnet_cond: torch.Tensor, **others: Any) -> Any:
        """As FluxControlNetModel, for a condition without its mask."""
        assert self.known is not None
        known = self.known.to(controlnet_cond).expand(len(controlnet_cond), -1, -1)
        return FluxControlNetModel.forward(self, hidden_states, torch.cat((controlnet_cond, known), dim=-1), **others)


def load_controlnet(path: Path, dtype: torch.dtype) -> InpaintingControlNet:
    """The ControlNet of a folder. Raises RealbenchError where it holds another model or lacks some of its weights."""
    try:
        model, found = InpaintingControlNet.from_pretrained(
            path, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise RealbenchError(f"{path}: expected an inpainting ControlNet for FLUX.1, found one that does not load: {error}") from error
    if found["missing_keys"]:
        raise RealbenchError(f"{path}: expected an inpainting ControlNet for FLUX.1, found none of its {found['missing_keys'][:3]} …")
    loaded: InpaintingControlNet = model
    return loaded


def condition(pipeline: Any, image: UInt8Image, mask: BoolImage, count: int) -> torch.Tensor:
    """The condition image (count×3×H×W, −1…1, hole −1) for the pipeline; its ControlNet is told the known region's mask."""
    pixels = torch.from_numpy(image).permute(2, 0, 1).float() / 127.5 - 1
    hole = torch.from_numpy(mask)
    known = (~hole).float()[None, None, :: pipeline.vae_scale_factor, :: pipeline.vae_scale_factor]
    pipeline.controlnet.known = torch.nn.functional.pixel_unshuffle(known, 2).flatten(2).mT
    return pixels.masked_fill(hole, -1).repeat(count, 1, 1, 1)
