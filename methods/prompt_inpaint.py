"""Inpainting led by a text, without references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from realbench.errors import UsageError
from realbench.method import MethodCard, Published

from ._diffusion.adapter import DiffusionMethod, Painted, Steps, at_least
from ._diffusion.backbones import BACKBONES, DIFFUSERS, FLUX, MODEL

if TYPE_CHECKING:
    from realbench.scene import Task

WEIGHTS = {**BACKBONES, **FLUX}
CONTROLLED = {"backbone": "flux-dev", "steps": 28, "guidance": 3.5, "strength": 1.0, "batch": 1}
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"backbone": "tiny", "steps": 3, "guidance": 1.0, "strength": 1.0},
    "sd2": {"backbone": "sd2"},
    "sd15": {"backbone": "sd15"},
    "sdxl": {"backbone": "sdxl", "batch": 1},
    "flux-fill": {"backbone": "flux-fill", "guidance": 30.0, "strength": 1.0, "batch": 1},
    "flux-controlnet-alpha": {**CONTROLLED, "controlnet": "flux-controlnet-alpha", "true_guidance": 3.5, "size": 768},
    "flux-controlnet-beta": {**CONTROLLED, "controlnet": "flux-controlnet-beta"},
}
TABLE = "RealFill (arXiv 2309.16668v2), Table 1, SD Inpaint"


@dataclass(frozen=True)
class PromptInpaintSettings:
    """Model, text and sampling. Raises UsageError for values that make no sense."""

    backbone: str = field(default="sd2", metadata={"path": "or name", "help": "a name of the card, a diffusers folder or a hub id"})
    controlnet: str = field(default="", metadata={"path": "or name", "help": "an inpainting ControlNet, where the backbone is FLUX.1"})
    prompt: str = field(default="a photo", metadata={"help": "the text for scenes that bring none of their own"})
    negative_prompt: str = ""
    steps: int = 50
    guidance: float = 7.5
    true_guidance: float = field(default=1.0, metadata={"help": "with a ControlNet: guidance against the negative prompt"})
    control_scale: float = field(default=0.9, metadata={"help": "with a ControlNet: how much it says"})
    strength: float = field(default=0.9999, metadata={"help": "1.0 degrades Stable Diffusion: it starts from noise it was not trained on"})
    size: int = field(default=0, metadata={"help": "working size: the side of a square of as many pixels; 0: the model's own"})
    batch: int = field(default=4, metadata={"help": "seeds painted at once"})
    memory: Literal["auto", "low"] = "auto"

    def __post_init__(self) -> None:
        at_least(self, steps=1, guidance=0, true_guidance=0, control_scale=0, size=0, batch=1)
        if not 0 < self.strength <= 1 or int(self.steps * self.strength) < 1:
            raise UsageError(f"strength: expected above 0, at most 1 and at least one of {self.steps} steps, found {self.strength}")


class PromptInpaint(DiffusionMethod):
    """The SD Inpaint row of RealFill's table, and the models that came after it."""

    card = MethodCard(
        id="prompt-inpaint",
        title="Prompt-only inpainting",
        summary="Paints the hole with an inpainting diffusion model led by a text; uses no reference.",
        paper="Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models, CVPR 2022 (Stable Diffusion)",
        licence="Apache-2.0 (diffusers); weights under their own",
        weights=tuple(WEIGHTS.values()),
        needs=("gpu (but for tiny)", "8 GB (sd2, sd15), 12 GB (sdxl), 40 GB (FLUX.1), 45 GB (with a ControlNet), less with memory=low"),
        presets=PRESETS,
        default_preset="tiny",
        paper_preset="sd2",
        published=(
            Published("psnr", 10.63, TABLE),
            Published("ssim", 0.282, TABLE),
            Published("lpips", 0.605, TABLE),
            Published("dreamsim", 0.213, TABLE),
            Published("dino", 0.831, TABLE),
            Published("clip", 0.874, TABLE),
        ),
        stochastic=True,
        torch=True,
    )
    Settings = PromptInpaintSettings
    known = WEIGHTS
    parts = {"backbone": DIFFUSERS, "controlnet": MODEL}  # noqa: RUF012

    def open(self, folders: Sequence[Path], device: str, dtype: Any) -> Any:
        """The pipeline that fills holes with this model. Raises RealbenchError where the model is for something else."""
        from ._diffusion.inpainting import open_inpainting

        return open_inpainting(folders, device, dtype, self.settings.memory)

    def paint(self, pipeline: Any, task: Task, seeds: Sequence[int], steps: Steps) -> list[Painted]:
        """One painted image a seed; the notes say which prompt led."""
        from ._diffusion.frame import Frame
        from ._diffusion.inpainting import mask_cell, paint, working_size

        native, multiple = working_size(pipeline)
        frame = Frame.fit(task.size, self.settings.size or native, multiple)
        prompt = task.prompt or self.settings.prompt
        image, mask = frame.image_in(task.target, task.mask), frame.mask_in(task.mask, mask_cell(pipeline))
        images = paint(pipeline, image, mask, prompt, seeds, self.settings, steps)
        note = f"prompt {'of the scene' if task.prompt else 'of the settings'}: {prompt}"
        return [(frame.image_out(image), (note,)) for image in images]
