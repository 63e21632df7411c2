"""The networks of the small model, untrained, and its noise schedule."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from .data import EXAMPLE
from .vae import LATENTS

WIDTH = 128
"""Of the text's and the example's states."""
LEVELS = (64, 128)
GROUPS = 4
"""Of the group normalisation: in many small ones a colour's level would be lost."""
SIDE = 32
"""Native latent side: 256 px. At 128 px the enlarged fills would be blurred; half of the crops to train on are that small, for speed."""
POSITIONS = 32
START, END = "<|startoftext|>", "<|endoftext|>"


def unet() -> Any:
    """The inpainting U-Net: latent, mask, masked latent."""
    import diffusers

    kind: Any = diffusers.UNet2DConditionModel
    return kind(
        sample_size=SIDE,
        in_channels=2 * LATENTS + 1,
        out_channels=LATENTS,
        block_out_channels=LEVELS,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=GROUPS,
        resnet_time_scale_shift="scale_shift",
        use_linear_projection=True,
    )


def scheduler() -> Any:
    """Stable Diffusion's schedule, ending in pure noise."""
    import diffusers

    kind: Any = diffusers.DDIMScheduler
    return kind(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        set_alpha_to_one=True,
        steps_offset=1,
        clip_sample=False,
    )


def text_encoder(words: int) -> Any:
    """A CLIP text model of two layers."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=words,
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=POSITIONS,
            projection_dim=WIDTH,
            bos_token_id=words - 2,
            eos_token_id=words - 1,
            pad_token_id=words - 1,
        )
    )


def image_encoder() -> Any:
    """Paint-by-Example's image encoder around a CLIP vision model of three layers."""
    from diffusers.pipelines.deprecated.paint_by_example.image_encoder import PaintByExampleImageEncoder
    from transformers import CLIPVisionConfig

    config = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=EXAMPLE,
        patch_size=8,
    )
    kind: Any = PaintByExampleImageEncoder
    return kind(config, proj_size=WIDTH)


def feature_extractor() -> Any:
    """What turns an example into the image encoder's input: its middle square, −1…1."""
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(
        size={"shortest_edge": EXAMPLE}, crop_size={"height": EXAMPLE, "width": EXAMPLE}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )


def tokenizer(texts: list[str]) -> Any:
    """CLIP's tokenizer over bytes, with the pairs that the texts use most merged; any text can be written with it."""
    from transformers import CLIPTokenizer

    symbols = _bytes()
    vocabulary = [*symbols, *(f"{symbol}</w>" for symbol in symbols)]
    merges = _merges(texts, 300)
    vocabulary += ["".join(pair) for pair in merges]
    vocabulary = [*dict.fromkeys(vocabulary), START, END]
    kind: Any = CLIPTokenizer
    return kind({word: index for index, word in enumerate(vocabulary)}, merges, model_max_length=POSITIONS)


def _bytes() -> list[str]:
    """A printable character for each byte: printable bytes stand for themselves, the others for characters from 256 on."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _merges(texts: list[str], most: int) -> list[tuple[str, str]]:
    """The most frequent pairs of symbols inside words, one after the other."""
    words = [[*word[:-1], f"{word[-1]}</w>"] for text in texts for word in text.lower().split()]
    merges: list[tuple[str, str]] = []
    while len(merges) < most:
        counts: dict[tuple[str, str], int] = {}
        for word in words:
            for pair in itertools.pairwise(word):
                counts[pair] = counts.get(pair, 0) + 1
        if not counts:
            break
        best = max(sorted(counts), key=lambda pair: counts[pair])
        merges.append(best)
        words = [_joined(word, best) for word in words]
    return merges


def _joined(word: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for symbol in word:
        if out and (out[-1], symbol) == pair:
            out[-1] += symbol
        else:
            out.append(symbol)
    return out


def tokens(tok: Any, texts: list[str]) -> torch.Tensor:
    """Their tokens, n×POSITIONS, as a diffusers pipeline makes them."""
    ids: torch.Tensor = tok(texts, padding="max_length", max_length=POSITIONS, truncation=True, return_tensors="pt").input_ids
    return ids
