"""RealFill end to end on small random models: they show that the machinery works, nothing about quality."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from realbench import bench, registry
from realbench.errors import RealbenchError, WeightsMissing
from realbench.method import Context, Fill
from realbench.methods._realfill import filling, fitting, model
from realbench.methods._realfill.holdout import HeldOut
from realbench.methods._realfill.model import Model
from realbench.methods._realfill.settings import PRESETS
from realbench.methods._realfill.sources import ALONE
from realbench.methods._realfill.train import Trainer
from realbench.methods._realfill.turns import Turn
from realbench.methods.realfill import RealFill
from realbench.results import load_run
from realbench.scene import Task
from tests import tiny_models
from tests.conftest import photograph

Make = Callable[..., RealFill]
QUICK: dict[str, Any] = {"steps": 3, "batch": 3, "inference_steps": 3, "unet_lr": 1e-2, "text_lr": 1e-2, "rank": 2, "checkpoint_every": 0}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.stable_diffusion(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("others")
    return {
        "v": tiny_models.stable_diffusion(folder / "v", prediction_type="v_prediction"),
        "xl": tiny_models.stable_diffusion_xl(folder / "xl"),
        "plain": tiny_models.stable_diffusion(folder / "plain", channels=4),
        "taesd": tiny_models.stable_diffusion(folder / "taesd", autoencoder="AutoencoderTiny"),
        "16": tiny_models.stable_diffusion(folder / "16", latents=16),
        "16 tiny": tiny_models.stable_diffusion(folder / "16 tiny", latents=16, autoencoder="AutoencoderTiny"),
        "16 deep": tiny_models.stable_diffusion(folder / "16 deep", latents=16, autoencoder="AutoencoderDC"),
    }


@pytest.fixture
def make(tiny: Path) -> Make:
    """make(**settings): a quick RealFill."""
    return lambda **changes: RealFill(RealFill.Settings(**{"backbone": str(tiny), **QUICK, **changes}))


def scene(references: int = 2, seed: int = 0) -> Task:
    """A target of 77×50 with an open hole, references of other sizes."""
    mask = np.zeros((50, 77), np.bool_)
    mask[10:30, 50:] = True
    target = photograph(seed, 77, 50).copy()
    target[mask] = 127
    return Task("scene", None, tuple(photograph(seed + 1 + i, 90 - i, 60 + 2 * i) for i in range(references)), target, mask)


def fitted(method: RealFill, context: Context, task: Task | None = None, seed: int = 0) -> bytes:
    """The LoRA's file after a fit."""
    method.fit(task or scene(), seed=seed, context=context)
    assert method._fitted is not None
    return method._fitted.lora


def filled(method: RealFill, context: Context, seeds: tuple[int, ...] = (0,), task: Task | None = None) -> list[Fill]:
    return list(method.fill(task or scene(), seeds, context=context))


def base(method: RealFill) -> dict[str, torch.Tensor]:
    """Every tensor of the backbone, without the LoRA, under its own name."""
    assert method._model is not None
    pipeline = method._model.pipeline
    found: dict[str, torch.Tensor] = {}
    for part in ("unet", "vae", "text_encoder"):
        state = getattr(pipeline, part).state_dict()
        found |= {f"{part}.{key.replace('.base_layer', '')}": value.clone() for key, value in state.items() if "lora_" not in key}
    return found


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(work=tmp_path / "work")


# What is trained


def test_only_the_lora_trains_and_the_base_stays_as_it_was(
    make: Make, context: Context, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    run = Trainer.run

    def watched(self: Trainer) -> None:
        modules = [self.model.pipeline.unet, self.model.pipeline.text_encoder, self.model.pipeline.vae]
        trained.extend(name for module in modules for name, value in module.named_parameters() if value.requires_grad)
        run(self)

    monkeypatch.setattr(Trainer, "run", watched)
    method = make()
    method._loaded(context)
    before = base(method)
    fitted(method, context)
    filled(method, context)
    after = base(method)
    layers = {name.rpartition(".lora_")[0].rpartition(".")[2] for name in trained}
    assert trained and all(".lora_" in name for name in trained)
    assert layers == {"to_q", "to_k", "to_v", "0", "q_proj", "k_proj", "v_proj", "out_proj"}
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_each_part_learns_at_its_own_rate(make: Make, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[list[float]] = []
    made = Trainer._optimizer

    def watched(self: Trainer) -> torch.optim.Optimizer:
        optimizer = made(self)
        names = [{id(value): name for name, value in self.parameters.items()}[id(group["params"][0])] for group in optimizer.param_groups]
        assert [name.partition(".")[0] for name in names] == ["unet", "text_encoder"]
        assert isinstance(optimizer, torch.optim.AdamW)
        assert {(group["weight_decay"], group["betas"]) for group in optimizer.param_groups} == {(0.01, (0.9, 0.999))}
        optimizer.register_step_pre_hook(lambda *_: rates.append([group["lr"] for group in optimizer.param_groups]))
        return optimizer

    monkeypatch.setattr(Trainer, "_optimizer", watched)
    fitted(make(unet_lr=1e-2, text_lr=1e-3, warmup=1, steps=3, schedule="linear"), context)
    assert np.allclose(rates, np.outer([0.5, 1, 0.5], [1e-2, 1e-3]))


def test_every_step_has_its_own_random_numbers(make: Make, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise, noise levels, prompts and layers that are off; and another fit has others."""
    seen: list[tuple[torch.Tensor, torch.Tensor, list[bool]]] = []
    loss_of = Trainer._loss_of

    def watched(self: Trainer, batch: Any, turn: Turn, *rest: Any) -> torch.Tensor:
        seen.append((turn.noise, turn.times, self.dropout.off()))
        drawn = Turn.draw(self.settings, self.seed, self.at.step, 1000, turn.noise.shape[1:], "cpu")
        assert torch.equal(turn.noise, drawn.noise) and torch.equal(turn.times, drawn.times) and torch.equal(turn.rows, drawn.rows)
        return loss_of(self, batch, turn, *rest)

    monkeypatch.setattr(Trainer, "_loss_of", watched)
    for seed in (0, 1):
        fitted(make(dropout_lora=0.5), context, seed=seed)
    assert len(seen) == 6
    for index, (noise, times, off) in enumerate(seen):
        for other in seen[:index]:
            assert not torch.equal(noise, other[0]) and not torch.equal(times, other[1]) and off != other[2]


@pytest.mark.parametrize("memory", ["auto", "low"])
def test_memory_low_spares_memory_in_four_ways(memory: str, make: Make, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    checkpointing: list[bool] = []
    answer = Model.answer

    def watched(self: Model, noisy: torch.Tensor, *rest: Any) -> torch.Tensor:
        sizes.append(len(noisy))
        checkpointing.append(self.pipeline.unet.is_gradient_checkpointing)
        return answer(self, noisy, *rest)

    monkeypatch.setattr(Model, "answer", watched)
    monkeypatch.setattr(model, "dtype_for", lambda device, asked: {"": torch.bfloat16}.get(asked, torch.float32))
    method = make(steps=1, memory=memory)
    fitted(method, context)
    low = memory == "low"
    assert method._model is not None and sizes == ([1, 1, 1] if low else [3]) and set(checkpointing) == {low}
    assert method._model.pipeline.vae.use_slicing == low and method._model.dtype == (torch.bfloat16 if low else torch.float32)
    assert not method._model.pipeline.unet.is_gradient_checkpointing


def test_no_layer_is_off_where_text_is_kept_or_the_patch_is_judged(make: Make, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    off: dict[str, list[bool]] = {"kept": [], "look": []}
    kept, look = Trainer._kept_text, HeldOut.loss
    trainers: list[Trainer] = []

    def text(self: Model) -> Any:
        if not torch.is_grad_enabled() and trainers:
            off["kept"].append(any(trainers[-1].dropout.off()))
        return ask(self)

    ask = Model.text
    monkeypatch.setattr(Model, "text", text)
    monkeypatch.setattr(Trainer, "_kept_text", lambda self, step: (trainers.append(self), kept(self, step))[1])
    monkeypatch.setattr(HeldOut, "loss", lambda self, text: (off["look"].append(any(trainers[-1].dropout.off())), look(self, text))[1])
    fitted(make(steps=6, dropout_lora=0.9, text_every=3, stop_every=2, stop_patience=9), context)
    assert off == {"kept": [False] * 5, "look": [False] * 3}


def test_both_parts_learn(make: Make, context: Context) -> None:
    from safetensors.torch import load

    state = load(fitted(make(), context))
    moved = {name.partition(".")[0] for name, value in state.items() if (".lora_B" in name or ".up." in name) and bool(value.any())}
    assert moved == {"unet", "text_encoder"}


def test_without_a_rate_the_text_encoder_has_no_lora(make: Make, context: Context) -> None:
    from safetensors.torch import load

    assert {name.partition(".")[0] for name in load(fitted(make(text_lr=0), context))} == {"unet"}


def test_a_fit_begins_with_the_base_whatever_was_fitted_before(make: Make, context: Context) -> None:
    method = make()
    fitted(method, context, scene(seed=40))
    filled(method, context)
    assert fitted(method, context) == fitted(make(), context)


def test_what_the_hole_shows_changes_nothing(make: Make, context: Context) -> None:
    """Not a bit of the LoRA, not a byte of a fill; while a known pixel does."""
    task = scene(references=0)
    loud, changed = task.target.copy(), task.target.copy()
    loud[task.mask] = np.random.default_rng(0).integers(0, 256, (int(task.mask.sum()), 3))
    changed[5:9, 5:9] = 255
    methods = {name: make() for name in ("blank", "loud", "changed")}
    results = {
        name: fitted(methods[name], context, replace(task, target=target))
        for name, target in (("blank", task.target), ("loud", loud), ("changed", changed))
    }
    assert results["blank"] == results["loud"] != results["changed"]
    fills = [
        filled(methods[name], context, task=replace(task, target=target))[0].image
        for name, target in (("blank", task.target), ("loud", loud))
    ]
    assert np.array_equal(*fills)


# Determinism


def test_fits_and_fills_repeat(make: Make, context: Context) -> None:
    methods = [make(), make()]
    first, second = (fitted(method, context) for method in methods)
    assert first == second != fitted(make(), context, seed=1)
    assert np.array_equal(filled(methods[0], context, (3,))[0].image, filled(methods[1], context, (3,))[0].image)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++"])
def test_a_fill_depends_on_its_seed_alone(make: Make, context: Context, sampler: str) -> None:
    """One generator for all seeds was a bug of the public code."""
    alone, together = make(fill_batch=1, sampler=sampler), make(fill_batch=3, sampler=sampler)
    fitted(alone, context)
    together._fitted = alone._fitted
    one = {fill.seed: fill.image.astype(int) for fill in filled(alone, context, (5, 6, 7))}
    three = {fill.seed: fill.image.astype(int) for fill in filled(together, context, (5, 6, 7))}
    assert np.array_equal(one[6], filled(alone, context, (6,))[0].image)
    assert list(one) == list(three) == [5, 6, 7] and not np.array_equal(one[5], one[6])
    assert all((np.abs(one[seed] - three[seed]) <= 2).mean() >= 0.99 for seed in one)


def test_save_and_load_give_the_same_fill(make: Make, context: Context, tmp_path: Path) -> None:
    first, second = make(alpha=7), make(alpha=7)
    fitted(first, context)
    first.save(tmp_path)
    second.load(tmp_path)
    (one,), (two,) = filled(first, context), filled(second, context)
    assert np.array_equal(one.image, two.image) and one.notes == two.notes
    assert one.notes[0].startswith("loss ") and one.notes[0].endswith(" after 3 steps")


def test_another_state_takes_the_place_of_the_one_before(make: Make, context: Context, tmp_path: Path) -> None:
    expected = []
    for seed in (0, 1):
        method = make()
        fitted(method, context, seed=seed)
        (tmp_path / str(seed)).mkdir()
        method.save(tmp_path / str(seed))
        expected.append(filled(method, context)[0].image)
    method = make()
    for seed in (0, 1, 0):
        method.load(tmp_path / str(seed))
        assert np.array_equal(filled(method, context)[0].image, expected[seed])
    assert not np.array_equal(*expected)


# Resume


class Killed(BaseException):
    """What the operating system does."""


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pool": 4, "refresh": 1, "text_every": 3, "schedule": "cosine", "warmup": 2, "accelerate": True, "dropout_lora": 0.5},
        {"stop_every": 2, "stop_patience": 5, "precision": "float16"},
    ],
)
def test_a_resumed_fit_equals_an_undisturbed_one(
    changes: dict[str, Any], make: Make, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"steps": 6, "checkpoint_every": 4, **changes}
    look, now = Trainer._look, [0]
    monkeypatch.setattr(Trainer, "_look", lambda self: (now.append(self.at.step), look(self))[1])
    monkeypatch.setattr(HeldOut, "loss", lambda self, text: {2: 3.0, 4: 1.0, 6: 2.0}[now[-1]])  # the best is in the checkpoint
    undisturbed = fitted(make(**changes), context)
    assert list(context.work.iterdir()) == []
    step = Trainer._step

    def killed(self: Trainer, source: Any) -> None:
        if self.at.step == 5:
            raise Killed
        step(self, source)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_step", killed)
        with pytest.raises(Killed):
            fitted(make(**changes), context)
    (kept,) = context.work.iterdir()
    steps: list[int] = []
    monkeypatch.setattr(Trainer, "_step", lambda self, source: (steps.append(self.at.step), step(self, source))[1])
    assert fitted(make(**changes), context, seed=1) != undisturbed and kept.exists()  # another fit does not take it
    steps.clear()
    assert fitted(make(**changes), context) == undisturbed
    assert steps == [4, 5] and list(context.work.iterdir()) == []


def test_progress_tells_loss_and_speed(make: Make, context: Context) -> None:
    said: list[tuple[float, float, str]] = []
    method, watched = make(), replace(context, progress=lambda *args: said.append(args))
    fitted(method, watched)
    assert said[0][:2] == (0, 3) and said[-1][:2] == (3, 3)
    assert re.fullmatch(r"loss \d+\.\d{4}, [\d.e+]+ steps/s, 0 s left", said[-1][2])
    said.clear()
    filled(method, watched, (0, 1))
    assert [done / total for done, total, _ in said] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])


def test_a_diverged_fit_ends_at_once_and_leaves_no_checkpoint_of_it(make: Make, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault that does not come again does not stand in the way of the next run."""
    expected = fitted(make(steps=12), replace(context, work=context.work / "other"))
    step, steps = Trainer._step, [0]

    def poisoned(self: Trainer, source: Any) -> None:
        step(self, source)
        steps[0] += 1
        if steps[0] == 5:
            with torch.no_grad():
                next(iter(self.parameters.values())).fill_(torch.nan)

    monkeypatch.setattr(Trainer, "_step", poisoned)
    with pytest.raises(RealbenchError, match=r"training diverged before step [56]"):  # seen at a report or before the next checkpoint
        fitted(make(steps=12, checkpoint_every=3), context)
    stopped = steps[0]
    assert fitted(make(steps=12, checkpoint_every=3), context) == expected and steps[0] == stopped + 9


def test_what_only_filling_reads_does_not_part_a_fit_from_its_checkpoint(make: Make, context: Context) -> None:
    model = make()._loaded(context)
    paths = []
    for changes in ({}, {"guidance": 2.0, "sampler": "ddim", "inference_steps": 7, "fill_batch": 2}, {"rank": 3}):
        model.settings = replace(model.settings, **changes)
        paths.append(fitting._path(model, scene(), 0, context, None))
    assert paths[0] == paths[1] != paths[2]


def test_a_broken_checkpoint_is_said_and_left(make: Make, context: Context) -> None:
    method = make()
    path = fitting._path(method._loaded(context), scene(), 0, context, None)
    path.parent.mkdir()
    path.write_bytes(b"broken")
    undisturbed = fitted(make(), replace(context, work=context.work / "other"))
    assert fitted(method, context) == undisturbed
    assert any("the fit began anew" in note for note in filled(method, context)[0].notes)


# Memory


def test_memory_low_fills_the_same(make: Make, context: Context) -> None:
    """At a working size beyond the VAE's sample size, too, above which diffusers' tiles would show."""
    usual, low = make(size=96), make(size=96, memory="low", precision="float32")
    fitted(usual, context)
    low._fitted = usual._fitted
    images = [filled(method, context)[0].image.astype(int) for method in (usual, low)]
    assert (np.abs(images[0] - images[1]).max(-1) <= 2).mean() >= 0.99


def test_the_background_is_given_up_where_memory_does_not_suffice(make: Make, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoding beside a step runs out of memory; alone it does not, and gives the same."""
    import threading

    settings: dict[str, Any] = {"pool": 4, "refresh": 1, "steps": 6}
    expected = fitted(make(**settings), replace(context, work=context.work / "other"))
    encode, tried = Model.encode, [0]

    def greedy(self: Model, entries: Any, portion: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            tried[0] += 1
            return portion.attempt(lambda: _raise(torch.OutOfMemoryError("CUDA out of memory.")))
        return encode(self, entries, portion)

    def _raise(error: Exception) -> None:
        raise error

    monkeypatch.setattr(Model, "encode", greedy)
    method = make(**settings)
    assert fitted(method, context) == expected and tried == [1]
    assert [note for note in filled(method, context)[0].notes if "between steps" in note] == [ALONE]


def gradients(method: RealFill, context: Context, size: int) -> tuple[dict[str, torch.Tensor], float]:
    """Of the first step in micro-batches of a size, from a LoRA without zeros; and its loss."""
    found: dict[str, torch.Tensor] = {}
    step = Trainer._gradients

    def watched(self: Trainer, *args: Any) -> torch.Tensor:
        self.portion.size = size
        numbers = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for value in self.parameters.values():
                value.copy_(torch.randn(value.shape, generator=numbers) / 5)
        loss = step(self, *args)
        found.update({name: value.grad.clone() for name, value in self.parameters.items() if value.grad is not None})
        found["loss"] = loss
        return loss

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Trainer, "_gradients", watched)
        fitted(method, context)
    return found, float(found.pop("loss"))


@pytest.mark.parametrize("memory", ["auto", "low"])
def test_micro_batches_add_up_to_the_batch(make: Make, context: Context, memory: str) -> None:
    """With and without checkpointing."""
    whole, loss = gradients(make(batch=5, steps=1, dropout_lora=0), context, 5)
    parts, total = gradients(make(batch=5, steps=1, dropout_lora=0, memory=memory), context, 2)
    assert whole.keys() == parts.keys() and total == pytest.approx(loss, rel=1e-5)
    assert all(bool(value.any()) for value in whole.values())
    for name, value in whole.items():
        assert float((parts[name] - value).abs().max()) < 1e-3 * float(value.abs().max()), name


def test_running_out_of_memory_halves_the_micro_batch_and_changes_nothing(
    make: Make, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import AutoencoderKL

    expected = fitted(make(micro_batch=1), context)
    answer, encode, said = Model.answer, AutoencoderKL.encode, []

    def greedy(self: Model, noisy: torch.Tensor, *args: Any) -> torch.Tensor:
        if len(noisy) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return answer(self, noisy, *args)

    def greedy_too(self: Any, images: torch.Tensor, *args: Any) -> Any:
        if len(images) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return encode(self, images, *args)

    monkeypatch.setattr(Model, "answer", greedy)
    monkeypatch.setattr(AutoencoderKL, "encode", greedy_too)
    method = make(micro_batch=3)
    progress = replace(context, progress=lambda done, total, text="": said.append(text))
    notes = [f"{what}: out of memory with 3 images at a time, went on with 1" for what in ("training", "encoding")]
    assert fitted(method, progress) == expected and notes[0] in said
    assert set(notes) <= set(filled(method, context)[0].notes)


def test_running_out_of_memory_in_filling_halves_the_seeds(make: Make, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    method = make(fill_batch=1)
    fitted(method, context)
    expected = filled(method, context, (0, 1, 2))
    sample = filling.sample

    def greedy(pipeline: Any, condition: Any, image: Any, mask: Any, seeds: Any, *rest: Any) -> Any:
        if len(seeds) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return sample(pipeline, condition, image, mask, seeds, *rest)

    monkeypatch.setattr(filling, "sample", greedy)
    many = make(fill_batch=3)
    many._fitted = method._fitted
    found = filled(many, context, (0, 1, 2))
    assert [fill.seed for fill in found] == [0, 1, 2] and "filling: out of memory with 3 images at a time, went on with 1" in found[0].notes
    assert all(np.array_equal(one.image, two.image) for one, two in zip(expected, found, strict=True))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_trains_and_comes_back_as_it_was(precision: str, make: Make, context: Context, tmp_path: Path) -> None:
    """float16 with a scaled loss, as a GPU without bfloat16 needs it."""
    first, second = make(precision=precision), make(precision=precision)
    fitted(first, context)
    assert first._model is not None and first._model.dtype == getattr(torch, precision)
    first.save(tmp_path)
    second.load(tmp_path)
    assert np.array_equal(filled(first, context)[0].image, filled(second, context)[0].image)


# Scenes and backbones of every kind


def test_twenty_references_of_any_size(make: Make, context: Context) -> None:
    sizes = [(33, 200), (200, 33), (8, 8), (64, 64), (301, 177)]
    references = tuple(photograph(i, *sizes[i % 5]) for i in range(20))
    task = replace(scene(), references=references)
    method = make(batch=20)
    fitted(method, context, task)
    assert filled(method, context, task=task)[0].image.shape == (50, 77, 3)


@pytest.mark.parametrize("kind", ["v", "xl", "taesd", "16", "16 tiny", "16 deep"])
def test_other_backbones(kind: str, make: Make, others: dict[str, Path], context: Context, tmp_path: Path) -> None:
    first, second = make(backbone=str(others[kind])), make(backbone=str(others[kind]), fill_batch=3)
    fitted(first, context)
    first.save(tmp_path)
    second.load(tmp_path)
    alone, together = filled(first, context, (0, 1, 2)), filled(second, context, (0, 1, 2))
    for one, two in zip(alone, together, strict=True):
        assert one.image.shape == (50, 77, 3) and (np.abs(one.image.astype(int) - two.image).max(-1) <= 2).mean() >= 0.99
    assert np.array_equal(alone[1].image, filled(first, context, (1,))[0].image)
    plain = make(backbone=str(others[kind]))
    fitted(plain, context, seed=1)
    assert not np.array_equal(filled(plain, context)[0].image, alone[0].image)


@pytest.mark.parametrize("preset", ["paper", "public", "fast"])
def test_presets_work_with_any_number_of_channels(preset: str, make: Make, others: dict[str, Path], context: Context) -> None:
    """In small: their numbers of steps and of images are cut."""
    short = {"pool": 4, "refresh": 1, "stop_every": 1} if preset == "fast" else {}
    method = make(**{**PRESETS[preset], **QUICK, **short, "backbone": str(others["16"]), "memory": "low"})
    fitted(method, context)
    assert filled(method, context)[0].image.shape == (50, 77, 3)


def test_a_model_that_does_no_inpainting_is_refused(make: Make, others: dict[str, Path], context: Context) -> None:
    with pytest.raises(RealbenchError, match=r"expected an inpainting U-Net of 9 input channels \(latent, mask, masked latent\).*found 4"):
        fitted(make(backbone=str(others["plain"])), context)


def test_a_size_the_backbone_cannot_work_at(make: Make, context: Context) -> None:
    with pytest.raises(RealbenchError, match="size=70: expected a multiple of 16"):
        fitted(make(size=70), context)


@pytest.mark.parametrize("mask", ["everything", "nothing"])
def test_extreme_masks(mask: str, make: Make, context: Context) -> None:
    task = replace(scene(), mask=np.full((50, 77), mask == "everything"))
    method = make()
    fitted(method, context, task)
    assert filled(method, context, task=task)[0].image.shape == (50, 77, 3)


def test_nothing_fitted(make: Make, context: Context, tmp_path: Path) -> None:
    with pytest.raises(RealbenchError, match="call fit or load before fill"):
        filled(make(), context)
    with pytest.raises(RealbenchError, match="call fit or load before save"):
        make().save(tmp_path)


def test_a_fit_that_diverges_says_so(make: Make, context: Context) -> None:
    with pytest.raises(RealbenchError, match=r"training diverged.*lower unet_lr"):
        fitted(make(unet_lr=1e30), context)


# The fast preset


def test_the_fast_preset_runs_on_a_processor(make: Make, context: Context) -> None:
    method = make(**{**RealFill.card.presets["fast"], "steps": 4, "batch": 2, "pool": 3, "refresh": 1, "stop_every": 2})
    fitted(method, context)
    notes = filled(method, context)[0].notes
    assert notes[0].endswith("after 4 steps") and notes[1].startswith("kept the LoRA of step ")


def test_the_fit_stops_when_the_patch_gets_no_better_and_keeps_the_best(
    make: Make, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = fitted(make(steps=2, stop_every=1), context)
    losses = iter([3.0, 2.0, 2.5, 2.0, 1.0])
    monkeypatch.setattr(HeldOut, "loss", lambda self, text: next(losses))
    method = make(steps=9, stop_every=1, stop_patience=2)
    assert fitted(method, context) == best
    notes = filled(method, context)[0].notes
    assert notes[0].endswith("after 4 steps") and notes[1] == "kept the LoRA of step 2, the best on the held-out patch (loss 2.0000)"


def test_training_never_sees_the_patch(make: Make, context: Context) -> None:
    from realbench.methods._realfill import holdout

    task = scene(references=0)
    patch = holdout.choose(task.mask, 0)
    assert patch is not None
    loud = task.target.copy()
    loud[patch] = np.random.default_rng(0).integers(0, 256, (int(patch.sum()), 3))
    other = replace(task, target=loud)
    assert fitted(make(stop_every=100), context, task) == fitted(make(stop_every=100), context, other)
    assert fitted(make(), context, task) != fitted(make(), context, other)


def test_the_patchs_loss_sees_the_patch_alone(make: Make, context: Context) -> None:
    """A patch in another place is judged otherwise; the same one is judged the same."""
    from realbench.methods._realfill import holdout
    from realbench.portion import Portion

    task, model = scene(), make(size=128)._loaded(context)
    patches = [np.zeros((50, 77), np.bool_) for _ in range(2)]
    patches[0][30:46, 4:24] = True
    patches[1][30:46, 26:46] = True
    looks = [holdout.HeldOut.of(model, task, patch, 0, Portion(1, "encoding")) for patch in patches]
    assert looks[0] is not None and looks[1] is not None
    weights = [look.batch.weight[0, 0] for look in looks if look]
    assert 0 < float((weights[0] * weights[1]).sum()) + 1 < 2 and float(weights[0].sum()) > 0
    assert looks[0].loss(model.text()) == looks[0].loss(model.text()) != looks[1].loss(model.text())


# The harness


def test_the_card() -> None:
    card = RealFill.card
    assert card.fits and card.stochastic and card.torch and not card.oracle
    assert {item.name for item in card.weights} == {"tiny", "sd2", "sd15", "sdxl"}
    assert set(card.presets) == {"tiny", "paper", "public", "fast"}
    assert [item.id for item in RealFill.weights(RealFill.Settings())] == ["sd2-community/stable-diffusion-2-inpainting"]


def test_missing_weights_say_how_to_get_them(context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REALBENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsMissing, match="sd2"):
        fitted(RealFill(), context)


@pytest.mark.skipif("realfill" not in registry.names("methods"), reason="realfill is not installed as a plug-in: install the project again")
def test_a_run(suite: Path, tiny: Path, tmp_path: Path) -> None:
    quick = [f"realfill.{key}={value}" for key, value in {**QUICK, "steps": 2, "batch": 2, "backbone": tiny}.items()]
    summary = bench.run(["realfill:paper"], scenes=suite, settings=quick, seeds=2, metrics=["drift"], out=tmp_path / "run")
    assert summary.fills["ok"] == 6 and summary.exit_code == 0
    states = (tmp_path / "run").glob("realfill.paper-*/b/fit-0/state/*")
    assert sorted(path.name for path in states) == ["pytorch_lora_weights.safetensors", "realfill.json"]
    assert not list((tmp_path / "run").glob("*/*/fit-0/work-*"))
    assert set(load_run(tmp_path / "run").cells()["state"]) == {"ok"}


def test_random_numbers_are_its_own(make: Make, context: Context) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fitted(make(), context)
    assert torch.equal(torch.rand(3), expected)
