"""Copies of images, error maps and match lines, on values that are known beforehand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from realbench.errors import SceneError
from realbench.reports import _heat, _images
from realbench.reports._images import EmbeddedImages, Images, Picture, size_of
from realbench.reports._overlay import GAP, WIDTH, counts, overlay


def picture(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("options", [{"quality": 80}, {"lossless": True}, {"quality": 80, "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}])
@pytest.mark.parametrize("size", [(1, 1), (37, 5), (640, 480)])
def test_sizes_are_read_from_the_first_bytes(tmp_path: Path, options: dict[str, object], size: tuple[int, int]) -> None:
    path = tmp_path / "a.webp"
    Image.fromarray(picture(*size)).save(path, **options)
    assert size_of(path) == size
    path.write_bytes(path.read_bytes()[:-1])
    assert size_of(path) is None, "cut short"


@pytest.mark.parametrize("content", [b"", b"cut short", b"RIFF" + bytes(40), b"\x89PNG" + bytes(60)])
def test_what_is_no_copy_has_no_size(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.webp").write_bytes(content)
    assert size_of(tmp_path / "a.webp") is None
    assert size_of(tmp_path / "absent") is None


def test_a_copy_tells_what_it_was_made_from(tmp_path: Path) -> None:
    images = Images(tmp_path)
    made = images.picture("key", lambda: (picture(700, 350), None), (320, 1024))
    assert (made.width, made.height) == (320, 160)
    assert images.original_size(made) == (700, 350)
    Image.fromarray(picture(20, 10)).save(tmp_path / made.large)
    assert Images(tmp_path).original_size(made) is None


def test_a_picture_is_made_once_and_asked_for_once(tmp_path: Path) -> None:
    calls = []

    def source() -> tuple[np.ndarray, None]:
        calls.append(1)
        return picture(20, 10), None

    images = Images(tmp_path)
    assert images.picture("key", source) == images.picture("key", source) == Images(tmp_path).picture("key", source)
    assert len(calls) == 1
    images.picture("key", source, (128,))
    assert len(calls) == 2 and len(list((tmp_path / "images").iterdir())) == 3


def test_many_pictures_come_in_order_and_errors_in_their_place(tmp_path: Path) -> None:
    def broken() -> tuple[np.ndarray, None]:
        raise SceneError("gone")

    jobs = [(str(width), (lambda width=width: (picture(width, 8), None)), (128,)) for width in (10, 20, 30)]
    found = Images(tmp_path).pictures([jobs[0], ("bad", broken, (128,)), *jobs[1:]])
    assert [item.width if isinstance(item, Picture) else str(item) for item in found] == [10, "gone", 20, 30]


def test_embedded_pictures_keep_to_their_budget(tmp_path: Path) -> None:
    one = len(_images.encode(picture(300, 300), None, 320))
    images = EmbeddedImages(tmp_path, one + 10)
    made = images.picture("a", lambda: (picture(300, 300), None))
    assert made.small.startswith("data:image/webp;base64,") and made.large == made.small
    assert images.picture("a", lambda: (picture(300, 300), None)) == made, "the same picture costs once"
    with pytest.raises(SceneError, match="left out of this file"):
        images.picture("b", lambda: (picture(301, 301), None))
    assert images.left == 10 and images.left_out == 1


def test_error_maps_colour_the_hole_alone() -> None:
    truth = np.full((2, 3, 3), 100, np.uint8)
    fill = truth.copy()
    fill[0, 1] = (103, 104, 100)  # √(25/3) = 2.887 levels, × 255/128 = 5.75
    fill[0, 2] = (255, 255, 255)  # 155 levels: past the range
    fill[1, 2] = (0, 0, 0)  # outside the hole
    hole = np.array([[True, True, True], [False, False, False]])
    found = _heat.heat_map(fill, truth, hole)
    assert found.dtype == np.uint8 and found.shape == (2, 3, 3)
    # viridis, https://bids.github.io/colormap: its first, its seventh (.274952, .037752, .364543) and its last colour
    assert [tuple(found[0, at].tolist()) for at in range(3)] == [(68, 1, 84), (70, 10, 93), (253, 231, 37)]
    assert (found[1] == 58).all()


def test_the_legend_runs_from_end_to_end() -> None:
    stops = _heat.stops()
    assert stops[0] == ("0%", "#440154") and stops[-1] == ("100%", "#fde725") and len(stops) == 9


def test_the_name_of_an_error_map_depends_on_all_it_is_made_of() -> None:
    keys = {_heat.key(*words) for words in (("a", "b", "c"), ("x", "b", "c"), ("a", "x", "c"), ("a", "b", "x"), ("b", "a", "c"))}
    assert len(keys) == 5


COPY = Picture("images/a.webp", "images/b.webp", 320, 160)


def test_lines_join_points_of_the_originals() -> None:
    # The target is 100 × 50, so a pixel is 6.4 units; the reference 600 × 300 in 300 × 150: half a unit a pixel.
    found = overlay({"lines": [[0, 600, 300, 100, 50], [0, 0, 0, 50, 25]]}, COPY, (100, 50), [(COPY, (600, 300))])
    assert found is not None
    assert (found.fill.x, found.fill.width, found.fill.height) == (300 + GAP, WIDTH, 320)
    assert [(item.x, item.y, item.width, item.height) for item in found.references] == [(0, 0, 300, 150)]
    assert [(bundle.series, bundle.path) for bundle in found.bundles] == [(1, "M300 150L964 320M0 0L644 160")]
    assert (found.width, found.height, found.lines) == (964, 320, 2)


def test_references_stand_below_each_other_at_one_edge() -> None:
    found = overlay({"lines": [[1, 0, 0, 0, 0]]}, COPY, (100, 100), [(COPY, (600, 300)), (COPY, (100, 400))])
    assert found is not None
    first, second = found.references
    assert (first.x, first.y, first.width, first.height) == (0, 0, 300, 150)
    assert (second.x, second.y, second.width, second.height) == (300 - 78.5, 162, 78.5, 314)
    assert [(bundle.series, bundle.path) for bundle in found.bundles] == [(2, f"M222 162L{300 + GAP} 0")]


def test_points_outside_are_drawn_at_the_edge() -> None:
    found = overlay({"lines": [[0, -50, 9999, 9999, -3]]}, COPY, (100, 50), [(COPY, (600, 300))])
    assert found is not None and found.bundles[0].path == "M0 150L964 0"


@pytest.mark.parametrize("artefacts", [{}, {"lines": []}, {"lines": None}, {"lines": [[0, 1, 1, 1]]}, {"lines": [[1, 1, 1, 1, 1]]}])
def test_nothing_to_draw(artefacts: dict[str, object]) -> None:
    assert overlay(artefacts, COPY, (100, 50), [(COPY, (600, 300))]) is None


def test_counts_are_numbers_or_nothing() -> None:
    assert counts({"counts": [1, 2.5, "x", float("nan"), True]}) == [1, 2.5]
    assert counts({"counts": "12"}) == counts({}) == []
