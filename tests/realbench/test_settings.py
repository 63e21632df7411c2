"""A row's settings in words: what differs from the method's defaults, and no folder of anyone's machine."""

from __future__ import annotations

from typing import Any

import pytest

from realbench.plan import plan_rows
from realbench.records import RowInfo
from realbench.settings import changed, shown
from tests.conftest import Plugins

PLANTED = """
from dataclasses import dataclass
from realbench.method import BaseMethod, MethodCard

PRESETS = {"fast": {"steps": 5, "rate": 2e-4}, "slow": {}}

class Planted(BaseMethod):
    card = MethodCard("planted", "Planted", "Does nothing.", presets=PRESETS, default_preset="slow")
    @dataclass(frozen=True)
    class Settings:
        steps: int = 100
        rate: float = 0.5
"""


def row(method: str, preset: str | None, settings: dict[str, Any]) -> RowInfo:
    texts = dict.fromkeys(("title", "summary", "licence", "paper"), "")
    return RowInfo(
        method=method, preset=preset, settings=settings, fingerprint="a" * 12, oracle=False, scenes=[], fits=[0], seeds=[0], **texts
    )


def asked(method: str, *settings: str) -> RowInfo:
    (found,) = plan_rows([method], settings)
    return row(found.method, found.preset, dict(found.settings))


@pytest.mark.parametrize(
    ("method", "settings", "expected"),
    [
        ("telea", [], []),
        ("telea", ["radius=9"], [("radius=9", False)]),
        ("telea", ["radius=3"], []),
        ("planted:fast", [], [("steps=5", True), ("rate=0.0002", True)]),
        ("planted:fast", ["steps=7"], [("steps=7", False), ("rate=0.0002", True)]),
        ("planted:fast", ["steps=100"], [("rate=0.0002", True)]),
        ("planted:slow", ["rate=1"], [("rate=1", False)]),
        ("prompt-inpaint:sd15", [], [("backbone=sd15", True)]),
        ("prompt-inpaint:sd2", ["backbone=owner/model"], [("backbone=owner/model", False)]),
    ],
)
def test_settings_that_differ(method: str, settings: list[str], expected: list[tuple[str, bool]], plugins: Plugins) -> None:
    plugins("methods", {"planted": "Planted"}, PLANTED)
    assert [(str(item), item.preset) for item in changed(asked(method, *settings))] == expected


def test_a_setting_that_must_be_given_is_shown_by_name() -> None:
    (found,) = changed(row("precomputed", None, {"fills": "/home/alice/secret/lama"}))
    assert str(found) == "fills=lama"


@pytest.mark.parametrize("path", ["/home/alice/models/mine", r"C:\Users\alice\mine", "~/models/mine", "../../mine"])
def test_a_folder_in_place_of_a_name_is_shown_by_its_own_name(path: str) -> None:
    settings = asked("prompt-inpaint:sd2").settings | {"backbone": path}
    assert [str(item) for item in changed(row("prompt-inpaint", "sd2", settings))] == ["backbone=mine"]


def test_a_method_that_is_gone_shows_all_settings() -> None:
    found = changed(row("gone", None, {"radius": 3.0, "folder": "/home/alice/x", "steps": 5, "name": "sd2", "flag": True}))
    assert [str(item) for item in found] == ["radius=3", "folder=x", "steps=5", "name=sd2", "flag=true"]


def test_long_values_are_cut() -> None:
    assert len(shown("prompt-inpaint", "prompt", "a" * 300)) == 80
    assert shown("realfill", "unet_lr", 2e-4) == "0.0002"
