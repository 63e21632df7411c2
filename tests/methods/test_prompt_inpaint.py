"""Prompt-only inpainting through the real pipelines, on random weights: what it shows is machinery, nothing about quality."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from realbench import bench, plan
from realbench.errors import RealbenchError, UsageError, WeightsMissing
from realbench.methods._diffusion import sampling
from realbench.methods._diffusion.flux_controlnet import condition, load_controlnet
from realbench.methods.prompt_inpaint import PRESETS, PromptInpaint
from realbench.results import load_run
from realbench.worker import Session
from tests import tiny_models
from tests.methods.diffusing import apart, close, fills, make, paint, reply, reveal, scene

NAME = "prompt-inpaint"
Method = Callable[..., PromptInpaint]
KINDS = ["sd2", "v-prediction", "sdxl", "flux-fill", "flux-controlnet-alpha", "flux-controlnet-beta"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """Settings by kind of model: a preset, small folders in the place of its weights, few steps."""
    root = tmp_path_factory.mktemp("models")
    flux, controlnet = tiny_models.flux(root / "flux"), tiny_models.flux_controlnet(root / "controlnet")
    controlled = {"backbone": flux, "controlnet": controlnet, "size": 64}
    return {
        "sd2": {"backbone": tiny_models.stable_diffusion(root / "sd2")},
        "v-prediction": {"preset": "sd2", "backbone": tiny_models.stable_diffusion(root / "v", prediction_type="v_prediction")},
        "sdxl": {"backbone": tiny_models.stable_diffusion_xl(root / "sdxl"), "batch": 4},
        "flux-fill": {"backbone": tiny_models.flux_fill(root / "fill"), "size": 64, "batch": 4},
        "flux-controlnet-alpha": {**controlled, "batch": 4},
        "flux-controlnet-beta": {**controlled, "batch": 4},
    }


@pytest.fixture
def method(folders) -> Method:
    def of(kind: str, **settings: object) -> PromptInpaint:
        return make(NAME, **({"preset": kind, "steps": 3} | folders[kind] | settings))

    return of


@pytest.mark.parametrize("kind", KINDS)
def test_a_fill_depends_on_the_seed_and_not_on_its_company(kind, method) -> None:
    task = scene().task()
    several = fills(method(kind), task, (4, 0, 7))
    assert [fill.seed for fill in several] == [4, 0, 7]
    assert all(fill.image.shape == (50, 77, 3) and fill.image.dtype == np.uint8 for fill in several)
    again = method(kind)
    alone = [paint(again, task, seed) for seed in (4, 0, 7)]
    assert all(close(fill.image, image) for fill, image in zip(several, alone, strict=True))
    assert (paint(again, task, 4) == alone[0]).all()
    assert apart(alone[0], alone[1]) and apart(alone[1], alone[2])
    assert (paint(again, reveal(task), 4) == alone[0]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_listens_to_target_mask_and_prompt(kind, method) -> None:
    painter, task = method(kind), scene(1).task()
    image = paint(painter, task)
    assert apart(image, paint(painter, scene(1, seed=2).task()))
    mask = task.mask.copy()
    mask[30:, :30] = True
    assert apart(image, paint(painter, replace(task, mask=mask)))
    worded = paint(painter, replace(task, prompt="a green hill"))
    assert (image != worded).any()


@pytest.mark.parametrize("size", [(48, 32), (31, 97), (130, 130)])
def test_any_size_comes_back(size, method) -> None:
    assert paint(method("sd2"), scene(1, size).task()).shape == (size[1], size[0], 3)


def test_the_scene_s_own_prompt_comes_before_the_settings_prompt(method, monkeypatch) -> None:
    said = []
    encode = diffusers.StableDiffusionInpaintPipeline.encode_prompt
    monkeypatch.setattr(
        diffusers.StableDiffusionInpaintPipeline,
        "encode_prompt",
        lambda self, prompt, *rest, **named: (said.append(prompt), encode(self, prompt, *rest, **named))[1],
    )
    task = scene(1).task()
    notes = [
        fills(painter, shown)[0].notes
        for painter in (method("sd2"), method("sd2", prompt="a house"))
        for shown in (task, replace(task, prompt="a tower"))
    ]
    assert notes == [
        ("prompt of the settings: a photo",),
        ("prompt of the scene: a tower",),
        ("prompt of the settings: a house",),
        ("prompt of the scene: a tower",),
    ]
    assert said == ["a photo", "a tower", "a house", "a tower"]


def test_pipelines_get_what_the_presets_say(method, monkeypatch) -> None:
    calls, courses = [], []
    real_sample = sampling.sample
    monkeypatch.setattr(sampling, "sample", lambda *given: (courses.append(given), real_sample(*given))[1])
    for name in ("FluxFillPipeline", "FluxControlNetPipeline"):
        kind = getattr(diffusers, name)
        real = kind.__call__
        monkeypatch.setattr(kind, "__call__", lambda self, real=real, **named: (calls.append(named), real(self, **named))[1])
    for kind in ("sd2", "flux-fill", "flux-controlnet-alpha", "flux-controlnet-beta"):
        fills(method(kind), scene(1).task(), (0, 1))
    assert [(call["guidance_scale"], call.get("strength"), call.get("true_cfg_scale")) for call in calls] == [
        (30.0, 1.0, None),
        (3.5, None, 3.5),
        (3.5, None, 1.0),
    ]
    assert all(len(call["generator"]) == len(call.get("image", call.get("control_image"))) == 2 for call in calls)
    ((_, condition, image, mask, seeds, course, _),) = courses
    assert course == sampling.Course(3, 7.5, 0.9999) and seeds == (0, 1) and len(condition.states) == 4
    assert (image[mask] == 127).mean() > 0.5 and mask.reshape(len(mask) // 8, 8, -1, 8).all((1, 3)).sum() * 64 == mask.sum()


@pytest.mark.parametrize("kind", ["sd2", "sdxl", "flux-controlnet-alpha"])
def test_a_hole_narrower_than_a_latent_cell_is_seen_as_one(kind, method) -> None:
    """A model that is shown one pixel a cell would take the blank of the hole for known content."""
    painter, task = method(kind, size=64), scene(1, (64, 64)).task()
    paint(painter, task)
    pipeline, shown = painter._loaded[1], []
    if kind.startswith("flux"):
        pipeline.controlnet.register_forward_pre_hook(lambda module, inputs, named: shown.append(1 - module.known), with_kwargs=True)
    else:
        pipeline.unet.register_forward_pre_hook(lambda module, inputs: shown.append(inputs[0][:, 4]))
    for left, right in ((35, 36), (33, 39), (32, 41)):
        mask = np.zeros((64, 64), bool)
        mask[10:20, left:right] = True
        shown.clear()
        paint(painter, replace(task, mask=mask))
        assert int(shown[0][0].sum()) == 2 * ((right - 1) // 8 - left // 8 + 1)


def test_presets_name_weights_of_the_card() -> None:
    assert set(PRESETS) == {"tiny", "sd2", "sd15", "sdxl", "flux-fill", "flux-controlnet-alpha", "flux-controlnet-beta"}
    for preset in PRESETS:
        settings = make(NAME, preset).settings
        needed = PromptInpaint.weights(settings)
        assert len(needed) == (2 if "controlnet" in preset else 1) and set(needed) <= set(PromptInpaint.card.weights)


def test_the_epsilon_and_the_v_model_are_sampled_differently(method, folders) -> None:
    task = scene(1).task()
    first, second = (paint(method(kind), task) for kind in ("sd2", "v-prediction"))
    assert apart(first, second)


def test_memory_low_fills_too(method) -> None:
    assert paint(method("sd2", memory="low"), scene(1).task()).shape == (50, 77, 3)


def test_progress_goes_from_nothing_to_all_seeds(method) -> None:
    seen = []
    fills(method("sd2", batch=2), scene(1).task(), (0, 1, 2), progress=lambda done, total, text="": seen.append((done, total, text)))
    assert [total for _, total, _ in seen] == [3] * len(seen)
    done = [item[0] for item in seen]
    assert done == sorted(done) and done[-1] == 3 and 0 < done[0] < 2 and 2 in done and seen[0][2].startswith("step 1 of")


def test_the_pipeline_stays_loaded_until_it_is_closed(method, monkeypatch) -> None:
    opened = []
    real = PromptInpaint.open
    monkeypatch.setattr(PromptInpaint, "open", lambda self, *all: (opened.append(1), real(self, *all))[1])
    painter = method("sd2")
    for index in range(3):
        paint(painter, scene(1, seed=index).task())
    assert len(opened) == 1
    fills(painter, scene(1).task(), dtype="bfloat16")
    assert len(opened) == 2
    painter.close()
    painter.close()
    assert painter._loaded is None
    paint(painter, scene(1).task())
    assert len(opened) == 3


def test_seeds_are_painted_in_batches(method, monkeypatch) -> None:
    sizes = []
    real = PromptInpaint.paint
    monkeypatch.setattr(
        PromptInpaint, "paint", lambda self, pipe, task, seeds, steps: (sizes.append(seeds), real(self, pipe, task, seeds, steps))[1]
    )
    assert len(fills(method("sd2", batch=2), scene(1).task(), (5, 6, 7, 8, 9))) == 5
    assert sizes == [(5, 6), (7, 8), (9,)]


def test_an_overflow_is_a_failure_and_no_black_image(folders, tmp_path) -> None:
    folder = tiny_models.stable_diffusion(tmp_path / "broken")
    path = next((folder / "unet").glob("*.safetensors"))
    state = load_file(path)
    save_file({name: torch.full_like(value, torch.nan) if name == "conv_out.bias" else value for name, value in state.items()}, path)
    with pytest.raises(RealbenchError, match="NaN"):
        paint(make(NAME, backbone=folder, steps=2), scene(1).task())


# The inpainting ControlNets


def test_diffusers_own_controlnet_does_not_load_these_weights(folders) -> None:
    path = folders["flux-controlnet-beta"]["controlnet"]
    config = json.loads((path / "config.json").read_text())
    assert config["_class_name"] == "FluxControlNetModel" and config["extra_condition_channels"] == 4
    with pytest.raises((RuntimeError, ValueError)):
        diffusers.FluxControlNetModel.from_pretrained(path, low_cpu_mem_usage=False)
    model = load_controlnet(path, torch.float32)
    saved = load_file(path / "diffusion_pytorch_model.safetensors")
    assert set(model.state_dict()) == set(saved) and model.config.extra_condition_channels == 4
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())


def test_a_controlnet_without_all_its_weights_is_refused(tmp_path) -> None:
    path = tiny_models.flux_controlnet(tmp_path / "controlnet")
    file = path / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    del state["controlnet_x_embedder.bias"]
    save_file(state, file)
    with pytest.raises(RealbenchError, match=r"controlnet_x_embedder\.bias"):
        load_controlnet(path, torch.float32)


def test_the_condition_is_the_published_one(method, folders) -> None:
    """Masked image at −1, then, packed two by two, 16 channels of its latent and one of the known region's mask."""
    painter, task = method("flux-controlnet-beta"), scene(1, (96, 64)).task()
    paint(painter, task)
    pipeline = painter._loaded[1]
    seen = {}
    embedder = pipeline.controlnet.controlnet_x_embedder
    hook = embedder.register_forward_pre_hook(lambda module, inputs: seen.update(condition=inputs[0]))
    paint(painter, task)
    hook.remove()
    frame_mask = np.zeros((64, 96), bool)
    frame_mask[12:32, 48:] = True
    image = np.full((64, 96, 3), 60, np.uint8)
    control = condition(pipeline, image, frame_mask, 2)
    assert control.shape == (2, 3, 64, 96)
    assert (control[:, :, frame_mask] == -1).all() and torch.allclose(control[:, :, ~frame_mask], torch.tensor(60 / 127.5 - 1))
    known = torch.nn.functional.interpolate(1 - torch.from_numpy(frame_mask).float()[None, None], size=(8, 12))
    packed = known.view(1, 1, 4, 2, 6, 2).permute(0, 2, 4, 1, 3, 5).reshape(1, 24, 4)
    assert torch.equal(pipeline.controlnet.known, packed)
    assert seen["condition"].shape[-1] == 4 * pipeline.vae.config.latent_channels + 4
    assert set(seen["condition"][..., -4:].unique().tolist()) == {0.0, 1.0}


def test_the_controlnet_s_mask_matters(method) -> None:
    painter, task = method("flux-controlnet-beta"), scene(1).task()
    image = paint(painter, task)
    weight = painter._loaded[1].controlnet.controlnet_x_embedder.weight
    with torch.no_grad():
        weight[:, -4:] = 0
    assert (image != paint(painter, task)).any()


# What is refused


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 0}, "steps"),
        ({"batch": 0}, "batch"),
        ({"size": -1}, "size"),
        ({"guidance": -1}, "guidance"),
        ({"guidance": "nan"}, "guidance"),
        ({"strength": 0}, "strength"),
        ({"strength": 1.1}, "strength"),
        ({"steps": 1, "strength": 0.5}, "at least one of 1 steps"),
        ({"memory": "none"}, "memory"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, words) -> None:
    with pytest.raises(UsageError, match=words):
        make(NAME, **settings)


def test_models_for_something_else_are_refused(folders, method, tmp_path) -> None:
    task = scene(1).task()
    plain = tiny_models.stable_diffusion(tmp_path / "plain", channels=4)
    with pytest.raises(RealbenchError, match=r"9 input channels .* found 4"):
        paint(make(NAME, backbone=plain), task)
    with pytest.raises(RealbenchError, match=r"expected an inpainting pipeline .* found a FluxPipeline"):
        paint(make(NAME, backbone=folders["flux-controlnet-beta"]["backbone"]), task)
    with pytest.raises(RealbenchError, match=r"expected FLUX\.1 for this ControlNet, found a StableDiffusionInpaintPipeline"):
        paint(method("flux-controlnet-beta", backbone=folders["sd2"]["backbone"]), task)
    with pytest.raises(UsageError, match="negative_prompt: expected none"):
        paint(method("flux-fill", negative_prompt="blur"), task)
    with pytest.raises(UsageError, match="neither"):
        make(NAME, backbone=tmp_path / "nowhere")


def test_missing_weights_are_unsupported_cells() -> None:
    (item, end) = reply(NAME, {"backbone": "nobody/has-this"}, scene(1))
    assert item.head["state"] == "unsupported" and item.head["data"]["weights_missing"] and "nobody/has-this" in item.head["reason"]
    assert end.head["event"] == "end"
    with pytest.raises(WeightsMissing):
        paint(make(NAME, backbone="nobody/has-this"), scene(1).task())


# Through the harness


def test_a_worker_serves_scene_after_scene(folders, monkeypatch) -> None:
    opened = []
    real = PromptInpaint.open
    monkeypatch.setattr(PromptInpaint, "open", lambda self, *all: (opened.append(1), real(self, *all))[1])
    session, settings = Session(), {"backbone": folders["sd2"]["backbone"], "steps": 2}
    for index in range(2):
        *items, _ = reply(NAME, settings, scene(1, seed=index), (0, 1), session)
        assert [item.head.get("state", "ok") for item in items] == ["ok", "ok"], items
    assert len(opened) == 1


def test_a_folder_s_content_and_not_its_name_identifies_a_cell(tmp_path) -> None:
    rows = []
    for name in ("here", "there"):
        folder = tiny_models.stable_diffusion(tmp_path / name)
        row = plan.plan_rows([NAME], [f"{NAME}.backbone={folder}"])[0]
        rows.append(row.fingerprint)
    unet = next((tmp_path / "there").rglob("unet/*.safetensors"))
    unet.write_bytes(unet.read_bytes()[:-1] + b"x")
    assert plan.plan_rows([NAME], [f"{NAME}.backbone={tmp_path / 'there'}"])[0].fingerprint != rows[0]
    assert rows[0] == rows[1] != plan.plan_rows([NAME])[0].fingerprint


def test_a_run_from_end_to_end(folders, suite: Path, tmp_path: Path) -> None:
    settings = [f"backbone={folders['sd2']['backbone']}", "steps=2"]
    bench.run([NAME], scenes=suite, out=tmp_path / "run", seeds=2, metrics=["psnr"], settings=settings)
    cells = load_run(tmp_path / "run").cells()
    assert len(cells) == 6 and set(cells["state"]) == {"ok"}
