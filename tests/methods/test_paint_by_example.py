"""Paint-by-Example through its real pipeline, on random weights: what it shows is machinery, nothing about quality."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from realbench.errors import RealbenchError, Unsupported, UsageError
from realbench.methods._diffusion import conditions, sampling
from realbench.methods._diffusion.frame import Frame
from realbench.methods._diffusion.references import one
from realbench.methods.paint_by_example import PaintByExample
from tests import tiny_models
from tests.conftest import photograph
from tests.methods.diffusing import apart, close, fills, make, paint, reply, reveal, scene

NAME = "paint-by-example"
Method = Callable[..., PaintByExample]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.paint_by_example(tmp_path_factory.mktemp("models") / "example")


@pytest.fixture
def method(folder: Path) -> Method:
    return lambda **settings: make(NAME, "paper", **({"backbone": folder, "steps": 3} | settings))


@pytest.mark.parametrize("references", [1, 3])
def test_a_fill_depends_on_the_seed_and_not_on_its_company(references, method) -> None:
    task = scene(references).task()
    several = fills(method(), task, (4, 0, 7))
    assert [fill.seed for fill in several] == [4, 0, 7] and all(fill.image.shape == (50, 77, 3) for fill in several)
    again = method()
    alone = [paint(again, task, seed) for seed in (4, 0, 7)]
    assert all(close(fill.image, image) for fill, image in zip(several, alone, strict=True))
    assert (paint(again, task, 4) == alone[0]).all() and apart(alone[0], alone[1])
    assert (paint(again, reveal(task), 4) == alone[0]).all()


def test_each_seed_draws_one_reference_and_says_which(method) -> None:
    seeds = range(8)
    notes = [fill.notes for fill in fills(method(steps=1), scene(3).task(), seeds)]
    assert notes == [(f"reference {one(seed, 3, 0) + 1} of 3",) for seed in seeds] and len(set(notes)) > 1
    assert [fill.notes for fill in fills(method(steps=1, reference=2), scene(3).task(), (0, 1))] == [("reference 2 of 3",)] * 2
    assert fills(method(steps=1), scene(1).task())[0].notes == ("the only reference",)


def test_only_the_reference_that_leads_is_looked_at(method) -> None:
    painter, task = method(reference=2), scene(3).task()
    image = paint(painter, task)
    other = photograph(55, 90, 80)
    changed = [
        replace(task, references=tuple(other if index == place else old for index, old in enumerate(task.references))) for place in range(3)
    ]
    assert [bool((paint(painter, each) != image).any()) for each in changed] == [False, True, False]


def test_the_model_sees_the_blanked_target_and_whole_references(method, monkeypatch) -> None:
    told, shown = [], []
    sample, of_examples = sampling.sample, conditions.of_examples
    monkeypatch.setattr(sampling, "sample", lambda *given: (told.append(given), sample(*given))[1])
    monkeypatch.setattr(
        conditions, "of_examples", lambda pipeline, images, **named: (shown.extend(images), of_examples(pipeline, images, **named))[1]
    )
    task = scene(3).task()
    fills(method(), reveal(task), (0, 1))
    ((_, condition, image, mask, seeds, course, _),) = told
    exact = Frame.fit(task.size, 64, 16).mask_in(task.mask)
    assert exact.any() and mask[exact].all() and (image[exact] == 127).all()
    assert seeds == (0, 1) and course == sampling.Course(3, 5.0) and len(condition.states) == 4
    assert [np.asarray(each).tolist() for each in shown] == [task.references[one(seed, 3, 0)].tolist() for seed in (0, 1)]


@pytest.mark.parametrize(("left", "right"), [(35, 36), (33, 39)])
def test_a_hole_narrower_than_a_latent_cell_is_seen_as_one(left, right, method) -> None:
    painter, task = method(size=64), scene(1, (64, 64)).task()
    paint(painter, task)
    seen = []
    painter._loaded[1].unet.register_forward_pre_hook(lambda module, inputs: seen.append(1 - inputs[0][0, 8]))
    mask = np.zeros((64, 64), bool)
    mask[10:20, left:right] = True
    paint(painter, replace(task, mask=mask))
    assert seen[0].nonzero().tolist() == [[1, 4], [2, 4]]


@pytest.mark.parametrize("autoencoder", tiny_models.AUTOENCODERS)
def test_any_number_of_channels_and_any_vae(autoencoder, tmp_path, method) -> None:
    folder = tiny_models.paint_by_example(tmp_path / "sixteen", latents=16, autoencoder=autoencoder)
    task = scene(3).task()
    several = fills(method(backbone=folder), task, (4, 0))
    again = method(backbone=folder, memory="low")
    assert all(close(fill.image, paint(again, task, fill.seed)) for fill in several)


@pytest.mark.parametrize("size", [(31, 97), (130, 130)])
def test_any_size_comes_back(size, method) -> None:
    assert paint(method(), scene(2, size).task()).shape == (size[1], size[0], 3)


def test_progress_goes_from_nothing_to_all_seeds(method) -> None:
    seen = []
    fills(method(batch=1), scene(1).task(), (0, 1), progress=lambda done, total, text="": seen.append((done, total)))
    done = [item[0] for item in seen]
    assert done == sorted(done) and 0 < done[0] < done[-1] <= 2 and {total for _, total in seen} == {2}


def test_its_folder_names_a_class_where_diffusers_has_it_no_more(folder) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    assert index["image_encoder"] == ["paint_by_example", "PaintByExampleImageEncoder"]
    with pytest.raises((ValueError, ImportError)):
        from diffusers import PaintByExamplePipeline

        PaintByExamplePipeline.from_pretrained(folder)


def test_an_encoder_saved_by_older_transformers_is_read_whole(folder, tmp_path, method) -> None:
    """Before version 5 the names of its weights had one word more."""
    old = tiny_models.paint_by_example(tmp_path / "old")
    path = old / "image_encoder" / "model.safetensors"
    state = load_file(path)
    renamed = {
        name.replace("model.", "model.vision_model.", 1) if name.startswith("model.") else name: value for name, value in state.items()
    }
    assert renamed.keys() != state.keys()
    save_file(renamed, path, {"format": "pt"})
    assert (paint(method(backbone=old), scene(1).task()) == paint(method(), scene(1).task())).all()


@pytest.mark.parametrize(("part", "weight"), [("image_encoder", "uncond_vector"), ("unet", "conv_out.bias"), ("vae", "quant_conv.bias")])
def test_a_model_without_all_its_weights_is_refused(part, weight, tmp_path, method) -> None:
    broken = tiny_models.paint_by_example(tmp_path / "broken")
    (path,) = (broken / part).glob("*.safetensors")
    state = load_file(path)
    del state[weight]
    save_file(state, path, {"format": "pt"})
    with pytest.raises(RealbenchError, match=weight):
        paint(method(backbone=broken), scene(1).task())


def test_other_models_are_refused(tmp_path, method) -> None:
    other = tiny_models.stable_diffusion(tmp_path / "sd")
    with pytest.raises(RealbenchError, match="a StableDiffusionInpaintPipeline"):
        paint(method(backbone=other), scene(1).task())
    index = json.loads((other / "model_index.json").read_text())
    index |= {"_class_name": "PaintByExamplePipeline", "scheduler": ["diffusers", "UNet2DConditionModel"]}
    (other / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(RealbenchError, match="in the place of its scheduler"):
        paint(method(backbone=other), scene(1).task())
    wrong = tiny_models.paint_by_example(tmp_path / "wrong")
    index = json.loads((wrong / "model_index.json").read_text())
    (wrong / "model_index.json").write_text(json.dumps(index | {"vae": ["os", "system"]}))
    with pytest.raises(RealbenchError, match="does not load"):
        paint(method(backbone=wrong), scene(1).task())


def test_a_reference_the_scene_lacks_is_unsupported(folder, method) -> None:
    with pytest.raises(Unsupported, match="reference 4 was asked for, the scene has 3"):
        paint(method(reference=4), scene(3).task())
    (item, _) = reply(NAME, {"backbone": folder, "reference": 2}, scene(1))
    assert item.head["state"] == "unsupported" and not item.head["data"].get("weights_missing")


def test_missing_weights_are_unsupported_cells() -> None:
    (item, _) = reply(NAME, {"backbone": "nobody/has-this"}, scene(1))
    assert item.head["state"] == "unsupported" and item.head["data"]["weights_missing"]


@pytest.mark.parametrize("settings", [{"reference": -1}, {"steps": 0}, {"batch": 0}, {"size": -8}, {"guidance": -1}])
def test_settings_that_make_no_sense_are_refused(settings) -> None:
    with pytest.raises(UsageError, match=next(iter(settings))):
        make(NAME, **settings)
