"""The models of a pipeline's folder, each of a class of diffusers or transformers, from safetensors, with all of its weights."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any


def load_models(path: Path, dtype: Any, leave: Collection[str] = ()) -> dict[str, Any]:
    """The models that model_index.json names, by their names there; not those to `leave`, nor what is no model of the two libraries.

    from_pretrained on the whole folder would read pickles where there are no safetensors, and give weights that are missing random values.
    Raises ValueError where a model lacks weights.
    """
    import diffusers
    import transformers

    libraries = {"diffusers": (diffusers, diffusers.ModelMixin), "transformers": (transformers, transformers.PreTrainedModel)}
    models = {}
    for name, entry in json.loads((path / "model_index.json").read_text()).items():
        if name in leave or not isinstance(entry, list) or entry[0] not in libraries:
            continue
        library, base = libraries[entry[0]]
        kind = getattr(library, entry[1], None)
        if isinstance(kind, type) and issubclass(kind, base):
            models[name] = load_model(kind, path, name, dtype)
    if "vae" in models:
        _check_vae(models["vae"])
    return models


def load_model(kind: Any, path: Path, name: str, dtype: Any) -> Any:
    """One model of a class. Raises ValueError where it lacks weights."""
    model, found = kind.from_pretrained(
        path, subfolder=name, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    if found["missing_keys"]:
        raise ValueError(f"{name} lacks {sorted(found['missing_keys'])[:3]} …")
    return model.eval()


def _check_vae(vae: Any) -> None:
    """Its configuration must say how much it shrinks images: AutoencoderDC's has that under another name than pipelines ask for."""
    if not (hasattr(vae, "encode") and hasattr(vae, "decode")):
        raise ValueError(f"a {type(vae).__name__} in the place of its VAE")
    if hasattr(vae.config, "encoder_block_out_channels") and not hasattr(vae.config, "block_out_channels"):
        vae.register_to_config(block_out_channels=vae.config.encoder_block_out_channels)
