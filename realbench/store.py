"""The run folder: plain files that survive a crash at any moment.

Every file is written under a temporary name, fsynced and renamed; a cell's record comes after its images. After a crash a cell
therefore has either no valid record (it is run again) or all of its files.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from realbench import fingerprint
from realbench.errors import RealbenchError, UsageError
from realbench.metric import State
from realbench.records import SCHEMA, FillRecord, FitRecord, Images, Manifest, Record, ScoreRecord

MANIFEST = "run.json"
RECORD = "record.json"
_TEMPORARY = ".tmp-"
MOST_NEAR = 3
"""Runs named where a folder holds none itself."""
R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Cell:
    """Where one fill lives: (row, scene, fit, seed)."""

    label: str
    fingerprint: str
    scene: str
    fit: int
    seed: int


@dataclass
class Hold:
    """A run folder that is held."""

    broke_off: bool
    """Whoever held it before was killed, or the machine went down."""
    noted: bool = False
    """That is written in the run's manifest, and need not be remembered further."""


class RunFolder:
    """One run on disk. Reading never raises for a broken record: what cannot be read counts as missing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._fits: dict[tuple[str, str, str, int], Path] = {}

    def row(self, label: str, row_fingerprint: str) -> Path:
        """The folder of a row."""
        return self.root / f"{row_folder(label)}-{row_fingerprint}"

    def fit(self, cell: Cell) -> Path:
        """The folder of a cell's fit; the seeds of one share it, and putting names together takes longer than reading a record."""
        key = cell.label, cell.fingerprint, cell.scene, cell.fit
        if key not in self._fits:
            self._fits[key] = self.row(cell.label, cell.fingerprint) / folder_name(cell.scene) / f"fit-{cell.fit}"
        return self._fits[key]

    def cell(self, cell: Cell) -> Path:
        """The folder of a cell."""
        return self.fit(cell) / f"seed-{cell.seed:05d}"

    @contextmanager
    def lock(self, *, mark: bool = False) -> Iterator[Hold]:
        """Hold the run folder: two commands that write never work on it at once. Raises UsageError when it is held.

        `mark`: leave a file meanwhile, so that the next such command knows whether this one came to its end.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.root / ".lock", timeout=0)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            hold = Hold(broke_off=mark and self._working.exists())
            if mark:
                self._working.touch()
        except Timeout:
            raise UsageError(f"{self.root}: another command is working on this run; wait for it to end, or give another --out") from None
        except OSError as error:
            lock.release()
            raise UsageError(f"{self.root}: cannot be written ({error.strerror or error}); give another --out") from error
        try:
            yield hold
        finally:
            if mark and (hold.noted or not hold.broke_off):
                with suppress(OSError):
                    self._working.unlink(missing_ok=True)
            lock.release()

    @property
    def _working(self) -> Path:
        """Here while a command works on the run; left behind by one that was killed."""
        return self.root / ".working"

    def read_manifest(self) -> Manifest:
        """What the run was asked to hold. Raises UsageError where there is no run or its manifest is broken."""
        path = self.root / MANIFEST
        if not path.is_file():
            raise UsageError(f"{self.root}: no run here (expected {MANIFEST}); give a folder that `realbench run` wrote{_near(self.root)}")
        manifest = _read(path, Manifest)
        if manifest is None:
            raise UsageError(f"{path}: broken, or written by another version (expected schema {SCHEMA}); move it aside and run again")
        return manifest

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace run.json."""
        write_atomic({self.root / MANIFEST: _encode(manifest)})

    def read_fill(self, cell: Cell) -> FillRecord | None:
        """A cell's record; None when it has none, when it is broken, or when an image it vouches for is not there in full.

        An image that was written to after its record is compared by its content, others by their size alone.
        """
        folder = self.cell(cell)
        record = _read(folder / RECORD, FillRecord)
        if record is None or record.state != "ok":
            return record
        return record if record.files and stands(folder, record) else None

    def has_record(self, cell: Cell) -> bool:
        """Whether there is a record, readable or not."""
        return (self.cell(cell) / RECORD).exists()

    def read_images(self, cell: Cell, record: FillRecord | Images) -> dict[str, bytes] | None:
        """The bytes of raw.png and fill.png; None when they are not what the record vouches for."""
        images = {}
        for name, digest in record.files.items():
            with suppress(OSError):
                images[name] = (self.cell(cell) / name).read_bytes()
            if name not in images or fingerprint.of_bytes(images[name]) != digest:
                return None
        return images

    def write_fill(self, cell: Cell, record: FillRecord, images: Mapping[str, bytes]) -> None:
        """Commit a cell: images first, then the record; an older record moves to attempts/."""
        folder = self._inside(self.cell(cell))
        self._keep_attempt(folder)
        write_atomic({**{folder / name: data for name, data in images.items()}, folder / RECORD: _encode(record)})

    def drop_fill(self, cell: Cell) -> None:
        """Withdraw a cell whose images proved corrupt; its record moves to attempts/."""
        self._keep_attempt(self.cell(cell))

    def read_fit(self, cell: Cell) -> FitRecord | None:
        """The record of a cell's fit; None when it has none or a state file is missing."""
        folder = self.fit(cell)
        record = _read(folder / RECORD, FitRecord)
        if record is None or record.state != "ok":
            return record
        return record if all((folder / "state" / name).is_file() for name in record.files) else None

    def read_state(self, cell: Cell, record: FitRecord) -> dict[str, bytes] | None:
        """The fitted state's files; None when they are not what the record vouches for."""
        return _fitted(self.fit(cell), record)

    def find_fit(self, cell: Cell, inputs: str) -> tuple[FitRecord, dict[str, bytes]] | None:
        """A whole fit of any row of this folder, present or former, that was made of the same inputs as the cell's."""
        for row in sorted(self.root.iterdir()):
            folder = row / folder_name(cell.scene) / f"fit-{cell.fit}"
            record = _read(folder / RECORD, FitRecord)
            if record is not None and record.state == "ok" and record.inputs == inputs:
                state = _fitted(folder, record)
                if state is not None:
                    return record, state
        return None

    def write_fit(self, cell: Cell, record: FitRecord, state: Mapping[str, bytes]) -> None:
        """Commit a fit: state files first, then the record."""
        folder = self._inside(self.fit(cell))
        self._keep_attempt(folder)
        write_atomic({**{folder / "state" / name: data for name, data in state.items()}, folder / RECORD: _encode(record)})

    def read_score(self, cell: Cell, key: str) -> ScoreRecord | None:
        """A score; None when there is none or it is broken."""
        return _read(self.cell(cell) / "scores" / f"{key}.json", ScoreRecord)

    def write_scores(self, scores: Iterable[tuple[Cell, str, ScoreRecord]]) -> None:
        """Commit scores, each under its signature's hash."""
        files = {self._inside(self.cell(cell) / "scores") / f"{key}.json": _encode(record) for cell, key, record in scores}
        write_atomic(files, durable=False)  # a score lost to a power failure is computed again

    def _inside(self, folder: Path) -> Path:
        """Raises RealbenchError for a folder that a symlink leads out of the run."""
        if not folder.resolve().is_relative_to(self.root.resolve()):
            raise RealbenchError(f"{folder}: a symlink leads out of the run folder, so nothing is written there; remove it and run again")
        return folder

    def _keep_attempt(self, folder: Path) -> None:
        record = folder / RECORD
        if not record.exists():
            return
        attempts = folder / "attempts"
        with refused(attempts):
            attempts.mkdir(exist_ok=True)
            record.replace(attempts / f"{len(list(attempts.iterdir())):03d}.json")


def cells(folder: RunFolder, manifest: Manifest) -> Iterator[tuple[Cell, FillRecord | None, State]]:
    """Every cell a run was asked for, row by row, with its record and its state."""
    seen = cache(lambda scene, oracle: manifest.scenes[scene].seen(oracle))
    for cell in asked(manifest):
        record = folder.read_fill(cell)
        yield cell, record, _state(record, cell, manifest, seen)


def finished(folder: RunFolder, manifest: Manifest) -> list[tuple[Cell, FillRecord]]:
    """Every finished cell of a run, row by row; stale ones (of a scene that changed since) are left out."""
    return [(cell, record) for cell, record, state in cells(folder, manifest) if record is not None and state == "ok"]


def _state(record: FillRecord | None, cell: Cell, manifest: Manifest, seen: Callable[[str, bool], str]) -> State:
    """The state of a cell in the light of its scene as the run saw it last; `seen` gives the hash of what a method sees of it."""
    if record is None:
        return "missing"
    current = not manifest.scenes[cell.scene].refused and record.task == seen(cell.scene, manifest.rows[cell.label].oracle)
    return record.state if current else "stale"


def asked(manifest: Manifest) -> list[Cell]:
    """Every cell a run was asked for, row by row; scenes that were never in order are left out."""
    return [
        Cell(label, row.fingerprint, scene, fit, seed)
        for label, row in manifest.rows.items()
        for scene in row.scenes
        if manifest.scenes[scene].digests
        for fit, seed in row.cells.get(scene) or itertools.product(row.fits, row.seeds)
    ]


def check_labels(manifest: Manifest) -> None:
    """Raises UsageError for two labels whose rows would share a folder (`A:1` and `A.1`)."""
    folders: dict[str, str] = {}
    for label in manifest.rows:
        other = folders.setdefault(row_folder(label), label)
        if other != label:
            raise UsageError(f"labels {other!r} and {label!r} are too alike: their folders would have one name; choose another label")


def temporary_name(path: Path) -> Path:
    """Where a file is written before it is renamed into its place."""
    return path.with_name(f"{_TEMPORARY}{path.name}")


def write_atomic(files: Mapping[Path, bytes], *, durable: bool = True) -> None:
    """Write files so that each is whole or absent after a crash, and none is there without those before it.

    With `durable` the renames, too, survive a power failure; without, a file may then be absent again.
    Raises RealbenchError with the path where the disk refuses.
    """
    temporary = {path: temporary_name(path) for path in files}
    try:
        with refused(next(iter(files), Path())):
            for folder in {path.parent for path in files}:
                folder.mkdir(parents=True, exist_ok=True)
            # At once, because file systems commit concurrent syncs together: sixteen take little longer than one.
            list(_pool().map(_write_synced, temporary.values(), files.values()))
            for path, written in temporary.items():
                written.replace(path)
    except RealbenchError:
        for written in temporary.values():
            with suppress(OSError):
                written.unlink()
        raise
    if durable:
        for folder in {path.parent for path in files}:
            sync_folder(folder)


@contextmanager
def refused(path: Path) -> Iterator[None]:
    """Within it, a disk that refuses to write is a RealbenchError with the path, the given one where the error names none."""
    try:
        yield
    except OSError as error:
        problem = f"{error.filename or path}: cannot be written ({error.strerror or error})"
        raise RealbenchError(f"{problem}; nothing finished is lost: mend it and run again") from error


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(16, thread_name_prefix="write")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked child has none of its threads


def _write_synced(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)  # what a killed merge left under this name may be a link to another run's file
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def row_folder(label: str) -> str:
    """The part of a row's folder name that comes from its label."""
    return folder_name(label.replace(":", "."))


def folder_name(name: str) -> str:
    """A name as one safe path component: plain names stay as they are, others are percent-encoded and shortened."""
    safe = quote(name, safe=" ._+()@-=,~")
    if safe.startswith("."):
        safe = f"%2E{safe[1:]}"
    return safe if len(safe) <= 120 else f"{safe[:100]}~{fingerprint.of_bytes(name.encode())[:12]}"


def sync_folder(folder: Path) -> None:
    """Make renames durable; Windows cannot open folders, and needs not."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _encode(record: Record) -> bytes:
    return record.model_dump_json(indent=1).encode()


def _fitted(folder: Path, record: FitRecord) -> dict[str, bytes] | None:
    state = {}
    for name, digest in record.files.items():
        with suppress(OSError):
            state[name] = (folder / "state" / name).read_bytes()
        if name not in state or fingerprint.of_bytes(state[name]) != digest:
            return None
    return state


def _read(path: Path, kind: type[R]) -> R | None:
    try:
        with path.open("rb", buffering=0) as file:  # a buffer takes longer to make than a record to read
            record = kind.model_validate_json(file.read())
    except (OSError, ValidationError):
        return None
    return record if record.schema_version == SCHEMA else None


def stands(folder: Path, record: FillRecord) -> bool:
    """Whether the images are as the record says, as far as can be told without reading those that nobody has touched since."""
    try:
        written = (folder / RECORD).stat().st_ctime_ns  # when it was renamed, after the images: the files themselves are written together
        for name, digest in record.files.items():
            status = (folder / name).stat()
            if status.st_size != record.sizes.get(name):
                return False
            if status.st_mtime_ns > written and fingerprint.of_bytes((folder / name).read_bytes()) != digest:
                return False
    except OSError:
        return False
    return True


def _near(folder: Path) -> str:
    """What to type instead where there is no run in a folder: runs that lie right below it, else how one is made."""
    runs = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
    if not runs:
        return "; `realbench run --method NAME` makes one in runs/<suite's name>"
    return f", such as {', '.join(map(str, runs[:MOST_NEAR]))}{' …' if len(runs) > MOST_NEAR else ''}"
