"""Sweeps and transfer: a grid of settings as rows of one table, and a fitted model on an image that was not in the fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import realbench
from realbench.cli.sweeping import grid
from realbench.errors import RealbenchError, UsageError, WeightsMissing
from realbench.transfer import transfer
from tests.conftest import Plugins, photograph
from tests.realbench.test_bench import CLASSES, METHODS
from tests.test_cli import realbench as command


@pytest.mark.parametrize(
    ("over", "rows"),
    [
        (["steps=1,2"], ["m=m steps:1", "m=m steps:2"]),
        (["a=1,2,b=x"], ["m=m a:1 b:x", "m=m a:2 b:x"]),
        (["a=1,2", "b=x,y"], ["m=m a:1 b:x", "m=m a:1 b:y", "m=m a:2 b:x", "m=m a:2 b:y"]),
        (["a=./x/one,two/"], ["m=m a:one", "m=m a:two"]),
        (["a=x/one,y/one"], ["m=m 1", "m=m 2"]),
        (["a='1',2"], ["m=m 1", "m=m 2"]),
        ([f"a={'x' * 80},2"], ["m=m 1", "m=m 2"]),
        (['"a=1, 2",3'], ["m=m 1", "m=m 2"]),
    ],
)
def test_grids(over: list[str], rows: list[str]) -> None:
    assert grid("m", over)[0] == rows


def test_every_row_gets_its_own_settings() -> None:
    rows, settings = grid("m:p=L", ["a=1,2,b=0.5"])
    assert rows == ["m:p=L a:1 b:0.5", "m:p=L a:2 b:0.5"]
    assert settings == ["L a:1 b:0.5.a=1", "L a:1 b:0.5.b=0.5", "L a:2 b:0.5.a=2", "L a:2 b:0.5.b=0.5"]


def test_a_value_with_a_comma_is_one_value() -> None:
    rows, settings = grid("m", ['"a=x, y",z', "b=1"])
    assert rows == ["m=m 1", "m=m 2"] and settings == ["m 1.a=x, y", "m 1.b=1", "m 2.a=z", "m 2.b=1"]


@pytest.mark.parametrize("over", [["steps"], ["1,2"], [""], ['"a=1'], ["a=1,1"], ["a=1", "a=2"], [f"a={','.join('x' * 300)}"]])
def test_grids_that_cannot_be_meant(over: list[str]) -> None:
    with pytest.raises(UsageError, match="--over"):
        grid("m", over)


def test_a_sweep_is_one_table(suite: Path, tmp_path: Path, plugins: Plugins) -> None:
    site = plugins("methods", CLASSES, METHODS).parent
    words = ["sweep", "-m", "good", "--over", "level=10,200", "--scenes", suite, "--metric", "psnr"]
    assert command(*words, cwd=tmp_path, site=site).returncode == 0
    scores = realbench.load_run(tmp_path / "runs" / "suite-sweep").scores().query("state == 'ok'")
    means = scores.groupby("label")["value"].mean()
    assert list(means.index) == ["good level:10", "good level:200"] and means.nunique() == 2


@pytest.fixture
def fitted(suite: Path, tmp_path: Path, plugins: Plugins) -> Path:
    """A run with a finished fit on scene `a`."""
    plugins("methods", CLASSES, METHODS)
    realbench.run(["fitting", "good"], scenes=suite, scene=["a"], metrics=["drift"], out=tmp_path / "run")
    return tmp_path / "run"


def test_transfer_fills_another_image_with_the_fitted_model(fitted: Path, tmp_path: Path) -> None:
    picture, mask = photograph(77, 61, 35), np.zeros((35, 61), np.uint8)
    mask[5:20, 30:50] = 255
    Image.fromarray(picture).save(tmp_path / "other.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    paths = transfer(fitted, "fitting", "a", tmp_path / "other.png", tmp_path / "mask.png", tmp_path / "out", seeds=(0, 3))
    assert [path.name for path in paths] == ["seed-0.png", "seed-3.png"]
    level = int(next(fitted.rglob("state/level")).read_text())
    fill = np.asarray(Image.open(paths[0]))
    assert (fill[mask > 0] == level).all() and (fill[25:] == picture[25:]).all()
    assert (fitted.parent / "site" / "calls").read_text().count("fit a") == 1  # loaded, not fitted again


@pytest.mark.parametrize(
    ("label", "scene", "message"),
    [
        ("none", "a", "known: fitting, good"),
        ("good", "a", "does not fit"),
        ("fitting", "b", "no finished fit"),
        ("fitting", "z", "no finished fit"),
    ],
)
def test_transfer_says_what_is_missing(fitted: Path, tmp_path: Path, label: str, scene: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        transfer(fitted, label, scene, tmp_path / "x.png", tmp_path / "y.png", tmp_path / "out")


def test_transfer_needs_an_image_and_a_mask_that_go_together(fitted: Path, tmp_path: Path) -> None:
    Image.fromarray(photograph(1)).save(tmp_path / "image.png")
    for name, mask, message in (
        ("small.png", np.full((5, 5), 255, np.uint8), "equal sizes"),
        ("empty.png", np.zeros((32, 48), np.uint8), "empty"),
    ):
        Image.fromarray(mask).save(tmp_path / name)
        with pytest.raises(RealbenchError, match=message):
            transfer(fitted, "fitting", "a", tmp_path / "image.png", tmp_path / name, tmp_path / "out")


def test_transfer_without_weights_ends_like_a_run_without_weights(suite: Path, tmp_path: Path, plugins: Plugins) -> None:
    plugins(
        "methods",
        {"forgetful": "Forgetful"},
        """
from pathlib import Path
from realbench.errors import WeightsMissing
from realbench.method import BaseMethod, MethodCard

class Forgetful(BaseMethod):
    card = MethodCard("forgetful", "Forgetful", "Its weights are gone after the fit.", fits=True)
    def fit(self, task, *, seed, context): ...
    def save(self, folder):
        (folder / "state").write_text("fitted")
    def complete(self, task, seed, context):
        if task.mask.all():
            raise WeightsMissing("weights w are not on this machine")
        return task.target, ()
""",
    )
    realbench.run(["forgetful"], scenes=suite, scene=["a"], metrics=["drift"], out=tmp_path / "run")
    image, mask = tmp_path / "other.png", tmp_path / "mask.png"
    Image.fromarray(photograph(1)).save(image)
    Image.fromarray(np.full(photograph(1).shape[:2], 255, np.uint8)).save(mask)
    with pytest.raises(WeightsMissing, match=r"seed 0: weights w are not on this machine"):
        transfer(tmp_path / "run", "forgetful", "a", image, mask, tmp_path / "out")
