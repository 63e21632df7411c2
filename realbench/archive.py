"""Unpacking a release's zip. Nothing is written before the whole table of contents has passed, and nothing outside the destination."""

from __future__ import annotations

import re
import secrets
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from realbench.errors import SceneError
from realbench.suite import natural

CHUNK = 1 << 20
DRIVE = re.compile(r"[A-Za-z]:")
NAME_BYTES = 255
"""Longest name of one file or folder that common file systems take."""
JUNK = ("__MACOSX", ".DS_Store")
"""What macOS adds to archives: never unpacked."""
TEMPORARY = ".realbench-import-"
"""How a file is called, before random digits, until it is complete."""


class ArchiveError(SceneError):
    """An archive is unsafe, broken, or no release of scenes."""


@dataclass(frozen=True)
class Limits:
    """What an archive may unpack to."""

    members: int = 100_000
    total_bytes: int = 8_000_000_000
    member_bytes: int = 1_000_000_000
    ratio: int = 200
    """Largest compression ratio of a member that unpacks to more than `ratio_from` bytes; photographs hardly compress."""
    ratio_from: int = 1 << 20


@dataclass(frozen=True)
class _Member:
    """A file of the archive whose name and size have passed."""

    info: zipfile.ZipInfo
    parts: tuple[str, ...]
    """Folders and name below the destination."""


Progress = Callable[[float, float, str], None]
"""progress(bytes done, bytes in all, member)."""


def import_archive(archive: Path, destination: Path, *, progress: Progress | None = None, limits: Limits | None = None) -> Path:
    """Unpack a release's zip below `destination` and return the folder of scenes in it, as `open_suite` takes it.

    Can be called again after an interruption: members that are already there (size and CRC) are left alone, others are written to a
    temporary name and renamed. Nothing that the destination holds beside is touched. Where the archive holds several suites, the
    one with most ground truths is returned.

    Raises ArchiveError with the member and the reason: a name that leaves the destination, a link or other special member, two members
    of one name, encryption, too many bytes, members or too high a compression ratio, no scene in it, too little disk space, a symlink
    in the way, a broken member.
    """
    limits = limits or Limits()
    try:
        with _opened(archive) as file:
            members = _checked(archive, file, limits)
            suite = _suite(archive, members)
            root = destination.resolve()
            _check_destination(root, members)
            _unpack(archive, file, root, members, progress or (lambda done, total, text: None))
    except OSError as error:
        raise ArchiveError(f"{archive}: cannot be unpacked to {destination} ({error}); mend that and import again") from error
    return root.joinpath(*suite)


def _opened(archive: Path) -> zipfile.ZipFile:
    if not archive.is_file():
        raise ArchiveError(f"{archive}: expected a zip archive, found no file; check the path")
    try:
        return zipfile.ZipFile(archive)
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, struct.error) as error:
        raise ArchiveError(f"{archive}: expected a whole zip archive, found something else ({error}); download it again") from error


def _checked(archive: Path, file: zipfile.ZipFile, limits: Limits) -> list[_Member]:
    """The files to unpack. Raises ArchiveError unless every member's name, kind and size is harmless."""
    infos = file.infolist()
    if len(infos) > limits.members:
        raise ArchiveError(f"{archive}: {len(infos):,} members, more than the {limits.members:,} accepted; this is no release of scenes")
    members = []
    for info in infos:
        parts = _parts(archive, info)
        _check_kind(archive, info)
        _check_size(archive, info, limits)
        if parts and not info.is_dir() and not any(part in JUNK for part in parts):
            members.append(_Member(info, parts))
    total = sum(member.info.file_size for member in members)
    if total > limits.total_bytes:
        raise ArchiveError(
            f"{archive}: unpacks to {total:,} bytes, more than the {limits.total_bytes:,} accepted; this is no release of scenes"
        )
    if sum(info.compress_size for info in infos) > archive.stat().st_size:
        raise ArchiveError(f"{archive}: its members overlap, as in a decompression bomb; download it again from its source")
    _check_unique(archive, members)
    return members


def _parts(archive: Path, info: zipfile.ZipInfo) -> tuple[str, ...]:
    """A member's folders and name. Raises ArchiveError where they could lead out of the destination on any system."""
    name = info.orig_filename
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    fault = ""
    if name.startswith("/"):
        fault = "an absolute path"
    elif ".." in parts:
        fault = "a path with `..`"
    elif "\\" in name:
        fault = "a backslash"
    elif any(DRIVE.match(part) for part in parts):
        fault = "a drive letter"
    elif not name.isprintable():
        fault = "control characters"
    elif any(part.startswith(TEMPORARY) for part in parts):
        fault = "a name kept for unfinished files"
    elif any(len(part.encode()) > NAME_BYTES for part in parts):
        fault = f"a name of more than {NAME_BYTES} bytes"
    elif not parts and not name.endswith("/"):
        fault = "no name"
    if fault:
        raise ArchiveError(f"{archive}: unsafe member {name[:200]!r}, {fault}; nothing was unpacked, get the archive from its source")
    return parts


def _check_kind(archive: Path, info: zipfile.ZipInfo) -> None:
    """Refuse links, devices and what cannot be decoded."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    fault = ""
    if kind not in (0, stat.S_IFDIR if info.is_dir() else stat.S_IFREG):
        fault = "is a symlink" if kind == stat.S_IFLNK else "is no regular file"
    elif info.flag_bits & 0x1:
        fault = "is encrypted"
    elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        fault = "uses a compression other than stored and deflate"
    if fault:
        raise ArchiveError(f"{archive}: member {info.filename!r} {fault}; nothing was unpacked, pack plain files anew")


def _check_size(archive: Path, info: zipfile.ZipInfo, limits: Limits) -> None:
    """Refuse what unpacks to too much. A header that lies does not help: reading stops at the size it tells, see _copy."""
    fault = ""
    if info.file_size > limits.member_bytes:
        fault = f"unpacks to {info.file_size:,} bytes, more than the {limits.member_bytes:,} accepted"
    elif info.file_size > limits.ratio_from and info.file_size > limits.ratio * info.compress_size:
        fault = f"unpacks to more than {limits.ratio} times its size, as a decompression bomb does"
    if fault:
        raise ArchiveError(f"{archive}: member {info.filename!r} {fault}; nothing was unpacked, this is no release of scenes")


def _check_unique(archive: Path, members: list[_Member]) -> None:
    """Refuse two files of one name, also where a file system ignores case, and a file that is another's folder."""
    keys = [tuple(unicodedata.normalize("NFC", part).casefold() for part in member.parts) for member in members]
    folders = {key[:depth] for key in keys for depth in range(1, len(key))}
    seen: set[tuple[str, ...]] = set()
    for member, key in zip(members, keys, strict=True):
        if key in seen or key in folders:
            raise ArchiveError(f"{archive}: two members called {member.info.filename!r}; nothing was unpacked, pack the scenes anew")
        seen.add(key)


def _suite(archive: Path, members: list[_Member]) -> tuple[str, ...]:
    """Folders that lead to the suite with most ground truths, then most scenes."""
    scenes: dict[tuple[str, ...], set[str]] = {}
    truths: dict[tuple[str, ...], set[str]] = {}
    for member in members:
        *before, name = member.parts
        if before and before[-1] in ("ref", "target"):
            suite, scene = tuple(before[:-2]), "/".join(before[-2:-1])
            scenes.setdefault(suite, set()).add(scene)
            if before[-1] == "target" and name.casefold().startswith("gt."):
                truths.setdefault(suite, set()).add(scene)
    if not scenes:
        raise ArchiveError(f"{archive}: no scene in it, expected SUITE/<id>/ref/ and SUITE/<id>/target/; see docs/scenes.md for the layout")
    ranked = sorted(scenes, key=lambda suite: natural("/".join(suite)))
    return max(ranked, key=lambda suite: (len(truths.get(suite, ())), len(scenes[suite])))


def _check_destination(root: Path, members: list[_Member]) -> None:
    """Refuse a destination in which a symlink, or a file in a folder's place, stands in the way of any member; look for room."""
    if root.exists() and not root.is_dir():
        raise ArchiveError(f"{root}: expected a folder to unpack to, found a file; choose another destination")
    folders = {member.parts[:depth] for member in members for depth in range(1, len(member.parts))}
    for folder in sorted(folders):
        path = root.joinpath(*folder)
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise ArchiveError(f"{path}: expected a folder or nothing, found a symlink or a file; remove it, or choose another destination")
    for member in members:
        path = root.joinpath(*member.parts)
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise ArchiveError(f"{path}: expected a file or nothing, found a symlink or a folder; remove it, or choose another destination")
    missing = sum(member.info.file_size for member in members if not _has_size(root.joinpath(*member.parts), member.info.file_size))
    free = shutil.disk_usage(next(folder for folder in (root, *root.parents) if folder.exists())).free
    if missing > free:
        raise ArchiveError(f"{root}: {missing:,} bytes to unpack, {free:,} free; make room, or choose another destination")


def _unpack(archive: Path, file: zipfile.ZipFile, root: Path, members: list[_Member], progress: Progress) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for leftover in root.glob(f"{TEMPORARY}*"):
        leftover.unlink()
    total = sum(member.info.file_size for member in members)
    done = 0
    for member in members:
        progress(done, total, member.info.filename)
        path = root.joinpath(*member.parts)
        if not (_has_size(path, member.info.file_size) and _crc(path) == member.info.CRC):
            _write(archive, file, member, root, path)
        done += member.info.file_size
    progress(done, total, "")


def _write(archive: Path, file: zipfile.ZipFile, member: _Member, root: Path, path: Path) -> None:
    """Unpack one member to a temporary name and rename it, so that an interruption never leaves half a file."""
    temporary = root / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        with temporary.open("xb") as sink, file.open(member.info) as source:
            _copy(source, sink, member.info.file_size)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(path)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, struct.error) as error:
        name = member.info.filename
        raise ArchiveError(f"{archive}: member {name!r} is broken ({error}); download the archive again, then import again") from error
    finally:
        temporary.unlink(missing_ok=True)


def _copy(source: IO[bytes], sink: IO[bytes], size: int) -> None:
    """Copy and count: the bytes that come, not those the header promises, must be `size`. zipfile checks the CRC at the end."""
    written = 0
    while chunk := source.read(min(CHUNK, size + 1 - written)):
        written += len(chunk)
        if written > size:
            break
        sink.write(chunk)
    if written != size:
        raise zipfile.BadZipFile(f"{size:,} bytes promised, found {'more' if written > size else f'{written:,}'}")


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _crc(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        for chunk in _chunks(file):
            crc = zlib.crc32(chunk, crc)
    return crc


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk
