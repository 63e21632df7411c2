"""The patch autoencoder: the closed-form PCA of 8×8 patches written into a diffusers AutoencoderDC, its decoder then refined.

The encoder stays linear and sees one patch at a time, so that what is blanked in one cell changes no other, and latents stay what they
are while the decoder improves.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from .data import Library, Pool, UInt8

PATCH = 8
LATENTS = 24
ENCODER = (8, 12, 48, 192)
DECODER = (8, 16, 64, 256)
LAYERS = (0, 1, 1, 1)
LOUD = 64.0
"""A constant in a spare channel of the decoder: beside it, RMS normalisation hardly changes what an image's channels hold."""
LIFT = 4.0
"""Added before the last rectifier, so that it cuts nothing off."""
EMPHASIS = (2.0, 2.25, 2.25, 1.4, 1.4)
"""Scale of the first channels (brightness, two of colour, two slopes of brightness) beside the others, which are texture.

What is scaled up comes out of the noise earlier and counts for more in a mean squared error, in training and in every later fit:
otherwise 19 channels that can hardly be predicted have most of the gradient, and colours come out as noise.
"""
SPARE = DECODER[1] - ENCODER[1]


def statistics(library: Library, seed: int, crops: int = 1500) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean (192), components (24×192) and standard deviations (24) of the patches of random crops, −1…1, c·y·x in diffusers' order."""
    rng = np.random.default_rng(seed)
    images = np.stack([library.crop(int(rng.integers(len(library.levels))), 128, rng) for _ in range(crops)])
    patches = F.pixel_unshuffle(unit(images), PATCH).movedim(1, -1).reshape(-1, 3 * PATCH**2).double()
    mean = patches.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov((patches - mean).T))
    order = values.argsort(descending=True)[:LATENTS]
    components = vectors[:, order].T
    signs = torch.where(components.sum(1, keepdim=True) < 0, -1.0, 1.0)
    return mean.float(), (components * signs).float(), values[order].sqrt().float()


def unit(images: UInt8) -> torch.Tensor:
    """n×3×H×W from −1 to 1."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def build(mean: torch.Tensor, components: torch.Tensor, deviations: torch.Tensor) -> Any:
    """The autoencoder that equals the PCA: latents scaled by `gains`."""
    import diffusers

    kind: Any = diffusers.AutoencoderDC
    vae = kind(
        latent_channels=LATENTS,
        attention_head_dim=16,
        encoder_block_out_channels=ENCODER,
        decoder_block_out_channels=DECODER,
        encoder_layers_per_block=LAYERS,
        decoder_layers_per_block=LAYERS,
        encoder_qkv_multiscales=((), (), (), ()),
        decoder_qkv_multiscales=((), (), (), ()),
        decoder_norm_types="batch_norm",
        encoder_out_shortcut=False,
        decoder_in_shortcut=False,
        scaling_factor=1.0,
    )
    vae.register_to_config(block_out_channels=list(ENCODER))
    gain = gains(deviations)
    with torch.no_grad():
        _silence(vae)
        _write_encoder(vae.encoder, mean, components * gain[:, None])
        _write_decoder(vae.decoder, mean, components / gain[:, None])
    return vae.eval()


def gains(deviations: torch.Tensor) -> torch.Tensor:
    """Factors (24) from the components' scores to latents: half-whitened, with `EMPHASIS`, at a mean variance of 1."""
    gain = deviations.rsqrt()
    gain[: len(EMPHASIS)] *= torch.tensor(EMPHASIS)
    return gain / (gain * deviations).square().mean().sqrt()


def _silence(vae: Any) -> None:
    """Make every residual block and every sampling block's convolution add nothing; a residual's first convolution keeps its start."""
    for name, module in vae.named_modules():
        kind = type(module).__name__
        if kind == "ResBlock":
            module.norm.weight.zero_() if module.norm_type == "rms_norm" else module.conv2.weight.zero_()
            if module.norm.bias is not None:
                module.norm.bias.zero_()
        elif kind in ("DCDownBlock2d", "DCUpBlock2d") and module.shortcut:
            module.conv.weight.zero_()
            module.conv.bias.zero_()
        elif name.endswith(("encoder.conv_out", "decoder.conv_in")):
            module.weight.zero_()
            module.bias.zero_()


def _order(steps: int) -> torch.Tensor:
    """Where three nested pixel unshuffles by 2 put each channel of one by 8: an index into the latter's 192 channels."""
    index = torch.arange(3 * PATCH**2).float()[None, :, None, None]
    image = F.pixel_shuffle(index, PATCH)
    for _ in range(steps):
        image = F.pixel_unshuffle(image, 2)
    return image.flatten().long()


def _write_encoder(encoder: Any, mean: torch.Tensor, rows: torch.Tensor) -> None:
    first = encoder.conv_in.conv
    first.weight.zero_()
    first.bias.zero_()
    for channel in range(3):
        first.weight[channel, channel, 1, 1] = 1
    encoder.conv_out.weight[:, :, 1, 1] = rows[:, _order(3)]
    encoder.conv_out.bias.copy_(-(rows @ mean))


def _write_decoder(decoder: Any, mean: torch.Tensor, rows: torch.Tensor) -> None:
    """Channels at half resolution: 12 of the image (c·y·x), carried there by the shortcuts from 1/8, then `SPARE` constants."""
    order, image = _order(3), _places()
    decoder.conv_in.weight[image, :, 1, 1] = rows.T[order]
    decoder.conv_in.bias[image] = mean[order]
    decoder.up_blocks[1][-1].norm.bias[ENCODER[1] :] = LOUD  # the last block before the normalisation, so that no convolution sees it
    decoder.norm_out.weight.zero_()
    decoder.norm_out.weight[: ENCODER[1]] = (SPARE / DECODER[1]) ** 0.5 * LOUD
    decoder.norm_out.bias.fill_(LIFT)
    last = decoder.conv_out.conv
    last.weight.zero_()
    last.bias.fill_(-LIFT)
    for channel in range(3 * 4):
        last.weight[channel, channel, 1, 1] = 1


def _places() -> torch.Tensor:
    """Which of the 256 channels at 1/8 end as the image's 12 at 1/2, in the order of the encoder's 192."""
    index = torch.arange(DECODER[3]).float()[None, :, None, None]
    half = F.pixel_shuffle(F.pixel_shuffle(index, 2), 2)
    return F.pixel_unshuffle(F.pixel_unshuffle(half[:, : ENCODER[1]], 2), 2).flatten().long()


def linear(vae: Any) -> torch.nn.Conv2d:
    """The encoder as the one convolution that it amounts to: the same latents for a fraction of the arithmetic."""
    patches = torch.nn.Conv2d(3, LATENTS, PATCH, PATCH)
    rows = torch.empty(LATENTS, 3 * PATCH**2)
    rows[:, _order(3)] = vae.encoder.conv_out.weight[:, :, 1, 1].detach()
    patches.weight.data = rows.reshape(LATENTS, 3, PATCH, PATCH)
    patches.bias = torch.nn.Parameter(vae.encoder.conv_out.bias.detach().clone())
    return patches.requires_grad_(False)


def trainable(vae: Any) -> list[torch.nn.Parameter]:
    """The decoder's parameters but for its last layers, which are exact; batch normalisation stays what it is in evaluation, a scale."""
    vae.eval().requires_grad_(False)
    parameters = [*vae.decoder.conv_in.parameters(), *vae.decoder.up_blocks.parameters()]
    for parameter in parameters:
        parameter.requires_grad_(True)
    vae.decoder.up_blocks[1][-1].norm.requires_grad_(False)
    return [parameter for parameter in parameters if parameter.requires_grad]


def refine(vae: Any, pool: Pool, seconds: float, path: Path, device: str = "cpu", batch: int = 16, rate: float = 3e-4) -> None:
    """Train the decoder for some seconds, kept at `path` (errors beside it as CSV); the rate falls to 0 at the end."""
    vae.to(device)
    parameters, rng = trainable(vae), np.random.default_rng()
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    encode, errors = linear(vae).to(device), []
    start = saved = time.monotonic()
    step = 0
    while (share := (time.monotonic() - start) / seconds) < 1:
        optimizer.param_groups[0]["lr"] = rate * min(1.0, (step + 1) / 100, 2 * (1 - share))
        images = unit(pool.draw(batch, rng).pixels).to(device)
        pool.refresh(batch // 2)
        with torch.autocast(device, torch.bfloat16):
            answer = vae.decoder(encode(images))
        loss = F.mse_loss(answer.float(), images)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        errors.append(float(loss.detach()))
        step += 1
        if time.monotonic() - saved > 60:
            saved = time.monotonic()
            _keep(vae, path, errors)
    _keep(vae, path, errors)
    vae.cpu().requires_grad_(False).eval()


def _keep(vae: Any, path: Path, errors: list[float]) -> None:
    new = path.with_suffix(".new")
    torch.save(vae.decoder.state_dict(), new)
    new.replace(path)
    with path.with_suffix(".csv").open("a", encoding="utf-8") as file:
        file.write(f"{len(errors)},{np.mean(errors):.6f}\n")
    errors.clear()


@torch.no_grad()
def psnr(vae: Any, images: UInt8) -> float:
    """Mean over images of the reconstruction's PSNR, in dB."""
    pixels = unit(images)
    answer = vae.decode(vae.encode(pixels).latent).sample.clamp(-1, 1)
    errors = (answer - pixels).square().mean((1, 2, 3))
    return float((10 * torch.log10(4 / errors)).mean())
