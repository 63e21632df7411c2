"""The embedded suite: what it holds, that its records are true, and that its cache survives anything."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
import skimage.data

from realbench import demo
from realbench.camera import Shot, photograph, project
from realbench.demo_scenes import SOURCES, blob, ellipse, rectangle, strips
from realbench.errors import SceneError
from realbench.image import read_mask, read_rgb
from realbench.suite import open_suite

REPHOTOGRAPHED = [source.id for source in SOURCES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The suite, built with every socket refused."""

    def refuse(*_, **__):
        raise AssertionError("the build reached for the network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", refuse)
        patch.setattr(socket, "create_connection", refuse)
        return demo.build(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def scenes(folder):
    suite = open_suite(folder)
    return {scene_id: suite.load(scene_id) for scene_id in suite.ids}


# --- content ----------------------------------------------------------------------------------------------------------------------


def test_six_scenes_load_without_a_warning(scenes):
    assert sorted(scenes) == ["astronaut", "chelsea", "coffee", "hubble", "motorcycle", "rocket"]
    for scene in scenes.values():
        assert scene.warnings == ()
        assert scene.title
        assert scene.licence
        assert scene.tags
        assert scene.prompt.startswith("a photo of ")


def test_variety(scenes):
    counts = [len(scene.references) for scene in scenes.values()]
    shares = sorted(scene.hole_share for scene in scenes.values())
    kinds = [scene.hole_kind for scene in scenes.values()]
    assert set(counts) == {1, 2, 3, 4, 5}
    assert 0.08 <= shares[0] < 0.1
    assert 0.43 < shares[-1] <= 0.45
    assert max(b - a for a, b in pairwise(shares)) < 0.15
    assert kinds.count("outpainting") == kinds.count("inpainting") == 3
    sizes = {scene.size for scene in scenes.values()}
    assert {width > height for width, height in sizes} == {True, False}
    assert all(width != height for width, height in sizes)
    assert len({image.shape for image in scenes["rocket"].references}) == 5


def test_sizes_and_files(folder, scenes):
    for scene in scenes.values():
        for image in (scene.truth, *scene.references):
            assert 192 <= min(image.shape[:2]) <= max(image.shape[:2]) <= 512
    files = {path.suffix for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")}
    assert files == {".png", ".toml"}
    assert read_mask(folder / "rocket/target/mask.png")[1] == []


def test_target_is_the_truth_with_a_white_hole(scenes):
    for scene in scenes.values():
        assert (scene.target[scene.mask] == 255).all()
        np.testing.assert_array_equal(scene.target[~scene.mask], scene.truth[~scene.mask])
        assert (scene.truth[scene.mask] == 255).all(axis=1).mean() < 0.1


def test_stereo_pair_keeps_its_parallax(scenes):
    """The published disparity, scaled, takes each of the target's pixels to its like in the reference."""
    scene = scenes["motorcycle"]
    assert scene.size == (512, 345)
    disparity = cv2.resize(skimage.data.stereo_motorcycle()[2], (512, 345), interpolation=cv2.INTER_NEAREST) * 512 / 741
    y, x = np.mgrid[:345, :512].astype(np.float32)
    found = np.isfinite(disparity) & (x + disparity < 511)
    moved = cv2.remap(scene.references[0], np.where(found, x + disparity, 0).astype(np.float32), y, cv2.INTER_LINEAR)
    aligned, still = (np.abs(image.astype(int) - scene.truth)[found & scene.mask].mean() for image in (moved, scene.references[0]))
    assert aligned < 0.5 * still
    assert np.ptp(disparity[found & scene.mask]) > 10


@pytest.mark.parametrize("name", REPHOTOGRAPHED)
def test_references_show_the_hole_and_are_no_copies(scenes, name):
    scene = scenes[name]
    record = scene.extra["camera"]
    hole = np.argwhere(scene.mask)[:, ::-1].astype(float)
    seen_by_any = np.zeros(len(hole), bool)
    assert len(record["references"]) == len(scene.references)
    for shot, image in zip(record["references"], scene.references, strict=True):
        height, width = image.shape[:2]
        assert shot["size"] == [width, height]
        across = np.array(shot["homography"]) @ np.linalg.inv(record["target"]["homography"])
        points = project(across, hole)
        seen = ((points >= 0) & (points <= (width - 1, height - 1))).all(axis=1)
        assert seen.mean() >= 0.75
        assert np.linalg.norm(points - hole, axis=1).min() > 2
        seen_by_any |= seen
    assert seen_by_any.mean() >= 0.98


@pytest.mark.parametrize("name", REPHOTOGRAPHED)
def test_recorded_homographies_align_the_photographs(scenes, name):
    scene = scenes[name]
    record = scene.extra["camera"]
    truth = cv2.cvtColor(scene.truth, cv2.COLOR_RGB2GRAY)
    for shot, image in zip(record["references"], scene.references, strict=True):
        back = np.array(record["target"]["homography"]) @ np.linalg.inv(shot["homography"])
        aligned = cv2.warpPerspective(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), back, scene.size)
        inside = cv2.warpPerspective(np.ones(image.shape[:2], np.uint8), back, scene.size, flags=cv2.INTER_NEAREST) == 1
        pixels = inside & scene.mask
        assert np.corrcoef(aligned[pixels], truth[pixels])[0, 1] > 0.85
        off = np.roll(aligned, 8, axis=1)
        assert np.corrcoef(off[pixels], truth[pixels])[0, 1] < np.corrcoef(aligned[pixels], truth[pixels])[0, 1]


@pytest.mark.parametrize("name", REPHOTOGRAPHED)
def test_scene_toml_holds_all_that_the_photographs_depend_on(scenes, name):
    scene = scenes[name]
    record = scene.extra["camera"]
    source = demo._photo(record["source"])
    assert record["source_size"] == [source.shape[1], source.shape[0]]
    for shot, image in zip([record["target"], *record["references"]], [scene.truth, *scene.references], strict=True):
        values = {key: value for key, value in shot.items() if key not in ("size", "homography")}
        np.testing.assert_array_equal(photograph(source, Shot(**values), tuple(shot["size"])), image)


def test_neither_a_copy_nor_a_view_of_something_else_becomes_a_reference(monkeypatch):
    """The first seed draws the target's own shot, the second one that looks away, the third a good one."""
    source = replace(SOURCES[0], view=(200, 160), references=((200, 160),), hole=rectangle(0, 0, 0.3, 1))
    drawn = [Shot(), Shot(pan=8), Shot(pan=-2)]
    asked = []
    monkeypatch.setattr(demo.camera, "draw", lambda seed, *_: (asked.append(seed), drawn[len(asked) - 1])[1])
    mask = demo._mask(source.hole, source.view)
    assert demo._reference(source, (512, 512), Shot(), mask, 0) == drawn[2]
    assert len(set(asked)) == 3


def test_two_builds_are_equal_to_the_byte(folder, tmp_path):
    again = demo.build(tmp_path / "new" / "cache")
    assert demo._digests(again) == demo._digests(folder)
    assert (again / demo.MANIFEST).read_bytes() == (folder / demo.MANIFEST).read_bytes()


# --- holes ------------------------------------------------------------------------------------------------------------------------

HOLES = [
    (rectangle(0.2, 0.25, 0.6, 0.75), 0.2),
    (ellipse(0.5, 0.5, 0.3, 0.2), np.pi * 0.06),
    (strips(left=0.3, top=0.2), 1 - 0.7 * 0.8),
    (strips(right=0.1, bottom=0.5), 1 - 0.9 * 0.5),
]


@pytest.mark.parametrize(("hole", "share"), HOLES)
def test_hole_shares(hole, share):
    mask = demo._mask(hole, (200, 120))
    assert mask.shape == (120, 200)
    assert mask.mean() == pytest.approx(share, abs=0.01)


def test_hole_places():
    mask = demo._mask(rectangle(0.5, 0, 1, 0.25), (8, 4))
    assert np.argwhere(mask).tolist() == [[0, 4], [0, 5], [0, 6], [0, 7]]
    assert demo._mask(strips(left=0.25, top=0.25), (8, 4))[1].tolist() == [True] * 2 + [False] * 6


def test_a_blob_is_one_piece_without_corners_on_the_border():
    for seed in range(10):
        mask = demo._mask(blob(0.5, 0.5, 0.25, seed), (120, 100)).astype(np.uint8)
        assert cv2.connectedComponents(mask)[0] == 2
        assert not (mask[[0, -1]].any() or mask[:, [0, -1]].any())
    assert (demo._mask(blob(0.5, 0.5, 0.25, 1), (99, 70)) != demo._mask(blob(0.5, 0.5, 0.25, 2), (99, 70))).any()


# --- the cache --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(monkeypatch):
    """Two scenes of a few bytes instead of the real ones; returns how often they were made."""
    made = []

    def content():
        made.append(1)
        yield "one", {"ref/0.png": b"r", "scene.toml": b""}
        yield "two", {"ref/0.png": b"s", "target/gt.png": b"t"}

    monkeypatch.setattr(demo, "_content", content)
    return made


def test_built_once(tiny, tmp_path):
    first = demo.build(tmp_path)
    assert first == tmp_path / "demo"
    assert demo.build(tmp_path) == first
    assert len(tiny) == 1
    assert sorted(path.name for path in first.iterdir()) == [demo.MANIFEST, "one", "two"]
    assert {path.name for path in tmp_path.iterdir()} <= {"demo", ".demo.lock"}


def _set_version(suite, version):
    path = suite / demo.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": version}))


DAMAGE = {
    "file missing": lambda suite: (suite / "one/ref/0.png").unlink(),
    "file changed": lambda suite: (suite / "two/target/gt.png").write_bytes(b"x"),
    "file truncated": lambda suite: (suite / "two/target/gt.png").write_bytes(b""),
    "file too many": lambda suite: (suite / "one/ref/1.png").write_bytes(b"r"),
    "scene missing": lambda suite: shutil.rmtree(suite / "two"),
    "manifest missing": lambda suite: (suite / demo.MANIFEST).unlink(),
    "manifest broken": lambda suite: (suite / demo.MANIFEST).write_bytes(b'{"version": "1", "fi'),
    "manifest of another kind": lambda suite: (suite / demo.MANIFEST).write_bytes(b"[1]"),
    "manifest not text": lambda suite: (suite / demo.MANIFEST).write_bytes(b"\xff\xfe\x00"),
    "older version": lambda suite: _set_version(suite, "0"),
    "newer version": lambda suite: _set_version(suite, "99"),
    "a file in its place": lambda suite: (shutil.rmtree(suite), suite.write_bytes(b"x")),
    "empty folder": lambda suite: (shutil.rmtree(suite), suite.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_whatever_is_not_whole_is_built_anew(tiny, tmp_path, damage):
    suite = demo.build(tmp_path)
    whole = demo._digests(suite)
    DAMAGE[damage](suite)
    assert not demo.is_whole(suite)
    demo.build(tmp_path)
    assert demo.is_whole(suite)
    assert demo._digests(suite) == whole
    assert len(tiny) == 2


def test_hidden_files_of_the_desktop_do_no_harm(tiny, tmp_path):
    (demo.build(tmp_path) / "one/ref/.DS_Store").write_bytes(b"x")
    demo.build(tmp_path)
    assert len(tiny) == 1


def test_a_build_that_fails_leaves_what_was_there(tiny, tmp_path, monkeypatch):
    suite = demo.build(tmp_path)
    monkeypatch.setattr(demo, "VERSION", "2")

    def broken():
        yield "one", {"ref/0.png": b"new"}
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(demo, "_content", broken)
        with pytest.raises(SceneError, match="No space left on device"):
            demo.build(tmp_path)
    assert (suite / "one/ref/0.png").read_bytes() == b"r"
    assert {path.name for path in tmp_path.iterdir()} <= {"demo", ".demo.lock"}
    assert demo.is_whole(demo.build(tmp_path))


def test_cache_folder(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv(demo.CACHE_VARIABLE, str(tmp_path / "by variable"))
    assert demo.build() == tmp_path / "by variable" / "demo"
    assert demo.build(tmp_path / "given") == tmp_path / "given" / "demo"
    monkeypatch.delenv(demo.CACHE_VARIABLE)
    assert demo.default_cache().name == "realbench"


def test_a_cache_that_cannot_be_written_is_said_so(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(SceneError, match="set REALBENCH_CACHE to a writable folder"):
        demo.build(tmp_path / "file")


def test_a_whole_suite_is_used_where_nothing_can_be_written(tiny, tmp_path, monkeypatch):
    suite = demo.build(tmp_path)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    assert demo.build(tmp_path) == suite


def test_a_wheel_without_photographs_is_said_so(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "files", lambda package: tmp_path)
    with pytest.raises(SceneError, match=r"motorcycle_left\.png: the installed scikit-image ships no such photograph"):
        demo.build(tmp_path / "cache")


def test_threads_build_once(tiny, tmp_path):
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: demo.build(tmp_path), range(8))) == {tmp_path / "demo"}
    assert len(tiny) == 1


def test_processes_that_build_at_once_all_get_the_whole_suite(folder, tmp_path):
    code = "from realbench import demo; suite = demo.build(); assert demo.is_whole(suite); print(suite)"
    environment = os.environ | {demo.CACHE_VARIABLE: str(tmp_path)}
    running = [subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate(timeout=120)[0].strip() for process in running]
    assert outputs == [str(tmp_path / "demo")] * 3
    assert demo._digests(tmp_path / "demo") == demo._digests(folder)


def test_no_image_differs_from_what_its_decoder_reads(folder):
    for path in folder.rglob("*.png"):
        if path.name != "mask.png":
            assert read_rgb(path)[1] == []
