"""DreamSim's network from dreamsim's own classes, filled with tensors from one safetensors file.

dreamsim's own loader downloads pickles and runs code from torch.hub; none of it is called here. `convert` writes the file from a model
that dreamsim loaded, its LoRA merged into the weights.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from realbench.errors import RealbenchError, Unsupported
from realbench.weights import load_state

FILE = "model.safetensors"
_lock = threading.Lock()


def load(kind: str, file: Path, device: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """Images (N×3×224×224, 0–1: dreamsim normalises itself) to the embeddings whose cosine distance is DreamSim.

    Raises Unsupported where dreamsim is not installed, RealbenchError where the file does not hold exactly this model's tensors.
    """
    network = skeleton(kind, device)
    state = load_state(file)
    wanted = _tensors(network)
    if set(state) != set(wanted) or any(state[name].shape != wanted[name].shape for name in wanted):
        odd = sorted(set(state) ^ set(wanted)) or sorted(name for name in wanted if state[name].shape != wanted[name].shape)
        raise RealbenchError(
            f"{file}: expected the tensors of DreamSim {kind} as `convert` writes them, found others: {', '.join(odd[:3])}"
        )
    for name, tensor in wanted.items():
        tensor.copy_(state[name])
    return cast(Callable[[torch.Tensor], torch.Tensor], network.embed)


def skeleton(kind: str, device: str) -> Any:
    """dreamsim's PerceptualModel with the architectures its checkpoints have, not yet filled, without gradients."""
    try:
        from dreamsim import model as package
        from dreamsim.feature_extraction.extractor import ViTExtractor
    except ImportError as error:
        raise Unsupported(f'dreamsim cannot be imported ({error}); install it with: pip install "realbench[dreamsim]"') from error
    settings = package.dreamsim_args["model_config"][kind]
    with _lock:  # the package offers no other way to build its model without downloads
        original = ViTExtractor.__dict__["create_model"]
        ViTExtractor.create_model = staticmethod(_trunk)
        try:
            network = package.PerceptualModel(**settings, device=device, normalize_embeds=True)
        finally:
            ViTExtractor.create_model = original
    return network.to(device).eval().requires_grad_(False)


def convert(network: Any, folder: Path) -> Path:
    """Write the file that `load` reads, from what `dreamsim.dreamsim(pretrained=True, device="cpu")` returned first."""
    from safetensors.torch import save_file

    merged = network.merge_and_unload() if hasattr(network, "merge_and_unload") else network
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in _tensors(merged).items()}, folder / FILE)
    return folder / FILE


def _tensors(network: Any) -> dict[str, torch.Tensor]:
    """What an embedding depends on, by name: the trunks, and CLIP's projections, which may be no parameters of their modules."""
    found = {name: tensor for name, tensor in network.state_dict().items() if ".model." in name}
    for index, extractor in enumerate(network.extractor_list):
        if "clip" in extractor.model_type:
            found[f"extractor_list.{index}.proj"] = extractor.proj.data
    return found


def _trunk(model_type: str, load_dir: str) -> nn.Module | tuple[nn.Module, torch.Tensor]:
    """The ViT-B of `dino_vitb16`, `synclr_vitb16`, `clip_vitb32`, `open_clip_vitb16` …, as dreamsim builds it, before it is filled."""
    from dreamsim.feature_extraction.load_clip_as_dino import QuickGELU
    from dreamsim.feature_extraction.vision_transformer import vit_base

    trunk = cast(Any, vit_base(patch_size=int(model_type.rpartition("vitb")[2])))
    if "clip" not in model_type:
        return cast(nn.Module, trunk)
    trunk.pos_drop = nn.LayerNorm(trunk.embed_dim)
    for module in trunk.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-5
    if not model_type.startswith("open_clip"):
        for block in trunk.blocks:
            block.mlp.act = QuickGELU()
    return cast(nn.Module, trunk), torch.zeros(trunk.embed_dim, 512)
