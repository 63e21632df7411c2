"""Copies of images that reports of one run share, wherever they are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from realbench.reports import _images
from realbench.reports._gallery import SHELF
from realbench.reports._images import Images
from realbench.reports.html import HTML
from realbench.results import load_run
from tests.making import Made


class Source:
    """Counts how often a picture is made."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> tuple[np.ndarray, None]:
        self.calls += 1
        return np.full((30, 40, 3), 90, np.uint8), None


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("links", [True, False])
def test_a_second_folder_takes_its_copies_from_the_shelf(links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", lambda *_: (_ for _ in ()).throw(OSError(95, "no links here")))
    source, shelf = Source(), tmp_path / "shelf"
    first = Images(tmp_path / "a", shelf).picture("key", source)
    second = Images(tmp_path / "b", shelf).picture("key", source)
    assert first == second and source.calls == 1
    assert names(tmp_path / "a" / "images") == names(tmp_path / "b" / "images") == names(shelf) and len(names(shelf)) == 2
    one, other = tmp_path / "a" / first.small, tmp_path / "b" / first.small
    assert one.read_bytes() == other.read_bytes() and one.samefile(other) == links


def test_a_copy_that_is_cut_short_on_the_shelf_is_made_again_and_put_there(tmp_path: Path) -> None:
    source, shelf = Source(), tmp_path / "shelf"
    made = Images(tmp_path / "a", shelf).picture("key", source, (128,))
    whole = (tmp_path / "a" / made.small).read_bytes()
    (shelf / Path(made.small).name).unlink()
    (shelf / Path(made.small).name).write_bytes(whole[:-1])
    Images(tmp_path / "b", shelf).picture("key", source, (128,))
    assert source.calls == 2
    assert (shelf / Path(made.small).name).read_bytes() == (tmp_path / "b" / made.small).read_bytes() == whole


def test_a_shelf_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "shelf").write_text("a file")
    source = Source()
    made = Images(tmp_path / "a", tmp_path / "shelf").picture("key", source)
    assert source.calls == 1 and (tmp_path / "a" / made.small).is_file()


def test_without_a_shelf_none_is_made(tmp_path: Path) -> None:
    Images(tmp_path / "a").picture("key", Source())
    assert names(tmp_path) == ["a"]


def test_a_report_written_elsewhere_encodes_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(tmp_path / "run")
    for scene in ("a", "b"):
        made.scene(scene, truth=False)
    made.row("row", seeds=[0, 1])
    for scene, seed in (("a", 0), ("a", 1), ("b", 0), ("b", 1)):
        made.score("row", scene, 20.0, seed=seed)
    results = load_run(made.write())
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        HTML().write(load_run(results.runs[0][1].root), tmp_path / name)
        monkeypatch.setattr(_images, "encode", lambda *_, **__: pytest.fail("made again"))
    assert names(tmp_path / "one" / "images") == names(tmp_path / "two" / "images") == names(tmp_path / "run" / SHELF) != []
