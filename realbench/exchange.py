"""The file protocol of isolated methods: a request and images out, a result and images in. What comes in is hostile."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from realbench.errors import RealbenchError
from realbench.image import MAX_BYTES, BoolImage, UInt8Image, decode_rgb, encode_png
from realbench.method import Context, Fill
from realbench.scene import Task

VERSION = 1
REQUEST = "request.json"
RESULT = "result.json"
STATE = "state"
OUTPUT = "output"
CHECKPOINTS = "checkpoints"
INDEX = "index.json"
"""What a packed state's files were called."""
MOST_RESULT = 4_000_000
"""Bytes of a result.json."""
MOST_FILES = 10_000
"""Files of a fitted state."""
PART = re.compile(r"[^/\\\0-\x1f\x7f]{1,200}")

Note = Annotated[str, StringConstraints(max_length=500)]


class ResultFill(BaseModel):
    """One fill of a result."""

    model_config = ConfigDict(extra="forbid", strict=True)

    seed: int
    image: Annotated[str, StringConstraints(min_length=1, max_length=400)]
    """A PNG of the target's size: its path, relative to the work folder."""
    notes: Annotated[list[Note], Field(max_length=50)] = []
    timings: Annotated[dict[Annotated[str, StringConstraints(max_length=80)], float], Field(max_length=50)] = {}
    """Seconds by step."""


class Result(BaseModel):
    """A result.json."""

    model_config = ConfigDict(extra="forbid", strict=True)

    fills: Annotated[list[ResultFill], Field(max_length=100_000)] = []
    unsupported: Annotated[str, StringConstraints(max_length=2000)] | None = None
    """Why the scene cannot be done by nature."""


@dataclass(frozen=True)
class Exchange:
    """The work folder of one call, and what is asked for there."""

    folder: Path
    name: str
    """What messages call the method."""
    task: Task
    seeds: tuple[int, ...] = ()
    _taken: set[int] = field(default_factory=set)

    def write(self, stage: str, fit: int | None, settings: Mapping[str, Any], files: Mapping[str, Path], context: Context) -> None:
        """Empty the folder but for its checkpoints and write request and images. No truth, and no path to one, is among them."""
        self._empty()
        task = self.task
        references = {f"references/{index}.png": image for index, image in enumerate(task.references)}
        images: dict[str, UInt8Image | BoolImage] = {**references, "target.png": task.target, "mask.png": task.mask}
        for name, image in images.items():
            (self.folder / name).parent.mkdir(exist_ok=True)
            (self.folder / name).write_bytes(encode_png(image))
        request: dict[str, Any] = {
            "protocol": VERSION,
            "stage": stage,
            "scene": task.id,
            "prompt": task.prompt,
            "width": task.size[0],
            "height": task.size[1],
            "target": "target.png",
            "mask": "mask.png",
            "references": list(references),
            "settings": dict(settings),
            "files": {name: str(path) for name, path in files.items()},
            "state": STATE,
            "threads": context.threads,
            "device": context.device,
            "dtype": context.dtype,
        }
        request |= {"fit": fit, "checkpoints": CHECKPOINTS} if stage == "fit" else {"seeds": list(self.seeds), "output": OUTPUT}
        (self.folder / REQUEST).write_text(json.dumps(request, indent=1), encoding="utf-8")

    def _empty(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.iterdir():
            if path.name != CHECKPOINTS or path.is_symlink() or not path.is_dir():
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for name in (CHECKPOINTS, STATE, OUTPUT):
            (self.folder / name).mkdir(exist_ok=True)

    def result(self, *, needed: bool) -> Result:
        """The result as it is now. Raises RealbenchError for one that is not what it should be, or for none where one is needed."""
        if not os.path.lexists(self.folder / RESULT):
            if needed:
                raise RealbenchError(f"{self.name} ended without {RESULT}; expected one with its fills (docs/methods.md)")
            return Result()
        data = self._bytes(RESULT, MOST_RESULT)
        try:
            found = Result.model_validate_json(data)
            if len({item.seed for item in found.fills}) < len(found.fills):
                raise RealbenchError(f"{self.name}: {RESULT} has two fills for one seed")
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"]) or "the file"
            raise RealbenchError(f"{self.name}: {RESULT}: {key}: {first['msg']}, found {first['input']!r:.200}") from error
        return found

    def fills(self, result: Result) -> Iterator[Fill]:
        """The fills of a result that were not taken before. Raises RealbenchError for a seed or an image that is not what was asked for."""
        for item in result.fills:
            if item.seed not in self.seeds:
                raise RealbenchError(f"{self.name}: {RESULT} has a fill for seed {item.seed}, which was not asked for")
            if item.seed not in self._taken:
                image, notes = self._image(item.image)
                self._taken.add(item.seed)
                yield Fill(item.seed, image, (*item.notes, *notes), {**item.timings})

    @property
    def left(self) -> list[int]:
        """Seeds without a fill so far."""
        return [seed for seed in self.seeds if seed not in self._taken]

    def _image(self, name: str) -> tuple[UInt8Image, list[str]]:
        image, warnings = decode_rgb(self._bytes(name, MAX_BYTES), f"{self.name}: {name}", ("PNG",))
        height, width = image.shape[:2]
        if (width, height) != self.task.size:
            expected = "×".join(map(str, self.task.size))
            raise RealbenchError(f"{self.name}: {name}: expected a fill of the target's size, {expected}, found {width}×{height}")
        return image, [f"{name} {warning}" for warning in warnings]

    def _bytes(self, name: str, most: int) -> bytes:
        """A file's content below the folder. Raises RealbenchError for what is no plain, small file there."""
        path = self._path(name)
        try:
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
            with os.fdopen(handle, "rb") as file:
                info = os.fstat(handle)
                if not stat.S_ISREG(info.st_mode):
                    raise RealbenchError(f"{self.name}: {name}: expected a file, found something that is no regular file")
                if info.st_size > most:
                    raise RealbenchError(f"{self.name}: {name}: {info.st_size:,} bytes, more than the {most:,} accepted")
                return file.read(most)
        except OSError as error:
            raise RealbenchError(f"{self.name}: {name}: cannot be read ({error.strerror or error})") from error

    def _path(self, name: str) -> Path:
        """A path below the folder, no part of it a link. Raises RealbenchError for any other."""
        parts = PurePosixPath(name).parts
        if not parts or not all(PART.fullmatch(part) and part not in (".", "..") and ":" not in part for part in parts):
            raise RealbenchError(f"{self.name}: {name[:200]!r} is no path relative to the work folder, so it is not read")
        path = self.folder
        for part in parts:
            path = path / part
            if path.is_symlink():
                raise RealbenchError(f"{self.name}: {name[:200]!r} leads through a link, so it is not read; write a file of its own")
        return path


def pack(state: Path, folder: Path, keep: Sequence[str], name: str) -> None:
    """Copy the files of a fitted state, subfolders and all, into a folder as plainly named files and an index.

    Raises RealbenchError for links, special files, names with control characters, or too many files.
    """
    index: dict[str, str] = {}
    for path in _state_files(state, state, name):
        inner = path.relative_to(state).as_posix()
        if any(fnmatch.fnmatchcase(inner, pattern) for pattern in keep):
            if len(index) == MOST_FILES:
                raise RealbenchError(f"{name}: its fitted state has more than {MOST_FILES:,} files; name those that are needed in `keep`")
            index[inner] = f"file-{len(index):05d}"
            shutil.copyfile(path, folder / index[inner])
    (folder / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")


def _state_files(folder: Path, root: Path, name: str) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        shown = path.relative_to(root).as_posix()
        mode = path.lstat().st_mode
        if not PART.fullmatch(path.name):
            raise RealbenchError(f"{name}: its fitted state has a file {shown!r}, whose name has characters that are not kept; rename it")
        if stat.S_ISDIR(mode):
            yield from _state_files(path, root, name)
        elif stat.S_ISREG(mode):
            yield path
        else:
            raise RealbenchError(f"{name}: its fitted state has {shown!r}, which is a link or no regular file; expected files and folders")


def unpack(folder: Path, state: Path) -> None:
    """Write a packed state as it was. Raises RealbenchError for an index that leads elsewhere."""
    index = json.loads((folder / INDEX).read_bytes())
    for inner, name in index.items():
        parts = PurePosixPath(inner).parts
        if not all(PART.fullmatch(part) and part not in ("..", "/") for part in parts) or not re.fullmatch(r"file-[0-9]{5}", name):
            raise RealbenchError(f"the fitted state's {INDEX} names {inner[:200]!r} as {name[:200]!r}; remove the fit and run again")
        path = state.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, path)
