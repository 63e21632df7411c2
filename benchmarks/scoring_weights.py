"""Random weights of full size for the models that this machine has none of, so that `scoring.py` times every metric anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Tensors = Mapping[str, Any]


def complete(root: Path, texts: Sequence[str]) -> list[str]:
    """Make REALBENCH_WEIGHTS a folder that holds every model's weights, this machine's or random ones. Returns what is random."""
    from realbench import plan, registry, weights
    from realbench.composite import Feather

    made = []
    for column in plan.plan_columns(list(texts), Feather()):
        kind = registry.load("metrics", column.metric)
        needed = kind.weights(plan.validate(kind.Config, column.config, column.metric))
        made += [item.name for item in needed if item.name in MAKERS and weights.status(item).state != "present"]
        if column.metric == "dreamsim":
            made.append(f"dreamsim-{column.config['model']}".replace("_", "-"))
    previous = os.environ.get(weights.VARIABLE, "")
    made = [name for name in dict.fromkeys(made) if not (Path(previous) / name / "model.safetensors").is_file() or not previous]
    for folder in Path(previous).iterdir() if previous else ():
        (root / folder.name).symlink_to(folder.resolve())
    for name in made:
        _write(root / name, *MAKERS[name]())
    os.environ[weights.VARIABLE] = str(root)
    return made


def _write(folder: Path, file: str, tensors: Tensors) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    save_file({name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}, folder / file)


def _dino() -> tuple[str, Tensors]:
    import timm

    return "model.safetensors", timm.create_model("vit_small_patch16_224.dino", pretrained=False, num_classes=0).state_dict()


def _clip() -> tuple[str, Tensors]:
    import open_clip

    model = open_clip.create_model("ViT-B-32", load_weights=False, pretrained_text=False, force_quick_gelu=True)
    return "open_clip_model.safetensors", model.state_dict()


def _dreamsim(model: str) -> Callable[[], tuple[str, Tensors]]:
    def make() -> tuple[str, Tensors]:
        from realbench.metrics import _dreamsim

        network = _dreamsim.skeleton(model, "cpu")
        return "model.safetensors", _dreamsim._tensors(network)

    return make


def _loftr() -> tuple[str, Tensors]:
    from kornia.feature import LoFTR

    return "model.safetensors", LoFTR(None).state_dict()


MAKERS: Mapping[str, Callable[[], tuple[str, Tensors]]] = {
    "dino-vits16": _dino,
    "clip-vit-b-32": _clip,
    "dreamsim-ensemble": _dreamsim("ensemble"),
    "loftr-outdoor": _loftr,
}
