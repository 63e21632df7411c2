"""The run folder: names that cannot escape it, records that are whole or absent, numbers that survive JSON."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realbench import fingerprint, store
from realbench.errors import RealbenchError, UsageError
from realbench.records import FillRecord, Manifest, ScoreRecord
from realbench.store import Cell, RunFolder, folder_name, write_atomic

CELL = Cell("telea:x", "abc123", "<script>", 0, 7)


def fill(images: dict[str, bytes], state: str = "ok") -> FillRecord:
    return FillRecord(
        state=state,  # type: ignore[arg-type]
        inputs="i", label="telea:x", method="telea", preset="x", scene="<script>", fit=0, seed=7,
        files={name: fingerprint.of_bytes(data) for name, data in images.items()},
        sizes={name: len(data) for name, data in images.items()},
    )  # fmt: skip


IMAGES = {"raw.png": b"raw", "fill.png": b"laid"}


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("kermit", "kermit"), ("scene 2", "scene 2"), ("a_b-c.d", "a_b-c.d"), ("<script>", "%3Cscript%3E"), ("a/b", "a%2Fb"),
        ("..", "%2E."), (".hidden", "%2Ehidden"), ("a\\b:c", "a%5Cb%3Ac"), ("ä", "%C3%A4"), ("a\nb", "a%0Ab"),
    ],
)  # fmt: skip
def test_folder_names(name: str, safe: str) -> None:
    assert folder_name(name) == safe


@given(st.text(min_size=1), st.text(min_size=1))
def test_folder_names_stay_inside_and_apart(one: str, other: str) -> None:
    try:
        one.encode(), other.encode()
    except UnicodeEncodeError:
        return
    name = folder_name(one)
    assert "/" not in name and "\\" not in name and name not in ("", ".", "..") and len(name) <= 120
    assert os.path.basename(os.path.normpath(os.path.join("/root", name))) == name  # noqa: PTH118, PTH119
    assert (name == folder_name(other)) == (one == other)


def test_layout_is_the_documented_one(tmp_path: Path) -> None:
    assert RunFolder(tmp_path).cell(CELL) == tmp_path / "telea.x-abc123" / "%3Cscript%3E" / "fit-0" / "seed-00007"


def test_a_cell_is_valid_only_with_all_its_files(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.read_fill(CELL) is None
    record = fill(IMAGES)
    run.write_fill(CELL, record, IMAGES)
    assert run.read_fill(CELL) == record
    assert run.read_images(CELL, record) == IMAGES
    image = run.cell(CELL) / "raw.png"
    times = image.stat().st_atime_ns, image.stat().st_mtime_ns
    image.write_bytes(b"rot")
    assert run.read_fill(CELL) is None  # same size, but written to after the record
    os.utime(image, ns=times)
    assert run.read_fill(CELL) == record  # nothing tells of it until the image is read …
    assert run.read_images(CELL, record) is None  # … here
    image.write_bytes(b"raw")
    assert run.read_fill(CELL) == record  # touched, but as it was
    (run.cell(CELL) / "raw.png").write_bytes(b"longer")
    assert run.read_fill(CELL) is None
    (run.cell(CELL) / "raw.png").unlink()
    assert run.read_fill(CELL) is None


def test_an_ok_record_without_images_is_no_cell(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_fill(CELL, fill({}), {})
    assert run.read_fill(CELL) is None
    run.write_fill(CELL, fill({}, "failed"), {})
    assert run.read_fill(CELL) is not None


def test_older_records_are_kept_as_attempts(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for state in ("failed", "timeout", "ok"):
        run.write_fill(CELL, fill(IMAGES, state), IMAGES)
    kept = sorted((run.cell(CELL) / "attempts").iterdir())
    assert [json.loads(path.read_text())["state"] for path in kept] == ["failed", "timeout"]


@pytest.mark.parametrize("value", [0.0, -3.25, math.inf, -math.inf, 1e-300, None])
def test_every_number_survives_json(tmp_path: Path, value: float | None) -> None:
    run = RunFolder(tmp_path)
    record = ScoreRecord(state="ok", inputs="i", metric="psnr", signature="psnr|v:1", image="x", scene="y", value=value)
    run.write_scores([(CELL, "key", record)])
    text = (run.cell(CELL) / "scores" / "key.json").read_text()
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    found = run.read_score(CELL, "key")
    assert found is not None and found.value == value


def test_a_crash_between_writing_and_renaming_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder(tmp_path)
    run.write_manifest(Manifest(suite="one", suite_path="/x", feather=4))
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        run.write_manifest(Manifest(suite="two", suite_path="/x", feather=4))
    assert run.read_manifest().suite == "one"


def test_the_record_is_renamed_after_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        order.append(Path(target).name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    RunFolder(tmp_path).write_fill(CELL, fill(IMAGES), IMAGES)
    assert order == ["raw.png", "fill.png", "record.json"]


def test_data_is_synced_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(store.os, "fsync", lambda descriptor: (synced.append(descriptor), fsync(descriptor))[1])
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        assert len(synced) >= 2
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    write_atomic({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert len(synced) == 3  # two files and their folder


def test_a_full_or_read_only_disk_is_said_with_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RealbenchError, match="file"):
        write_atomic({tmp_path / "file" / "a": b"1"})
    with pytest.raises(UsageError, match="give another --out"), RunFolder(tmp_path / "file" / "run").lock():
        pass


def test_no_temporary_file_is_left_after_a_failure(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()  # a folder where a file should go
    with pytest.raises(RealbenchError):
        write_atomic({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema_version": 7, "suite": "x", "suite_path": "y", "feather": 4}'])
def test_a_broken_manifest_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UsageError, match="broken, or written by another version"):
        RunFolder(tmp_path).read_manifest()


def test_an_empty_folder_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run here"):
        RunFolder(tmp_path).read_manifest()
