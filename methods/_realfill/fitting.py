"""A whole fit, from the base model to the bytes that are kept."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from realbench import fingerprint
from realbench.image import BoolImage
from realbench.method import Context
from realbench.portion import Portion
from realbench.scene import Task

from . import holdout, lora
from .data import Photos
from .model import Model
from .settings import FILLING
from .train import Trainer


@dataclass(frozen=True)
class Fitted:
    """What a fit leaves."""

    lora: bytes
    """A safetensors file that diffusers' load_lora_weights reads."""
    notes: tuple[str, ...]
    """For the record of every fill."""


def fit(model: Model, task: Task, seed: int, context: Context) -> Fitted:
    """Train a LoRA on the scene; the base model is afterwards as it was. Raises Unsupported where there is nothing to learn from."""
    settings = model.settings
    pipeline = model.pipeline
    lora.remove(pipeline)
    try:
        unet, text = settings.unet_lr > 0, settings.text_lr > 0
        lora.add(pipeline, rank=settings.rank, alpha=settings.alpha, unet=unet, text=text, seed=seed, where=settings.layers)
        model.begin()
        trainer = _trainer(model, task, seed, context)
        try:
            trainer.resume()
            trainer.run()
        finally:
            trainer.dropout.close()
        fitted = Fitted(_bytes(model), (*trainer.notes, *model.notes))
    finally:
        model.end()
        lora.remove(pipeline)
    trainer.path.unlink(missing_ok=True)
    return fitted


def _trainer(model: Model, task: Task, seed: int, context: Context) -> Trainer:
    notes: list[str] = []
    patch = holdout.choose(task.mask, seed) if model.settings.stop_every else None
    held_out = None if patch is None else holdout.HeldOut.of(model, task, patch, seed, Portion(1, "encoding"))
    if model.settings.stop_every and held_out is None:
        notes.append("no early stop: the known region has no place for a patch to hold out")
    photos = Photos.of(task, model.settings, model.frame(task).working, model.scale, seed, patch if held_out else None)
    return Trainer(model, photos, context, seed, held_out, _path(model, task, seed, context, patch), notes=notes)


def _path(model: Model, task: Task, seed: int, context: Context, patch: BoolImage | None) -> Path:
    """Where the checkpoint lies: named after all that a fit depends on, so that it is never taken for another's."""
    held = "" if patch is None else fingerprint.of_array(patch)
    settings = {name: value for name, value in asdict(model.settings).items() if name not in FILLING}
    key = [fingerprint.of_data(settings), task.digest, str(seed), model.revision, str(model.dtype), held]
    return context.work / f"realfill-{fingerprint.short(key)}.pt"


def _bytes(model: Model) -> bytes:
    with tempfile.TemporaryDirectory(prefix="realbench-") as folder:
        lora.write(model.pipeline, Path(folder))
        return (Path(folder) / lora.FILE).read_bytes()
