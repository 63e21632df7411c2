"""FLUX.2 [klein]: an editor that reads all references at once and a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from realbench.errors import UsageError
from realbench.method import MethodCard, Weights

from ._diffusion.adapter import DiffusionMethod, Painted, Steps, at_least, pil
from ._diffusion.backbones import DIFFUSERS
from ._diffusion.prompts import instruct

if TYPE_CHECKING:
    from realbench.scene import Task

OPEN, CLOSED = "Apache-2.0", "FLUX Non-Commercial License"
WEIGHTS = {
    item.name: item
    for item in (
        Weights(
            "flux2-klein-4b",
            "black-forest-labs/FLUX.2-klein-4B",
            "e7b7dc27f91deacad38e78976d1f2b499d76a294",
            size="16 GB",
            licence=OPEN,
            files=DIFFUSERS,
        ),
        Weights("flux2-klein-base-4b", "black-forest-labs/FLUX.2-klein-base-4B", size="16 GB", licence=OPEN, files=DIFFUSERS),
        Weights(
            "flux2-klein-9b",
            "black-forest-labs/FLUX.2-klein-9B",
            "92196c8e11f7b6cf2b7493e037d8c5345c559216",
            size="35 GB",
            licence=CLOSED,
            gated=True,
            files=DIFFUSERS,
        ),
        Weights("flux2-klein-base-9b", "black-forest-labs/FLUX.2-klein-base-9B", size="35 GB", licence=CLOSED, gated=True, files=DIFFUSERS),
    )
}
NATIVE = 1024


@dataclass(frozen=True)
class Flux2KleinSettings:
    """Model, instruction and sampling. Raises UsageError for values that make no sense."""

    backbone: str = field(default="flux2-klein-4b", metadata={"path": "or name", "help": "a name of the card, a folder or a hub id"})
    prompt: str = field(
        default="Fill in the masked area of the first picture with what the other pictures show at this place.",
        metadata={"help": "the instruction; a scene's own prompt is added to it"},
    )
    references: int = field(default=0, metadata={"help": "most references used, which each seed draws; 0: all"})
    steps: int = 4
    guidance: float = field(default=1.0, metadata={"help": "ignored by the distilled models"})
    size: int = field(default=NATIVE, metadata={"help": "working size: the side of a square of as many pixels, up to 1024"})
    memory: Literal["auto", "low"] = "auto"

    def __post_init__(self) -> None:
        at_least(self, references=0, steps=1, guidance=0, size=16)
        if self.size > NATIVE:
            raise UsageError(f"size: expected at most {NATIVE}, to which the pipeline shrinks larger images, found {self.size}")


class Flux2Klein(DiffusionMethod):
    """Black Forest Labs' small editor, through diffusers' inpainting pipeline for it."""

    card = MethodCard(
        id="flux2-klein",
        title="FLUX.2 [klein]",
        summary="Paints the hole with an editor that reads the target, its mask and all references (Black Forest Labs, 2026).",
        paper="Black Forest Labs, FLUX.2 [klein], 2026 (model release)",
        licence="Apache-2.0 (diffusers); weights Apache-2.0 (4B) or non-commercial (9B)",
        weights=tuple(WEIGHTS.values()),
        needs=("gpu", "20 GB (4B), 40 GB (9B), less with memory=low"),
        presets={
            "4b": {"backbone": "flux2-klein-4b"},
            "9b": {"backbone": "flux2-klein-9b"},
            "base-4b": {"backbone": "flux2-klein-base-4b", "steps": 50, "guidance": 4.0},
            "base-9b": {"backbone": "flux2-klein-base-9b", "steps": 50, "guidance": 4.0},
        },
        default_preset="4b",
        stochastic=True,
        torch=True,
    )
    Settings = Flux2KleinSettings
    known = WEIGHTS

    def open(self, folders: Sequence[Path], device: str, dtype: Any) -> Any:
        """The pipeline. Raises RealbenchError where the folder holds another model."""
        from ._diffusion.loading import load_pipeline

        return load_pipeline("Flux2KleinInpaintPipeline", folders[0], device=device, dtype=dtype, memory=self.settings.memory)

    def paint(self, pipeline: Any, task: Task, seeds: Sequence[int], steps: Steps) -> list[Painted]:
        """One painted image; the notes say what was read.

        One seed a call: the pipeline reads as many references as prompts as one reference for each prompt.
        """
        from ._diffusion.frame import Frame
        from ._diffusion.loading import generator
        from ._diffusion.references import drawn, note, same_size

        (seed,) = seeds
        cell = 2 * pipeline.vae_scale_factor
        frame = Frame.fit(task.size, self.settings.size, cell, at_most=True)
        read = drawn(seed, len(task.references), self.settings.references)
        references = same_size([task.references[index] for index in read], self.settings.size, cell)
        prompt = instruct(self.settings.prompt, task.prompt)
        images = pipeline(
            prompt=prompt,
            image=pil(frame.image_in(task.target, task.mask)),
            mask_image=pil(frame.mask_in(task.mask, cell)),
            image_reference=[pil(image) for image in references],
            strength=1.0,
            num_inference_steps=self.settings.steps,
            guidance_scale=self.settings.guidance,
            generator=generator(seed),
            output_type="np",
            callback_on_step_end=steps,
        ).images
        return [(frame.image_out(images[0]), (note(read, len(task.references)), f"prompt: {prompt}"))]
