"""Diffusion models by short name. Import-free: cards are made of this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from realbench.method import Weights
from realbench.packages import Bundled

DIFFUSERS = ("model_index.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.jinja", "*/*.safetensors")
"""What the folder of a diffusers pipeline consists of, without weights in one file or as pickles."""
MODEL = ("config.json", "diffusion_pytorch_model.safetensors")
"""What the folder of a single model consists of."""

TINY = Bundled(
    "tiny", revision="aba7db05a8a6", package="realbench.methods", folder="_tiny/inpaint", size="15 MB", licence="CC BY 4.0", files=DIFFUSERS
)
"""Our own small model, for 256 px: `python -m tools.train_tiny` makes it."""
TINY_EXAMPLE = Bundled(
    "tiny-example",
    revision="a46e5ad10f6a",
    package="realbench.methods",
    folder="_tiny/example",
    size="15 MB",
    licence="CC BY 4.0",
    files=DIFFUSERS,
)
"""The same, led by an image."""
_RAIL = "CreativeML Open RAIL++-M"
BACKBONES: Mapping[str, Weights] = {
    item.name: item
    for item in (
        TINY,
        Weights(
            "sd2",
            "sd2-community/stable-diffusion-2-inpainting",
            "5f74973cbb64c8568780732c17f43eb269d63a0d",
            size="5 GB",
            licence=_RAIL,
            files=DIFFUSERS,
        ),
        Weights(
            "sd15",
            "stable-diffusion-v1-5/stable-diffusion-inpainting",
            "8a4288a76071f7280aedbdb3253bdb9e9d5d84bb",
            size="5 GB",
            licence="CreativeML Open RAIL-M",
            files=DIFFUSERS,
        ),
        Weights(
            "sdxl",
            "diffusers/stable-diffusion-xl-1.0-inpainting-0.1",
            "115134f363124c53c7d878647567d04daf26e41e",
            size="14 GB",
            licence=_RAIL,
            files=DIFFUSERS,
        ),
    )
}
"""Inpainting U-Nets that see latent, mask and masked latent."""

_FLUX = "FLUX.1 [dev] Non-Commercial License"
FLUX: Mapping[str, Weights] = {
    item.name: item
    for item in (
        Weights(
            "flux-fill",
            "black-forest-labs/FLUX.1-Fill-dev",
            "358293da0354175698b67ec8299acf928313a78a",
            size="34 GB",
            licence=_FLUX,
            gated=True,
            files=DIFFUSERS,
        ),
        Weights(
            "flux-dev",
            "black-forest-labs/FLUX.1-dev",
            "3de623fc3c33e44ffbe2bad470d0f45bccf2eb21",
            size="34 GB",
            licence=_FLUX,
            gated=True,
            files=DIFFUSERS,
        ),
        *(
            Weights(
                f"flux-controlnet-{kind.lower()}",
                f"alimama-creative/FLUX.1-dev-Controlnet-Inpainting-{kind}",
                revision,
                size="4 GB",
                licence=_FLUX,
                files=MODEL,
            )
            for kind, revision in (("Alpha", "main"), ("Beta", "4c71e88b32ab247b3c2518803224c7c6473dbeb9"))
        ),
    )
}
"""FLUX.1 and what fills holes with it."""
KONTEXT = Weights(
    "flux-kontext",
    "black-forest-labs/FLUX.1-Kontext-dev",
    "24e9dedc4ef646698dc8eb4e18ae2cec3c9fea0d",
    size="34 GB",
    licence=_FLUX,
    gated=True,
    files=DIFFUSERS,
)
"""FLUX.1 Kontext. Download sizes here and above are counted from parameters, not looked up."""


def backbone(text: str, known: Mapping[str, Weights] = BACKBONES, files: Sequence[str] = DIFFUSERS) -> Weights:
    """The weights a setting stands for: a known name, or a folder or hub id that holds `files`. Raises UsageError for anything else."""
    from realbench.weights import custom

    return known[text] if text in known else custom(text, files)
