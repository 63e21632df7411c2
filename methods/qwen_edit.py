"""Qwen-Image-Edit: an editor that reads a list of pictures and no mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from realbench.method import MethodCard, Weights

from ._diffusion.adapter import DiffusionMethod, Painted, Steps, at_least, pil
from ._diffusion.backbones import DIFFUSERS
from ._diffusion.prompts import instruct

if TYPE_CHECKING:
    from realbench.scene import Task

WEIGHTS = Weights(
    "qwen-edit-2509",
    "Qwen/Qwen-Image-Edit-2509",
    "d3968ef930e841f4c73640fb8afa3b306a78167e",
    size="58 GB",
    licence="Apache-2.0",
    files=DIFFUSERS,
)
MULTIPLE = 32
"""Of sides, in pixels: the pipeline brings the pictures it reads to this."""


@dataclass(frozen=True)
class QwenEditSettings:
    """Model, instruction and sampling. Raises UsageError for values that make no sense."""

    backbone: str = field(default="qwen-edit-2509", metadata={"path": "or name", "help": "the card's name, a folder or a hub id"})
    prompt: str = field(
        default="Picture 1 has a plain grey area. Replace the grey area with what the other pictures show at this place. "
        "Keep the rest of picture 1 as it is.",
        metadata={"help": "the instruction; a scene's own prompt is added to it"},
    )
    negative_prompt: str = " "
    references: int = field(
        default=2, metadata={"help": "most references used, which each seed draws; 0: all (three pictures were the most in training)"}
    )
    steps: int = 40
    guidance: float = field(default=4.0, metadata={"help": "guidance against the negative prompt"})
    size: int = field(default=1024, metadata={"help": "working size: the side of a square of as many pixels"})
    memory: Literal["auto", "low"] = "auto"

    def __post_init__(self) -> None:
        at_least(self, references=0, steps=1, guidance=0, size=MULTIPLE)


class QwenEdit(DiffusionMethod):
    """Alibaba's editor; nothing but the instruction tells it where the hole is, and the harness keeps the known region."""

    card = MethodCard(
        id="qwen-edit",
        title="Qwen-Image-Edit-2509",
        summary="Repaints the target with an editor that reads it, its hole grey, and two references (or all); it has no mask: the harness "
        "composites.",
        paper="Wu et al., Qwen-Image Technical Report, arXiv 2508.02324",
        licence="Apache-2.0 (diffusers and weights)",
        weights=(WEIGHTS,),
        needs=("gpu", "80 GB, less with memory=low"),
        stochastic=True,
        torch=True,
    )
    Settings = QwenEditSettings
    known = {WEIGHTS.name: WEIGHTS}  # noqa: RUF012

    def open(self, folders: Sequence[Path], device: str, dtype: Any) -> Any:
        """The pipeline. Raises RealbenchError where the folder holds another model."""
        from ._diffusion.loading import load_pipeline

        return load_pipeline("QwenImageEditPlusPipeline", folders[0], device=device, dtype=dtype, memory=self.settings.memory)

    def paint(self, pipeline: Any, task: Task, seeds: Sequence[int], steps: Steps) -> list[Painted]:
        """One painted image; the notes say what was read. One seed a call: the pipeline takes no more."""
        from ._diffusion.frame import Frame
        from ._diffusion.loading import generator
        from ._diffusion.references import drawn, note

        (seed,) = seeds
        frame = Frame.fit(task.size, self.settings.size, MULTIPLE)
        read = drawn(seed, len(task.references), self.settings.references)
        prompt = instruct(self.settings.prompt, task.prompt)
        images = pipeline(
            image=[pil(frame.image_in(task.target, task.mask)), *(pil(task.references[index]) for index in read)],
            prompt=prompt,
            negative_prompt=self.settings.negative_prompt,
            width=frame.working[0],
            height=frame.working[1],
            true_cfg_scale=self.settings.guidance,
            num_inference_steps=self.settings.steps,
            generator=generator(seed),
            output_type="np",
            callback_on_step_end=steps,
        ).images
        return [(frame.image_out(images[0]), (note(read, len(task.references)), f"prompt: {prompt}"))]
