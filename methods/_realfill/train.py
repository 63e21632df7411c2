"""The training loop: LoRA on one scene, resumed where an interrupted fit stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from realbench.errors import RealbenchError
from realbench.method import Context
from realbench.portion import Portion

from . import checkpoint, lora
from .data import Batch, Draw, Entry, Photos, generator
from .holdout import HeldOut
from .loss import squared_error
from .model import Model, Text
from .sources import Fresh, Pool, Source
from .turns import Turn, clock, rate

HORIZON = 50
"""Steps over which the loss shown is averaged."""


@dataclass
class Progress:
    """Where a fit stands; a checkpoint holds it all."""

    step: int = 0
    """Steps done."""
    loss: float = math.nan
    """Smoothed over HORIZON steps."""
    best: float = math.inf
    """Best loss on the held-out patch."""
    best_step: int = 0
    misses: int = 0
    """Looks at the patch since the best one."""


@dataclass(eq=False)
class Trainer:
    """One fit under way."""

    model: Model
    photos: Photos
    context: Context
    seed: int
    held_out: HeldOut | None
    path: Path
    """Of the checkpoint."""
    at: Progress = field(default_factory=Progress)
    notes: list[str] = field(default_factory=list)
    kept: dict[str, torch.Tensor] = field(default_factory=dict)
    """The LoRA at the best look so far."""

    def __post_init__(self) -> None:
        settings = self.settings = self.model.settings
        self.parameters = lora.parameters(self.model.pipeline)
        self.optimizer = self._optimizer()
        self.scaler = torch.amp.GradScaler(self.model.device.partition(":")[0], enabled=self.model.dtype == torch.float16)
        self.dropout = lora.LayerDropout(self.model.pipeline, settings.dropout_lora)
        self.portion = Portion(self.model.micro_batch(), "training", lambda text: self.context.progress(self.at.step, settings.steps, text))
        # One by one into a pool: rounding depends on how many images share a call, and a resumed fit fills its pool at once.
        self.encoding = Portion(1 if settings.pool else self.model.micro_batch(), "encoding")
        self._text: Text | None = None
        self._loss = torch.tensor(self.at.loss, device=self.model.device)
        self._clock = time.monotonic(), 0

    def run(self) -> None:
        """Train to the last step, or until the held-out patch says stop."""
        settings = self.settings
        self.context.progress(self.at.step, settings.steps, "encoding")
        self._clock = time.monotonic(), self.at.step
        with self._source() as source:
            while self.at.step < settings.steps:
                self._step(source)
                self.at.step += 1
                self._report()
                if self._look():
                    break
                if settings.checkpoint_every and self.at.step % settings.checkpoint_every == 0:
                    self.save()
        self.notes += [*self.portion.notes, *self.encoding.notes]
        self._settle()

    def save(self) -> None:
        """Write the checkpoint. Raises RealbenchError where training has diverged: nothing could go on from there."""
        self._check()
        tensors = {name: value.detach().cpu() for name, value in self.parameters.items()}
        state: dict[str, Any] = {"at": vars(self.at), "lora": tensors, "kept": self.kept, "notes": self.notes + self.portion.notes}
        state |= {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict(), "size": self.portion.size}
        checkpoint.save(self.path, state)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        state, fault = checkpoint.load(self.path)
        self.notes += [fault] if fault else []
        if state is None:
            return
        self.at = Progress(**state["at"])
        self._loss.fill_(self.at.loss)
        self._put(state["lora"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.kept, self.notes, self.portion.size = state["kept"], state["notes"], state["size"]

    def _step(self, source: Source) -> None:
        settings, step = self.settings, self.at.step
        width, height = (side // self.model.scale for side in self.photos.size)
        shape = (self.model.pipeline.vae.config.latent_channels, height, width)
        turn = Turn.draw(settings, self.seed, step, self.model.objective.steps, shape, self.model.device)
        batch = source.batch(step, turn.picks)
        text = self._kept_text(step)
        self.dropout.draw(generator(self.seed, Draw.LAYERS, step))
        loss = self.portion.attempt(lambda: self._gradients(batch, turn, text))
        if settings.clip:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), settings.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base"] * rate(settings, step)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        smoothed = torch.where(self._loss.isfinite(), torch.lerp(self._loss, loss, 1 / min(step + 1, HORIZON)), loss)
        self._loss = torch.where(smoothed.isfinite(), smoothed, self._loss)

    def _gradients(self, batch: Batch, turn: Turn, text: Text | None) -> torch.Tensor:
        """Gradients of a whole step, summed over its micro-batches; its loss. Without `text` the text encoder is trained too."""
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.model.device)
        for part in self.portion.parts(self.settings.batch):
            loss = self._loss_of(batch[part], turn, part, text or self.model.text())
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _loss_of(self, batch: Batch, turn: Turn, part: slice, text: Text) -> torch.Tensor:
        objective, noise, times = self.model.objective, turn.noise[part], turn.times[part]
        answer = self.model.answer(objective.noisy(batch.latents, noise, times), times, batch, text, turn.rows[part])
        return squared_error(answer, objective.wanted(batch.latents, noise, times), batch.weight, self.settings.batch)

    def _kept_text(self, step: int) -> Text | None:
        """The text's states where the text encoder is not trained at this step: computed once, until it has been."""
        if self.settings.text_lr and step % self.settings.text_every == 0:
            self._text = None
            return None
        if self._text is None:
            self.dropout.all_on()
            with torch.no_grad():
                self._text = self.model.text()
        return self._text

    def _look(self) -> bool:
        """Look at the held-out patch where it is time to; whether the fit should stop."""
        if self.held_out is None or self.at.step % self.settings.stop_every:
            return False
        self.dropout.all_on()
        with torch.no_grad():
            loss = self.portion.attempt(lambda: self.held_out.loss(self.model.text()) if self.held_out else 0.0)
        if loss < self.at.best:
            self.at.best, self.at.best_step, self.at.misses = loss, self.at.step, 0
            self.kept = {name: value.detach().cpu().clone() for name, value in self.parameters.items()}
        else:
            self.at.misses += 1
        return self.at.misses >= self.settings.stop_patience

    def _check(self) -> None:
        """Raises RealbenchError where training has diverged; the loss would not tell, being kept from what is no number."""
        self.at.loss = float(self._loss)
        if not torch.stack([value.isfinite().all() for value in self.parameters.values()]).all():
            raise RealbenchError(f"training diverged before step {self.at.step}; use a lower unet_lr and text_lr, or precision=float32")

    def _settle(self) -> None:
        """The LoRA to keep, and what to say of it."""
        self._check()
        loss = self.at.loss
        if not math.isfinite(loss):
            raise RealbenchError(f"training diverged: no loss of {self.at.step} steps is a number; use precision=float32")
        self.notes.insert(0, f"loss {loss:.4f} after {self.at.step} steps")
        if self.kept:
            self._put(self.kept)
            self.notes.append(f"kept the LoRA of step {self.at.best_step}, the best on the held-out patch (loss {self.at.best:.4f})")

    def _report(self) -> None:
        """Progress about twice a second: reading the loss waits for the GPU. Raises RealbenchError where training has diverged."""
        settings, now = self.settings, time.monotonic()
        if self.at.step == settings.steps or now - self._clock[0] > 0.5:
            self._check()
            speed = (self.at.step - self._clock[1]) / max(now - self._clock[0], 1e-9)
            self._clock = now, self.at.step
            left = clock((settings.steps - self.at.step) / speed)
            self.context.progress(self.at.step, settings.steps, f"loss {self.at.loss:.4f}, {speed:.2g} steps/s, {left} left")

    def _source(self) -> Source:
        def encode(entries: Sequence[Entry]) -> Batch:
            return self.model.encode(entries, self.encoding)

        return Pool(self.photos, encode, self.model.device, self.notes.append) if self.settings.pool else Fresh(self.photos, encode)

    def _put(self, values: Mapping[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(values[name])

    def _optimizer(self) -> torch.optim.Optimizer:
        rates = {"unet": self.settings.unet_lr, "text": self.settings.text_lr}
        groups = [
            {"params": list(lora.parameters(self.model.pipeline, part).values()), "base": base, "lr": base}
            for part, base in rates.items()
            if base
        ]
        return torch.optim.AdamW(groups, fused=True if self.settings.accelerate else None)
