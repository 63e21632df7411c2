"""Training of the U-Net with its text encoder and its image encoder: resumable, with an average of the weights."""

from __future__ import annotations

import csv
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor

from . import masks, models
from .data import Library, Pool, UInt8, prompts
from .optimizer import Muon
from .vae import LATENTS, unit

ENDS = ("conv_in", "conv_out", "time_embedding")
"""Of the U-Net, which AdamW trains."""
LEAST = 0.15
"""Noise levels are drawn with a density of this plus their variance: what an image shows is decided at the high ones."""
KNOWN = 0.2
"""Weight of the loss where the image is known; 1 where it is to be filled."""
EMPTY, PLAIN = 0.12, 0.1
"""Probability that a prompt is empty, or says only "a photo"."""
UNGUIDED = 0.12
"""Probability that an example is left out."""
BY_EXAMPLE = 0.3
"""Share of steps that examples lead; texts lead the others."""
WIDE = 0.5
"""Share of steps whose crops are twice as large."""


@dataclass(frozen=True)
class Plan:
    """How long and how fast."""

    samples: int = 400_000
    """The learning rate falls linearly to 0 over the last `falling` of them."""
    falling: float = 0.35
    batch: int = 16
    rate: float = 5e-4
    """Of AdamW; Muon, which trains the U-Net's matrices, has `muon` times as much."""
    muon: float = 20.0
    warmup: int = 200
    average: float = 0.999
    save_every: float = 180.0
    pool: int = 2400
    wide_pool: int = 800
    refresh: int = 6
    seed: int = 0

    def rate_at(self, step: int, done: int) -> float:
        """The learning rate of a step after so many samples."""
        left = (self.samples - done) / (self.falling * self.samples)
        return self.rate * min(1.0, (step + 1) / self.warmup, max(left, 0.0))


class Trainer:
    """Networks, their averages, optimizer and counters; `state.pt` in the work folder holds all of it."""

    def __init__(self, work: Path, library: Library, encoder: Any, plan: Plan, device: str = "cpu", rank: int = 0) -> None:
        self.work, self.library, self.encoder, self.plan, self.device, self.rank = work, library, encoder.to(device), plan, device, rank
        torch.manual_seed(plan.seed)
        self.tokenizer = models.tokenizer([*prompts(library.names), "a photo", "a photo of sks"])
        words = len(self.tokenizer)
        self.nets = {"unet": models.unet(), "text": models.text_encoder(words), "image": models.image_encoder()}
        self.nets["unet"].set_attn_processor(AttnProcessor())  # on a CPU far cheaper to train than the fused attention
        for net in self.nets.values():
            net.to(device).train()
        self.parameters = [value for net in self.nets.values() for value in net.parameters() if value.requires_grad]
        matrices = [value for name, value in self.nets["unet"].named_parameters() if value.ndim > 1 and not name.startswith(ENDS)]
        chosen = {id(value) for value in matrices}
        rest = [value for value in self.parameters if id(value) not in chosen]
        adam = torch.optim.AdamW(rest, lr=plan.rate, betas=(0.9, 0.98), weight_decay=0.01)
        self.optimizers = {"adam": adam, "muon": Muon(matrices, lr=plan.rate * plan.muon)}
        self.averages = [value.detach().clone() for value in self.parameters]
        self.schedule = _schedule()
        density = 1 - self.schedule.alphas_cumprod.double().numpy() + LEAST
        self.levels = density / density.sum()
        self.counts = torch.zeros(3, dtype=torch.float64)
        """Steps, samples and seconds so far."""
        self.ids = models.tokens(self.tokenizer, [*prompts(library.names), "a photo", ""]).to(device)
        self._load()
        self.rng = np.random.default_rng([plan.seed, self.step, rank])
        torch.manual_seed(plan.seed + self.step + 1_000_003 * rank)

    @property
    def step(self) -> int:
        """Steps so far, of all processes."""
        return int(self.counts[0])

    @property
    def done(self) -> int:
        """Samples so far, of all processes."""
        return int(self.counts[1])

    @property
    def path(self) -> Path:
        """Where the state is kept."""
        return self.work / "state.pt"

    def run(self, seconds: float) -> None:
        """Train until the plan's samples are done, the time is over or SIGTERM comes, then save; only the first process logs and saves."""
        seed = 2 * self.step + 1000 * self.rank
        pools = Pool(self.library, 128, self.plan.pool, seed), Pool(self.library, 256, self.plan.wide_pool, seed + 1)
        start = last = saved = logged = time.monotonic()
        sums: dict[str, list[float]] = {}
        stopped: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number) if not self.rank else sys.exit())
        while self.done < self.plan.samples and time.monotonic() - start < seconds and not stopped:
            kind, loss = self._step(pools)
            if self.rank:
                continue
            sums.setdefault(kind, []).append(loss)
            now = time.monotonic()
            self.counts[2] += now - last
            last = now
            if now - logged > 60:
                self._log(sums)
                sums, logged = {}, now
            if now - saved > self.plan.save_every:
                self.save()
                saved = time.monotonic()
        if not self.rank:
            self.save()

    def shared(self) -> list[torch.Tensor]:
        """All that several processes train together, in shared memory: they step without waiting for each other."""
        adam = self.optimizers["adam"]
        for value in adam.param_groups[0]["params"]:
            if not adam.state[value]:
                zeros = torch.zeros_like(value, memory_format=torch.preserve_format)
                adam.state[value] = {"step": torch.tensor(0.0), "exp_avg": zeros, "exp_avg_sq": zeros.clone()}
        moments = [state[name] for state in self._states() for name in sorted(state)]
        tensors = [value.data for value in self.parameters] + self.averages + moments + [self.counts]
        return [tensor.share_memory_() for tensor in tensors]

    def adopt(self, tensors: list[torch.Tensor]) -> None:
        """Train what another process has shared."""
        rest = iter(tensors)
        for value in self.parameters:
            value.data = next(rest)
        self.averages = [next(rest) for _ in self.parameters]
        for state in self._states():
            state |= {name: next(rest) for name in sorted(state) or ("exp_avg", "exp_avg_sq", "step")}
        self.counts = next(rest)

    def _states(self) -> list[dict[str, Any]]:
        kinds = self.optimizers.values()
        return [optimizer.state[value] for optimizer in kinds for value in optimizer.param_groups[0]["params"]]

    def averaged(self) -> dict[str, Any]:
        """The networks with their averaged weights, in evaluation (the trained ones are overwritten)."""
        with torch.no_grad():
            for value, average in zip(self.parameters, self.averages, strict=True):
                value.copy_(average)
        return {name: net.eval().requires_grad_(False) for name, net in self.nets.items()}

    def save(self) -> None:
        """Write the state: a crash leaves the old one or the new one."""
        state = {name: net.state_dict() for name, net in self.nets.items()}
        state |= {"averages": self.averages, "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}}
        state["counts"] = self.counts
        new = self.path.with_suffix(".new")
        torch.save(state, new)
        new.replace(self.path)

    def _load(self) -> None:
        if not self.path.is_file():
            return
        state = torch.load(self.path, map_location=self.device, weights_only=True)
        for name, net in self.nets.items():
            net.load_state_dict(state[name])
        self.averages = state["averages"]
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.counts = state["counts"].cpu()

    def _step(self, pools: tuple[Pool, Pool]) -> tuple[str, float]:
        wide, by_example = bool(self.rng.random() < WIDE), bool(self.rng.random() < BY_EXAMPLE)
        pool, count = pools[wide], self.plan.batch // 4 if wide else self.plan.batch
        crops = pool.draw(count, self.rng)
        pool.refresh(self.plan.refresh // (2 if wide else 1))
        latents, mask, masked = self._encoded(crops.pixels)
        rate = self.plan.rate_at(self.step, self.done)
        for name, optimizer in self.optimizers.items():
            optimizer.param_groups[0]["lr"] = rate * (self.plan.muon if name == "muon" else 1)
        with torch.autocast(self.device, torch.bfloat16):
            states = self._examples(crops.examples) if by_example else self._texts(crops.classes)
            loss = self._loss(latents, mask, masked, states)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self.optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.counts[:2] += torch.tensor([1, count])
        self._average()
        return ("wide" if wide else "example" if by_example else "text"), float(loss.detach())

    @torch.no_grad()
    def _encoded(self, images: UInt8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Latents, mask at their resolution (a cell has its first pixel's value), latents of the masked images."""
        drawn = [masks.draw(images.shape[1], self.rng)[0] for _ in images]
        mask = torch.from_numpy(np.stack(drawn)).float()[:, None].to(self.device)
        pixels = unit(images).to(self.device)
        latents, masked = self.encoder(torch.cat([pixels, pixels * (1 - mask)])).chunk(2)
        return latents, mask[:, :, :: masks.CELL, :: masks.CELL], masked

    def _texts(self, classes: Any) -> torch.Tensor:
        states: torch.Tensor = self.nets["text"](self.ids).last_hidden_state
        chance = self.rng.random(len(classes))
        rows = np.where(chance < EMPTY, len(self.ids) - 1, np.where(chance < EMPTY + PLAIN, len(self.ids) - 2, classes))
        picked: torch.Tensor = states[torch.from_numpy(rows)]
        return picked

    def _examples(self, examples: UInt8) -> torch.Tensor:
        states, empty = self.nets["image"](unit(examples).to(self.device), return_uncond_vector=True)
        left_out = torch.from_numpy(self.rng.random(len(examples)) < UNGUIDED).to(self.device)
        joined: torch.Tensor = torch.where(left_out[:, None, None], empty.to(states.dtype), states)
        return joined

    def _loss(self, latents: torch.Tensor, mask: torch.Tensor, masked: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        times = torch.from_numpy(self.rng.choice(len(self.levels), len(latents), p=self.levels)).to(self.device)
        noise = torch.randn_like(latents)
        noisy, wanted = self.schedule.add_noise(latents, noise, times), self.schedule.get_velocity(latents, noise, times)
        answer = self.nets["unet"](torch.cat([noisy, mask, masked], 1), times, states, return_dict=False)[0]
        weight = KNOWN + (1 - KNOWN) * mask
        loss: torch.Tensor = ((answer.float() - wanted) ** 2 * weight).sum() / (weight.sum() * LATENTS)
        return loss

    @torch.no_grad()
    def _average(self) -> None:
        keep = min(self.plan.average, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.averages, [value.detach() for value in self.parameters], 1 - keep)

    def _log(self, sums: dict[str, list[float]]) -> None:
        path = self.work / "losses.csv"
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", "samples", "seconds", "rate", "text", "example", "wide"])
            means = [f"{np.mean(sums[kind]):.4f}" if kind in sums else "" for kind in ("text", "example", "wide")]
            writer.writerow([self.step, self.done, round(float(self.counts[2])), f"{self.plan.rate_at(self.step, self.done):.2e}", *means])


def _schedule() -> Any:
    from diffusers import DDPMScheduler

    kind: Any = DDPMScheduler
    return kind.from_config(models.scheduler().config)
