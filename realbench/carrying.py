"""Carrying what a run has finished into another run: files linked or copied, verified against their record, the record last."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ValidationError

from realbench import fingerprint
from realbench.errors import RealbenchError
from realbench.records import SCHEMA, FillRecord, FitRecord, StageRecord
from realbench.store import RECORD, sync_folder, temporary_name, write_atomic

S = TypeVar("S", bound=StageRecord)
F = TypeVar("F", bound=FillRecord | FitRecord)


@dataclass(frozen=True)
class Held(Generic[S]):
    """A record as a run has it."""

    root: Path
    """The run's folder."""
    path: Path
    data: bytes
    record: S

    @property
    def age(self) -> tuple[str, bytes]:
        """Sorts records by when they were finished, alike in whatever order runs are given."""
        return self.record.finished, self.data


def held(root: Path, path: Path, kind: type[S]) -> Held[S] | None:
    """The record at a path below a run's folder; None where there is none or it is broken. Raises RealbenchError for a symlink."""
    try:
        plain(root, path)
        data = path.read_bytes()
        record = kind.model_validate_json(data)
    except (OSError, ValidationError):
        return None
    return Held(root, path, data, record) if record.schema_version == SCHEMA else None


def plain(root: Path, path: Path) -> None:
    """Raises RealbenchError where a symlink stands between a run's folder and a path: runs hold plain files alone."""
    if path.resolve() != root.resolve() / path.relative_to(root):
        raise RealbenchError(f"{path}: a symlink stands in the way, and run folders hold plain files only; put the file in its place")


def pick(ones: Iterable[Held[S]]) -> Held[S] | None:
    """Which record stands: the earliest that is ok, else the latest failure."""
    every = list(ones)
    done = [one for one in every if one.record.state == "ok"]
    if done:
        return min(done, key=lambda one: one.age)
    return max(every, key=lambda one: one.age, default=None)


def intact(one: Held[F], inner: str = "") -> bool:
    """Whether the files of a record (in the folder `inner` beside it) are what it vouches for."""
    folder = one.path.parent / inner
    try:
        for name, digest in one.record.files.items():
            plain(one.root, folder / name)
            if fingerprint.of_file_now(folder / name) != digest:
                return False
    except OSError:
        return False
    return True


def carry(one: Held[F], root: Path, folder: Path, attempts: Sequence[bytes], inner: str = "") -> bool:
    """Bring a record and its files into a folder of the run at `root`; False, and no record, when a file is not as recorded.

    Files come first, then older records under attempts/, then the record: a crash leaves a finished cell or one to be carried again.
    Raises RealbenchError where the disk refuses, and for a symlink.
    """
    inside = folder / inner
    for path in (inside, folder / "attempts"):
        plain(root, path)
    fetched: dict[Path, Path] = {}
    try:
        inside.mkdir(parents=True, exist_ok=True)
        for name, digest in one.record.files.items():
            source, target = one.path.parent / inner / name, inside / name
            plain(one.root, source)
            if source != target:
                fetched[target] = temporary_name(target)
                if not fetch(source, digest, fetched[target]):
                    return False
        for target, temporary in fetched.items():  # all are whole: what stood here before is not touched for less
            temporary.replace(target)
        sync_folder(inside)
    except OSError as error:
        problem = f"{error.filename or inside}: cannot be carried over ({error.strerror or error})"
        raise RealbenchError(f"{problem}; nothing finished is lost: mend it and merge again") from error
    finally:
        for temporary in fetched.values():
            with suppress(OSError):
                temporary.unlink(missing_ok=True)  # a rename of one link over another of the same file leaves both
    write_atomic(attempts_to_write(folder, attempts) | {folder / RECORD: one.data})
    return True


def fetch(source: Path, digest: str, target: Path) -> bool:
    """Link a file, or copy it where the disk cannot link; False when its bytes are not those of the digest. Raises OSError."""
    if not stat.S_ISREG(source.lstat().st_mode):
        return False
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        _copy(source, target)
    return fingerprint.of_file_now(target) == digest


def earlier(places: Iterable[tuple[Path, Path]], further: Iterable[Held[S]], kind: type[S]) -> list[bytes]:
    """The records under attempts/ in some folders, each given with its run's, and further ones: each once, the earliest first."""
    every = {one.data: one.age for one in further}
    for root, folder in places:
        attempts = folder / "attempts"
        names = sorted(attempts.glob("[0-9]*.json")) if attempts.is_dir() else []
        found = (held(root, name, kind) for name in names)
        every |= {one.data: one.age for one in found if one is not None}
    return sorted(every, key=every.__getitem__)


def attempts_to_write(folder: Path, wanted: Sequence[bytes]) -> dict[Path, bytes]:
    """The files under attempts/ that have to be written, the last one first: until an older one moved up it keeps its place."""
    files = {folder / "attempts" / f"{at:03d}.json": data for at, data in enumerate(wanted)}
    return {path: data for path, data in reversed(files.items()) if not path.is_file() or path.read_bytes() != data}


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("wb") as write:
        shutil.copyfileobj(read, write)
        write.flush()
        os.fsync(write.fileno())
