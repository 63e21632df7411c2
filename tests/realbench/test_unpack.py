"""Taking a pinned file out of an archive: the right bytes, or nothing."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from realbench import unpack
from realbench.errors import RealbenchError

NAME = "p-1.0/p/weights/a.bin"
DATA = os.urandom(300_000)


def tar(path: Path, *members: tuple[tarfile.TarInfo | str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as file:
        for info, data in members:
            if isinstance(info, str):
                info = tarfile.TarInfo(info)
            info.size = info.size or len(data)
            file.addfile(info, io.BytesIO(data) if data else None)
    return path


def wheel(path: Path, *members: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members:
            file.writestr(name, data)
    return path


def take(archive: Path, data: bytes = DATA, *, size: int | None = None) -> bytes:
    target = archive.parent / "out" / "taken"
    target.parent.mkdir(exist_ok=True)
    try:
        unpack.take(archive, NAME, len(data) if size is None else size, hashlib.sha256(data).hexdigest(), target)
    except RealbenchError:
        assert not target.exists() or target.stat().st_size <= len(data) + 1
        raise
    assert [path.name for path in target.parent.iterdir()] == ["taken"]
    return target.read_bytes()


@pytest.mark.parametrize("name", ["a.tar.gz", "a.whl", "a.zip"])
def test_one_file_is_taken_and_no_other_written(tmp_path: Path, name: str) -> None:
    make: Callable[..., Path] = tar if name.endswith(".tar.gz") else wheel
    archive = make(tmp_path / name, ("p-1.0/setup.py", b"raise SystemExit"), ("../escape", b"x"), ("/abs", b"x"), (NAME, DATA), ("z", b"x"))
    assert take(archive) == DATA
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, "out"]
    assert not (tmp_path.parent / "escape").exists()


def link(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(NAME)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


def zip_link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(NAME)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def bomb(path: Path) -> Path:
    """An sdist whose first member is 16 MB of nothing in 16 kB, before the one that is wanted."""
    return tar(path, ("p-1.0/big", bytes(16 << 20)), (NAME, DATA[:1000]))


def header_bomb(path: Path) -> Path:
    """A tar whose extended header claims to be 2 GB, to be read into memory at once."""
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 2 << 30
    with gzip.open(path, "wb") as file:
        file.write(info.tobuf() + bytes(1 << 20))
    return path


def promised(path: Path) -> Path:
    """A wheel whose directory tells the right size of a member that is far longer."""
    wheel(path, (NAME, bytes(8 << 20)))
    data = path.read_bytes()
    path.write_bytes(data.replace((8 << 20).to_bytes(4, "little"), len(DATA).to_bytes(4, "little")))
    return path


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "another content": (lambda f: tar(f / "a.tar.gz", (NAME, DATA[::-1])), "holds another one"),
    "another content, wheel": (lambda f: wheel(f / "a.whl", (NAME, DATA[::-1])), "holds another one"),
    "longer": (lambda f: tar(f / "a.tar.gz", (NAME, DATA + b"x")), "tells 300,001 bytes instead of 300,000"),
    "longer, wheel": (lambda f: wheel(f / "a.whl", (NAME, DATA + b"x")), "tells 300,001 bytes instead of 300,000"),
    "longer than it tells": (lambda f: promised(f / "a.whl"), "found "),
    "not there": (lambda f: tar(f / "a.tar.gz", ("p-1.0/other", DATA)), "no file of this name"),
    "not there, wheel": (lambda f: wheel(f / "a.whl", ("p-1.0/other", DATA)), "no files of this name"),
    "a symlink": (lambda f: tar(f / "a.tar.gz", (link(tarfile.SYMTYPE), b"")), "a link"),
    "a hard link": (lambda f: tar(f / "a.tar.gz", (link(tarfile.LNKTYPE), b"")), "a link"),
    "a device": (lambda f: tar(f / "a.tar.gz", (link(tarfile.CHRTYPE), b"")), "a special file"),
    "a symlink, wheel": (lambda f: wheel(f / "a.whl", (zip_link(), DATA)), "a link"),
    "a bomb before it": (lambda f: bomb(f / "a.tar.gz"), "decompression bomb"),
    "a bomb of a header": (lambda f: header_bomb(f / "a.tar.gz"), "decompression bomb"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_the_pinned_file_is_refused(tmp_path: Path, name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(RealbenchError) as caught:
        take(make(tmp_path))
    assert message in str(caught.value)
    assert not (tmp_path / "out" / "taken").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RealbenchError, match="holds 2 files of this name"):
        take(wheel(tmp_path / "a.whl", (NAME, DATA), (NAME, DATA)))


@pytest.mark.parametrize("name", ["a.tar.gz", "a.whl"])
@pytest.mark.parametrize("harm", [lambda d: d[: len(d) // 2], lambda d: b"", lambda d: b"<html>not found</html>"])
def test_a_broken_archive_is_said(tmp_path: Path, name: str, harm: Callable[[bytes], bytes]) -> None:
    make: Callable[..., Path] = tar if name.endswith(".tar.gz") else wheel
    archive = make(tmp_path / name, ("p-1.0/x", DATA), (NAME, DATA))
    archive.write_bytes(harm(archive.read_bytes()))
    with pytest.raises(RealbenchError, match=r"expected (a whole archive|the pinned)"):
        take(archive)
    assert not (tmp_path / "out" / "taken").exists()


def test_a_wheel_whose_beginning_is_gone_is_broken(tmp_path: Path) -> None:
    """Its table of contents then points to places before the file's beginning, which the system refuses to go to."""
    archive = wheel(tmp_path / "a.whl", (NAME, DATA), ("z", b"x"))
    archive.write_bytes(archive.read_bytes()[1000:])
    with pytest.raises(RealbenchError, match="found a broken one"):
        take(archive)
