"""Sampling against diffusers' own pipelines where those run, and beyond, on small random models."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from realbench.errors import RealbenchError, UsageError
from realbench.methods._diffusion.adapter import pil
from realbench.methods._diffusion.by_example import load_by_example
from realbench.methods._diffusion.conditions import of_examples, of_text, time_ids
from realbench.methods._diffusion.inpainting import open_unet
from realbench.methods._diffusion.loading import generator
from realbench.methods._diffusion.sampling import Course, sample
from realbench.methods._diffusion.vae import decode, encode
from tests import tiny_models
from tests.conftest import photograph

SCHEDULERS = ("DDPMScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler", "PNDMScheduler", "HeunDiscreteScheduler")
SIZE = (48, 32)
IMAGE = photograph(1, *SIZE)
MASK = np.zeros((32, 48), np.bool_)
MASK[9:20, 25:] = True
STEPS = 3
LEVEL = 1
"""What rounding may change of a fill: two texts encoded at once are not bit for bit those encoded one by one."""


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("sampling")
    built = {
        "sd": tiny_models.stable_diffusion(root / "sd"),
        "v": tiny_models.stable_diffusion(root / "v", prediction_type="v_prediction"),
        "tiny": tiny_models.stable_diffusion(root / "tiny", autoencoder="AutoencoderTiny"),
        "xl": tiny_models.stable_diffusion_xl(root / "xl"),
        "16": tiny_models.stable_diffusion(root / "16", latents=16),
        "16 tiny": tiny_models.stable_diffusion(root / "16 tiny", latents=16, autoencoder="AutoencoderTiny"),
        "16 deep": tiny_models.stable_diffusion(root / "16 deep", latents=16, autoencoder="AutoencoderDC"),
    }
    opened = {name: open_unet(folder, "cpu", torch.float32) for name, folder in built.items()}
    for name, options in {"example": {}, "example 16": {"latents": 16, "autoencoder": "AutoencoderDC"}}.items():
        folder = tiny_models.paint_by_example(root / name, **options)
        opened[name] = load_by_example(folder, device="cpu", dtype=torch.float32, memory="auto")
    return opened


def scheduled(pipeline: Any, name: str) -> Any:
    import diffusers

    options = {"skip_prk_steps": True} if name == "PNDMScheduler" else {}
    pipeline.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config, **options)
    return pipeline


def examples(seeds: Sequence[int]) -> list[Any]:
    return [pil(photograph(20 + seed, 50, 60)) for seed in seeds]


def ours(pipeline: Any, seeds: Sequence[int], course: Course, *, negative: str = "", mask: Any = MASK, image: Any = IMAGE) -> Any:
    """Our fills, as levels."""
    if hasattr(pipeline, "text_encoder"):
        condition = of_text(pipeline, "a hill", negative, len(seeds), SIZE, guided=course.guided)
    else:
        condition = of_examples(pipeline, examples(seeds), guided=course.guided)
    return levels(sample(pipeline, condition, image, mask, seeds, course, lambda done, total: None))


def levels(images: Any) -> Any:
    return np.rint(images * 255).astype(int)


def theirs(pipeline: Any, seeds: Sequence[int], course: Course, **more: Any) -> Any:
    """The fills of diffusers' __call__, each with a generator of its own."""
    count = len(seeds)
    call: dict[str, Any] = {"image": [pil(IMAGE)] * count, "mask_image": [pil(MASK)] * count, "num_inference_steps": course.steps}
    call |= {"guidance_scale": course.guidance, "generator": [generator(seed) for seed in seeds], "output_type": "np"}
    if hasattr(pipeline, "text_encoder"):
        call |= {"prompt": ["a hill"] * count, "width": SIZE[0], "height": SIZE[1], "strength": course.strength}
    else:
        call |= {"example_image": examples(seeds)}
    return levels(pipeline(**call, **more).images)


@pytest.mark.parametrize(
    ("kind", "scheduler"),
    [
        *(("sd", name) for name in SCHEDULERS),
        *((kind, name) for kind in ("v", "xl", "tiny") for name in SCHEDULERS[1:3]),
        ("xl", SCHEDULERS[0]),
    ],
)
def test_fills_are_those_of_diffusers_inpainting_pipelines(kind: str, scheduler: str, pipelines: dict[str, Any]) -> None:
    pipeline = scheduled(pipelines[kind], scheduler)
    for guidance, strength in ((1.0, 1.0), (7.5, 1.0), (1.0, 0.9999), (7.5, 0.9999), (7.5, 0.5)):
        course = Course(STEPS, guidance, strength)
        found, expected = ours(pipeline, (3, 5), course), theirs(pipeline, (3, 5), course)
        assert np.abs(found - expected).max() <= LEVEL, (guidance, strength)
        assert (found[0] != found[1]).any()


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_fills_are_those_of_diffusers_paint_by_example(scheduler: str, pipelines: dict[str, Any]) -> None:
    pipeline = scheduled(pipelines["example"], scheduler)
    for guidance in (1.0, 5.0):
        course = Course(STEPS, guidance)
        assert np.abs(ours(pipeline, (3, 5), course) - theirs(pipeline, (3, 5), course)).max() <= LEVEL


@pytest.mark.parametrize("kind", ["sd", "xl"])
def test_negative_prompts_are_those_of_diffusers_and_without_one_its_default(kind: str, pipelines: dict[str, Any]) -> None:
    """SDXL's own unguided state are zeros, not the empty text."""
    pipeline, course = scheduled(pipelines[kind], "DDIMScheduler"), Course(STEPS, 7.5)
    blurred = ours(pipeline, (3,), course, negative="blur")
    assert np.abs(blurred - theirs(pipeline, (3,), course, negative_prompt=["blur"])).max() <= LEVEL
    default = ours(pipeline, (3,), course)
    assert (blurred != default).any()
    empty = theirs(pipeline, (3,), course, negative_prompt=[""])
    assert bool(np.abs(default - empty).max() <= LEVEL) == (kind == "sd")


@pytest.mark.parametrize("scored", [False, True])
def test_sdxl_is_told_sizes_and_scores_as_diffusers_tells_it(scored: bool) -> None:
    from diffusers import StableDiffusionXLInpaintPipeline

    shown: Any = SimpleNamespace(config={"requires_aesthetics_score": scored})
    held = SimpleNamespace(
        config=SimpleNamespace(requires_aesthetics_score=scored),
        unet=SimpleNamespace(
            config=SimpleNamespace(addition_time_embed_dim=8),
            add_embedding=SimpleNamespace(linear_1=SimpleNamespace(in_features=32 + 8 * (5 if scored else 6))),
        ),
    )
    corner, size = (0, 0), (SIZE[1], SIZE[0])
    states = (size, corner, size, 6.0, 2.5, size, corner, size)
    wanted, unwanted = StableDiffusionXLInpaintPipeline._get_add_time_ids(held, *states, torch.float32, 32)
    assert torch.equal(time_ids(shown, SIZE), wanted) and torch.equal(time_ids(shown, SIZE, wanted=False), unwanted)


# Any number of channels


@pytest.mark.parametrize("kind", ["16", "16 tiny", "16 deep", "example 16"])
def test_sixteen_channels(kind: str, pipelines: dict[str, Any]) -> None:
    """Repeatable, not the business of the seeds beside, and led by image, mask and seed."""
    pipeline = scheduled(pipelines[kind], "DDPMScheduler")
    for course in (Course(STEPS), Course(STEPS, 5.0, 0.9999)):
        alone, several = ours(pipeline, (5,), course), ours(pipeline, (3, 5, 8), course)
        assert alone.shape == (1, 32, 48, 3) and (alone == ours(pipeline, (5,), course)).all()
        assert (np.abs(several[1] - alone[0]).max(-1) <= 2).mean() >= 0.99 and (several[0] != several[1]).any()
    plain = ours(pipeline, (5,), Course(STEPS))
    assert (plain != ours(pipeline, (5,), Course(STEPS), image=IMAGE[::-1])).any()
    assert (plain != ours(pipeline, (5,), Course(STEPS), mask=MASK[::-1])).any()


@pytest.mark.parametrize(
    ("kind", "known_last"), [("sd", False), ("16", False), ("16 deep", False), ("example", True), ("example 16", True)]
)
def test_the_unet_sees_latent_mask_and_masked_latent(kind: str, known_last: bool, pipelines: dict[str, Any]) -> None:
    pipeline = scheduled(pipelines[kind], "DDIMScheduler")
    seen: list[torch.Tensor] = []
    hook = pipeline.unet.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    ours(pipeline, (3, 5), Course(2))
    ours(pipeline, (3, 5), Course(2), image=np.where(MASK[..., None], 255, IMAGE).astype(np.uint8))
    hook.remove()
    k = pipeline.vae.config.latent_channels
    assert len(seen) == 4 and all(each.shape == (2, 2 * k + 1, 4, 6) for each in seen)
    first = seen[0]
    mask, masked = (1 - first[:, 2 * k :], first[:, k : 2 * k]) if known_last else (first[:, k : k + 1], first[:, k + 1 :])
    assert torch.equal(mask[0, 0] > 0, torch.from_numpy(MASK[::8, ::8])) and torch.equal(mask[0], mask[1])
    noise = [torch.randn((k, 4, 6), generator=generator(seed)) for seed in (3, 5)]
    assert torch.allclose(first[:, :k], torch.stack(noise) * pipeline.scheduler.init_noise_sigma)
    distribution = hasattr(pipeline.vae, "quant_conv")
    assert torch.equal(masked[0], masked[1]) != distribution  # a distribution is sampled for each seed
    assert all(torch.equal(one, two) for one, two in zip(seen[:2], seen[2:], strict=True))  # nothing is seen of the hole


def test_every_channel_of_mask_and_masked_image_counts(pipelines: dict[str, Any]) -> None:
    pipeline = scheduled(pipelines["16"], "DDIMScheduler")
    plain, weight = ours(pipeline, (3,), Course(2)), pipeline.unet.conv_in.weight
    for channel in range(16, 33):
        kept = weight[:, channel].clone()
        with torch.no_grad():
            weight[:, channel] = 0
            assert (ours(pipeline, (3,), Course(2)) != plain).any(), channel
            weight[:, channel] = kept
    assert (ours(pipeline, (3,), Course(2)) == plain).all()


@pytest.mark.parametrize("kind", ["16", "xl", "example"])
def test_nothing_is_kept_for_gradients(kind: str, pipelines: dict[str, Any]) -> None:
    pipeline = pipelines[kind]
    condition = of_examples(pipeline, examples((0,)), guided=True) if kind == "example" else of_text(pipeline, "", "", 1, SIZE, guided=True)
    assert any(value.requires_grad for value in pipeline.unet.parameters())
    assert not condition.states.requires_grad and not any(value.requires_grad for value in (condition.added or {}).values())


def test_one_forward_a_step_without_guidance(pipelines: dict[str, Any]) -> None:
    pipeline = scheduled(pipelines["16"], "DDIMScheduler")
    sizes: list[int] = []
    hook = pipeline.unet.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    for guidance in (0.0, 1.0, 1.5):
        ours(pipeline, (3, 5), Course(2, guidance))
    hook.remove()
    assert sizes == [2, 2, 2, 2, 4, 4]


def test_progress_and_steps_that_the_strength_leaves(pipelines: dict[str, Any]) -> None:
    said: list[tuple[int, int]] = []
    pipeline = scheduled(pipelines["sd"], "DDIMScheduler")
    condition = of_text(pipeline, "a hill", "", 1, SIZE, guided=False)
    sample(pipeline, condition, IMAGE, MASK, (0,), Course(4, 1.0, 0.9999), lambda done, total: said.append((done, total)))
    assert said == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(UsageError, match=r"of 1 a strength of 0\.9999 leaves none"):
        ours(pipeline, (0,), Course(1, 1.0, 0.9999))


def test_half_precision_follows_the_same_random_numbers(tmp_path: Path) -> None:
    folder = tiny_models.stable_diffusion(tmp_path / "16", latents=16)
    exact, half = (ours(open_unet(folder, "cpu", dtype), (3,), Course(STEPS, 2.0)) for dtype in (torch.float32, torch.bfloat16))
    assert 0 < np.abs(exact - half).mean() < 3


def test_memory_low_samples_the_same(tmp_path: Path) -> None:
    folder = tiny_models.stable_diffusion(tmp_path / "16", latents=16, autoencoder="AutoencoderDC")
    usual, low = (ours(open_unet(folder, "cpu", torch.float32, memory), (3, 5), Course(2)) for memory in ("auto", "low"))
    assert np.abs(usual - low).max() <= LEVEL


# Between pixels and latents


@pytest.mark.parametrize("name", tiny_models.AUTOENCODERS)
@pytest.mark.parametrize(
    "changes", [{}, {"shift_factor": 0.3, "scaling_factor": 2.5}, {"latents_mean": [1.0, 2.0], "latents_std": [2.0, 0.5]}]
)
def test_latents_are_scaled_one_way_and_back(name: str, changes: dict[str, Any]) -> None:
    torch.manual_seed(0)
    vae = tiny_models.AUTOENCODERS[name](latent_channels=2).eval()
    vae.register_to_config(**changes)
    images = torch.rand(2, 3, 32, 48) * 2 - 1
    with torch.no_grad():
        answer = vae.encode(images)
        raw = answer.latent_dist.mean if hasattr(answer, "latent_dist") else answer[0]
        noise = torch.zeros_like(raw)
        found = encode(vae, images).sampled(2, lambda: noise)
        for channel in range(2):
            shift = changes.get("shift_factor", changes.get("latents_mean", [0.0, 0.0]))
            shift = shift[channel] if isinstance(shift, list) else shift
            scale = vae.config.scaling_factor / changes.get("latents_std", [1.0, 1.0])[channel]
            assert torch.allclose(found[:, channel], (raw[:, channel] - shift) * scale, atol=1e-5)
        assert torch.allclose(decode(vae, found), vae.decode(raw).sample, atol=1e-4)


def test_a_distribution_is_sampled_with_its_deviation(pipelines: dict[str, Any]) -> None:
    vae, image = pipelines["sd"].vae, torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        noise, distribution = torch.randn(3, 4, 2, 2), vae.encode(image).latent_dist
        found = encode(vae, image).sampled(3, lambda: noise)
    assert torch.allclose(found, (distribution.mean + distribution.std * noise) * vae.config.scaling_factor, atol=1e-6)


def test_an_answer_in_an_unknown_form_is_refused() -> None:
    vae: Any = SimpleNamespace(dtype=torch.float32, encode=lambda images: {"codes": images})
    with pytest.raises(RealbenchError, match=r"SimpleNamespace: \['codes'\]"):
        encode(vae, torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sdxls_vae_works_in_float32_and_is_put_back(dtype: torch.dtype, tmp_path: Path) -> None:
    pipeline = open_unet(tiny_models.stable_diffusion_xl(tmp_path / "xl"), "cpu", dtype)
    assert pipeline.vae.config.force_upcast
    seen: list[torch.dtype] = []
    for part in (pipeline.vae.encoder, pipeline.vae.decoder):
        part.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].dtype))
    assert ours(pipeline, (3,), Course(2, 1.0, 0.9999)).shape == (1, 32, 48, 3)
    assert seen == [torch.float32] * 3 and pipeline.vae.dtype == dtype


# Folders


Change = Callable[[Path], object]


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def drop(part: str, weight: str) -> Change:
    def change(folder: Path) -> None:
        (path,) = (folder / part).glob("*.safetensors")
        state = load_file(path)
        del state[weight]
        save_file(state, path, {"format": "pt"})

    return change


def pickled(part: str, name: str) -> Change:
    """Weights as a pickle beside a safetensors file of another name."""

    def change(folder: Path) -> None:
        (path,) = (folder / part).glob("*.safetensors")
        torch.save(load_file(path), folder / part / name)
        path.rename(folder / part / "decoy.safetensors")

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop("vae", "quant_conv.bias"), r"vae lacks \['quant_conv.bias'\]"),
        (drop("unet", "conv_out.bias"), r"unet lacks \['conv_out.bias'\]"),
        (drop("text_encoder", "embeddings.token_embedding.weight"), r"text_encoder lacks \['.*token_embedding.weight'\]"),
        (pickled("unet", "diffusion_pytorch_model.bin"), "does not load"),
        (pickled("vae", "diffusion_pytorch_model.bin"), "does not load"),
        (pickled("text_encoder", "pytorch_model.bin"), "does not load"),
        (lambda folder: rewrite(folder / "vae" / "config.json", lambda data: data.update(block_out_channels="x")), "does not load"),
        (lambda folder: rewrite(folder / "model_index.json", lambda data: data.update(vae=["diffusers", "AutoencoderTiny"])), "vae lacks"),
        (lambda folder: rewrite(folder / "unet" / "config.json", lambda data: data.update(time_cond_proj_dim=8)), "lacks|distilled"),
    ],
)
def test_broken_folders_are_refused(change: Change, words: str, tmp_path: Path) -> None:
    folder = tiny_models.stable_diffusion(tmp_path / "model")
    change(folder)
    with pytest.raises(RealbenchError, match=words):
        open_unet(folder, "cpu", torch.float32)


def test_a_vae_saved_by_older_diffusers_is_read_whole(tmp_path: Path) -> None:
    """Its attention had other names, and published models still have them."""
    folders = [tiny_models.stable_diffusion(tmp_path / name) for name in ("new", "old")]
    (path,) = (folders[1] / "vae").glob("*.safetensors")
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = {}
    for key, value in load_file(path).items():
        for new, old in names.items():
            key = key.replace(f".{new}.", f".{old}.") if "mid_block.attentions" in key else key
        state[key] = value
    assert state.keys() != load_file(path).keys()
    save_file(state, path, {"format": "pt"})
    new, old = (open_unet(folder, "cpu", torch.float32).vae.state_dict() for folder in folders)
    assert new.keys() == old.keys() and all(torch.equal(value, old[name]) for name, value in new.items())


@pytest.mark.parametrize(("latents", "channels", "found"), [(4, 4, "9 .* found 4 and 4"), (16, 9, "33 .* found 9 and 16"), (16, 32, "33")])
def test_unets_for_something_else_are_refused(latents: int, channels: int, found: str, tmp_path: Path) -> None:
    folder = tiny_models.stable_diffusion(tmp_path / "model", latents=latents, channels=channels)
    with pytest.raises(RealbenchError, match=f"expected an inpainting U-Net of {found}"):
        open_unet(folder, "cpu", torch.float32)


def test_a_folder_that_says_nothing_wrong_is_loaded_in_silence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tiny_models.stable_diffusion(tmp_path / "model", latents=16, autoencoder="AutoencoderTiny")
    capfd.readouterr()
    open_unet(folder, "cpu", torch.float32)
    assert capfd.readouterr() == ("", "")
