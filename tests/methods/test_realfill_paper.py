"""RealFill against the paper's equation and diffusers' own loaders, on small random models."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from realbench.method import Context
from realbench.methods._diffusion.frame import Frame
from realbench.methods._diffusion.vae import unit
from realbench.methods._realfill import lora
from realbench.methods._realfill.data import Draw, Photos, generator, noise_of
from realbench.methods._realfill.filling import scheduler
from realbench.methods._realfill.fitting import _trainer
from realbench.methods._realfill.loss import counted
from realbench.methods._realfill.model import Model
from realbench.methods._realfill.settings import RealFillSettings
from realbench.methods._realfill.train import Trainer
from realbench.methods._realfill.turns import Turn
from realbench.methods.realfill import RealFill
from realbench.scene import Task
from tests import tiny_models
from tests.conftest import SHARED, photograph

KINDS = ("epsilon", "v", "xl")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("backbones")
    return {
        "epsilon": tiny_models.stable_diffusion(root / "epsilon"),
        "v": tiny_models.stable_diffusion(root / "v", prediction_type="v_prediction"),
        "xl": tiny_models.stable_diffusion_xl(root / "xl"),
    }


@pytest.fixture
def task() -> Task:
    mask = np.zeros((50, 77), np.bool_)
    mask[12:38, 40:] = True
    target = photograph(0, 77, 50).copy()
    target[mask] = 127
    return Task("scene", None, (photograph(1, 90, 60), photograph(2, 60, 91)), target, mask)


Begin = Callable[..., Trainer]


@pytest.fixture
def begin(folders: dict[str, Path], task: Task, tmp_path: Path) -> Begin:
    """begin(kind, **settings): a fit before its first step, its LoRA without zeros."""

    def start(kind: str, shown: Task = task, **changes: Any) -> Trainer:
        settings = RealFillSettings(
            **{"backbone": str(changes.pop("backbone", folders[kind])), "batch": 6, "rank": 2, "alpha": 5, "checkpoint_every": 0, **changes}
        )
        model = Model.load(settings, Context())
        lora.add(model.pipeline, rank=2, alpha=5, unet=settings.unet_lr > 0, text=settings.text_lr > 0, seed=0)
        numbers = torch.Generator().manual_seed(0)
        for value in lora.parameters(model.pipeline).values():
            value.data = torch.randn(value.shape, generator=numbers) / 5
        model.begin()
        return _trainer(model, shown, 0, Context(work=tmp_path))

    return start


def transcribed(trainer: Trainer, entries: list[Any], turn: Turn) -> torch.Tensor:
    """E ‖ε_θ(x_t, t, p, m, (1−m)⊙x) − ε‖², for the target weighted by (1−M_tgt), written down from the paper, sample by sample.

    What the paper leaves to Stable Diffusion is written down from its papers: the schedule, v, SDXL's conditions.
    """
    pipeline = trainer.model.pipeline
    steps, config = 1000, pipeline.scheduler.config
    betas = torch.linspace(config.beta_start**0.5, config.beta_end**0.5, steps, dtype=torch.float64) ** 2
    signal = torch.cumprod(1 - betas, 0)
    total = torch.zeros(())
    for i, entry in enumerate(entries):
        x, m, hole = entry.pixels[None], entry.mask[None], entry.hole[None]
        latents = []
        for image, seed in zip((x, (1 - m) * x), entry.noises, strict=True):
            moments = pipeline.vae.quant_conv(pipeline.vae.encoder(image))
            mean, log_variance = moments[:, :4], moments[:, 4:].clamp(-30, 20)
            latents.append((mean + torch.exp(log_variance / 2) * noise_of(mean.shape, seed)) * pipeline.vae.config.scaling_factor)
        t, noise = int(turn.times[i]), turn.noise[i : i + 1]
        a, b = float(signal[t] ** 0.5), float((1 - signal[t]) ** 0.5)
        prompt = "" if int(turn.rows[i]) else "a photo of sks"
        states, extra = texts(pipeline, prompt, x.shape[-2:])
        inputs = torch.cat([a * latents[0] + b * noise, m[..., ::8, ::8], latents[1]], 1)
        answer = pipeline.unet(inputs, t, encoder_hidden_states=states, added_cond_kwargs=extra).sample
        wanted = noise if config.prediction_type == "epsilon" else a * noise - b * latents[0]
        known = torch.ones_like(noise[:, :1])
        for row in range(known.shape[2]):
            for column in range(known.shape[3]):
                around = hole[..., max(0, 8 * row - 8) : 8 * row + 16, max(0, 8 * column - 8) : 8 * column + 16]
                known[..., row, column] = float(around.sum() == 0)
        total = total + (known * (answer - wanted) ** 2).mean()
    return total / len(entries)


def texts(pipeline: Any, prompt: str, size: Sequence[int]) -> tuple[torch.Tensor, dict[str, torch.Tensor] | None]:
    ids = pipeline.tokenizer(prompt, padding="max_length", max_length=77, return_tensors="pt").input_ids
    if not hasattr(pipeline, "text_encoder_2"):
        return pipeline.text_encoder(ids).last_hidden_state, None
    first = pipeline.text_encoder(ids, output_hidden_states=True)
    second = pipeline.text_encoder_2(ids, output_hidden_states=True)
    states = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1)
    shown = float(bool(prompt))  # SDXL's empty prompt is zeros
    return states * shown, {"text_embeds": second.text_embeds * shown, "time_ids": torch.tensor([[*size, 0, 0, *size]]).float()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_papers(kind: str, begin: Begin) -> None:
    """And so are its gradients; the batch holds references and target, prompts and empty ones."""
    trainer = begin(kind, batch=8, dropout_prompt=0.4)
    entries = [trainer.photos.entry(number) for number in range(8)]
    width, height = trainer.photos.size
    shape = (4, height // 8, width // 8)
    turn = Turn.draw(trainer.settings, 0, 0, 1000, shape, "cpu")
    assert {bool(entry.hole.any()) for entry in entries} == {True, False} and set(turn.rows.tolist()) == {0, 1}
    batch = trainer.model.encode(entries, trainer.encoding)
    loss = trainer._gradients(batch, turn, None)
    found = {name: value.grad.clone() for name, value in trainer.parameters.items() if value.grad is not None}
    trainer.optimizer.zero_grad()
    with torch.enable_grad():
        expected = transcribed(trainer, entries, turn)
        expected.backward()  # type: ignore[no-untyped-call]
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)
    assert found.keys() == {name for name, value in trainer.parameters.items() if value.grad is not None}
    for name, value in trainer.parameters.items():
        if value.grad is not None:
            assert float((value.grad - found[name]).abs().max()) <= 2e-3 * float(found[name].abs().max()) + 1e-9, name


def test_no_gradient_comes_from_the_targets_hole(begin: Begin, task: Task) -> None:
    """The U-Net's answer in the hole and beside it is free, and what the hole shows changes neither loss nor gradient by a bit."""
    loud = task.target.copy()
    loud[task.mask] = np.random.default_rng(0).integers(0, 256, (int(task.mask.sum()), 3))
    results = []
    for target in (task.target, loud):
        trainer = begin("epsilon", replace(task, references=(), target=target))
        batch = trainer.model.encode([trainer.photos.entry(number) for number in range(6)], trainer.encoding)
        turn = Turn.draw(trainer.settings, 0, 0, 1000, batch.latents.shape[1:], "cpu")
        answers: list[torch.Tensor] = []
        answer = Model.answer

        def kept(self: Model, *args: Any, into: list[torch.Tensor] = answers, ask: Any = answer) -> torch.Tensor:
            into.append(ask(self, *args))
            into[-1].retain_grad()
            return into[-1]

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Model, "answer", kept)
            loss = trainer._gradients(batch, turn, None)
        gradient = torch.cat([item.grad for item in answers if item.grad is not None])
        free = (batch.weight == 0).expand_as(gradient)
        assert bool(free.any()) and bool((gradient[free] == 0).all()) and bool((gradient[~free] != 0).all())
        results.append((loss, {name: value.grad for name, value in trainer.parameters.items()}))
    (first, one), (second, two) = results
    assert torch.equal(first, second)
    assert all(torch.equal(a, b) for a, b in zip(one.values(), two.values(), strict=True) if a is not None and b is not None)


def test_the_target_has_random_masks_too(begin: Begin, task: Task) -> None:
    """In the public code its only mask was its own hole: a near-copy task."""
    trainer = begin("epsilon", replace(task, references=()), dropout_mask=0.0)
    entries = [trainer.photos.entry(number) for number in range(40)]
    learned = [float(((entry.mask == 1) & (counted_pixels(entry.hole) == 1)).float().mean()) for entry in entries]
    assert np.mean([share > 0.05 for share in learned]) > 0.7


def counted_pixels(hole: torch.Tensor) -> torch.Tensor:
    return F.interpolate(counted(hole[None], 8), scale_factor=8)[0]


# LoRA


def test_whole_layers_are_dropped_independently_as_often_as_asked_for(begin: Begin) -> None:
    dropout = lora.LayerDropout(begin("epsilon").model.pipeline, 0.3)
    off = []
    for step in range(1500):
        dropout.draw(generator(0, Draw.LAYERS, step))
        off.append(dropout.off())
    shares = np.array(off, float)
    assert shares.shape[1] == len(lora.parameters(begin("epsilon").model.pipeline)) / 2
    assert np.abs(shares.mean(0) - 0.3).max() < 5 * (0.3 * 0.7 / 1500) ** 0.5
    together = np.corrcoef(shares.T) - np.eye(shares.shape[1])
    assert np.abs(together).max() < 5 / 1500**0.5
    dropout.close()


def test_a_dropped_layer_is_the_base_layer_and_learns_nothing(begin: Begin) -> None:
    trainer = begin("epsilon")
    layers = trainer.dropout.layers
    x = torch.randn(3, layers[0].in_features, generator=torch.Generator().manual_seed(0))
    trainer.dropout.probability = 1.0
    trainer.dropout.draw(np.random.default_rng(0))
    assert all(trainer.dropout.off())
    assert torch.equal(layers[0](x), layers[0].base_layer(x))
    layers[0](x).square().sum().backward()
    assert not bool(layers[0].lora_A["default"].weight.grad.any()) and not bool(layers[0].lora_B["default"].weight.grad.any())
    trainer.dropout.all_on()
    on = layers[0](x)
    a, b = (layers[0].get_parameter(f"lora_{name}.default.weight") for name in "AB")
    assert torch.allclose(on, layers[0].base_layer(x) + x @ a.T @ b.T * 5 / 2, atol=1e-5)
    trainer.dropout.close()
    assert layers[0].scaling["default"] == 2.5 and torch.equal(layers[0](x), on)


def test_a_compiled_model_reads_anew_which_layers_are_off(begin: Begin) -> None:
    """Compiled once, not once for every draw."""
    from torch._dynamo.testing import CompileCounter

    counter = CompileCounter()
    trainer = begin("epsilon", text_lr=0)
    compiled = torch.compile(trainer.model.pipeline.unet, backend=counter)
    numbers = torch.Generator().manual_seed(0)
    inputs, states = torch.randn(1, 9, 8, 8, generator=numbers), torch.randn(1, 5, 32, generator=numbers)
    answers = []
    for step in range(3):
        trainer.dropout.draw(generator(0, Draw.LAYERS, step))
        answers.append(compiled(inputs, 500, states, return_dict=False)[0])
        assert torch.allclose(answers[-1], trainer.model.pipeline.unet(inputs, 500, states, return_dict=False)[0], atol=1e-6)
    assert counter.frame_count == 1 and not torch.equal(answers[0], answers[1])


def test_layers_are_dropped_while_training_only(begin: Begin) -> None:
    trainer = begin("epsilon", steps=3, batch=1, dropout_lora=1.0)
    before = {name: value.detach().clone() for name, value in trainer.parameters.items()}
    trainer.run()
    moved = [float((value - before[name]).abs().max() / before[name].abs().max()) for name, value in trainer.parameters.items()]
    assert max(moved) < 1e-4  # AdamW's decay alone


@pytest.mark.parametrize("kind", KINDS)
def test_diffusers_reads_the_lora_at_the_right_scale(kind: str, begin: Begin, folders: dict[str, Path], tmp_path: Path) -> None:
    """alpha ≠ rank: without the file's metadata, diffusers would take alpha for the rank."""
    import diffusers
    from safetensors.torch import load_file, save_file

    trainer = begin(kind)
    trainer.dropout.close()
    lora.write(trainer.model.pipeline, tmp_path)
    expected = outputs(trainer.model.pipeline)
    name = "StableDiffusionXLInpaintPipeline" if kind == "xl" else "StableDiffusionInpaintPipeline"
    fresh = getattr(diffusers, name).from_pretrained(folders[kind])
    plain = outputs(fresh)
    fresh.load_lora_weights(tmp_path)
    for one, two, base in zip(outputs(fresh), expected, plain, strict=True):
        assert torch.allclose(one, two, atol=1e-5) and not torch.allclose(one, base, atol=1e-3)
    (tmp_path / "bare").mkdir()
    save_file(load_file(tmp_path / lora.FILE), tmp_path / "bare" / lora.FILE)
    fresh.unload_lora_weights()
    fresh.load_lora_weights(tmp_path / "bare")
    assert not torch.allclose(outputs(fresh)[0], expected[0], atol=1e-4)


@torch.no_grad()
def outputs(pipeline: Any) -> list[torch.Tensor]:
    """Of the U-Net and of each text encoder, on fixed inputs."""
    numbers = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, 9, 8, 8, generator=numbers)
    states = torch.randn(2, 5, pipeline.unet.config.cross_attention_dim, generator=numbers)
    extra = {"text_embeds": torch.randn(2, 32, generator=numbers), "time_ids": torch.ones(2, 6)}
    encoders = lora.text_encoders(pipeline).values()
    answer = pipeline.unet(inputs, 500, encoder_hidden_states=states, added_cond_kwargs=extra).sample
    return [answer, *(encoder(torch.arange(7)[None], output_hidden_states=True).hidden_states[-1] for encoder in encoders)]


def test_gradients_are_clipped_over_all_layers(begin: Begin) -> None:
    seen: list[tuple[float, float]] = []
    for clip in (0.0, 1e-3):
        trainer = begin("epsilon", batch=2, clip=clip, steps=1)
        step = trainer.optimizer.step

        def watched(*args: Any, trainer: Trainer = trainer, step: Any = step, clip: float = clip, **named: Any) -> Any:
            squares = [float(value.grad.square().sum()) for value in trainer.parameters.values() if value.grad is not None]
            seen.append((clip, sum(squares) ** 0.5))
            return step(*args, **named)

        trainer.optimizer.step = watched  # type: ignore[method-assign]
        trainer.run()
    assert seen[0][1] > 1e-2 and seen[1][1] == pytest.approx(1e-3, rel=1e-3)


def test_equal_fits_write_equal_files_wherever_the_backbone_lies(begin: Begin, folders: dict[str, Path], tmp_path: Path) -> None:
    """safetensors writes its metadata in random order, peft the path of the base model."""
    trainer = begin("epsilon", backbone=shutil.copytree(folders["epsilon"], tmp_path / "elsewhere"))
    trainer.dropout.close()
    lora.write(trainer.model.pipeline, tmp_path / "there")
    written = {(tmp_path / "there" / lora.FILE).read_bytes()}
    assert str(tmp_path).encode() not in written.copy().pop()
    trainer = begin("epsilon")
    trainer.dropout.close()
    for index in range(6):
        lora.write(trainer.model.pipeline, tmp_path / str(index))
        written.add((tmp_path / str(index) / lora.FILE).read_bytes())
    assert len(written) == 1


@pytest.mark.parametrize(
    ("sampler", "kind"), [("ddpm", "DDPMScheduler"), ("ddim", "DDIMScheduler"), ("dpm++", "DPMSolverMultistepScheduler")]
)
def test_samplers_follow_the_backbones_schedule_and_never_clip_latents(sampler: str, kind: str) -> None:
    """A backbone whose configuration says nothing of clipping would be clipped by diffusers' defaults."""
    from diffusers import PNDMScheduler

    present: Any = PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
    found = scheduler(present, sampler)
    assert type(found).__name__ == kind and not found.config.get("clip_sample", False) and not found.config.thresholding
    assert torch.equal(found.alphas_cumprod, present.alphas_cumprod) and found.config.prediction_type == "epsilon"


# With a real latent space


@pytest.fixture(scope="module")
def taesd() -> Any:
    """The encoder of the tiny autoencoder of Stable Diffusion, with its published weights."""
    from diffusers import AutoencoderTiny
    from safetensors.torch import load_file

    file = SHARED / "weights" / "taesd_encoder.safetensors"
    if not file.is_file():
        pytest.skip(f"no weights at {file}")
    vae = AutoencoderTiny()
    vae.encoder.layers.load_state_dict(load_file(file))
    return vae.eval()


@torch.no_grad()
def test_a_real_encoder_carries_what_covers_the_hole_into_the_margin_and_hardly_further(taesd: Any) -> None:
    """Between a black and a white cover: the margin is there for a reason, and wide enough."""
    picture = photograph(3, 256, 192).copy()
    hole = np.zeros((192, 256), np.bool_)
    hole[61:133, 90:177] = True
    latents = []
    for cover in (0, 127, 255):
        shown = picture.copy()
        shown[hole] = cover
        latents.append(taesd.encode(unit(shown)[None]).latents)
    change = torch.stack(latents).amax(0).sub(torch.stack(latents).amin(0)).amax(1)[0]
    weight = counted(torch.from_numpy(hole)[None, None].float(), 8)[0, 0]
    inside = F.max_pool2d(torch.from_numpy(hole)[None].float(), 8)[0] == 1
    within, margin, known = (float(change[cells].mean()) for cells in (inside, (weight == 0) & ~inside, weight == 1))
    assert known < 0.05 * within and margin > 2 * known


def test_photos_of_a_fit_have_the_models_cells_and_the_frames_size(begin: Begin, task: Task) -> None:
    photos: Photos = begin("epsilon").photos
    assert photos.cell == 8 and photos.size == Frame.fit((77, 50), 64, 16).working and len(photos.photos) == 3


@pytest.mark.parametrize("size", [(150, 100), (60, 180), (300, 100), (64, 64)])
def test_the_target_is_trained_at_the_scale_it_is_filled_at(size: tuple[int, int], begin: Begin) -> None:
    """A crop of a ramp says its scale; but for the padding, it is the frame's times 1 … 1.125, and a reference of that shape has it too."""
    ramp = np.dstack([np.broadcast_to(np.linspace(0, 255, size[0]).round().astype(np.uint8), (size[1], size[0]))] * 3)
    trainer = begin(
        "epsilon", Task("s", None, (np.ascontiguousarray(ramp),), np.ascontiguousarray(ramp), np.zeros(ramp.shape[:2], np.bool_))
    )
    frame = trainer.model.frame(Task("s", None, (), ramp, np.zeros(ramp.shape[:2], np.bool_)))
    padding = max(frame.working[0] / frame.content[0], frame.working[1] / frame.content[1])
    scales = []
    for number in range(40):
        entry = trainer.photos.entry(number)
        assert entry.pixels.shape == (3, frame.working[1], frame.working[0])
        row = (entry.pixels[0, 0] + 1) * 127.5
        scales.append(255 / size[0] / (float(row[-1] - row[0]) / (len(row) - 1)) / (frame.content[0] / size[0]))
    assert min(scales) > 0.97 and 1.05 < max(scales) < 1.16 * padding


def test_the_published_scores_are_the_papers() -> None:
    assert {item.metric: item.value for item in RealFill.card.published} == {
        "psnr": 14.78,
        "ssim": 0.424,
        "lpips": 0.431,
        "dreamsim": 0.077,
        "dino": 0.948,
        "clip": 0.962,
    }
