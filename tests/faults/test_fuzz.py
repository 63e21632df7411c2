"""Whatever a file holds, reading it ends in a result or in a documented error: scenes, archives, records, baselines, votes, messages.

FUZZ_INPUTS is how many inputs each test tries.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from realbench import baseline as baselines
from realbench import fingerprint, wire
from realbench.archive import Limits, import_archive
from realbench.errors import RealbenchError, SceneError
from realbench.results import load_run
from realbench.store import Cell
from realbench.suite import open_suite
from realbench.unpack import take
from realbench.votes import Ballot, Key, Pair, Side, Vote, find_key, read_ballot
from tests.conftest import photograph, write_scene
from tests.faults.mutating import bytes_like, deep, documents_like
from tests.faults.observing import space
from tests.making import Made

INPUTS = int(os.environ.get("FUZZ_INPUTS", "60"))
many = settings(max_examples=INPUTS, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder, in memory where there is such a thing."""
    root = tmp_path_factory.mktemp("fuzz") if space() is None else space() / f"fuzz-{os.getpid()}"
    root.mkdir(exist_ok=True)
    yield root
    shutil.rmtree(root)


def encoded(kind: str, mode: str = "RGB", **words: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photograph(1, 12, 9)).convert(mode).save(buffer, kind, **words)
    return buffer.getvalue()


PICTURES = [encoded("PNG"), encoded("JPEG"), encoded("WEBP", lossless=True), encoded("PNG", "P"), encoded("PNG", "LA"), encoded("GIF")]
TOML = b'title = "t"\nprompt = "p"\nlicence = "l"\ntags = ["a", "b"]\n[camera]\nfov = 3.5\nwhen = 2026-01-01\n'
pictures = st.sampled_from(PICTURES).flatmap(bytes_like)
texts = st.text(max_size=60).map(lambda text: text.encode("utf-8", "ignore"))
names = st.sampled_from(["target/target.png", "target/mask.png", "target/gt.png", "ref/0.png", "ref/1.jpg", "target/GT.webp", "ref/\n.png"])


@many
@given(st.dictionaries(names, pictures, max_size=3), st.none() | bytes_like(TOML) | texts)
def test_scenes(here: Path, files: dict[str, bytes], toml: bytes | None) -> None:
    folder = write_scene(here / "suite" / "s", size=(12, 9), hole=(slice(2, 6), slice(2, 7)), references=1)
    try:
        for name, data in files.items():
            (folder / name).write_bytes(data)
        if toml is not None:
            (folder / "scene.toml").write_bytes(toml)
        with contextlib.suppress(SceneError):
            scene = open_suite(here / "suite").load("s")
            assert scene.digests and scene.mask.any()
    finally:
        shutil.rmtree(here / "suite")


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("s/ref/0.png", "s/target/target.png", "s/target/mask.png", "s/target/gt.png"):
            file.writestr(name, PICTURES[0])
    return buffer.getvalue()


@many
@given(bytes_like(zipped()))
def test_archives_of_scenes(here: Path, data: bytes) -> None:
    (here / "x.zip").write_bytes(data)
    try:
        with contextlib.suppress(SceneError):
            import_archive(here / "x.zip", here / "to", limits=Limits(total_bytes=1_000_000, member_bytes=500_000))
        written = sum(path.stat().st_size for path in here.rglob("*") if path.is_file()) - len(data)
        assert written <= 1_000_000 and {path.name for path in here.iterdir()} <= {"x.zip", "to"}
    finally:
        shutil.rmtree(here / "to", ignore_errors=True)
        (here / "x.zip").unlink()


WEIGHTS = np.random.default_rng(0).bytes(400)


def packed(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "x.tar.gz":
        with tarfile.open(fileobj=buffer, mode="w:gz") as file:
            info = tarfile.TarInfo("p/w.bin")
            info.size = len(WEIGHTS)
            file.addfile(info, io.BytesIO(WEIGHTS))
    else:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("p/w.bin", WEIGHTS)
    return buffer.getvalue()


@many
@given(st.sampled_from(["x.tar.gz", "x.whl"]).flatmap(lambda kind: st.tuples(st.just(kind), bytes_like(packed(kind)))))
def test_packages(here: Path, found: tuple[str, bytes]) -> None:
    name, data = found
    (here / name).write_bytes(data)
    try:
        with contextlib.suppress(RealbenchError):
            take(here / name, "p/w.bin", len(WEIGHTS), fingerprint.of_bytes(WEIGHTS), here / "w.bin")
            assert (here / "w.bin").read_bytes() == WEIGHTS
    finally:
        for path in list(here.iterdir()):
            path.unlink()


def made(root: Path) -> Made:
    """A run of one row on two scenes, two seeds each, and its key of a blind page."""
    run = Made(root)
    run.scene("a", tags=["t"])
    run.scene("b", refused="")
    run.row("m", seeds=[0, 1], cells={"a": [(0, 0), (0, 1)]})
    for scene in "ab":
        for seed in (0, 1):
            run.score("m", scene, 20.5 + seed, seed=seed)
    run.write()
    return run


@pytest.fixture(scope="module")
def run(here: Path) -> Made:
    return made(here / "run")


def text(document: Any) -> bytes:
    return json.dumps(document).encode()


@many
@given(st.data())
def test_records(run: Made, data: st.DataObject) -> None:
    """A record that is none counts as missing; the run can be read."""
    cell = run.cell("m", "a")
    folder = run.folder.cell(cell)
    path = data.draw(st.sampled_from([folder / "record.json", next((folder / "scores").iterdir())]))
    kept = path.read_bytes()
    try:
        path.write_bytes(data.draw(bytes_like(kept) | documents_like(json.loads(kept)).map(text) | deep))
        results = load_run(run.root)
        assert len(results.cells()) == len(results.scores()) == 4
        run.folder.read_fill(cell)
        run.folder.read_score(cell, path.stem)
    finally:
        path.write_bytes(kept)


@many
@given(st.data())
def test_fits(run: Made, data: st.DataObject) -> None:
    from realbench.records import FitRecord

    cell = Cell("m", "0" * 12, "f", 0, 0)
    run.folder.write_fit(cell, FitRecord(state="ok", inputs="i", files={"s": fingerprint.of_bytes(b"state")}), {"s": b"state"})
    path = run.folder.fit(cell) / "record.json"
    kept = path.read_bytes()
    path.write_bytes(data.draw(bytes_like(kept) | documents_like(json.loads(kept)).map(text) | deep))
    record = run.folder.read_fit(cell)
    found = run.folder.read_state(cell, record) if record else None
    assert found is None or set(found.values()) <= {b"state"}
    run.folder.find_fit(cell, "i")
    shutil.rmtree(run.folder.row("m", "0" * 12))


@many
@given(st.data())
def test_manifests(run: Made, data: st.DataObject) -> None:
    path = run.root / "run.json"
    kept = path.read_bytes()
    try:
        path.write_bytes(data.draw(bytes_like(kept) | documents_like(json.loads(kept)).map(text) | deep))
        with contextlib.suppress(RealbenchError):
            results = load_run(run.root)
            results.cells()
            results.scores()
            baselines.accept(results)
    finally:
        path.write_bytes(kept)


@many
@given(st.data())
def test_baselines(run: Made, here: Path, data: st.DataObject) -> None:
    """Also with the hash of what stands in the file, as an enemy would write it."""
    path = here / "baseline.json"
    baselines.write(baselines.accept(load_run(run.root)), path)
    kept = path.read_bytes()
    changed = data.draw(documents_like(json.loads(kept)))
    if isinstance(changed, dict) and data.draw(st.booleans()):
        changed["content"] = baselines.content(changed)
    path.write_bytes(data.draw(bytes_like(kept) | st.just(text(changed)) | deep))
    with contextlib.suppress(RealbenchError):
        found = baselines.read(path)
        baselines.write(found, path)
        assert baselines.read(path) == found.model_copy(update={"content": baselines.read(path).content})


PAIR = Pair(id="1" * 16, scene="a", a=Side(label="m", fit=0, seed=0, image="x"), b=Side(label="n", fit=0, seed=0, image="y"))
KEY = Key(study="a" * 16, seed=0, pairs=[PAIR])
BALLOT = Ballot(kind="realbench-votes/1", study="a" * 16, ballot="b" * 32, votes=[Vote(pair="1" * 16, realistic="a", faithful="tie")])


@many
@given(
    bytes_like(BALLOT.model_dump_json().encode()) | documents_like(BALLOT.model_dump(mode="json")).map(text) | deep,
    st.none() | bytes_like(KEY.model_dump_json().encode()) | documents_like(KEY.model_dump(mode="json")).map(text),
)
def test_votes(run: Made, here: Path, ballot: bytes, key: bytes | None) -> None:
    from dataclasses import replace

    from realbench.votes import tally

    (run.root / "blind").mkdir(exist_ok=True)
    (run.root / "blind" / f"{KEY.study}.key.json").write_bytes(KEY.model_dump_json().encode() if key is None else key)
    (here / "votes.json").write_bytes(ballot)
    with contextlib.suppress(RealbenchError):
        read_ballot(here / "votes.json")
    with contextlib.suppress(RealbenchError):
        find_key(KEY.study, [run.root], here / "votes.json")
    with contextlib.suppress(RealbenchError):
        found = tally(replace(load_run(run.root), votes=(here / "votes.json",)))
        assert found is not None and found.ballots <= 1


def sent(head: Any, arrays: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    wire.send(stream, wire.Message(head, arrays))
    return stream.getvalue()


def framed(document: Any) -> bytes:
    data = text(document)
    return len(data).to_bytes(8, "little") + data + bytes(64)


MESSAGE = {"head": {"event": "item", "item": "0"}, "arrays": {"raw.png": ["|u1", [9]], "x": ["<f4", [2, 3]]}}
KINDS = st.sampled_from(["|O", "|V8", "<U4", "<M8[s]", "<f4", "|b1", "", "x", ">i8", "(1000000,1000000)f8", "f4,f8", "|S0", ",|u0"])
SHAPES = st.lists(st.sampled_from([0, 1, -1, 3, 2**31, 2**62, 2**63, 10**30, 0.5, None, "3", [1]]), max_size=4)


@many
@given(
    bytes_like(sent({"event": "item", "item": "0"}, {"raw.png": wire.blob(b"123456789"), "x": np.eye(2, 3, dtype=np.float32)}))
    | documents_like(MESSAGE).map(framed)
    | st.tuples(KINDS, SHAPES).map(lambda found: framed({"head": {}, "arrays": {"x": list(found)}}))
    | deep.map(lambda data: len(data).to_bytes(8, "little") + data)
)
def test_messages(data: bytes) -> None:
    message = wire.receive(io.BytesIO(data))
    if message is not None:
        assert isinstance(message.head, dict) and sum(array.nbytes for array in message.arrays.values()) <= len(data)
        json.dumps(message.head, ensure_ascii=False).encode()


@pytest.mark.parametrize("words", ["\ud800", "a\udcffb", "\U0001f600", "\ud83d\ude00"])
def test_texts_that_no_file_can_hold_come_escaped(words: str) -> None:
    message = wire.receive(io.BytesIO(sent({"event": "item", words: [words, {"a": words}]}, {})))
    assert message is not None
    shown = "\U0001f600" if len(words.encode("utf-16", "surrogatepass")) == 6 else words.encode("utf-8", "backslashreplace").decode()
    assert message.head == {"event": "item", shown: [shown, {"a": shown}]}
