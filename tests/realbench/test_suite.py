"""Finding and loading scenes: every error and warning once, and nothing outside the suite ever read."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from realbench import suite as module
from realbench.errors import SceneError
from realbench.suite import natural, open_suite


def png(width: int = 8, height: int = 6, value: Any = 90, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height), value).save(buffer, "PNG")
    return buffer.getvalue()


def mask(width: int = 8, height: int = 6, mode: str = "L") -> bytes:
    picture = Image.new("L", (width, height), 0)
    picture.paste(255, (2, 2, 5, 4))
    buffer = io.BytesIO()
    picture.convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


SCENE: dict[str, bytes | None] = {
    "target/target.png": png(value=(1, 2, 3)),
    "target/mask.png": mask(),
    "target/gt.png": png(value=(9, 9, 9)),
    "ref/0.png": png(10, 4),
}


def write(folder: Path, changes: dict[str, bytes | None] | None = None) -> Path:
    """A scene of 8 × 6 pixels with these files beside or instead of the usual ones; None leaves one out."""
    for name, data in (SCENE | (changes or {})).items():
        if data is not None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return folder


def refusal(folder: Path, root: Path | None = None) -> str:
    """The one message with which loading a scene of a suite is refused."""
    with pytest.raises(SceneError) as caught:
        open_suite(root or folder.parent).load(folder.name)
    message = str(caught.value)
    assert "; " in message  # what was found; what to do
    return message


# Finding scenes.


def test_natural_order_hidden_and_ignored(tmp_path: Path) -> None:
    for name in ("10", "2", "1", ".hidden", "b10", "B9"):
        write(tmp_path / name)
    (tmp_path / "notes").mkdir()
    (tmp_path / "readme.txt").write_text("")
    suite = open_suite(tmp_path)
    assert suite.ids == ("1", "2", "10", "B9", "b10")
    assert suite.ignored == ("notes",)
    assert suite.root == tmp_path.resolve()
    assert suite.name == tmp_path.name
    assert suite.folders["10"] == tmp_path.resolve() / "10"


@pytest.mark.parametrize(
    "names",
    [["2", "10"], ["a2b", "a10b"], ["a", "B", "c"], ["0.png", "00.png", "1.png"], ["x", "x1"], ["1", "a"], ["9" * 30, "1" + "0" * 30]],
)
def test_natural_key(names: list[str]) -> None:
    backwards = names[::-1]
    assert sorted(backwards, key=natural) == names


def test_a_scene_folder_is_a_suite_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "my scene")
    suite = open_suite(folder)
    assert (suite.ids, suite.name, suite.ignored) == (("my scene",), "my scene", ())
    assert suite.load("my scene").id == "my scene"
    monkeypatch.chdir(folder)
    assert open_suite(".").ids == ("my scene",)


def test_a_folder_with_one_part_is_a_scene_to_be_mended(tmp_path: Path) -> None:
    write(tmp_path / "whole")
    (tmp_path / "half" / "ref").mkdir(parents=True)
    assert open_suite(tmp_path).ids == ("half", "whole")
    assert "no folder target/" in refusal(tmp_path / "half")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "target").symlink_to("nowhere")
    assert open_suite(tmp_path).ids == ("half", "linked", "whole")
    assert f"{tmp_path / 'linked' / 'target'}: cannot be read" in refusal(tmp_path / "linked")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ["no scene found", "<id>/ref/*.png", "no subfolder", "docs/scenes.md"]),
        (["photos/a.png"], ["no scene found", "found photos"]),
        (["RealBench/0/ref/0.png", "Qualitative/1/ref/0.png", "other/x"], ["give one of these instead: ", "/Qualitative, ", "/RealBench"]),
    ],
)
def test_no_scene_says_what_was_expected(tmp_path: Path, names: list[str], expected: list[str]) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(SceneError) as caught:
        open_suite(tmp_path)
    assert all(words in str(caught.value) for words in [str(tmp_path), *expected])
    assert "/other" not in str(caught.value)


def test_no_folder(tmp_path: Path) -> None:
    (tmp_path / "release.zip").write_bytes(b"")
    with pytest.raises(SceneError, match=r"realbench scenes import .*release.zip FOLDER"):
        open_suite(tmp_path / "release.zip")
    with pytest.raises(SceneError, match="found nothing there"):
        open_suite(str(tmp_path / "absent"))


def test_demo_means_the_embedded_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded = tmp_path / "cache" / "v1"
    write(embedded / "inside")
    write(tmp_path / "demo" / "outside")
    monkeypatch.setitem(sys.modules, "realbench.demo", SimpleNamespace(build=lambda: embedded))
    monkeypatch.setattr("realbench.demo", SimpleNamespace(build=lambda: embedded), raising=False)
    monkeypatch.chdir(tmp_path)
    assert (open_suite("demo").name, open_suite("demo").ids) == ("demo", ("inside",))
    for other in ("./demo", Path("demo"), tmp_path / "demo"):
        assert (open_suite(other).name, open_suite(other).ids) == ("./demo", ("outside",))


# Loading a scene.


def test_a_whole_scene(tmp_path: Path) -> None:
    toml = b'title = "T"\nprompt = "a photo of x"\nlicence = "CC0"\ntags = ["a", "b"]\n[camera]\npan = 1.5\n[[shot]]\nx = 1\n'
    write(tmp_path / "7", {"ref/10.PNG": png(5, 5), "ref/2.JpG": jpeg(4, 4), "ref/.hidden.png": b"", "scene.toml": toml})
    scene = open_suite(tmp_path).load("7")
    assert scene.warnings == ()
    assert scene.reference_names == ("0.png", "2.JpG", "10.PNG")
    assert [image.shape[:2] for image in scene.references] == [(4, 10), (4, 4), (5, 5)]
    assert scene.target[0, 0].tolist() == [1, 2, 3]
    assert scene.truth is not None and scene.truth[0, 0].tolist() == [9, 9, 9]
    assert np.argwhere(scene.mask).min(0).tolist() == [2, 2] and scene.mask.sum() == 6
    assert (scene.title, scene.prompt, scene.licence, scene.tags) == ("T", "a photo of x", "CC0", ("a", "b"))
    assert scene.extra == {"camera": {"pan": 1.5}, "shot": [{"x": 1}]}


def jpeg(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), 90).save(buffer, "JPEG")
    return buffer.getvalue()


def test_a_scene_with_the_least(tmp_path: Path) -> None:
    write(tmp_path / "7", {"target/gt.png": None})
    scene = open_suite(tmp_path).load("7")
    assert (scene.truth, scene.title, scene.prompt, scene.tags, scene.extra, scene.warnings) == (None, None, None, (), {}, ())


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".webp"])
def test_parts_of_every_format(tmp_path: Path, suffix: str) -> None:
    def convert(data: bytes) -> bytes:
        buffer = io.BytesIO()
        Image.open(io.BytesIO(data)).save(buffer, "WEBP" if suffix == ".webp" else "JPEG", quality=100)
        return buffer.getvalue()

    renamed = {name.replace(".png", suffix): convert(data) for name, data in SCENE.items() if data}
    write(tmp_path / "7", dict.fromkeys(SCENE) | renamed)
    scene = open_suite(tmp_path).load("7")
    assert scene.truth is not None and scene.size == (8, 6) and scene.reference_names == (f"0{suffix}",)


ERRORS: dict[str, tuple[dict[str, bytes | None], list[str]]] = {
    "no target": ({"target/target.png": None}, ["target", "no target.png"]),
    "no mask": ({"target/mask.png": None}, ["target", "no mask.png"]),
    "no ref": ({"ref/0.png": None}, ["no folder ref/"]),
    "no reference": ({"ref/0.png": None, "ref/notes.txt": b""}, ["ref", "no reference image"]),
    "two targets": ({"target/target.jpg": b""}, ["two candidates for target", "target.jpg", "target.png"]),
    "two cases": ({"target/MASK.png": b""}, ["two candidates for mask", "MASK.png", "mask.png"]),
    "truncated": ({"target/target.png": png(64, 64)[:60]}, ["target.png", "cut short"]),
    "unreadable": ({"ref/1.png": b"nonsense"}, ["ref/1.png", "expected a PNG"]),
    "mask's size": ({"target/mask.png": mask(9, 6)}, ["sizes differ", "target.png is 8 × 6", "mask.png is 9 × 6"]),
    "truth's size": ({"target/gt.png": png(8, 7)}, ["sizes differ", "target.png is 8 × 6", "gt.png is 8 × 7"]),
    "turned": ({"target/gt.png": png(6, 8)}, ["sizes differ", "gt.png is 6 × 8"]),
    "empty mask": ({"target/mask.png": png(mode="L", value=127)}, ["mask.png", "empty"]),
    "mask in alpha": ({"target/mask.png": png(mode="RGBA", value=(0, 0, 0, 99))}, ["mask.png", "empty", "alpha channel is ignored"]),
    "broken TOML": ({"scene.toml": b"title = 'a\n'"}, ["scene.toml", "expected TOML", "line 1"]),
    "TOML too deep": ({"scene.toml": b"x = " + b"[" * 20_000}, ["scene.toml", "expected TOML"]),
    "TOML's long number": ({"scene.toml": b"x = " + b"9" * 10_000}, ["scene.toml", "expected TOML"]),
    "TOML in Latin-1": ({"scene.toml": b'title = "\xe9"'}, ["scene.toml", "UTF-8", "at 9"]),
    "TOML too long": ({"scene.toml": b"#" * 65_537}, ["scene.toml", "65,536"]),
    "title a number": ({"scene.toml": b"title = 3"}, ["scene.toml", "title: expected text, found a whole number"]),
    "prompt a list": ({"scene.toml": b'prompt = ["a"]'}, ["prompt: expected text, found a list"]),
    "licence a date": ({"scene.toml": b"licence = 2024-01-01"}, ["licence: expected text, found a date"]),
    "tags a text": ({"scene.toml": b'tags = "a"'}, ["tags: expected a list of texts, found text"]),
    "tags mixed": ({"scene.toml": b'tags = ["a", 1]'}, ["tags: expected a list of texts, found a list with other values"]),
    "escape sequence": ({"scene.toml": b'title = "\\u001b[2J"'}, ["title: expected printable text", "\\x1b[2J"]),
    "escape in a tag": ({"scene.toml": b'tags = ["\\u0007"]'}, ["tags: expected printable text"]),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_name_the_file_and_leave_the_other_scenes(tmp_path: Path, name: str) -> None:
    changes, expected = ERRORS[name]
    bad = write(tmp_path / "bad", changes)
    write(tmp_path / "good")
    message = refusal(bad)
    assert all(words in message for words in [str(bad), *expected])
    assert open_suite(tmp_path).load("good").id == "good"


WARNINGS: dict[str, tuple[dict[str, bytes | None], list[str]]] = {
    "text in ref": ({"ref/notes.txt": b""}, ["7/ref/notes.txt: is no image"]),
    "stray in target": ({"target/ground_truth.png": b"never read"}, ["7/target/ground_truth.png: is not used"]),
    "RGBA mask": ({"target/mask.png": mask(mode="RGBA")}, ["7/target/mask.png: has an alpha channel"]),
    "grey mask": ({"target/mask.png": png(mode="L", value=200)}, ["7/target/mask.png: is not binary, 100.00%"]),
    "transparent target": ({"target/target.png": png(mode="RGBA", value=(0, 0, 0, 0))}, ["7/target/target.png: has transparent"]),
    "transparent reference": ({"ref/1.png": png(mode="RGBA", value=(0, 0, 0, 0))}, ["7/ref/1.png: has transparent"]),
    "unknown key": (
        {"scene.toml": b'x = 1\nlicense = "CC0"'},
        ["7/scene.toml: unknown key 'x'", "'license' is ignored; did you mean licence?"],
    ),
    "list of numbers": ({"scene.toml": b"camera = [1, 2]"}, ["7/scene.toml: unknown key 'camera'"]),
    "hidden": ({"ref/.DS_Store": b"", "target/._gt.png": b""}, []),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_warnings_name_the_file(tmp_path: Path, name: str) -> None:
    changes, expected = WARNINGS[name]
    write(tmp_path / "7", changes)
    found = open_suite(tmp_path).load("7").warnings
    assert len(found) == len(expected)
    assert all(words in note and "; " in note for words, note in zip(expected, found, strict=True))


def test_an_unknown_id_lists_the_known(tmp_path: Path) -> None:
    write(tmp_path / "7")
    with pytest.raises(SceneError, match=r"no scene '8'; choose from 7"):
        open_suite(tmp_path).load("8")


def test_a_scene_has_a_budget_of_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "7")
    monkeypatch.setattr(module, "MAX_SCENE_PIXELS", 3 * 48 + 40)
    assert open_suite(tmp_path).load("7").id == "7"
    monkeypatch.setattr(module, "MAX_SCENE_PIXELS", 3 * 48 + 39)
    assert "more than 183 pixels in all" in refusal(tmp_path / "7")


def test_toml_at_its_cap_is_read(tmp_path: Path) -> None:
    write(tmp_path / "7", {"scene.toml": b'title = "t"\n' + b"#" * (65_536 - 12)})
    assert open_suite(tmp_path).load("7").title == "t"


# Hostile suites.


@pytest.mark.parametrize("name", ["<script>", "a b", "é", "日本", "'quoted\"", "-x", "[red]"])
def test_ugly_names_are_names(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    suite = open_suite(tmp_path)
    assert suite.ids == (name,)
    assert suite.load(name).id == name


@pytest.mark.parametrize("name", [b"a\x1b[2Jb", b"line\nbreak", b"\xff\xfe", "a\u202eb".encode(), b"back\\slash", b"tab\t"])
def test_names_that_cannot_be_shown_are_refused_and_never_shown_raw(tmp_path: Path, name: bytes) -> None:
    write(tmp_path / os.fsdecode(name))
    write(tmp_path / "good")
    suite = open_suite(tmp_path)
    shown = next(id for id in suite.ids if id != "good")
    assert shown.isprintable() and shown != os.fsdecode(name)
    with pytest.raises(SceneError) as caught:
        suite.load(shown)
    assert repr(os.fsdecode(name)) in str(caught.value) and str(caught.value).isprintable()
    assert suite.load("good").id == "good"


def test_file_names_that_cannot_be_shown_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "7", {"ref/1\x1b[2J.png": b""})
    assert refusal(folder).isprintable()


def outside(tmp_path: Path) -> Path:
    secret = tmp_path / "outside"
    write(secret)
    (secret / "scene.toml").write_text('title = "secret"')
    return secret


@pytest.mark.parametrize("name", ["ref/1.png", "ref", "target", "target/target.png", "target/mask.png", "target/gt.png", "scene.toml"])
def test_symlinks_out_of_the_suite_are_refused(tmp_path: Path, name: str, opened: list[Path]) -> None:
    secret = outside(tmp_path)
    scene = write(tmp_path / "suite" / "7")
    if (scene / name).exists():
        (scene / name).rename(tmp_path / "old")
    (scene / name).symlink_to(secret / name.replace("1.png", "0.png"))
    opened.clear()
    message = refusal(scene)
    assert message.startswith(f"{scene / name}: symlink leaves the suite")
    assert not [path for path in opened if path.is_relative_to(secret)]


def test_a_scene_that_is_a_symlink_out_of_the_suite(tmp_path: Path, opened: list[Path]) -> None:
    secret = outside(tmp_path)
    write(tmp_path / "suite" / "good")
    (tmp_path / "suite" / "bad").symlink_to(secret)
    opened.clear()
    assert refusal(tmp_path / "suite" / "bad").startswith(f"{tmp_path / 'suite' / 'bad'}: symlink leaves the suite")
    assert open_suite(tmp_path / "suite").load("good").id == "good"
    assert not [path for path in opened if path.is_relative_to(secret)]


def test_a_suite_of_one_does_not_read_its_neighbours(tmp_path: Path) -> None:
    scene = write(tmp_path / "7")
    (scene / "ref/1.png").symlink_to(write(tmp_path / "8") / "ref/0.png")
    assert "symlink leaves the suite" in refusal(scene, scene)
    assert len(open_suite(tmp_path).load("7").references) == 2


def test_a_symlink_to_the_suite_is_followed(tmp_path: Path) -> None:
    write(tmp_path / "suite" / "7")
    (tmp_path / "link").symlink_to(tmp_path / "suite")
    suite = open_suite(tmp_path / "link")
    assert suite.name == "suite" and suite.load("7").id == "7"


@pytest.mark.parametrize("goal", ["nowhere.png", "1.png"])
def test_symlinks_to_nowhere_and_in_a_circle(tmp_path: Path, goal: str) -> None:
    scene = write(tmp_path / "7")
    (scene / "ref/1.png").symlink_to(goal)
    assert str(scene / "ref/1.png") in refusal(scene)


@pytest.mark.parametrize(
    ("name", "expected"), [("ref/1.png", "no regular file"), ("scene.toml", "no regular file"), ("target/gt.png", "no regular")]
)
def test_special_files_are_refused_unopened(tmp_path: Path, name: str, expected: str) -> None:
    """Opening a pipe would wait for ever."""
    scene = write(tmp_path / "7", {"target/gt.png": None})
    os.mkfifo(scene / name)
    assert expected in refusal(scene)


def test_a_folder_called_like_an_image(tmp_path: Path) -> None:
    scene = write(tmp_path / "7")
    (scene / "ref/1.png").mkdir()
    assert "no regular file" in refusal(scene)


@pytest.fixture
def opened() -> Any:
    """Paths that Python opens during the test."""
    paths: list[Path] = []
    active = [True]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if active and event == "open" and isinstance(arguments[0], (str, bytes)):
            paths.append(Path(os.fsdecode(arguments[0])).resolve())

    sys.addaudithook(hook)
    yield paths
    active.clear()


def test_the_hook_sees_what_is_opened(tmp_path: Path, opened: list[Path]) -> None:
    write(tmp_path / "7")
    opened.clear()
    open_suite(tmp_path).load("7")
    assert (tmp_path / "7/ref/0.png").resolve() in opened


# Real scenes.


def test_real_scenes(shared_scenes: Path) -> None:
    suite = open_suite(shared_scenes)
    assert len(suite.ids) == 8
    scene = suite.load("realbench20")
    assert (scene.size, len(scene.references), scene.hole_kind, scene.warnings) == ((1024, 1024), 4, "inpainting", ())
    assert scene.hole_share == pytest.approx(0.2185, abs=1e-3)
    for name in ("flowerwoman", "pumpkinlady2"):
        scene = suite.load(name)
        assert scene.truth is None and scene.hole_kind == "outpainting"
        assert len(scene.warnings) == 1 and scene.warnings[0].startswith(f"{name}/target/mask.png: has an alpha channel")
