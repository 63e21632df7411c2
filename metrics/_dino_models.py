"""DINO and DINOv2 by their names in timm: weights and preprocessing. Import-free: cards are made of this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from realbench.method import Weights

from ._square import IMAGENET, Square


@dataclass(frozen=True)
class Dino:
    """One model."""

    weights: Weights
    square: Square
    """As in timm's data configuration."""


def _model(name: str, short: str, size: str, side: int = 518, square: int = 518, revision: str = "main") -> Dino:
    weights = Weights(short, f"timm/{name}", revision, size=size, licence="Apache-2.0", files=("model.safetensors",))
    return Dino(weights, Square(square, side, IMAGENET))


DINOS: Mapping[str, Dino] = {
    "vit_small_patch16_224.dino": _model(
        "vit_small_patch16_224.dino", "dino-vits16", "0.09 GB", 248, 224, "10e440b8a34dfd657a90f2fcaa988c6b6a2f0da4"
    ),
    "vit_small_patch8_224.dino": _model("vit_small_patch8_224.dino", "dino-vits8", "0.09 GB", 248, 224),
    "vit_base_patch16_224.dino": _model("vit_base_patch16_224.dino", "dino-vitb16", "0.34 GB", 248, 224),
    "vit_base_patch8_224.dino": _model("vit_base_patch8_224.dino", "dino-vitb8", "0.34 GB", 248, 224),
    "vit_small_patch14_dinov2.lvd142m": _model(
        "vit_small_patch14_dinov2.lvd142m", "dinov2-vits14", "0.09 GB", revision="4610ca143709d58a633b6397a74412c2c3842454"
    ),
    "vit_base_patch14_dinov2.lvd142m": _model(
        "vit_base_patch14_dinov2.lvd142m", "dinov2-vitb14", "0.35 GB", revision="4685c99dabffe5affac90bd99dbffd25801ae58d"
    ),
    "vit_large_patch14_dinov2.lvd142m": _model(
        "vit_large_patch14_dinov2.lvd142m", "dinov2-vitl14", "1.2 GB", revision="4741e1cafbf45415e77074bb0cb42dba76c8684a"
    ),
}
