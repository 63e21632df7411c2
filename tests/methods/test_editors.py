"""The editors through their real pipelines, on random weights: what it shows is machinery, nothing about quality."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as qwen

from realbench.errors import RealbenchError, Unsupported, UsageError
from realbench.methods._diffusion.adapter import DiffusionMethod
from realbench.methods._diffusion.references import drawn, one
from realbench.registry import load
from tests import tiny_models
from tests.conftest import photograph
from tests.methods.diffusing import apart, fills, make, paint, reply, reveal, scene

Method = Callable[..., DiffusionMethod]
KINDS = {
    "flux2-klein:4b": tiny_models.flux2_klein,
    "flux2-klein:base-4b": lambda folder: tiny_models.flux2_klein(folder, distilled=False),
    "flux-kontext": tiny_models.flux_kontext,
    "qwen-edit": tiny_models.qwen_edit,
}
EACH = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {kind: build(root / kind.replace(":", "-")) for kind, build in KINDS.items()}


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch) -> None:
    """Qwen's pipeline brings all it reads to fixed sizes, too large for these tests."""
    monkeypatch.setattr(qwen, "VAE_IMAGE_SIZE", 64**2)
    monkeypatch.setattr(qwen, "CONDITION_IMAGE_SIZE", 56**2)


@pytest.fixture
def method(folders: dict[str, Path]) -> Method:
    def of(kind: str, **settings: Any) -> Any:
        name, _, preset = kind.partition(":")
        return make(name, preset or None, **({"backbone": folders[kind], "steps": 2, "size": 64} | settings))

    return of


@pytest.fixture
def calls(monkeypatch) -> Callable[[Any], list[dict[str, Any]]]:
    """Record the calls of a method's pipeline, and let them through."""

    def record(painter: Any) -> list[dict[str, Any]]:
        paint(painter, scene(1).task())
        kind, seen = type(painter._loaded[1]), []
        real = kind.__call__
        bound = inspect.signature(real)
        monkeypatch.setattr(
            kind, "__call__", lambda self, **named: (seen.append(bound.bind(self, **named).arguments), real(self, **named))[1]
        )
        return seen

    return record


@EACH
@pytest.mark.parametrize("references", [1, 3])
def test_a_fill_depends_on_the_seed_and_not_on_its_company(kind, references, method) -> None:
    task = scene(references).task()
    several = fills(method(kind), task, (4, 0, 7))
    assert [fill.seed for fill in several] == [4, 0, 7] and all(fill.image.shape == (50, 77, 3) for fill in several)
    again = method(kind)
    alone = [paint(again, task, seed) for seed in (4, 0, 7)]
    assert all((fill.image == image).all() for fill, image in zip(several, alone, strict=True))
    assert apart(alone[0], alone[1])
    assert (paint(again, reveal(task), 4) == alone[0]).all()


@EACH
@pytest.mark.parametrize("size", [(31, 97), (130, 130)])
def test_any_size_comes_back(kind, size, method) -> None:
    assert paint(method(kind), scene(2, size).task()).shape == (size[1], size[0], 3)


def changed_by(painter: Any, references: int, seed: int) -> list[int]:
    """Which references, each replaced alone, change the fill."""
    task = scene(references).task()
    image = paint(painter, task, seed)
    other = photograph(55, 90, 80)
    return [
        place
        for place in range(references)
        if (paint(painter, replace(task, references=(*task.references[:place], other, *task.references[place + 1 :])), seed) != image).any()
    ]


def test_klein_reads_every_reference(method) -> None:
    painter = method("flux2-klein:4b")
    assert changed_by(painter, 3, 1) == [0, 1, 2] and changed_by(painter, 1, 1) == [0]
    assert fills(painter, scene(3).task())[0].notes[0] == "all 3 references"
    limited = method("flux2-klein:4b", references=2)
    assert all(changed_by(limited, 3, seed) == list(drawn(seed, 3, 2)) for seed in (0, 1))


def test_qwen_reads_as_many_references_as_it_was_trained_on(method) -> None:
    assert all(changed_by(method("qwen-edit"), 3, seed) == list(drawn(seed, 3, 2)) for seed in (0, 1))
    assert changed_by(method("qwen-edit", references=0), 3, 0) == [0, 1, 2]
    assert fills(method("qwen-edit"), scene(3).task(), (0,))[0].notes[0] == "reference 2, 3 of 3"


def test_kontext_reads_the_reference_that_the_seed_draws(method) -> None:
    painter = method("flux-kontext")
    assert all(changed_by(painter, 3, seed) == [one(seed, 3, 0)] for seed in (0, 1, 2))
    assert changed_by(method("flux-kontext", reference=2), 3, 0) == [1]
    assert fills(method("flux-kontext", reference=2), scene(3).task())[0].notes[0] == "reference 2 of 3"


def test_kontext_paints_seeds_with_the_same_reference_together(method, calls) -> None:
    task, painter = scene(3).task(), method("flux-kontext", batch=8)
    seen = calls(painter)
    together = fills(painter, task, range(6))
    assert [fill.seed for fill in together] == list(range(6))
    assert sum(len(call["prompt"]) for call in seen) == 6 and 1 < len(seen) == len({one(seed, 3, 0) for seed in range(6)})
    for fill in together:
        alone = fills(painter, task, (fill.seed,))[0]
        assert fill.notes == alone.notes and (np.abs(fill.image.astype(int) - alone.image).max(-1) <= 2).mean() >= 0.99


@pytest.mark.parametrize("kind", ["flux2-klein:4b", "flux-kontext"])
def test_masked_editors_get_the_blanked_target_and_start_from_noise(kind, method, calls) -> None:
    painter, task = method(kind), scene(2).task()
    seen = calls(painter)
    paint(painter, reveal(task))
    (call,) = seen
    image, mask = (shown[0] if isinstance(shown, list) else shown for shown in (call["image"], call["mask_image"]))
    mask = np.asarray(mask) > 0
    cells = mask.reshape(mask.shape[0] // 16, 16, mask.shape[1] // 16, 16)
    assert call["strength"] == 1.0 and (cells.any((1, 3)) == cells.all((1, 3))).all()
    hole = np.asarray(image)[mask]
    assert len(hole) and (np.asarray(image)[~mask] != 127).any(-1).all()
    assert (hole == 127).all(-1).mean() > 0.3


def test_the_noise_that_editors_start_from_holds_nothing_of_the_target(method, monkeypatch) -> None:
    """At strength 1 the first latents are the seed's noise, whatever the target shows."""
    painter = method("flux-kontext", reference=1)
    paint(painter, scene(1).task())
    kind = type(painter._loaded[1])
    real, latents = kind.prepare_latents, []
    monkeypatch.setattr(kind, "prepare_latents", lambda self, *all, **named: (latents.append(out := real(self, *all, **named)), out)[1])
    for seed in (0, 1):
        paint(painter, scene(1, seed=seed).task())
    (first, shown, *_, noise), (second, other, *_) = latents
    assert (first == noise).all() and (first == second).all() and (shown != other).any()


def test_qwen_gets_the_blanked_target_first_then_references(method, calls) -> None:
    painter, task = method("qwen-edit"), scene(2).task()
    seen = calls(painter)
    paint(painter, reveal(task))
    (call,) = seen
    target, *references = [np.asarray(image) for image in call["image"]]
    assert [image.tolist() for image in references] == [image.tolist() for image in task.references]
    assert (call["width"], call["height"]) == (target.shape[1], target.shape[0]) and (target == 127).all(-1).mean() > 0.1
    assert call["true_cfg_scale"] == 4.0 and call["negative_prompt"] == " " and "mask_image" not in call


@EACH
def test_the_scene_s_prompt_is_added_to_the_instruction(kind, method, calls) -> None:
    painter, task = method(kind, prompt="Fill it."), scene(1).task()
    seen = calls(painter)
    plain, worded = (fills(painter, each)[0] for each in (task, replace(task, prompt="A red tower.")))
    assert [call["prompt"] if isinstance(call["prompt"], str) else call["prompt"][0] for call in seen] == [
        "Fill it.",
        "Fill it. A red tower.",
    ]
    assert plain.notes[1] == "prompt: Fill it." and worded.notes[1] == "prompt: Fill it. A red tower."
    assert (plain.image != worded.image).any()


def test_guidance_is_for_the_undistilled_klein_alone(method) -> None:
    task = scene(1).task()
    for kind, differs in (("flux2-klein:4b", False), ("flux2-klein:base-4b", True)):
        first, second = (paint(method(kind, guidance=value), task) for value in (1.0, 6.0))
        assert bool((first != second).any()) is differs


@EACH
def test_memory_low_and_progress(kind, method) -> None:
    seen = []
    (fill,) = fills(method(kind, memory="low"), scene(1).task(), progress=lambda done, total, text="": seen.append(done / total))
    assert fill.image.shape == (50, 77, 3) and seen == [0.5, 1.0]


@EACH
def test_missing_weights_are_unsupported_cells(kind) -> None:
    (item, _) = reply(kind, {"backbone": "nobody/has-this"}, scene(1))
    assert item.head["state"] == "unsupported" and item.head["data"]["weights_missing"]


@EACH
def test_a_worker_paints_a_scene(kind, folders) -> None:
    (item, _) = reply(kind, {"backbone": folders[kind], "steps": 1, "size": 64}, scene(3))
    assert item.head.get("state", "ok") == "ok" and {"raw.png", "fill.png"} <= set(item.arrays)


@EACH
def test_another_model_s_folder_is_refused(kind, method, tmp_path) -> None:
    other = tiny_models.stable_diffusion(tmp_path / "sd")
    with pytest.raises(RealbenchError, match="expected the folder of a diffusers"):
        paint(method(kind, backbone=other), scene(1).task())


@EACH
def test_cards_and_settings(kind) -> None:
    name = kind.partition(":")[0]
    cls = load("methods", name)
    assert cls.card.stochastic and cls.card.torch and not cls.card.fits and cls.card.weights and not cls.card.published
    for preset in cls.card.presets or [None]:
        assert set(cls.weights(make(name, preset).settings)) <= set(cls.card.weights)
    for settings in ({"steps": 0}, {"size": 0}, {"guidance": -1}):
        with pytest.raises(UsageError, match=next(iter(settings))):
            make(name, **settings)


def test_klein_is_not_asked_for_more_than_its_pipeline_keeps(method, calls) -> None:
    """Its pipeline shrinks what has more than 1024² pixels, and then returns another size."""
    painter = method("flux2-klein:4b")
    seen = calls(painter)
    for size in ((77, 50), (50, 77), (61, 60)):
        paint(painter, scene(1, size).task())
    assert all(image.width * image.height <= 64**2 for call in seen for image in (call["image"], *call["image_reference"]))
    with pytest.raises(UsageError, match="size: expected at most 1024"):
        make("flux2-klein", size=1100)


def test_a_reference_the_scene_lacks_is_unsupported(method) -> None:
    with pytest.raises(Unsupported, match="reference 3 was asked for"):
        paint(method("flux-kontext", reference=3), scene(2).task())
