"""What --method NAME and --method all stand for, and what is said where a default is not the paper's."""

from __future__ import annotations

from pathlib import Path

import pytest

from realbench import registry
from realbench.errors import UsageError
from realbench.plan import plan_rows
from realbench.specs import Spec, lacking, said, specs
from tests.conftest import Plugins

SOURCE = """
from dataclasses import dataclass
from realbench.errors import UsageError
from realbench.method import BaseMethod, MethodCard, Weights

SMALL, LARGE = (Weights(name, f"someone/{name}", licence="MIT", files=("config.json",)) for name in ("small", "large"))

@dataclass(frozen=True)
class Size:
    model: str = "large"

class Sized(BaseMethod):
    card = MethodCard("sized", "Sized", "One of two models.", weights=(SMALL, LARGE), presets={"small": {"model": "small"}, "large": {}},
                      default_preset="small", paper_preset="large")
    Settings = Size
    @classmethod
    def weights(cls, settings): return (SMALL if settings.model == "small" else LARGE,)
    def complete(self, task, seed, context): ...

@dataclass(frozen=True)
class Needy:
    folder: str = ""
    def __post_init__(self):
        if not self.folder: raise UsageError("no folder is named")

class Asks(BaseMethod):
    card = MethodCard("asks", "Asks", "Needs a setting.")
    Settings = Needy
    def complete(self, task, seed, context): ...

@dataclass(frozen=True)
class Required:
    folder: str

class Demands(BaseMethod):
    card = MethodCard("demands", "Demands", "Has a setting without default.")
    Settings = Required
    def complete(self, task, seed, context): ...

class Same(BaseMethod):
    card = MethodCard("same", "Same", "Its default is the paper's.", presets={"paper": {}}, default_preset="paper", paper_preset="paper")
    def complete(self, task, seed, context): ...
"""
PLANTED = ["asks", "demands", "same", "sized"]


@pytest.fixture(autouse=True)
def planted(plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins("methods", {"asks": "Asks", "demands": "Demands", "same": "Same", "sized": "Sized"}, SOURCE)
    monkeypatch.setenv("REALBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(registry, "names", lambda kind: PLANTED)


def folder(root: Path, name: str) -> None:
    (root / name).mkdir()
    (root / name / "config.json").write_text("{}")


def test_a_default_that_is_not_the_papers_is_said() -> None:
    line = "sized without a preset is sized:small, not the paper's model; for that type --method sized:large"
    assert said(["sized", "sized=Mine"]) == [line]
    assert said(["sized:small", "sized:large=Paper", "same", "asks"]) == []


def test_all_is_what_this_machine_has_weights_for(tmp_path: Path) -> None:
    assert [spec.name for spec in specs(["all"])] == ["same"]
    folder(tmp_path, "large")
    assert [spec.name for spec in specs(["all"])] == ["same"], "its default needs the other model"
    folder(tmp_path, "small")
    assert specs(["all"]) == [Spec("same", None, None), Spec("sized", None, None)]
    assert [row.label for row in plan_rows(["all"])] == ["same:paper", "sized:small"]


def test_all_says_what_it_leaves_out_and_what_to_do() -> None:
    assert said(["all"]) == [
        "all leaves out asks: no folder is named",
        "all leaves out demands: " + lacking("demands"),
        "all leaves out sized: this machine lacks its weights (small): realbench weights pull small",
    ]
    assert "folder" in lacking("demands")


def test_what_is_named_beside_all_is_not_named_twice(tmp_path: Path) -> None:
    folder(tmp_path, "small")
    folder(tmp_path, "large")
    assert [row.label for row in plan_rows(["sized:large=Big", "all"])] == ["Big", "same:paper"]


@pytest.mark.parametrize("text", ["all:fast", "all=Everything"])
def test_all_takes_neither_preset_nor_label(text: str) -> None:
    with pytest.raises(UsageError, match="neither preset nor label"):
        specs([text])
