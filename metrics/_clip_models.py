"""CLIP models by their names and tags in open_clip: weights and preprocessing. Import-free for those that cards list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from realbench.errors import UsageError
from realbench.method import Weights

from ._square import OPENAI, Square

FILE = "open_clip_model.safetensors"
"""Where open_clip's repositories on the hub keep the tensors."""
KINDS: Mapping[str, Literal["centre", "squash"]] = {"shortest": "centre", "squash": "squash"}
"""open_clip's `resize_mode` in the words used here."""


@dataclass(frozen=True)
class Clip:
    """One model with one set of weights."""

    weights: Weights
    square: Square
    """As in open_clip's preprocessing for these weights."""
    quick_gelu: bool
    """Which GELU the weights were trained with; open_clip itself warns and uses the wrong one for (`ViT-B-32`, `openai`)."""


def _openai(model: str, repository: str, size: str, revision: str) -> Clip:
    weights = Weights(f"clip-{model.lower()}", f"timm/{repository}", revision, size=size, licence="MIT", files=(FILE,))
    return Clip(weights, Square(224, 224, OPENAI), quick_gelu=True)


LISTED: Mapping[tuple[str, str], Clip] = {
    ("ViT-B-32", "openai"): _openai("ViT-B-32", "vit_base_patch32_clip_224.openai", "0.6 GB", "a6f597a30f7b82c51704746581f9a4e41421e878"),
    ("ViT-B-16", "openai"): _openai("ViT-B-16", "vit_base_patch16_clip_224.openai", "0.6 GB", "977e3dd0ec55ab8da155f2fbeb6b5f54948b6e3d"),
    ("ViT-L-14", "openai"): _openai("ViT-L-14", "vit_large_patch14_clip_224.openai", "1.7 GB", "18d0535469bb561bf468d76c1d73aa35156c922b"),
}


def clip(model: str, pretrained: str) -> Clip:
    """A model by its name and its weights' tag in open_clip. Raises UsageError for what open_clip does not have or can't load safely."""
    return LISTED.get((model, pretrained)) or _found(model, pretrained)


@cache
def _found(model: str, pretrained: str) -> Clip:
    """Asks open_clip's own tables; takes the seconds that its import takes."""
    import open_clip

    config = open_clip.get_model_config(model) if ":" not in model else None
    if config is None:
        raise UsageError(
            f"clip: open_clip has no model {model!r}; `python -c 'import open_clip; print(open_clip.list_models())'` lists them"
        )
    tag = open_clip.get_pretrained_cfg(model, pretrained)
    if not tag:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model)) or "none"
        raise UsageError(f"clip: open_clip has no weights {pretrained!r} for {model}; the known ones are {tags}")
    repository = str(tag.get("hf_hub") or "").rstrip("/")
    wrong = _unusable(config, tag, repository)
    if wrong:
        raise UsageError(f"clip: {model} with {pretrained} cannot be used here: {wrong}")
    size = config["vision_cfg"]["image_size"]
    weights = Weights(f"{repository}@main", repository, "main", files=(FILE,))  # on no card: the name is one that `pull` takes
    square = Square(size, size, (tuple(tag["mean"]), tuple(tag["std"])), KINDS[tag["resize_mode"]], tag["interpolation"])
    return Clip(weights, square, bool(tag.get("quick_gelu", False)))


def _unusable(config: Mapping[str, Any], tag: Mapping[str, Any], repository: str) -> str:
    """Why a model cannot be scored with, in half a sentence; empty when it can."""
    if "hf_model_name" in config["text_cfg"]:
        return "its text tower would be fetched from another repository"
    if "multimodal_cfg" in config:
        return "CoCa models are not supported"
    if repository.count("/") != 1:
        return f"{repository or 'its address'} is not a hub repository with {FILE}"
    if tag["resize_mode"] not in KINDS:
        return f"its preprocessing is {tag['resize_mode']!r}, known are {', '.join(KINDS)}"
    return ""
