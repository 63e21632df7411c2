"""Importing a release: what is unsafe is refused before anything is written, what is broken is named, what was interrupted is completed."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import stat
import struct
import zipfile
import zlib
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realbench import archive as module
from realbench.archive import ArchiveError, Limits, import_archive
from realbench.errors import SceneError
from realbench.image import encode_png
from realbench.suite import open_suite

NOISE = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
PICTURE = encode_png(NOISE)
MASK = encode_png(NOISE[..., 0] > 127)
RELEASE = {
    **{f"RealBench/{id}/target/{name}.png": PICTURE for id in (0, 1, 10) for name in ("target", "gt")},
    **{f"RealBench/{id}/target/mask.png": MASK for id in (0, 1, 10)},
    **{f"RealBench/{id}/ref/0.png": PICTURE for id in (0, 1, 10)},
    **{f"Qualitative/{id}/target/{name}.png": MASK for id in range(5) for name in ("target", "mask")},
    **{f"Qualitative/{id}/ref/0.png": PICTURE for id in range(5)},
}
SCENE = {"7/ref/0.png": PICTURE, "7/target/target.png": PICTURE, "7/target/mask.png": MASK}


def pack(path: Path, files: dict[str, bytes], *extra: tuple[zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in files.items():
            file.writestr(name, data)
        for info, data in extra:
            file.writestr(info, data)
    return path


def named(name: str) -> zipfile.ZipInfo:
    """A member with exactly this name: ZipInfo's own constructor would clean it."""
    info = zipfile.ZipInfo("x")
    info.filename = name
    return info


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder with its content; None for folders and links."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in sorted(folder.rglob("*"))
    }


def refusal(archive: Path, destination: Path, **options: Any) -> str:
    """The message with which an archive is refused, after which nothing is changed anywhere."""
    before = snapshot(archive.parent)
    with pytest.raises(ArchiveError) as caught:
        import_archive(archive, destination, **options)
    assert snapshot(archive.parent) == before
    message = str(caught.value)
    assert "; " in message and message.isprintable()
    return message


# What is unpacked.


def test_a_release(tmp_path: Path) -> None:
    archive = pack(tmp_path / "release.zip", RELEASE)
    found = import_archive(archive, tmp_path / "new" / "scenes")
    assert found == tmp_path / "new" / "scenes" / "RealBench"
    files = {name: data for name, data in snapshot(tmp_path / "new" / "scenes").items() if data is not None}
    assert files == RELEASE
    assert open_suite(found).ids == ("0", "1", "10")
    assert open_suite(found).load("10").truth is not None


@pytest.mark.parametrize(
    ("top", "files"),
    [
        (".", SCENE),
        ("a/b", {f"a/b/{name}": data for name, data in SCENE.items()}),
        (".", {name.removeprefix("7/"): data for name, data in SCENE.items()}),
        (
            "few",
            {f"few/{name}": data for name, data in (SCENE | {"7/target/gt.png": PICTURE}).items()}
            | {f"many/{i}/ref/0.png": PICTURE for i in range(3)},
        ),
        ("many", {f"few/{name}": data for name, data in SCENE.items()} | {f"many/{i}/ref/0.png": PICTURE for i in range(3)}),
    ],
    ids=["scenes on top", "deeper", "a single scene on top", "most truths", "most scenes"],
)
def test_where_the_scenes_are(tmp_path: Path, top: str, files: dict[str, bytes]) -> None:
    found = import_archive(pack(tmp_path / "x.zip", files), tmp_path / "to")
    assert found == tmp_path / "to" / top
    assert open_suite(found).ids


def test_what_macos_adds_is_left_out(tmp_path: Path) -> None:
    junk = {"__MACOSX/7/ref/._0.png": b"x", "7/.DS_Store": b"x", ".DS_Store": b"x", "7/": b""}
    import_archive(pack(tmp_path / "x.zip", junk | SCENE), tmp_path / "to")
    assert {name for name, data in snapshot(tmp_path / "to").items() if data is not None} == set(SCENE)


def test_what_the_destination_holds_stays(tmp_path: Path) -> None:
    (tmp_path / "to" / "7").mkdir(parents=True)
    (tmp_path / "to" / "mine.txt").write_text("mine")
    (tmp_path / "to" / "7" / "mine.txt").write_text("mine")
    import_archive(pack(tmp_path / "x.zip", SCENE), tmp_path / "to")
    assert (tmp_path / "to" / "mine.txt").read_text() == (tmp_path / "to" / "7" / "mine.txt").read_text() == "mine"


def test_ugly_names_are_unpacked_as_they_are(tmp_path: Path) -> None:
    files = {f"<script>/{name}": data for name, data in SCENE.items()} | {"x/./y//z.txt": b"1", "a..b/c": b"2", "-rf": b"3"}
    found = import_archive(pack(tmp_path / "x.zip", files), tmp_path / "to")
    assert found == tmp_path / "to" / "<script>"
    assert (tmp_path / "to/x/y/z.txt").read_bytes() == b"1" and (tmp_path / "to/a..b/c").read_bytes() == b"2"


def test_progress_counts_bytes(tmp_path: Path) -> None:
    seen: list[tuple[float, float, str]] = []
    archive = pack(tmp_path / "x.zip", SCENE)
    for _ in range(2):
        seen.clear()
        import_archive(archive, tmp_path / "to", progress=lambda *step: seen.append(step))
        total = sum(map(len, SCENE.values()))
        assert [step[0] for step in seen] == [0, len(PICTURE), 2 * len(PICTURE), total]
        assert {step[1] for step in seen} == {total}
        assert [step[2] for step in seen] == [*SCENE, ""]


# What is refused before anything is written.


UNSAFE = {
    "/etc/x": "absolute path",
    "//server/x": "absolute path",
    "../x": "`..`",
    "7/../../x": "`..`",
    "7/..": "`..`",
    "7\\..\\x": "backslash",
    "..\\x": "backslash",
    "C:/x": "drive letter",
    "c:x": "drive letter",
    "7/D:/x": "drive letter",
    "7/a\nb": "control characters",
    "7/\x1b[2J": "control characters",
    "7/a\0b.png": "control characters",
    "7/\u202egnp.exe": "control characters",
    "7/" + "x" * 256: "255 bytes",
    "7/" + "é" * 128: "255 bytes",
    ".realbench-import-0": "unfinished",
    ".": "no name",
    "": "no name",
}


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_names(tmp_path: Path, name: str) -> None:
    archive = pack(tmp_path / "x.zip", SCENE, (named(name), b"x"))
    message = refusal(archive, tmp_path / "inner" / "to")
    assert UNSAFE[name] in message and repr(name[:200]) in message


def test_unsafe_names_among_what_is_left_out(tmp_path: Path) -> None:
    assert "`..`" in refusal(pack(tmp_path / "x.zip", SCENE, (named("__MACOSX/../../x"), b"x")), tmp_path / "to")
    assert "`..`" in refusal(pack(tmp_path / "y.zip", SCENE, (named("../x/"), b"")), tmp_path / "to")


TYPES = {"link": stat.S_IFLNK, "pipe": stat.S_IFIFO, "device": stat.S_IFCHR, "socket": stat.S_IFSOCK, "folder without slash": stat.S_IFDIR}


@pytest.mark.parametrize("kind", TYPES)
def test_links_and_special_members(tmp_path: Path, kind: str) -> None:
    info = named("7/ref/1.png")
    info.external_attr = (TYPES[kind] | 0o777) << 16
    message = refusal(pack(tmp_path / "x.zip", SCENE, (info, b"/etc/passwd")), tmp_path / "to")
    assert "'7/ref/1.png' is " in message and ("symlink" in message) == (kind == "link")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("7/a.png", "7/a.png"),
        ("7/a.png", "7/A.PNG"),
        ("7/é", "7/e\u0301"),
        ("7/ß", "7/SS"),
        ("7/a", "7//a"),
        ("7/a", "7/A/b"),
        ("7/a/b", "7/a"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name(tmp_path: Path, first: str, second: str) -> None:
    archive = pack(tmp_path / "x.zip", SCENE, (named(first), b"1"), (named(second), b"2"))
    assert "two members called" in refusal(archive, tmp_path / "to")


def patched(archive: Path, name: str, at: int, fmt: str, value: int, *, central: bool = True, local: bool = False) -> Path:
    """Overwrite a field of a member's entry in the table of contents, `at` bytes from its start, and the same field before its data."""
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as file:
        start, offset = file.start_dir, file.getinfo(name).header_offset
        for info in file.infolist():
            if info.filename == name:
                break
            start += 46 + len(info.filename.encode()) + len(info.extra) + len(info.comment)
    if central:
        struct.pack_into(fmt, data, start + at, value)
    if local:
        struct.pack_into(fmt, data, offset + at - 2, value)
    archive.write_bytes(bytes(data))
    return archive


FLAGS, METHOD, CRC, PACKED, SIZE = 8, 10, 16, 20, 24
MEMBER = "7/ref/0.png"


def test_encrypted(tmp_path: Path) -> None:
    archive = patched(pack(tmp_path / "x.zip", SCENE), MEMBER, FLAGS, "<H", 1)
    assert f"'{MEMBER}' is encrypted" in refusal(archive, tmp_path / "to")


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_compressions_that_need_unbounded_memory(tmp_path: Path, method: int) -> None:
    assert "compression other than" in refusal(pack(tmp_path / "x.zip", SCENE, method=method), tmp_path / "to")


def test_size_caps(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", SCENE)
    largest, total = len(PICTURE), sum(map(len, SCENE.values()))
    assert "more than the 100 accepted" in refusal(archive, tmp_path / "to", limits=Limits(member_bytes=100))
    assert f"unpacks to {total:,} bytes" in refusal(archive, tmp_path / "to", limits=Limits(total_bytes=total - 1))
    assert "3 members" in refusal(archive, tmp_path / "to", limits=Limits(members=2))
    assert import_archive(archive, tmp_path / "to", limits=Limits(members=3, total_bytes=total, member_bytes=largest)).is_dir()


def test_default_caps(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", SCENE)
    assert "more than the 1,000,000,000 accepted" in refusal(patched(archive, MEMBER, SIZE, "<I", 1_000_000_001), tmp_path / "to")


def test_compression_bomb(tmp_path: Path) -> None:
    bomb = SCENE | {"7/ref/1.png": bytes(2 << 20)}
    assert "decompression bomb" in refusal(pack(tmp_path / "x.zip", bomb), tmp_path / "to")
    small = SCENE | {"7/blank.txt": bytes(1 << 20)}
    assert import_archive(pack(tmp_path / "y.zip", small), tmp_path / "to").is_dir()


def test_a_bomb_that_claims_to_be_packed_large(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", SCENE | {"7/ref/1.png": bytes(2 << 20)})
    assert "overlap" in refusal(patched(archive, "7/ref/1.png", PACKED, "<I", 1 << 20), tmp_path / "to")


def test_no_scene_in_it(tmp_path: Path) -> None:
    assert "no scene in it" in refusal(pack(tmp_path / "x.zip", {"photos/1.png": PICTURE, "ref": b""}), tmp_path / "to")
    assert "no scene in it" in refusal(pack(tmp_path / "y.zip", {}), tmp_path / "to")


@pytest.mark.parametrize("data", [b"", b"\x1f\x8b tar", b"PK\x05\x06"])
def test_no_zip(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(data)
    assert "expected a whole zip" in refusal(tmp_path / "x.zip", tmp_path / "to")
    assert "found no file" in refusal(tmp_path / "absent.zip", tmp_path / "to")
    assert "found no file" in refusal(tmp_path, tmp_path / "to")


def test_a_download_cut_short(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", RELEASE)
    archive.write_bytes(archive.read_bytes()[:-30])
    assert "download it again" in refusal(archive, tmp_path / "to")


def test_too_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(tmp_path / "x.zip", SCENE)
    total = sum(map(len, SCENE.values()))
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, total - 1))
    assert "make room" in refusal(archive, tmp_path / "a" / "to")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, total))
    import_archive(archive, tmp_path / "a" / "to")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 0))
    import_archive(archive, tmp_path / "a" / "to")  # all is there: no room needed


def test_a_destination_in_the_way(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", SCENE)
    (tmp_path / "file").write_text("")
    assert "found a file" in refusal(archive, tmp_path / "file")
    (tmp_path / "one" / "7").mkdir(parents=True)
    (tmp_path / "one" / "7" / "ref").write_text("")
    assert "expected a folder or nothing" in refusal(archive, tmp_path / "one")
    (tmp_path / "two" / MEMBER).mkdir(parents=True)
    assert "expected a file or nothing" in refusal(archive, tmp_path / "two")


@pytest.mark.parametrize("at", ["7", "7/target", "7/target/mask.png"])
def test_symlinks_in_the_destination(tmp_path: Path, at: str) -> None:
    """Nothing is written through a link, whether it leads to a folder, to a file or to nowhere."""
    archive = pack(tmp_path / "x.zip", SCENE)
    for number, goal in enumerate([tmp_path / "victim", tmp_path / "victim" / "file", tmp_path / "nowhere"]):
        (tmp_path / "victim").mkdir(exist_ok=True)
        (tmp_path / "victim" / "file").write_text("mine")
        destination = tmp_path / f"to{number}"
        (destination / at).parent.mkdir(parents=True)
        (destination / at).symlink_to(goal)
        assert "found a symlink" in refusal(archive, destination)


def test_a_destination_that_is_a_symlink_is_the_users_own_choice(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "to").symlink_to(tmp_path / "disk")
    assert import_archive(pack(tmp_path / "x.zip", SCENE), tmp_path / "to") == tmp_path / "disk"
    assert (tmp_path / "disk" / MEMBER).read_bytes() == PICTURE


# Broken members and resuming.


BROKEN: dict[str, Callable[[Path], Path]] = {
    "another CRC": lambda archive: patched(archive, MEMBER, CRC, "<I", 7),
    "more bytes promised": lambda archive: patched(archive, MEMBER, SIZE, "<I", len(PICTURE) + 9),
    "fewer bytes promised": lambda archive: patched(archive, MEMBER, SIZE, "<I", len(PICTURE) - 9),
    "fewer bytes packed": lambda archive: patched(archive, MEMBER, PACKED, "<I", 20),
    "another name before the data": lambda archive: patched(archive, MEMBER, 30 + 2, "<B", ord("8"), central=False, local=True),
    "encrypted before the data": lambda archive: patched(archive, MEMBER, FLAGS, "<H", 0x20, local=True),
}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("name", BROKEN)
def test_broken_members_are_named_and_leave_no_file(tmp_path: Path, name: str, method: int) -> None:
    archive = BROKEN[name](pack(tmp_path / "x.zip", {"7/target/target.png": PICTURE} | SCENE, method=method))
    with pytest.raises(ArchiveError, match=f"member '{MEMBER}' is broken .*; download the archive again"):
        import_archive(archive, tmp_path / "to")
    files = {name for name, data in snapshot(tmp_path / "to").items() if data is not None}
    assert files == {"7/target/target.png"}


def test_interrupted_and_called_again(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", RELEASE)
    for stop in (0, 1, 7, len(RELEASE)):
        destination = tmp_path / f"to{stop}"
        steps = 0

        def interrupt(done: float, total: float, text: str, stop: int = stop) -> None:
            nonlocal steps
            if steps == stop:
                raise KeyboardInterrupt
            steps += 1

        with pytest.raises(KeyboardInterrupt):
            import_archive(archive, destination, progress=interrupt)
        assert len([data for data in snapshot(destination).values() if data is not None]) == stop
        import_archive(archive, destination)
        assert {name: data for name, data in snapshot(destination).items() if data is not None} == RELEASE


def test_interrupted_within_a_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(tmp_path / "x.zip", SCENE)

    def half(source: Any, sink: Any, size: int) -> None:
        sink.write(source.read(size // 2))
        sink.flush()
        assert [path for path in (tmp_path / "to").iterdir() if path.stat().st_size == size // 2]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "_copy", half)
        import_archive(archive, tmp_path / "to")
    assert snapshot(tmp_path / "to") == {}
    (tmp_path / "to" / ".realbench-import-dead").write_bytes(b"left by a killed process")
    import_archive(archive, tmp_path / "to")
    assert {name: data for name, data in snapshot(tmp_path / "to").items() if data is not None} == SCENE


def test_a_second_call_writes_only_what_differs(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", RELEASE)
    import_archive(archive, tmp_path / "to")
    changed, shortened, missing = list(RELEASE)[:3]
    (tmp_path / "to" / changed).write_bytes(PICTURE[:-1] + b"!")
    (tmp_path / "to" / shortened).write_bytes(PICTURE[:-1])
    (tmp_path / "to" / missing).unlink()
    for name in RELEASE:
        if name != missing:
            os.utime(tmp_path / "to" / name, (1, 1))
    import_archive(archive, tmp_path / "to")
    touched = {name for name in RELEASE if (tmp_path / "to" / name).stat().st_mtime != 1}
    assert touched == {changed, shortened, missing}
    assert {name: data for name, data in snapshot(tmp_path / "to").items() if data is not None} == RELEASE


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_link_in_the_place_of_the_unfinished_file_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    link = tmp_path / "to" / ".realbench-import-0"
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "to").mkdir()

    def digits(size: int) -> str:
        if when == "meanwhile":
            link.symlink_to(tmp_path / "victim")
        return "0"

    if when == "before":
        link.symlink_to(tmp_path / "victim")
    monkeypatch.setattr(module.secrets, "token_hex", digits)
    archive = pack(tmp_path / "x.zip", SCENE)
    with pytest.raises(ArchiveError, match="File exists") if when == "meanwhile" else contextlib.nullcontext():
        import_archive(archive, tmp_path / "to")
    assert (tmp_path / "victim").read_text() == "mine"
    assert not link.exists()


def test_a_disk_that_fails_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Any, sink: Any, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_copy", full)
    with pytest.raises(SceneError, match=r"x\.zip: cannot be unpacked to .*No space left.*; "):
        import_archive(pack(tmp_path / "x.zip", SCENE), tmp_path / "to")


PIECES = st.sampled_from(
    ["..", ".", "", "a", "A", "7", "ref", "~", "C:", "a:b", "..\\x", "\x00", "\n", "a..", "...", " ", "\u202e", "con", "é"]
)
NAMES = st.lists(PIECES | st.text(st.characters(exclude_categories=["Cs"]), max_size=4), min_size=1, max_size=5)


@given(st.lists(NAMES.map("/".join), min_size=1, max_size=4), st.sampled_from([0, stat.S_IFREG, stat.S_IFLNK]))
@settings(max_examples=150, deadline=None)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_nothing_is_ever_written_outside(tmp_path_factory: pytest.TempPathFactory, names: list[str], kind: int) -> None:
    root = tmp_path_factory.mktemp("any")
    try:
        (root / "deep" / "er").mkdir(parents=True)
        extra = []
        for name in names:
            info = named(name)
            info.external_attr = kind << 16
            extra.append((info, b"x"))
        archive = pack(root / "deep" / "x.zip", SCENE, *extra)
        before = snapshot(root)
        try:
            import_archive(archive, root / "deep" / "er" / "to")
        except ArchiveError as error:
            assert str(error).isprintable()
            assert snapshot(root) == before
        outside = {name: data for name, data in snapshot(root).items() if not name.startswith("deep/er/to")}
        assert outside == before
        assert not [path for path in root.rglob("*") if path.is_symlink()]
    finally:
        shutil.rmtree(root)


def test_bytes_that_are_hostile_all_over(tmp_path: Path) -> None:
    """Any single changed byte: a clear error, or an import that open_suite can look at; never another exception."""
    data = pack(tmp_path / "x.zip", SCENE).read_bytes()
    rng = np.random.default_rng(3)
    for at in rng.choice(len(data), 150, replace=False):
        damaged = bytearray(data)
        damaged[at] ^= 1 << int(rng.integers(8))
        (tmp_path / "y.zip").write_bytes(bytes(damaged))
        with contextlib.suppress(ArchiveError):
            import_archive(tmp_path / "y.zip", tmp_path / "to")
        shutil.rmtree(tmp_path / "to", ignore_errors=True)
    assert {path.name for path in tmp_path.iterdir()} == {"x.zip", "y.zip"}


def test_a_hostile_suite_after_import(tmp_path: Path) -> None:
    """Pictures that are bombs or cut short pass the import and are refused by scene, the others go on."""
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    header += struct.pack(">I", zlib.crc32(header[12:]))
    files = {f"{id}{name[1:]}": data for id in ("<script>", "bomb", "cut") for name, data in SCENE.items()}
    files |= {"bomb/target/target.png": header, "cut/ref/0.jpg": jpeg()[:500]}
    suite = open_suite(import_archive(pack(tmp_path / "x.zip", files), tmp_path / "to"))
    assert suite.ids == ("<script>", "bomb", "cut")
    assert suite.load("<script>").id == "<script>"
    with pytest.raises(SceneError, match=r"bomb/target/target.png: .*64,000,000"):
        suite.load("bomb")
    with pytest.raises(SceneError, match=r"cut/ref/0.jpg: cannot be decoded"):
        suite.load("cut")


def jpeg() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.kron(NOISE, np.ones((8, 8, 1), np.uint8))).save(buffer, "JPEG")
    return buffer.getvalue()
