"""The LoRA: added and taken away through peft, written and read through diffusers."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

NAME = "default"
FILE = "pytorch_lora_weights.safetensors"
"""Where diffusers' load_lora_weights looks by itself."""
ATTENTION = ("to_k", "to_q", "to_v", "to_out.0")
UNET_LAYERS: Mapping[str, Sequence[str]] = {
    "attention": ATTENTION,
    "all": (
        *ATTENTION,
        *("proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "time_emb_proj"),
        *("conv1", "conv2", "conv_shortcut", "conv", "conv_in", "conv_out"),
    ),
}
"""Ends of the names of diffusers' layers, by the setting `layers`."""
TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj")
LOCAL = ("base_model_name_or_path", "revision")
"""What peft's configuration says of this machine."""
TEXT_ENCODERS = ("text_encoder", "text_encoder_2")


def text_encoders(pipeline: Any) -> dict[str, Any]:
    """The pipeline's text encoders by name."""
    return {name: encoder for name in TEXT_ENCODERS if (encoder := getattr(pipeline, name, None)) is not None}


def add(pipeline: Any, *, rank: int, alpha: int, unet: bool, text: bool, seed: int, where: str = "attention") -> None:
    """A fresh float32 LoRA, the only thing that trains: its output is 0, its random half the same on every device."""
    from peft import LoraConfig

    layers: dict[str, Sequence[str]] = {"unet": UNET_LAYERS[where]} if unet else {}
    layers |= dict.fromkeys(text_encoders(pipeline), TEXT_LAYERS) if text else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, targets in layers.items():
            getattr(pipeline, name).add_adapter(LoraConfig(r=rank, lora_alpha=alpha or rank, target_modules=list(targets)), NAME)
    for parameter in parameters(pipeline).values():
        parameter.data = parameter.data.float()


def remove(pipeline: Any) -> None:
    """The base model alone, as it was loaded."""
    pipeline.unload_lora_weights()
    for model in (pipeline.unet, *text_encoders(pipeline).values()):
        model.requires_grad_(False)


def parameters(pipeline: Any, part: str = "") -> dict[str, torch.nn.Parameter]:
    """What trains, by name: of the whole pipeline, of its `unet`, or of its `text` encoders."""
    models = {"unet": pipeline.unet} if part in ("", "unet") else {}
    models |= text_encoders(pipeline) if part in ("", "text") else {}
    named = ((f"{model}.{name}", value) for model, module in models.items() for name, value in module.named_parameters())
    return {name: value for name, value in named if value.requires_grad}


def write(pipeline: Any, folder: Path) -> None:
    """The LoRA as FILE, with the metadata from which diffusers restores rank and alpha."""
    from diffusers.utils import state_dict_utils
    from peft.utils import get_peft_model_state_dict

    layers: dict[str, Any] = {}
    convert: Any = state_dict_utils.convert_state_dict_to_diffusers
    for name, model in {"unet": pipeline.unet, **text_encoders(pipeline)}.items():
        if getattr(model, "peft_config", None):
            state = get_peft_model_state_dict(model, adapter_name=NAME, save_embedding_layers=False)
            # diffusers' names exist for attention only, and its loader passes over them where others stand beside: a U-Net's stay peft's.
            state = state if name == "unet" else convert(state)
            layers[f"{name}_lora_layers"] = {key: value.float().cpu().contiguous() for key, value in state.items()}
            layers[f"{name}_lora_adapter_metadata"] = _plain(model.peft_config[NAME].to_dict())
    type(pipeline).save_lora_weights(folder, weight_name=FILE, **layers)
    (folder / FILE).write_bytes(_ordered((folder / FILE).read_bytes()))


def read(pipeline: Any, data: bytes) -> None:
    """Load what `write` wrote, by diffusers' own loader, in place of any other LoRA."""
    remove(pipeline)
    with tempfile.TemporaryDirectory(prefix="realbench-") as folder:
        (Path(folder) / FILE).write_bytes(data)
        pipeline.load_lora_weights(folder, weight_name=FILE, adapter_name=NAME, local_files_only=True)
    for model in (pipeline.unet, *text_encoders(pipeline).values()):
        model.requires_grad_(False)


def _ordered(data: bytes) -> bytes:
    """A safetensors file with its header in order: safetensors writes metadata in a random one, so that equal fits would differ."""
    size = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as JSON holds it, the same bytes every time and everywhere: not where the base model lies on this machine."""
    kept = {key: value for key, value in config.items() if key not in LOCAL}
    return {key: sorted(value) if isinstance(value, (set, frozenset)) else value for key, value in kept.items()}


class LayerDropout:
    """Turns whole LoRA layers off for a step, each by itself with the same probability (the paper's dropout, not peft's of inputs).

    A layer's factor alpha / rank becomes a tensor that holds 0 while the layer is off: a compiled model reads it anew each step.
    """

    def __init__(self, pipeline: Any, probability: float) -> None:
        self.probability = probability
        self.layers = list(_layers([pipeline.unet, *text_encoders(pipeline).values()]))
        self._full = [float(layer.scaling[NAME]) for layer in self.layers]
        for layer, full in zip(self.layers, self._full, strict=True):
            layer.scaling[NAME] = torch.tensor(full, device=layer.lora_A[NAME].weight.device)

    def draw(self, rng: np.random.Generator) -> None:
        """Choose which layers are off until the next draw."""
        self._set(rng.random(len(self.layers)) >= self.probability)

    def all_on(self) -> None:
        """No layer is off."""
        self._set(np.ones(len(self.layers), np.bool_))

    def off(self) -> list[bool]:
        """Which layers are off."""
        return [float(layer.scaling[NAME]) == 0 for layer in self.layers]

    def close(self) -> None:
        """Give the layers their plain numbers back."""
        for layer, full in zip(self.layers, self._full, strict=True):
            layer.scaling[NAME] = full

    def _set(self, on: Any) -> None:
        for layer, full, kept in zip(self.layers, self._full, on, strict=True):
            layer.scaling[NAME].fill_(full if kept else 0.0)


def _layers(models: Sequence[Any]) -> Iterator[Any]:
    from peft.tuners.lora import LoraLayer

    for model in models:
        yield from (module for module in model.modules() if isinstance(module, LoraLayer) and NAME in module.lora_A)
