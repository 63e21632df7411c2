"""The model card and the attribution that go with the weights."""

from __future__ import annotations

import csv
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .data import Source, attribution
from .vae import LATENTS

ATTEMPTS = Path(__file__).parent / "ATTEMPTS.md"
LIMITS = """\
- It knows the few photographs it was trained on: it continues colours, edges and textures and knows next to nothing of things.
  A prompt outside the classes above means nothing to it.
- It is made to compare ways of fitting and filling on any machine in minutes. Its figures are not those of Stable Diffusion, and a
  method that is better on it need not be better on a large model.
- Latents hold 8×8 patches by their first principal components: finer detail is the decoder's guess.
- Not for use on pictures of people, and not for deceiving anyone.
"""


@dataclass(frozen=True)
class Facts:
    """What a training has come to."""

    samples: int
    steps: int
    seconds: float
    parameters: Mapping[str, int]
    autoencoder_psnr: float
    hardware: str = ""


def hardware() -> str:
    """The processor of this machine, in words."""
    found = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        found = f"{len(lines)} × {lines[0].partition(':')[2].strip()}" if lines else found
    return found


def write(facts: Facts, found: Sequence[Source], losses: Path) -> tuple[str, str]:
    """The model card, and the attribution file (both Markdown)."""
    sizes = ", ".join(f"{name} {count / 1e6:.2f} M" for name, count in facts.parameters.items())
    classes = ", ".join(sorted({source.name for source in found}))
    card = [
        "---\nlicense: cc-by-4.0\nlibrary_name: diffusers\npipeline_tag: image-to-image\n---\n",
        "# tiny: a small inpainting diffusion model\n",
        "A latent diffusion model for filling holes, trained from nothing by realbench's `tools/train_tiny`. Working size 256 px (128 px",
        f"works too), {LATENTS} latent channels from 8×8 patches. Parameters: {sizes}.\n",
        f"**Data.** Random crops of {len(found)} free photographs (see ATTRIBUTION.md), of these classes: {classes}.",
        "No ImageNet photograph and none of the scenes that it is measured on was trained on.\n",
        f"**Training.** {facts.samples:,} crops in {facts.steps:,} steps, {facts.seconds / 3600:.1f} hours of wall-clock time on",
        f"{facts.hardware or hardware()}, shared with others; velocity prediction, Muon and AdamW, averaged weights; half of the steps",
        "see 256 px, half 128 px; examples instead of texts lead three of ten.\n",
        f"**Autoencoder.** Reconstruction of 128 px crops of the training photographs: {facts.autoencoder_psnr:.1f} dB PSNR.\n",
        "**Losses** (weighted mean squared error of the velocity; the weights changed on the way, see the attempts):\n",
        _table(losses),
        "**Attempts.**\n",
        ATTEMPTS.read_text(encoding="utf-8"),
        "**Limits.**\n",
        LIMITS,
        "**Licence.** CC BY 4.0; the photographs' authors are named in ATTRIBUTION.md.\n",
    ]
    credit = "# What the weights were trained on\n\n" + attribution(list(found))
    return "\n".join(
        card
    ), credit + "\nCC BY 4.0: https://creativecommons.org/licenses/by/4.0/ - crops were resized, mirrored and changed in colour.\n"


def _table(losses: Path, rows: int = 12) -> str:
    if not losses.is_file():
        return ""
    with losses.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    kept = [found[round(index * (len(found) - 1) / (rows - 1))] for index in range(rows)] if len(found) > rows else found
    names = ("samples", "text", "example", "wide")
    lines = ["| " + " | ".join(names) + " |", "| " + " | ".join("---" for _ in names) + " |"]
    lines += ["| " + " | ".join(row[name] for name in names) + " |" for row in kept]
    return "\n".join(lines) + "\n"
