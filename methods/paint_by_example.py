"""Inpainting led by one reference photograph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from realbench.method import MethodCard, Published, Weights

from ._diffusion.adapter import DiffusionMethod, Painted, Steps, at_least, pil
from ._diffusion.backbones import DIFFUSERS, TINY_EXAMPLE

if TYPE_CHECKING:
    from realbench.scene import Task

WEIGHTS = Weights(
    "paint-by-example",
    "Fantasy-Studio/Paint-by-Example",
    "351e6427d8c28a3b24f7c751d43eb4b6735127f7",
    size="5 GB",
    licence="CreativeML Open RAIL-M",
    files=DIFFUSERS,
)
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"backbone": TINY_EXAMPLE.name, "steps": 3, "guidance": 2.0},
    "paper": {"backbone": WEIGHTS.name},
}
TABLE = "RealFill (arXiv 2309.16668v2), Table 1, Paint-by-Example"


@dataclass(frozen=True)
class PaintByExampleSettings:
    """Model, reference and sampling. Raises UsageError for values that make no sense."""

    backbone: str = field(default="paint-by-example", metadata={"path": "or name", "help": "the card's name, a folder or a hub id"})
    reference: int = field(default=0, metadata={"help": "the reference that leads, counted from 1; 0: one that each seed draws"})
    steps: int = 50
    guidance: float = 5.0
    size: int = field(default=0, metadata={"help": "working size: the side of a square of as many pixels; 0: the model's own"})
    batch: int = field(default=4, metadata={"help": "seeds painted at once"})
    memory: Literal["auto", "low"] = "auto"

    def __post_init__(self) -> None:
        at_least(self, reference=0, steps=1, guidance=0, size=0, batch=1)


class PaintByExample(DiffusionMethod):
    """Yang et al.'s model, with one random reference a seed as in RealFill's comparison."""

    card = MethodCard(
        id="paint-by-example",
        title="Paint by Example",
        summary="Paints the hole with a diffusion model led by one reference, which each seed draws.",
        paper="Yang et al., Paint by Example: Exemplar-based Image Editing with Diffusion Models, CVPR 2023",
        licence="Apache-2.0 (diffusers); weights CreativeML Open RAIL-M",
        weights=(WEIGHTS, TINY_EXAMPLE),
        needs=("gpu (but for tiny)", "8 GB"),
        presets=PRESETS,
        default_preset="tiny",
        paper_preset="paper",
        published=(
            Published("psnr", 10.13, TABLE),
            Published("ssim", 0.244, TABLE),
            Published("lpips", 0.642, TABLE),
            Published("dreamsim", 0.237, TABLE),
            Published("dino", 0.797, TABLE),
            Published("clip", 0.859, TABLE),
        ),
        stochastic=True,
        torch=True,
    )
    Settings = PaintByExampleSettings
    known = {item.name: item for item in (WEIGHTS, TINY_EXAMPLE)}  # noqa: RUF012

    def open(self, folders: Sequence[Path], device: str, dtype: Any) -> Any:
        """The pipeline. Raises RealbenchError where the folder holds another model."""
        from ._diffusion.by_example import load_by_example

        return load_by_example(folders[0], device=device, dtype=dtype, memory=self.settings.memory)

    def paint(self, pipeline: Any, task: Task, seeds: Sequence[int], steps: Steps) -> list[Painted]:
        """One painted image a seed; the notes say which reference led. Raises Unsupported for a reference the scene lacks."""
        from ._diffusion.conditions import of_examples
        from ._diffusion.frame import Frame
        from ._diffusion.inpainting import mask_cell, working_size
        from ._diffusion.references import note, one
        from ._diffusion.sampling import Course, sample

        native, multiple = working_size(pipeline)
        frame = Frame.fit(task.size, self.settings.size or native, multiple)
        image, mask = frame.image_in(task.target, task.mask), frame.mask_in(task.mask, mask_cell(pipeline))
        course, total = Course(self.settings.steps, self.settings.guidance), len(task.references)
        leading = [one(seed, total, self.settings.reference) for seed in seeds]
        condition = of_examples(pipeline, [pil(task.references[index]) for index in leading], guided=course.guided)
        images = sample(pipeline, condition, image, mask, seeds, course, steps.at)
        return [(frame.image_out(image), (note([index], total),)) for image, index in zip(images, leading, strict=True)]
