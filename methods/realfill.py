"""RealFill: an inpainting model personalised with the scene's references."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from realbench.errors import RealbenchError
from realbench.method import BaseMethod, Context, Fill, MethodCard, Published, Weights

from ._diffusion.backbones import BACKBONES, backbone
from ._realfill.settings import PRESETS, RealFillSettings

if TYPE_CHECKING:
    from realbench.image import UInt8Image
    from realbench.scene import Task

    from ._realfill.fitting import Fitted
    from ._realfill.model import Model

LORA, NOTES = "pytorch_lora_weights.safetensors", "realfill.json"
SCORES = {"psnr": 14.78, "ssim": 0.424, "lpips": 0.431, "dreamsim": 0.077, "dino": 0.948, "clip": 0.962}


class RealFill(BaseMethod):
    """Trains a LoRA on references and known region, then samples the hole."""

    card = MethodCard(
        id="realfill",
        title="RealFill",
        summary="Trains a LoRA of an inpainting diffusion model on the references and the target's known region, then samples the hole.",
        paper="Tang et al., RealFill: Reference-Driven Generation for Authentic Image Completion, SIGGRAPH 2024 (arXiv 2309.16668)",
        licence="Apache-2.0 (own implementation); the backbone's licence applies to its weights",
        weights=tuple(BACKBONES.values()),
        needs=("gpu (but for tiny)", "8 GB with memory=low"),
        presets=PRESETS,
        default_preset="tiny",
        paper_preset="paper",
        published=tuple(Published(metric, value, "Tang et al. 2023, Table 1, RealFill, all seeds") for metric, value in SCORES.items()),
        fits=True,
        stochastic=True,
        torch=True,
    )
    Settings = RealFillSettings

    def __init__(self, settings: RealFillSettings | None = None) -> None:
        super().__init__(settings)
        self._model: Model | None = None
        self._fitted: Fitted | None = None
        self._inside: Fitted | None = None
        """What the model's LoRA is at present."""

    @classmethod
    def weights(cls, settings: RealFillSettings) -> Sequence[Weights]:
        """The backbone."""
        return (backbone(settings.backbone),)

    def fit(self, task: Task, *, seed: int, context: Context) -> None:
        """Train, from the base model or from the last checkpoint of this very fit in context.work."""
        from ._diffusion.loading import free
        from ._realfill.fitting import fit

        model, self._fitted, self._inside = self._loaded(context), None, None
        self._fitted = fit(model, task, seed, context)
        free()

    def fill(self, task: Task, seeds: Sequence[int], *, context: Context) -> Iterator[Fill]:
        """Sample once a seed with the fitted LoRA, `fill_batch` seeds at a time. Raises RealbenchError where nothing is fitted."""
        from ._realfill import filling, lora

        if self._fitted is None:
            raise RealbenchError("nothing is fitted: call fit or load before fill")
        model = self._loaded(context)
        if self._inside is not self._fitted:
            self._inside = None
            lora.read(model.pipeline, self._fitted.lora)
            self._inside = self._fitted
        for fill in filling.fill(model, task, seeds, context):
            yield replace(fill, notes=(*self._fitted.notes, *fill.notes))

    def complete(self, task: Task, seed: int, context: Context) -> tuple[UInt8Image, Sequence[str]]:
        """The fill of one seed."""
        (fill,) = self.fill(task, (seed,), context=context)
        return fill.image, fill.notes  # type: ignore[return-value]

    def save(self, folder: Path) -> None:
        """The LoRA as diffusers' load_lora_weights reads it, and the fit's notes. Raises RealbenchError where nothing is fitted."""
        if self._fitted is None:
            raise RealbenchError("nothing is fitted: call fit or load before save")
        (folder / LORA).write_bytes(self._fitted.lora)
        (folder / NOTES).write_text(json.dumps({"notes": self._fitted.notes}), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read what `save` wrote; it enters the model at the next fill."""
        from ._realfill.fitting import Fitted

        notes = json.loads((folder / NOTES).read_text(encoding="utf-8"))["notes"]
        self._fitted = Fitted((folder / LORA).read_bytes(), tuple(str(note) for note in notes))

    def close(self) -> None:
        """Give the memory back."""
        if self._model is not None:
            from ._diffusion.loading import free

            self._model = self._inside = None
            free()

    def _loaded(self, context: Context) -> Model:
        """The backbone on the context's device, loaded once."""
        from ._realfill.model import Model

        if self._model is None or not self._model.serves(context):
            self.close()
            self._model = Model.load(self.settings, context)
        return self._model
