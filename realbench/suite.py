"""Suites: finding scene folders in RealBench's layout and loading them. A suite is read, never written, and nothing outside it is read."""

from __future__ import annotations

import difflib
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from realbench.errors import SceneError
from realbench.image import SUFFIXES, BoolImage, UInt8Image, read_mask, read_rgb
from realbench.scene import Scene

DEMO = "demo"
"""The name that stands for the embedded suite; a folder of that name is `./demo`."""
MAX_SCENE_PIXELS = 512_000_000
"""Most pixels that all images of one scene may have together."""
MAX_TOML_BYTES = 64 * 1024
LAYOUT = "<id>/ref/*.png and <id>/target/target.png, mask.png and, where known, gt.png"
"""What a suite holds; wherever .png stands, .jpg, .jpeg and .webp do too."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, eq=False)
class Suite:
    """A folder of scenes. Finding them reads no image; `load` reads one scene."""

    name: str
    """The folder's name, or `demo` for the embedded suite alone."""
    root: Path
    """Resolved; no file outside it is read."""
    folders: Mapping[str, Path]
    """Scene id to folder, in natural order: 2 before 10. An id that cannot be shown safely stands here escaped, and `load` refuses it."""
    ignored: tuple[str, ...] = ()
    """Names of subfolders that hold no scene."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of all scenes, in natural order."""
        return tuple(self.folders)

    def load(self, id: str) -> Scene:
        """Read and decode one scene. Raises SceneError with the file, what was expected and what was found; the others stay usable."""
        if id not in self.folders:
            known = ", ".join(self.ids[:20]) + (", …" if len(self.folders) > 20 else "")
            raise SceneError(f"{self.name}: no scene {id!r}; choose from {known}")
        return _load(self.folders[id], self.root)


@dataclass(frozen=True)
class _Details:
    """What scene.toml says."""

    title: str | None = None
    prompt: str | None = None
    licence: str | None = None
    tags: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


def open_suite(path: Path | str) -> Suite:
    """Open a folder of scenes, a single scene's folder (a suite of one), or the embedded suite: the string `demo`.

    Raises SceneError where there is no scene, with the layout that was expected.
    """
    if path == DEMO:
        from realbench import demo

        return _open(demo.build(), DEMO)
    return _open(Path(path))


def natural(name: str) -> tuple[list[str | int], str]:
    """Sort key that puts `2` before `10` and ignores case."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if at % 2 else part.casefold() for at, part in enumerate(parts)], name


def _open(path: Path, name: str | None = None) -> Suite:
    try:
        root = path.resolve()
        if not root.is_dir():
            raise SceneError(_no_folder(path))
        name = name or _name(root)
        if _is_scene(root):
            return Suite(name, root, {_shown(root.name): root})
        folders = list(_subfolders(root))
        scenes = {_shown(folder.name): folder for folder in folders if _is_scene(folder)}
        ignored = [folder for folder in folders if not _is_scene(folder)]
        if not scenes:
            raise SceneError(_no_scene(path, ignored))
    except (OSError, RuntimeError, ValueError) as error:
        raise SceneError(f"{path}: cannot be read ({error}); check the path and its permissions") from error
    return Suite(name, root, scenes, tuple(_shown(folder.name) for folder in ignored))


def _name(root: Path) -> str:
    """The folder's name; `./demo` for a folder that is called like the embedded suite."""
    return f"./{DEMO}" if root.name == DEMO else _shown(root.name)


def _subfolders(folder: Path) -> Iterator[Path]:
    """Subfolders that are not hidden, in natural order."""
    for child in sorted(folder.iterdir(), key=lambda path: natural(path.name)):
        if child.is_dir() and not child.name.startswith("."):
            yield child


def _is_scene(folder: Path) -> bool:
    """Whether a folder means to be a scene; a broken one is reported when it is loaded."""
    return any(part.is_dir() or part.is_symlink() for part in (folder / "ref", folder / "target"))


def _no_folder(path: Path) -> str:
    if path.is_file():
        return f"{path}: expected a folder of scenes, found a file; unpack a release with `realbench scenes import {path} FOLDER`"
    return f"{path}: expected a folder of scenes, found nothing there; check the path"


def _no_scene(path: Path, folders: list[Path]) -> str:
    expected = f"{path}: no scene found, expected {LAYOUT}"
    inner = [folder for folder in folders if any(_is_scene(child) for child in _subfolders(folder))]
    if inner:
        return f"{expected}; give one of these instead: " + ", ".join(str(path / _shown(folder.name)) for folder in inner)
    found = ", ".join(_shown(folder.name) for folder in folders[:10]) or "no subfolder"
    return f"{expected}, found {found}; see docs/scenes.md for the layout"


def _shown(name: str) -> str:
    """A name as it can be printed: itself where it is printable and holds no backslash, else escaped."""
    return name if name.isprintable() and "\\" not in name else repr(name)[1:-1]


def _load(folder: Path, root: Path) -> Scene:
    if _shown(folder.name) != folder.name:
        raise SceneError(
            f"scene folder {folder.name!r}: the name holds control or undecodable characters or a backslash; "
            "rename the folder, its name is the scene's id"
        )
    try:
        return _Loader(root, folder).load()
    except OSError as error:
        raise SceneError(f"{folder}: cannot be read ({error.strerror or error}); check its permissions") from error


class _Loader:
    """Reads one scene folder, gathering warnings and counting pixels on the way."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = root
        self.folder = folder
        self.warnings: list[str] = []
        self.pixels = 0

    def load(self) -> Scene:
        """The decoded scene."""
        details = self.details()
        parts = self.parts()
        for part in ("target", "mask"):
            if part not in parts:
                raise SceneError(f"{self.folder / 'target'}: no {part}.png; put the {part} there (.jpg, .jpeg and .webp will do)")
        references = self.references()
        target, mask = self.photograph(parts["target"]), self.mask(parts["mask"])
        truth = self.photograph(parts["gt"]) if "gt" in parts else None
        self.same_size({"target": target, "mask": mask, "gt": truth}, parts)
        return Scene(
            id=self.folder.name,
            references=tuple(self.photograph(path) for path in references),
            target=target,
            mask=mask,
            truth=truth,
            prompt=details.prompt,
            title=details.title,
            licence=details.licence,
            tags=details.tags,
            reference_names=tuple(path.name for path in references),
            warnings=tuple(self.warnings),
            extra=details.extra,
        )

    def parts(self) -> dict[str, Path]:
        """Files of target/ by part: target, mask and, where it exists, gt."""
        found: dict[str, Path] = {}
        for path in self.images("target", "target and mask"):
            part = path.stem.casefold()
            if part not in ("target", "mask", "gt"):
                self.warn(path, "is not used; the files of target/ are target, mask and gt, rename or remove it")
            elif part in found:
                raise SceneError(f"{path.parent}: two candidates for {part}, {found[part].name} and {path.name}; remove one of them")
            else:
                found[part] = path
        return found

    def references(self) -> list[Path]:
        """Image files of ref/, in natural order."""
        found = list(self.images("ref", "reference images"))
        if not found:
            raise SceneError(f"{self.folder / 'ref'}: no reference image; put at least one PNG, JPEG or WebP there")
        return found

    def images(self, name: str, what: str) -> Iterator[Path]:
        """Image files of one subfolder by their suffix; hidden files are skipped, other files are warned of."""
        folder = self.folder / name
        if not folder.is_dir() and not folder.is_symlink():
            raise SceneError(f"{self.folder}: no folder {name}/; put the {what} there")
        self.inside(folder)
        for path in sorted(folder.iterdir(), key=lambda path: natural(path.name)):
            if path.name.startswith("."):
                continue
            if not path.name.isprintable():
                raise SceneError(f"{folder}: file name {path.name!r} holds control or undecodable characters; rename it")
            if path.suffix.lower() in SUFFIXES:
                yield path
            else:
                self.warn(path, f"is no image and is ignored; remove it, or save it as {', '.join(SUFFIXES)}")

    def photograph(self, path: Path) -> UInt8Image:
        """Decode a target, truth or reference within the scene's budget of pixels."""
        image, notes = read_rgb(self.inside(path))
        self.count(image, path, notes)
        return image

    def mask(self, path: Path) -> BoolImage:
        """Decode the mask. Raises SceneError where it is empty."""
        mask, notes = read_mask(self.inside(path))
        self.count(mask, path, notes)
        if not mask.any():
            hint = ", its alpha channel is ignored" if any("alpha" in note for note in notes) else ""
            raise SceneError(f"{path}: the mask is empty (no pixel of luminance ≥ 128{hint}); paint the hole white")
        return mask

    def count(self, image: UInt8Image | BoolImage, path: Path, notes: list[str]) -> None:
        """Enter an image into the scene's budget, and what its decoding had to say into the warnings."""
        self.pixels += image.shape[0] * image.shape[1]
        if self.pixels > MAX_SCENE_PIXELS:
            raise SceneError(f"{self.folder}: more than {MAX_SCENE_PIXELS:,} pixels in all; scale its images down or remove references")
        for note in notes:
            self.warn(path, note)

    def same_size(self, images: Mapping[str, UInt8Image | BoolImage | None], parts: Mapping[str, Path]) -> None:
        """Raise SceneError unless target, mask and truth have one size."""
        sizes = {parts[part].name: image.shape[:2] for part, image in images.items() if image is not None}
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{name} is {width} × {height}" for name, (height, width) in sizes.items())
            raise SceneError(f"{self.folder / 'target'}: sizes differ, {listed}; export them anew at one size")

    def details(self) -> _Details:
        """What scene.toml says; nothing where there is none."""
        path = self.folder / "scene.toml"
        self.inside(self.folder)
        if not path.exists() and not path.is_symlink():
            return _Details()
        table = _read_toml(self.inside(path), path)
        known = {key: _text(path, key, table.pop(key)) for key in ("title", "prompt", "licence") if key in table}
        tags = _texts(path, "tags", table.pop("tags", []))
        extra = {key: value for key, value in table.items() if _is_table(value)}
        for key in [key for key in table if key not in extra]:
            like = difflib.get_close_matches(key, ("title", "prompt", "licence", "tags"), 1)
            mend = f"did you mean {like[0]}?" if like else "remove it, or move it into a table of its own"
            self.warn(path, f"unknown key {key!r} is ignored; {mend}")
        return _Details(known.get("title"), known.get("prompt"), known.get("licence"), tags, extra)

    def inside(self, path: Path) -> Path:
        """The path without symlinks. Raises SceneError where it leaves the suite or leads nowhere."""
        try:
            resolved = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise SceneError(
                f"{path}: cannot be read ({error.__class__.__name__}, a broken symlink?); put the file itself there"
            ) from error
        if not resolved.is_relative_to(self.root):
            raise SceneError(f"{path}: symlink leaves the suite {self.root}; put a copy of what it links to there")
        return resolved

    def warn(self, path: Path, note: str) -> None:
        """Keep a warning under the file's path relative to the suite."""
        self.warnings.append(f"{path.relative_to(self.root).as_posix()}: {note}")


def _read_toml(file: Path, path: Path) -> dict[str, Any]:
    """Parse a small TOML file; `path` is its name for messages."""
    if not stat.S_ISREG(file.stat().st_mode):
        raise SceneError(f"{path}: expected a text file, found something that is no regular file; replace it")
    with file.open("rb") as stream:
        data = stream.read(MAX_TOML_BYTES + 1)
    if len(data) > MAX_TOML_BYTES:
        raise SceneError(f"{path}: larger than the {MAX_TOML_BYTES:,} bytes accepted; shorten it")
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        raise SceneError(f"{path}: expected UTF-8 text, found other bytes at {error.start}; save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise SceneError(f"{path}: expected TOML, found an error: {error}; mend that line") from error


def _text(path: Path, key: str, value: object) -> str:
    if not isinstance(value, str):
        raise SceneError(f'{path}: {key}: expected text, found {_kind(value)}; write {key} = "…"')
    if _CONTROL.search(value):
        raise SceneError(f"{path}: {key}: expected printable text, found control characters in {value[:80]!r}; remove them")
    return value


def _texts(path: Path, key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        found = "a list with other values" if isinstance(value, list) else _kind(value)
        raise SceneError(f'{path}: {key}: expected a list of texts, found {found}; write {key} = ["…", "…"]')
    return tuple(_text(path, key, item) for item in value)


def _kind(value: object) -> str:
    """A TOML value's type in words."""
    kinds = {str: "text", bool: "a boolean", int: "a whole number", float: "a number", list: "a list", dict: "a table"}
    return kinds.get(type(value), "a date or time")


def _is_table(value: object) -> bool:
    """Whether a TOML value is a table or an array of tables."""
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value))
