"""FLUX.1 Kontext: an editor that reads one reference and a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from realbench.method import MethodCard

from ._diffusion.adapter import DiffusionMethod, Painted, Steps, at_least, pil
from ._diffusion.backbones import KONTEXT
from ._diffusion.prompts import instruct

if TYPE_CHECKING:
    from realbench.scene import Task


@dataclass(frozen=True)
class FluxKontextSettings:
    """Model, instruction, reference and sampling. Raises UsageError for values that make no sense."""

    backbone: str = field(default="flux-kontext", metadata={"path": "or name", "help": "the card's name, a folder or a hub id"})
    prompt: str = field(
        default="Show the same place as the reference picture.",
        metadata={"help": "the instruction; a scene's own prompt is added to it"},
    )
    reference: int = field(default=0, metadata={"help": "the reference that is read, counted from 1; 0: one that each seed draws"})
    steps: int = 28
    guidance: float = 3.5
    size: int = field(default=1024, metadata={"help": "working size: the side of a square of as many pixels"})
    batch: int = field(default=1, metadata={"help": "seeds painted at once"})
    memory: Literal["auto", "low"] = "auto"

    def __post_init__(self) -> None:
        at_least(self, reference=0, steps=1, guidance=0, size=16, batch=1)


class FluxKontext(DiffusionMethod):
    """Black Forest Labs' editor, through diffusers' inpainting pipeline for it."""

    card = MethodCard(
        id="flux-kontext",
        title="FLUX.1 Kontext [dev]",
        summary="Paints the hole with an editor that reads one reference, which each seed draws; the known region is held in latent space.",
        paper="Black Forest Labs, FLUX.1 Kontext, arXiv 2506.15742",
        licence="Apache-2.0 (diffusers); weights non-commercial",
        weights=(KONTEXT,),
        needs=("gpu", "40 GB, less with memory=low"),
        stochastic=True,
        torch=True,
    )
    Settings = FluxKontextSettings
    known = {KONTEXT.name: KONTEXT}  # noqa: RUF012

    def open(self, folders: Sequence[Path], device: str, dtype: Any) -> Any:
        """The pipeline. Raises RealbenchError where the folder holds another model."""
        from ._diffusion.loading import load_pipeline

        return load_pipeline("FluxKontextInpaintPipeline", folders[0], device=device, dtype=dtype, memory=self.settings.memory)

    def paint(self, pipeline: Any, task: Task, seeds: Sequence[int], steps: Steps) -> list[Painted]:
        """One painted image a seed; the notes say which reference was read. Raises Unsupported for a reference the scene lacks.

        References of one call are of one size, so seeds that draw different ones are painted call by call.
        """
        from ._diffusion.references import one

        drawn = {seed: one(seed, len(task.references), self.settings.reference) for seed in seeds}
        painted: dict[int, Painted] = {}
        for index in dict.fromkeys(drawn.values()):
            together = [seed for seed in seeds if drawn[seed] == index]
            painted |= zip(together, self._with_reference(pipeline, task, index, together, steps), strict=True)
        return [painted[seed] for seed in seeds]

    def _with_reference(self, pipeline: Any, task: Task, index: int, seeds: Sequence[int], steps: Steps) -> list[Painted]:
        from ._diffusion.frame import Frame
        from ._diffusion.loading import generator
        from ._diffusion.references import framed, note

        multiple, count = 2 * pipeline.vae_scale_factor, len(seeds)
        frame = Frame.fit(task.size, self.settings.size, multiple)
        prompt = instruct(self.settings.prompt, task.prompt)
        images = pipeline(
            prompt=[prompt] * count,
            image=[pil(frame.image_in(task.target, task.mask))] * count,
            mask_image=[pil(frame.mask_in(task.mask, multiple))] * count,
            image_reference=[pil(framed(task.references[index], self.settings.size, multiple))] * count,
            strength=1.0,
            num_inference_steps=self.settings.steps,
            guidance_scale=self.settings.guidance,
            generator=[generator(seed) for seed in seeds],
            output_type="np",
            callback_on_step_end=steps,
            _auto_resize=False,
        ).images
        return [(frame.image_out(image), (note([index], len(task.references)), f"prompt: {prompt}")) for image in images]
