from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from realbench.errors import RealbenchError, SceneError, Unsupported, UsageError
from realbench.method import Context
from realbench.methods.precomputed import Precomputed

PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
MASK = np.zeros((20, 30), bool)
MASK[3:9, 5:] = True


@pytest.fixture
def fills(tmp_path: Path) -> Path:
    folder = tmp_path / "fills"
    (folder / "garden").mkdir(parents=True)
    Image.fromarray(255 - PICTURE).save(folder / "garden" / "7.png")
    return folder


@pytest.fixture
def complete(fills: Path, make_task):
    def run(scene: str = "garden", seed: int = 7, folder: object = fills):
        return Precomputed(Precomputed.Settings(str(folder))).complete(make_task(PICTURE, MASK, scene=scene), seed, Context())

    return run


def test_the_file_of_scene_and_seed_is_the_fill(complete, fills) -> None:
    image, notes = complete()
    assert (image == 255 - PICTURE).all() and list(notes) == []
    assert Precomputed.card.stochastic


def test_no_folder_named_is_a_usage_error_that_says_how(complete, tmp_path) -> None:
    with pytest.raises(UsageError, match=r"--set precomputed\.fills=FOLDER"):
        complete(folder="")
    with pytest.raises(UsageError, match="nowhere: expected a folder"):
        complete(folder=tmp_path / "nowhere")


@pytest.mark.parametrize(("scene", "seed", "name"), [("garden", 8, "garden/8.png"), ("attic", 7, "attic/7.png")])
def test_a_missing_file_is_a_failure_that_names_it(complete, fills, scene, seed, name) -> None:
    (fills / "garden" / "8.jpg").write_bytes(b"a JPEG does not count")
    with pytest.raises(RealbenchError, match=name):
        complete(scene, seed)


@pytest.mark.parametrize("scene", ["", ".", "..", "../fills/garden", "garden/../garden", "/etc", "a\\b", "C:", "a\0b"])
def test_a_scene_id_that_is_no_folder_name_is_refused(complete, fills, scene) -> None:
    Image.fromarray(PICTURE).save(fills / "7.png")
    Image.fromarray(PICTURE).save(fills.parent / "7.png")
    with pytest.raises(UsageError, match="no plain folder name"):
        complete(scene)


def test_links_may_not_lead_out_of_the_folder_but_the_folder_may_be_a_link(complete, fills, tmp_path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    Image.fromarray(PICTURE).save(outside / "7.png")
    (fills / "attic").symlink_to(outside)
    (fills / "garden" / "8.png").symlink_to(outside / "7.png")
    (fills / "garden" / "9.png").symlink_to("7.png")
    (fills / "garden" / "10.png").symlink_to("10.png")
    for scene, seed in (("attic", 7), ("garden", 8)):
        with pytest.raises(UsageError, match="outside the folder"):
            complete(scene, seed)
    with pytest.raises(RealbenchError, match="no such file"):
        complete("garden", 10)
    assert (complete("garden", 9)[0] == 255 - PICTURE).all()
    (tmp_path / "link").symlink_to(fills)
    assert (complete(folder=tmp_path / "link")[0] == 255 - PICTURE).all()


def test_a_wrong_size_says_file_expected_and_found(complete, fills) -> None:
    Image.fromarray(PICTURE.transpose(1, 0, 2)).save(fills / "garden" / "8.png")
    with pytest.raises(RealbenchError, match=r"8\.png: expected .* 30×20, found 20×30") as caught:
        complete(seed=8)
    assert not isinstance(caught.value, Unsupported)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_other_formats_are_refused_whatever_their_name(complete, fills, kind) -> None:
    Image.fromarray(PICTURE).save(fills / "garden" / "8.png", kind)
    with pytest.raises(RealbenchError, match="expected PNG data"):
        complete(seed=8)


def test_a_truncated_file_is_an_error_and_transparency_a_note(complete, fills) -> None:
    path = fills / "garden" / "8.png"
    path.write_bytes((fills / "garden" / "7.png").read_bytes()[:200])
    with pytest.raises(SceneError, match=r"8\.png"):
        complete(seed=8)
    rgba = np.dstack([PICTURE, np.full((20, 30), 255, np.uint8)])
    rgba[0, 0] = 0
    Image.fromarray(rgba).save(path)
    image, notes = complete(seed=8)
    assert (image[0, 0] == 255).all() and (image[1:] == PICTURE[1:]).all() and "transparent" in notes[0]
