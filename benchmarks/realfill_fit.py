"""Training speed of RealFill: a plain loop, as a public script runs it, beside our presets, in one run.

    python benchmarks/realfill_fit.py                 # on a GPU: the full SD-2-inpainting architecture
    python benchmarks/realfill_fit.py --scale small   # an eighth of the width at 128 px, for the CPU

The architecture has random weights: speed does not depend on values. The plain loop encodes image and masked image of every sample,
runs the text encoder, the U-Net and AdamW, in float32 (the script's default) and under bfloat16 autocast. Printed for each: steps and
images a second, the floating-point operations an image (counted by torch's FlopCounterMode on each loop's own steps: a preset that leaves
work out has fewer), their rate as a share of the device's matmul peak, measured in the same run, and peak memory.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

from realbench.method import Context
from realbench.methods._diffusion.loading import spare
from realbench.methods._realfill import train
from realbench.methods._realfill.fitting import fit
from realbench.methods._realfill.model import Model
from realbench.methods._realfill.settings import PRESETS, RealFillSettings
from realbench.scene import Task

PROMPT = "a photo of sks"


@dataclass(frozen=True)
class Scale:
    """How large the architecture is."""

    width: int
    text: int
    layers: int
    pixels: int


SCALES = {"full": Scale(320, 1024, 23, 512), "small": Scale(40, 128, 4, 128)}
"""SD 2 inpainting (as its configuration files state it), and an eighth of its width."""


def pipeline(scale: Scale, device: str, dtype: torch.dtype, folder: Path) -> Any:
    """The SD-2-inpainting architecture with random weights."""
    import diffusers
    from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionInpaintPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    diffusers.utils.logging.set_verbosity_error()
    width = scale.width
    with torch.device(device):
        unet = UNet2DConditionModel(
            sample_size=scale.pixels // 8,
            in_channels=9,
            out_channels=4,
            block_out_channels=(width, 2 * width, 4 * width, 4 * width),
            attention_head_dim=(width // 64 or 1, width // 32, width // 16, width // 16),
            cross_attention_dim=scale.text,
            use_linear_projection=True,
            norm_num_groups=min(32, width // 4),
        )
        narrow = width * 2 // 5
        vae = AutoencoderKL(
            block_out_channels=(narrow, 2 * narrow, 4 * narrow, 4 * narrow),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
            norm_num_groups=min(32, narrow // 4),
        )
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=49408,
                hidden_size=scale.text,
                intermediate_size=4 * scale.text,
                num_hidden_layers=scale.layers,
                num_attention_heads=scale.text // 64,
                projection_dim=scale.text // 2,
                hidden_act="gelu",
            )
        )
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1)
    made = StableDiffusionInpaintPipeline(vae, text, tokenizer(folder), unet, scheduler, None, None, requires_safety_checker=False)
    return made.to(device, dtype)


def tokenizer(folder: Path) -> Any:
    """A CLIP tokenizer that knows letters only: the length of what it returns is that of the real one."""
    import json

    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)


def plain_step(
    pipe: Any, images: torch.Tensor, masks: torch.Tensor, optimizer: torch.optim.Optimizer, autocast: torch.dtype | None
) -> None:
    """One step of the plain loop: nothing is kept from the last one."""
    vae, unet, scheduler = pipe.vae, pipe.unet, pipe.scheduler
    device = images.device.type
    with torch.no_grad():
        latents = vae.encode(images.to(vae.dtype)).latent_dist.sample() * vae.config.scaling_factor
        masked = vae.encode((images * (1 - masks)).to(vae.dtype)).latent_dist.sample() * vae.config.scaling_factor
    small = torch.nn.functional.interpolate(masks, size=latents.shape[-2:])
    noise = torch.randn_like(latents)
    times = torch.randint(0, scheduler.config.num_train_timesteps, (len(latents),), device=latents.device)
    noisy = scheduler.add_noise(latents, noise, times)
    ids = pipe.tokenizer([PROMPT] * len(latents), padding="max_length", truncation=True, return_tensors="pt").input_ids.to(latents.device)
    with torch.autocast(device, autocast or torch.bfloat16, enabled=autocast is not None):
        states = pipe.text_encoder(ids)[0]
        answer = unet(torch.cat([noisy, small, masked], 1), times, states).sample
    torch.nn.functional.mse_loss(answer.float(), noise.float()).backward()
    optimizer.step()
    optimizer.zero_grad()


def plain(scale: Scale, device: str, batch: int, autocast: torch.dtype | None, folder: Path) -> Callable[[], None]:
    """The plain loop, ready to step."""
    from peft import LoraConfig

    pipe = pipeline(scale, device, torch.float32, folder)
    for model in (pipe.unet, pipe.vae, pipe.text_encoder):
        model.requires_grad_(False)
    if autocast is not None:
        pipe.vae.to(autocast)  # frozen parts in low precision, as the script has them
    pipe.unet.add_adapter(LoraConfig(r=8, lora_alpha=16, lora_dropout=0.1, target_modules=["to_k", "to_q", "to_v", "to_out.0"]))
    pipe.text_encoder.add_adapter(
        LoraConfig(r=8, lora_alpha=16, lora_dropout=0.1, target_modules=["k_proj", "q_proj", "v_proj", "out_proj"])
    )
    trained = [value for model in (pipe.unet, pipe.text_encoder) for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-4)
    images = torch.rand(batch, 3, scale.pixels, scale.pixels, device=device) * 2 - 1
    masks = (torch.rand(batch, 1, 1, 1, device=device) < 0.5).float().expand(-1, 1, scale.pixels, scale.pixels).contiguous()
    return lambda: plain_step(pipe, images, masks, optimizer, autocast)


def synchronize(device: str) -> None:
    """Wait for the GPU."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def peak(device: str, dtype: torch.dtype) -> float:
    """Matmul rate in FLOP/s, the best of some sizes."""
    best = 0.0
    for size in (4096, 8192) if device.startswith("cuda") else (1024, 2048):
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        for _ in range(3):
            synchronize(device)
            start = time.perf_counter()
            for _ in range(8):
                a @ b
            synchronize(device)
            best = max(best, 8 * 2 * size**3 / (time.perf_counter() - start))
    return best


class Clock:
    """Times steps, the first `warm` left out, and remembers the peak memory."""

    def __init__(self, device: str, warm: int) -> None:
        self.device, self.warm = device, warm
        self.marks: list[float] = []
        if device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats()

    def tick(self) -> None:
        """A step has ended."""
        synchronize(self.device)
        self.marks.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        """A step's mean time."""
        return (self.marks[-1] - self.marks[self.warm]) / (len(self.marks) - 1 - self.warm)

    @property
    def memory(self) -> float:
        """Peak gigabytes: of the GPU, else the process's present resident size."""
        if self.device.startswith("cuda"):
            return torch.cuda.max_memory_allocated() / 1e9
        return psutil.Process().memory_info().rss / 1e9


def time_plain(step: Callable[[], None], device: str, steps: int, warm: int) -> Clock:
    """Run the plain loop."""
    clock = Clock(device, warm)
    for _ in range(steps + warm + 1):
        step()
        clock.tick()
    return clock


@dataclass(frozen=True)
class Fit:
    """A fit of our own with some settings."""

    settings: RealFillSettings
    scale: Scale
    device: str
    dtype: torch.dtype
    folder: Path

    def run(self, **changes: Any) -> None:
        """Fit to photographs of noise, squares like the plain loop's images."""
        rng = np.random.default_rng(0)
        side = self.scale.pixels
        photographs = tuple(rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(4))
        mask = np.zeros((side, side), bool)
        mask[side // 4 : side // 2, side // 4 : side // 2] = True
        task = Task("noise", None, photographs[1:], photographs[0], mask)
        pipe = pipeline(self.scale, self.device, self.dtype, self.folder)
        if self.settings.memory == "low":
            spare(pipe)
        settings = replace(self.settings, checkpoint_every=0, stop_every=0, size=side, **changes)
        fit(Model(pipe, settings, self.device, self.dtype), task, 0, Context(device=self.device, work=self.folder))

    def flops(self) -> float:
        """Floating-point operations a step: encoding and gradients, a mean over steps that train the text encoder and that don't."""
        gradients, encoding = Counted(), Counted()
        watched = mock.patch.object(train.Trainer, "_gradients", gradients.around(train.Trainer._gradients))
        with watched, mock.patch.object(Model, "encode", encoding.around(Model.encode, len)):
            self.run(steps=self.settings.text_every, pool=0, accelerate=False)
        encoded = self.settings.refresh if self.settings.pool else self.settings.batch
        return gradients.mean + encoded * encoding.mean


class Counted:
    """The mean floating-point operations of calls, or of the items that they were given."""

    def __init__(self) -> None:
        self.total, self.items = 0, 0

    @property
    def mean(self) -> float:
        """Of one call or item."""
        return self.total / self.items

    def around(self, method: Callable[..., Any], items: Callable[[Any], int] = lambda _: 1) -> Callable[..., Any]:
        """The method, counted."""

        def counted(owner: Any, first: Any, *rest: Any) -> Any:
            with FlopCounterMode(display=False) as counter:
                answer = method(owner, first, *rest)
            self.total += counter.get_total_flops()
            self.items += items(first)
            return answer

        return counted


def time_ours(one: Fit, steps: int, warm: int) -> Clock:
    """Run a fit and time its steps."""
    clock = Clock(one.device, warm)
    original = train.Trainer._step

    def timed(self: train.Trainer, source: Any) -> None:
        original(self, source)
        clock.tick()

    train.Trainer._step = timed  # type: ignore[method-assign]
    try:
        one.run(steps=steps + warm + 1)
    finally:
        train.Trainer._step = original  # type: ignore[method-assign]
    return clock


def main() -> None:
    """Print one line a loop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="full" if torch.cuda.is_available() else "small")
    parser.add_argument("--batch", type=int, default=0, help="of the plain loop, the paper preset and memory=low; default 16, on the CPU 4")
    parser.add_argument("--steps", type=int, default=0, help="timed steps; default 20, on the CPU 6")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    asked = parser.parse_args()
    gpu = asked.device.startswith("cuda")
    scale, batch, steps = SCALES[asked.scale], asked.batch or (16 if gpu else 4), asked.steps or (20 if gpu else 6)
    half = torch.bfloat16 if gpu and torch.cuda.is_bf16_supported() else torch.float16 if gpu else torch.float32
    peaks = {dtype: peak(asked.device, dtype) for dtype in {torch.float32, half}}
    name = torch.cuda.get_device_name() if gpu else f"CPU, {torch.get_num_threads()} threads"
    print(
        f"{name}; torch {torch.__version__}; matmul peak "
        + ", ".join(f"{dtype}: {rate / 1e12:.2f} TFLOP/s" for dtype, rate in peaks.items())
    )
    with tempfile.TemporaryDirectory() as temporary:
        compare(scale, asked.device, batch, steps, half, peaks, Path(temporary))


def compare(scale: Scale, device: str, batch: int, steps: int, half: torch.dtype, peaks: dict[torch.dtype, float], folder: Path) -> None:
    """Time every loop and print the table; ratios are to the bfloat16 plain loop, where there is none to the float32 one."""
    step = plain(scale, device, batch, None, folder)
    with FlopCounterMode(display=False) as counter:
        step()
    plainly = counter.get_total_flops() / batch
    print(f"batch {batch} (`fast`: its own), {scale.pixels} px")
    print(f"{'':<22}{'steps/s':>9}{'images/s':>10}{'ratio':>8}{'GFLOP/image':>13}{'peak share':>12}{'memory GB':>11}")
    warm = 3
    base = 0.0

    def line(name: str, clock: Clock, images: int, dtype: torch.dtype, flops: float, *, reference: bool = False) -> None:
        nonlocal base
        rate = images / clock.seconds
        base = rate if reference else base
        share = rate * flops / peaks[dtype]
        work = f"{flops / 1e9:>13.1f}{share:>12.1%}"
        print(f"{name:<22}{1 / clock.seconds:>9.2f}{rate:>10.2f}{rate / base:>8.2f}{work}{clock.memory:>11.2f}", flush=True)

    line("plain float32", time_plain(step, device, steps, warm), batch, torch.float32, plainly, reference=True)
    if half != torch.float32:
        del step
        gc.collect()
        step = plain(scale, device, batch, torch.bfloat16, folder)
        line("plain bf16 autocast", time_plain(step, device, steps, warm), batch, half, plainly, reference=True)
    del step
    for name, changes in (("paper", {}), ("fast", {}), ("paper, memory=low", {"memory": "low"})):
        gc.collect()
        preset: dict[str, Any] = dict(PRESETS[name.partition(",")[0]]) | changes
        if name != "fast":
            preset["batch"] = batch
        elif not device.startswith("cuda"):
            preset |= {"pool": 16}
        settings = RealFillSettings(**preset)
        dtype = torch.float32 if name == "paper" else half
        one = Fit(settings, scale, device, dtype, folder)
        line(f"realfill:{name}", time_ours(one, steps, warm), settings.batch, dtype, one.flops() / settings.batch)


if __name__ == "__main__":
    main()
