"""The file protocol: what is told to a script, what is accepted of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from realbench.errors import RealbenchError
from realbench.exchange import Exchange, pack, unpack
from realbench.image import encode_png
from realbench.method import Context
from realbench.scene import BLANK, Scene, Task

WIDTH, HEIGHT = 30, 20
PICTURE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
REFERENCES = tuple(np.random.default_rng(seed).integers(0, 256, (9, 5 + seed, 3), dtype=np.uint8) for seed in (1, 2))


@pytest.fixture
def task() -> Task:
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[5:10, 6:20] = True
    return Scene("garden", REFERENCES, PICTURE, mask, PICTURE, "a garden").task()


@pytest.fixture
def exchange(tmp_path: Path, task: Task) -> Exchange:
    made = Exchange(tmp_path / "work", "the fill of X", task, (7, 8))
    made.write("fill", None, {"steps": 3}, {"big": Path("/models/big")}, Context(device="cuda:1", dtype="float16", threads=2))
    return made


def request(exchange: Exchange) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((exchange.folder / "request.json").read_text())
    return found


def test_a_request_says_all_that_is_asked(exchange: Exchange, task: Task) -> None:
    assert request(exchange) == {
        "protocol": 1, "stage": "fill", "scene": "garden", "prompt": "a garden", "width": 30, "height": 20, "target": "target.png",
        "mask": "mask.png", "references": ["references/0.png", "references/1.png"], "settings": {"steps": 3},
        "files": {"big": "/models/big"}, "state": "state", "threads": 2, "device": "cuda:1", "dtype": "float16", "seeds": [7, 8],
        "output": "output",
    }  # fmt: skip
    for name, image in (("target.png", task.target), ("references/1.png", REFERENCES[1]), ("mask.png", task.mask * np.uint8(255))):
        assert (np.asarray(Image.open(exchange.folder / name)) == image).all()
    shown = np.asarray(Image.open(exchange.folder / "target.png"))
    assert (shown[task.mask] == BLANK).all() and (shown[~task.mask] == PICTURE[~task.mask]).all()
    exchange.write("fit", 4, {}, {}, Context())
    words = request(exchange)
    assert (words["stage"], words["fit"], words["checkpoints"]) == ("fit", 4, "checkpoints") and not {"seeds", "output"} & set(words)


def test_a_folder_is_fresh_but_for_its_checkpoints(exchange: Exchange, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_text("x")
    for name in ("checkpoints/step-5", "output/7.png", "state/model", "result.json", "junk/deep"):
        (exchange.folder / name).parent.mkdir(exist_ok=True)
        (exchange.folder / name).write_text("x")
    (exchange.folder / "link").symlink_to(tmp_path / "outside")
    exchange.write("fit", 0, {}, {}, Context())
    files = {path.relative_to(exchange.folder).as_posix() for path in exchange.folder.rglob("*") if not path.is_dir()}
    assert files == {"checkpoints/step-5", "request.json", "target.png", "mask.png", "references/0.png", "references/1.png"}
    assert (tmp_path / "outside" / "kept").exists()
    (exchange.folder / "checkpoints" / "step-5").unlink()
    (exchange.folder / "checkpoints").rmdir()
    (exchange.folder / "checkpoints").symlink_to(tmp_path / "outside")
    exchange.write("fit", 0, {}, {}, Context())
    assert not (exchange.folder / "checkpoints").is_symlink() and (tmp_path / "outside" / "kept").exists()


def answer(exchange: Exchange, *fills: dict[str, Any], **words: Any) -> None:
    (exchange.folder / "result.json").write_text(json.dumps({"fills": list(fills), **words}))


def taken(exchange: Exchange) -> dict[int, Any]:
    return {fill.seed: fill for fill in exchange.fills(exchange.result(needed=True))}


def test_fills_are_taken_once_with_notes_and_timings(exchange: Exchange) -> None:
    (exchange.folder / "output" / "7.png").write_bytes(encode_png(PICTURE))
    first = {"seed": 7, "image": "output/7.png", "notes": ["<img onerror=x>"], "timings": {"sample": 1.5}}
    answer(exchange, first)
    found = taken(exchange)
    assert list(found) == [7] and (found[7].image == PICTURE).all() and found[7].notes == ("<img onerror=x>",)
    assert found[7].timings == {"sample": 1.5} and exchange.left == [8]
    rgba = np.dstack([PICTURE, np.zeros((HEIGHT, WIDTH), np.uint8)])
    Image.fromarray(rgba).save(exchange.folder / "eight.png")
    answer(exchange, first, {"seed": 8, "image": "eight.png"})
    found = taken(exchange)
    assert list(found) == [8] and (found[8].image == 255).all() and "eight.png has transparent pixels" in found[8].notes[0]
    assert exchange.left == [] and taken(exchange) == {}


GOOD = {"seed": 7, "image": "output/7.png"}


def _fifo(folder: Path) -> None:
    os.mkfifo(folder / "output" / "7.png")


def _png(width: int, height: int) -> Callable[[Path], None]:
    return lambda folder: Image.new("RGB", (width, height)).save(folder / "output" / "7.png")  # type: ignore[no-any-return]


def _link(folder: Path) -> None:
    (folder.parent / "outside").mkdir()
    (folder.parent / "outside" / "7.png").write_bytes(encode_png(PICTURE))
    (folder / "output").rmdir()
    (folder / "output").symlink_to(folder.parent / "outside")


def _bomb(folder: Path) -> None:
    data = bytearray(encode_png(PICTURE))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    (folder / "output" / "7.png").write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("result", "make", "words"),
    [
        (None, None, "ended without result.json"),
        ("[", None, "result.json: the file: Invalid JSON"),
        ("[]", None, "result.json: the file: Input should be an object"),
        ("[" * 100_000, None, "result.json: the file: Invalid JSON"),
        ("x" * 4_000_001, None, "4,000,001 bytes, more than the 4,000,000 accepted"),
        ({"fills": [GOOD], "more": 1}, None, "more: Extra inputs"),
        ({"fills": {}}, None, "fills: Input should be a valid array"),
        ({"fills": [{"image": "a.png"}]}, None, "fills.0.seed: Field required"),
        ({"fills": [{**GOOD, "seed": "7"}]}, None, "fills.0.seed: Input should be a valid integer"),
        ({"fills": [{**GOOD, "seed": True}]}, None, "fills.0.seed: Input should be a valid integer"),
        ({"fills": [{**GOOD, "seed": 9}]}, None, "a fill for seed 9, which was not asked for"),
        ({"fills": [GOOD, GOOD]}, None, "two fills for one seed"),
        ({"fills": [{**GOOD, "image": ""}]}, None, "fills.0.image: String should have at least 1"),
        ({"fills": [{**GOOD, "image": "/etc/hostname"}]}, None, "no path relative to the work folder"),
        ({"fills": [{**GOOD, "image": "../outside/7.png"}]}, None, "no path relative to the work folder"),
        ({"fills": [{**GOOD, "image": "output/../../x.png"}]}, None, "no path relative to the work folder"),
        ({"fills": [{**GOOD, "image": "C:\\x.png"}]}, None, "no path relative to the work folder"),
        ({"fills": [{**GOOD, "image": "a\x00b"}]}, None, "no path relative to the work folder"),
        ({"fills": [{**GOOD, "image": "."}]}, None, "no path relative to the work folder"),
        ({"fills": [GOOD]}, None, "output/7.png: cannot be read (No such file"),
        ({"fills": [{**GOOD, "image": "output"}]}, None, "output: cannot be read (Is a directory)"),
        ({"fills": [GOOD]}, _fifo, "output/7.png: expected a file, found something that is no regular file"),
        ({"fills": [GOOD]}, _link, "'output/7.png' leads through a link"),
        ({"fills": [GOOD]}, _png(20, 30), "output/7.png: expected a fill of the target's size, 30×20, found 20×30"),
        ({"fills": [GOOD]}, _bomb, "output/7.png: its header says 60,000 × 60,000 pixels"),
        ({"fills": [GOOD]}, lambda folder: (folder / "output" / "7.png").write_bytes(b""), "expected a PNG image, found"),
        ({"fills": [GOOD]}, lambda folder: (folder / "output" / "7.png").write_bytes(encode_png(PICTURE)[:99]), "broken or cut short"),
        ({"fills": [GOOD]}, lambda folder: Image.fromarray(PICTURE).save(folder / "output" / "7.png", "JPEG"), "expected a PNG image"),
        ({"fills": [{**GOOD, "notes": ["x" * 501]}]}, None, "fills.0.notes.0: String should have at most 500"),
        ({"fills": [{**GOOD, "notes": ["x"] * 51}]}, None, "fills.0.notes: List should have at most 50"),
        ({"fills": [{**GOOD, "timings": {"a": "1"}}]}, None, "fills.0.timings.a: Input should be a valid number"),
        ({"unsupported": 1}, None, "unsupported: Input should be a valid string"),
    ],
)
def test_a_hostile_result_is_an_error_that_says_what_is_wrong(
    exchange: Exchange, result: Any, make: Callable[[Path], object] | None, words: str
) -> None:
    if make is not None:
        make(exchange.folder)
    if result is not None:
        (exchange.folder / "result.json").write_text(result if isinstance(result, str) else json.dumps(result))
    with pytest.raises(RealbenchError) as caught:
        taken(exchange)
    assert words in str(caught.value) and "the fill of X" in str(caught.value) and len(str(caught.value)) < 700


@pytest.mark.parametrize("make", [lambda path: os.mkfifo(path), lambda path: path.symlink_to("/etc/hostname"), lambda path: path.mkdir()])
def test_the_result_itself_is_a_plain_file(exchange: Exchange, make: Callable[[Path], None]) -> None:
    make(exchange.folder / "result.json")
    with pytest.raises(RealbenchError, match=r"result\.json"):
        exchange.result(needed=False)


def test_a_state_travels_as_plain_names(tmp_path: Path) -> None:
    state, packed, back = tmp_path / "state", tmp_path / "packed", tmp_path / "back"
    contents = {"unet/config.json": b"{}", "unet/deep/w.bin": b"\0\1", "ä |<b>": b"3", "checkpoint-500/big": b"no", "top": b""}
    for name, data in contents.items():
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).write_bytes(data)
    packed.mkdir()
    pack(state, packed, ["unet/*", "ä*", "top"], "X")
    assert sorted(path.name for path in packed.iterdir()) == ["file-00000", "file-00001", "file-00002", "file-00003", "index.json"]
    back.mkdir()
    unpack(packed, back)
    found = {path.relative_to(back).as_posix(): path.read_bytes() for path in back.rglob("*") if path.is_file()}
    assert found == {name: data for name, data in contents.items() if name != "checkpoint-500/big"}


@pytest.mark.parametrize(
    "make",
    [
        lambda state: (state / "link").symlink_to("/etc/hostname"),
        lambda state: (state / "folder").symlink_to("/etc"),
        lambda state: os.mkfifo(state / "fifo"),
        lambda state: (state / "new\nline").write_text("x"),
    ],
)
def test_a_hostile_state_is_refused(tmp_path: Path, make: Callable[[Path], object]) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "packed").mkdir()
    make(tmp_path / "state")
    with pytest.raises(RealbenchError, match="X: its fitted state has"):
        pack(tmp_path / "state", tmp_path / "packed", ["*"], "X")


@pytest.mark.parametrize("index", [{"../up": "file-00000"}, {"/etc/x": "file-00000"}, {"a": "../index.json"}, {"a/../../b": "file-00000"}])
def test_an_index_that_leads_elsewhere_is_refused(tmp_path: Path, index: dict[str, str]) -> None:
    (tmp_path / "index.json").write_text(json.dumps(index))
    (tmp_path / "file-00000").write_text("x")
    with pytest.raises(RealbenchError, match="remove the fit and run again"):
        unpack(tmp_path, tmp_path / "state")


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realbench.exchange.MOST_FILES", 2)
    for name in ("state/a", "state/b", "state/c", "packed/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    with pytest.raises(RealbenchError, match="more than 2 files"):
        pack(tmp_path / "state", tmp_path / "packed", ["*"], "X")
    pack(tmp_path / "state", tmp_path / "packed", ["a", "b"], "X")
