from __future__ import annotations

import inspect
from dataclasses import asdict, fields

import cv2
import numpy as np
import pytest
from skimage import data

from realbench.errors import Unsupported, UsageError
from realbench.method import Context
from realbench.methods import _warp
from realbench.methods.reference_warp import ReferenceWarp
from realbench.methods.telea import Telea

PICTURE = cv2.resize(data.coffee(), (120, 80), interpolation=cv2.INTER_AREA)
MASK = np.zeros((80, 120), bool)
MASK[30:50, 40:80] = True


def test_its_settings_are_those_of_the_algorithm() -> None:
    options = {
        name: option.default
        for name, option in inspect.signature(_warp.complete).parameters.items()
        if option.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert asdict(ReferenceWarp.Settings()) == options


def test_task_and_settings_go_in_and_image_and_notes_come_out(monkeypatch, make_task) -> None:
    calls = []

    def fake(*arguments, **options):
        calls.append((arguments, options))
        return _warp.Completion(PICTURE, ("2 of 4 references matched",))

    monkeypatch.setattr(_warp, "complete", fake)
    task = make_task(PICTURE, MASK)
    settings = ReferenceWarp.Settings(max_side=100, sweep_side=50, max_references=2)
    image, notes = ReferenceWarp(settings).complete(task, 0, Context())
    assert image is PICTURE and notes == ("2 of 4 references matched",)
    [((references, target, mask), options)] = calls
    assert references is task.references and target is task.target and mask is task.mask
    assert options == {"max_side": 100, "sweep_side": 50, "max_references": 2}


@pytest.mark.parametrize("rows", [slice(30, 50), slice(50, None)], ids=["inside", "at the border"])
def test_without_a_match_it_fills_like_telea_and_says_so(rows, make_task) -> None:
    mask = np.zeros((80, 120), bool)
    mask[rows, 40:80] = True
    task = make_task(PICTURE, mask, [np.full((60, 90, 3), 80, np.uint8)])
    image, notes = ReferenceWarp().complete(task, 0, Context())
    assert (image == Telea().complete(task, 0, Context())[0]).all()
    assert any("telea" in note for note in notes)


def test_under_a_full_mask_it_is_unsupported(make_task) -> None:
    with pytest.raises(Unsupported, match="nothing is known"):
        ReferenceWarp().complete(make_task(PICTURE, np.ones((80, 120), bool)), 0, Context())


@pytest.mark.parametrize("name", [field.name for field in fields(ReferenceWarp.Settings)])
def test_settings_too_small_are_refused(name) -> None:
    with pytest.raises(UsageError, match=name):
        ReferenceWarp.Settings(**{name: 0})
