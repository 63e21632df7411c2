"""Pipelines with random weights: the architecture of the real ones at a size that runs in a second. They paint noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

WIDTH = 32


def stable_diffusion(
    folder: Path,
    *,
    prediction_type: str = "epsilon",
    seed: int = 0,
    latents: int = 4,
    channels: int = 0,
    autoencoder: str = "AutoencoderKL",
) -> Path:
    """The folder of a StableDiffusionInpaintPipeline as Stable Diffusion 2's, for images of 64 px.

    Its U-Net takes 2 · latents + 1 channels if none are named, as an inpainting one does. The VAE is one of three classes.
    """
    from diffusers import StableDiffusionInpaintPipeline

    torch.manual_seed(seed)
    pipeline = StableDiffusionInpaintPipeline(
        vae=AUTOENCODERS[autoencoder](latent_channels=latents),
        text_encoder=clip_text(),
        tokenizer=clip_tokenizer(),
        unet=unet(channels or 2 * latents + 1, out_channels=latents),
        scheduler=ddim(prediction_type),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    _as_published(folder)
    return folder


def _as_published(folder: Path) -> None:
    """AutoencoderDC's configuration without the key that a pipeline's constructor needed to be saved."""
    path = folder / "vae" / "config.json"
    config = json.loads(path.read_text())
    if config["_class_name"] == "AutoencoderDC":
        path.write_text(json.dumps({key: value for key, value in config.items() if key != "block_out_channels"}))


def stable_diffusion_xl(folder: Path, *, prediction_type: str = "epsilon", seed: int = 0) -> Path:
    """The folder of a StableDiffusionXLInpaintPipeline, for images of 64 px: two text encoders, one with a projection."""
    from diffusers import StableDiffusionXLInpaintPipeline

    torch.manual_seed(seed)
    tokenizer = clip_tokenizer()
    pipeline = StableDiffusionXLInpaintPipeline(
        vae=vae(),
        text_encoder=clip_text(),
        text_encoder_2=clip_text(projection=True),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet(
            9,
            cross_attention_dim=2 * WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=WIDTH + 6 * 8,
            transformer_layers_per_block=(1, 1),
        ),
        scheduler=ddim(prediction_type),
    )
    pipeline.save_pretrained(folder)
    return folder


def vae(**changes: Any) -> Any:
    """An AutoencoderKL that shrinks images by 8 to 4 channels."""
    from diffusers import AutoencoderKL

    standard: dict[str, Any] = {
        "block_out_channels": (8, 8, 16, 16),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "latent_channels": 4,
        "norm_num_groups": 4,
        "sample_size": 64,
    }
    return AutoencoderKL(**(standard | changes))


def tiny_vae(**changes: Any) -> Any:
    """An AutoencoderTiny that shrinks images by 8; its answer is no distribution."""
    from diffusers import AutoencoderTiny

    return AutoencoderTiny(**({f"{part}_block_out_channels": (8, 8, 8, 8) for part in ("encoder", "decoder")} | changes))


def deep_vae(**changes: Any) -> Any:
    """An AutoencoderDC that shrinks images by 8; its configuration has other names than pipelines read."""
    from diffusers import AutoencoderDC

    shape: dict[str, Any] = {"block_out_channels": (8, 16, 16, 16), "layers_per_block": (1, 1, 1, 1), "qkv_multiscales": ((),) * 4}
    standard = {f"{part}_{name}": value for part in ("encoder", "decoder") for name, value in shape.items()}
    vae = AutoencoderDC(**(standard | {"scaling_factor": 0.7} | changes))
    vae.register_to_config(block_out_channels=vae.config.encoder_block_out_channels)  # for the constructor of the pipeline that saves it
    return vae


def unet(channels: int, **changes: Any) -> Any:
    """A UNet2DConditionModel of two levels with cross-attention on both."""
    from diffusers import UNet2DConditionModel

    standard: dict[str, Any] = {
        "sample_size": 8,
        "in_channels": channels,
        "out_channels": 4,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": WIDTH,
        "attention_head_dim": (2, 4),
        "use_linear_projection": True,
        "norm_num_groups": 8,
    }
    return UNet2DConditionModel(**(standard | changes))


def ddim(prediction_type: str = "epsilon") -> Any:
    """Stable Diffusion's noise schedule."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
    )


def clip_text(*, projection: bool = False) -> Any:
    """CLIP's text encoder, with or without its projection."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(_byte_vocabulary()),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        projection_dim=WIDTH,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config).eval()


def clip_tokenizer() -> Any:
    """CLIP's tokenizer over single bytes, without merges: any text can be written with it."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer(_byte_vocabulary(), [], model_max_length=77)


def _byte_vocabulary() -> dict[str, int]:
    """Every byte as CLIP writes it, inside and at the end of a word, and the two marks of a text's ends."""
    symbols = [*_byte_symbols(), *(f"{symbol}</w>" for symbol in _byte_symbols()), "<|startoftext|>", "<|endoftext|>"]
    return {symbol: index for index, symbol in enumerate(symbols)}


def _byte_symbols() -> list[str]:
    """A printable character for each byte: printable bytes stand for themselves, the others for characters from 256 on."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


AUTOENCODERS = {"AutoencoderKL": vae, "AutoencoderTiny": tiny_vae, "AutoencoderDC": deep_vae}


def paint_by_example(folder: Path, *, seed: int = 0, latents: int = 4, autoencoder: str = "AutoencoderKL") -> Path:
    """The folder of a PaintByExamplePipeline, for images of 64 px: the U-Net listens to one CLIP embedding of an image."""
    from diffusers import PaintByExamplePipeline
    from diffusers.pipelines.deprecated.paint_by_example.image_encoder import PaintByExampleImageEncoder
    from transformers import CLIPImageProcessor, CLIPVisionConfig

    torch.manual_seed(seed)
    config = CLIPVisionConfig(
        hidden_size=WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=5,
        num_attention_heads=4,
        image_size=32,
        intermediate_size=37,
        patch_size=8,
    )
    pipeline = PaintByExamplePipeline(
        vae=AUTOENCODERS[autoencoder](latent_channels=latents),
        image_encoder=PaintByExampleImageEncoder(config, proj_size=WIDTH).eval(),
        unet=unet(2 * latents + 1, out_channels=latents, attention_head_dim=8, use_linear_projection=False),
        scheduler=ddim(),
        safety_checker=None,
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32),
    )
    pipeline.save_pretrained(folder)
    _as_published(folder)
    index = json.loads((folder / "model_index.json").read_text())
    index["image_encoder"] = ["paint_by_example", "PaintByExampleImageEncoder"]  # as on the hub; this diffusers writes another place
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def flux_fill(folder: Path, *, seed: int = 0) -> Path:
    """The folder of a FluxFillPipeline: the transformer sees latent, masked latent and the mask's 64 pixels a latent cell."""
    return _flux(folder, "FluxFillPipeline", seed, in_channels=4 * (4 + 4 + 64), out_channels=16)


def flux(folder: Path, *, seed: int = 0) -> Path:
    """The folder of a FluxPipeline, as FLUX.1-dev's."""
    return _flux(folder, "FluxPipeline", seed, in_channels=16)


def flux_kontext(folder: Path, *, seed: int = 0) -> Path:
    """The folder of a FluxKontextPipeline, as FLUX.1-Kontext-dev's."""
    return _flux(folder, "FluxKontextPipeline", seed, in_channels=16)


def flux_controlnet(folder: Path, *, seed: int = 0) -> Path:
    """The folder of an inpainting ControlNet for `flux`: 16 + 4 condition channels, which diffusers' own class does not know."""
    from diffusers import FluxControlNetModel

    torch.manual_seed(seed)
    model = FluxControlNetModel(**_flux_shape(in_channels=16), num_layers=1, num_single_layers=0)
    model.controlnet_x_embedder = torch.nn.Linear(16 + 4, model.inner_dim)
    for block in model.controlnet_blocks:
        torch.nn.init.normal_(block.weight, std=0.5)
    model.register_to_config(extra_condition_channels=4)
    model.save_pretrained(folder)
    return folder


def _flux_shape(in_channels: int) -> dict[str, Any]:
    return {
        "patch_size": 1,
        "in_channels": in_channels,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": WIDTH,
        "pooled_projection_dim": WIDTH,
        "axes_dims_rope": (4, 4, 8),
        "guidance_embeds": True,
    }


def _flux(folder: Path, pipeline: str, seed: int, *, in_channels: int, out_channels: int | None = None) -> Path:
    import diffusers
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    torch.manual_seed(seed)
    tokenizer = T5Tokenizer(
        vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((chr(code), -3.0) for code in range(33, 127))]
    )
    config = T5Config(
        vocab_size=len(tokenizer), d_model=WIDTH, d_kv=8, d_ff=37, num_layers=2, num_heads=4, relative_attention_num_buckets=8
    )
    transformer = diffusers.FluxTransformer2DModel(**_flux_shape(in_channels), out_channels=out_channels, num_layers=1, num_single_layers=1)
    getattr(diffusers, pipeline)(
        vae=vae(latent_channels=4, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06, scaling_factor=1.5),
        text_encoder=clip_text(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=T5EncoderModel(config).eval(),
        tokenizer_2=tokenizer,
        transformer=transformer,
        scheduler=_flow(),
    ).save_pretrained(folder)
    return folder


def _flow() -> Any:
    """Flow matching with a shift that grows with the image, as FLUX and Qwen-Image have it."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)


def flux2_klein(folder: Path, *, seed: int = 0, distilled: bool = True) -> Path:
    """The folder of a Flux2KleinPipeline; its text encoder has 28 layers, since three in its depth are read."""
    from diffusers import AutoencoderKLFlux2, Flux2KleinPipeline, Flux2Transformer2DModel
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    tokenizer = qwen_tokenizer()
    text_encoder = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=28,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=8,
        )
    )
    Flux2KleinPipeline(
        vae=AutoencoderKLFlux2(block_out_channels=(8, 8, 16, 16), latent_channels=4, norm_num_groups=4, sample_size=64),
        text_encoder=text_encoder.eval(),
        tokenizer=tokenizer,
        transformer=Flux2Transformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=3 * 16,
            timestep_guidance_channels=32,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=False,
        ),
        scheduler=_flow(),
        is_distilled=distilled,
    ).save_pretrained(folder)
    return folder


def qwen_edit(folder: Path, *, seed: int = 0) -> Path:
    """The folder of a QwenImageEditPlusPipeline: a vision-language text encoder and a video VAE that shrinks by 8."""
    from diffusers import AutoencoderKLQwenImage, QwenImageEditPlusPipeline, QwenImageTransformer2DModel
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2VLProcessor
    from transformers.models.qwen2_vl import Qwen2VLImageProcessor, Qwen2VLVideoProcessor

    torch.manual_seed(seed)
    tokenizer = qwen_tokenizer()
    marks = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("image_pad", "video_pad", "vision_start", "vision_end")}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "rope_parameters": {"mrope_section": [1, 1, 2], "rope_theta": 1e6, "rope_type": "default", "type": "default"},
        "bos_token_id": None,
        "eos_token_id": None,
    }
    vision = {
        "depth": 2,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": 16,
        "fullatt_block_indexes": [1],
        "patch_size": 14,
        "window_size": 112,
    }
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=marks["image_pad"],
        video_token_id=marks["video_pad"],
        vision_start_token_id=marks["vision_start"],
        vision_end_token_id=marks["vision_end"],
    )
    QwenImageEditPlusPipeline(
        vae=AutoencoderKLQwenImage(base_dim=8, z_dim=4, num_res_blocks=1, latents_mean=[0.0] * 4, latents_std=[1.0] * 4),
        text_encoder=Qwen2_5_VLForConditionalGeneration(config).eval(),
        tokenizer=tokenizer,
        processor=Qwen2VLProcessor(Qwen2VLImageProcessor(), tokenizer, Qwen2VLVideoProcessor()),
        transformer=QwenImageTransformer2DModel(
            in_channels=16,
            out_channels=4,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            axes_dims_rope=(4, 6, 6),
        ),
        scheduler=_flow(),
    ).save_pretrained(folder)
    return folder


def qwen_tokenizer() -> Any:
    """Qwen's tokenizer over single bytes, without merges, with its chat and vision marks."""
    from transformers import Qwen2Tokenizer

    marks = [f"<|{name}|>" for name in ("endoftext", "im_start", "im_end", "vision_start", "vision_end", "image_pad", "video_pad")]
    tokenizer = Qwen2Tokenizer({symbol: index for index, symbol in enumerate([*_byte_symbols(), marks[0]])}, [])
    tokenizer.add_special_tokens({"additional_special_tokens": marks[1:]})
    tokenizer.chat_template = (
        "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
    )
    return tokenizer
