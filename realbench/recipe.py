"""method.toml: what a method with an environment of its own is, needs and runs."""

from __future__ import annotations

import keyword
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from realbench import fingerprint, locks
from realbench.errors import UsageError
from realbench.method import MethodCard

FILE = "method.toml"
MOST_BYTES = 1_000_000
REQUEST = "{request}"
"""The word of a command that stands for the request's file."""
RESERVED = ("method",)
"""Settings that a recipe cannot have, because they are the adapter's."""
OURS = re.compile(r"(PATH|HOME|TMPDIR|TEMP|TMP|PYTHON.*|VIRTUAL_ENV|REALBENCH_.*|[A-Z_]*(NUM_THREADS|THREADS_NUM|VISIBLE_DEVICES))")
"""Variables that the harness sets or keeps away."""
VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(=[^\0]*)?")

Setting = bool | int | float | str
Text = Annotated[str, StringConstraints(max_length=2000)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=400, pattern=r"^[^\x00-\x1f\x7f]*$")]
Word = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]*$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")]


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", text) or keyword.iskeyword(text) or text in RESERVED:
        raise ValueError(f"{text!r} is no name for it: expected small letters, digits and _, no word of Python, not {', '.join(RESERVED)}")
    return text


def _variable(text: str) -> str:
    match = VARIABLE.fullmatch(text)
    if match is None:
        raise ValueError("expected NAME (passed through where it is set) or NAME=value")
    if OURS.fullmatch(match[1]):
        raise ValueError(f"{match[1]} is set by the harness and cannot be passed")
    return text


Name = Annotated[str, AfterValidator(_name)]
Command = Annotated[list[Word], Field(min_length=1)]


class Recipe(BaseModel):
    """The content of a method.toml; its folder is not a part of it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    title: Line
    """What tables call it where no label is given."""
    summary: Line
    """One sentence: what it does."""
    id: Annotated[str, StringConstraints(pattern=r"^([a-z0-9][a-z0-9-]*)?$")] = ""
    """The registry name, needed only where a package registers it."""
    paper: Text = ""
    licence: Text = ""
    stochastic: bool = False
    """Its fill depends on the seed."""
    torch: bool = False
    """It runs on torch: the request's `device` is what --device stands for, and the record names it."""
    needs: list[Line] = []
    """Resources, for example `gpu`, `12 GB`."""
    python: Annotated[str, StringConstraints(pattern=r"^3\.[0-9]{1,2}(\.[0-9]{1,2})?$")]
    """Python's version, in quotes: `3.10`."""
    lock: FileName
    """The lock's file name, beside method.toml: uv.lock (with pyproject.toml), pylock.toml or a requirements file (.txt)."""
    fit: Command | None = None
    """The command that adapts to a scene; without, the method does not fit."""
    fill: Command
    """The command that fills the hole."""
    timeout_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds that a fit may take; a fill may take as many for each seed."""
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    """Resident memory that the command and all that it starts may hold, in 10⁹ bytes."""
    env: list[Annotated[str, AfterValidator(_variable)]] = []
    """Environment variables beside the harness's own: NAME is passed through, NAME=value is set (`~` at its start is the user's home)."""
    keep: list[Word] = ["*"]
    """Patterns of the files below `state` that are the fitted state; `*` matches any characters, `/` too."""
    settings: dict[Name, Setting] = {}
    """Settings with their defaults, which are their types."""
    fill_settings: list[Name] = []
    """Settings that `fit` is not shown: rows that differ in these alone share their fits."""
    files: dict[Name, Word] = {}
    """Further files or folders it reads: absolute, below the user's home (`~`) or below method.toml's folder."""

    def card(self, name: str) -> MethodCard:
        """The card of a method of this recipe under a registry name."""
        return MethodCard(
            id=name,
            title=self.title,
            summary=self.summary,
            paper=self.paper,
            licence=self.licence,
            needs=tuple(self.needs),
            fits=self.fit is not None,
            stochastic=self.stochastic,
            torch=self.torch,
        )


def read(folder: Path) -> Recipe:
    """The recipe in a folder. Raises UsageError that names file and key."""
    path = folder / FILE
    try:
        data = path.read_bytes()
        if len(data) > MOST_BYTES:
            raise UsageError(f"{path}: {len(data):,} bytes, more than the {MOST_BYTES:,} accepted; it should be a page of text")
        recipe = Recipe.model_validate(tomllib.loads(data.decode()))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}); expected the folder of a method with its {FILE}") from error
    except ValidationError as error:
        raise UsageError(f"{path}: {_first(error)}; see docs/methods.md, “A method in an environment of its own”") from error
    except ValueError as error:  # no TOML, or no UTF-8
        raise UsageError(f"{path}: expected TOML, found {error}; correct it") from error
    _check(folder, recipe)
    return recipe


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, by its key."""
    first = error.errors()[0]
    places = [str(part) for part in first["loc"] if not str(part).startswith(("bool", "int", "float", "str", "constrained"))]
    key = ".".join(places)
    if first["type"] == "extra_forbidden":
        return f"{key}: no such key; known: {', '.join(Recipe.model_fields)}"
    if first["type"] == "missing":
        return f"{key}: missing; every method needs it"
    hint = ' (write the version in quotes: python = "3.10")' if key == "python" else ""
    return f"{key}: {first['msg']}, found {first['input']!r:.200}{hint}"


def _check(folder: Path, recipe: Recipe) -> None:
    """Raises UsageError for what no single key shows."""
    path = folder / FILE
    for name in recipe.fill_settings:
        if name not in recipe.settings:
            raise UsageError(f"{path}: fill_settings: {name!r} is no setting; known: {', '.join(recipe.settings) or 'none'}")
    if recipe.fill_settings and recipe.fit is None:
        raise UsageError(f"{path}: fill_settings: the method has no fit command, so all settings are the fill's; remove the key")
    for name, value in recipe.settings.items():
        if isinstance(value, float) and value != value:
            raise UsageError(f"{path}: settings.{name}: expected a number, found nan")
    for name, place in files(folder, recipe).items():
        if not place.exists():
            raise UsageError(f"{path}: files.{name}: {place} does not exist; put the file there or correct the path")
    locks.read(folder / recipe.lock)


def files(folder: Path, recipe: Recipe) -> dict[str, Path]:
    """The recipe's further files by name, absolute."""
    return {name: (folder / Path(place).expanduser()).absolute() for name, place in recipe.files.items()}


def command(folder: Path, words: Sequence[str], request: str) -> list[str]:
    """A command's words: those that are a file of the method's folder made absolute, REQUEST replaced by the request's path."""
    return [request if word == REQUEST else str((folder / word).absolute()) if _is_own(folder, word) else word for word in words]


def _is_own(folder: Path, word: str) -> bool:
    return not Path(word).is_absolute() and (folder / word).is_file()


def variables(recipe: Recipe, outer: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment variables that the recipe passes through or sets."""
    found = {}
    for text in recipe.env:
        name, equals, value = text.partition("=")
        if equals:
            found[name] = str(Path(value).expanduser()) if value.startswith("~") else value
        elif name in outer:
            found[name] = outer[name]
    return found


def content(folder: Path, recipe: Recipe) -> dict[str, Any]:
    """Hashes of all that the method is: its folder's files and its further files. Raises UsageError as `own_files` does."""
    own = [[path.relative_to(folder).as_posix(), fingerprint.of_file(path)] for path in own_files(folder)]
    return {"folder": fingerprint.of_data(own), "files": {name: fingerprint.of_path(path) for name, path in files(folder, recipe).items()}}


def own_files(folder: Path) -> list[Path]:
    """The files below a method's folder, sorted; hidden ones, __pycache__ and virtual environments are no part of it.

    Raises UsageError for a link to a folder, which could not be followed safely.
    """
    return sorted(_walk(folder))


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name == "__pycache__" or (path / "pyvenv.cfg").is_file():
            continue
        if path.is_symlink() and path.is_dir():
            raise UsageError(f"{path}: is a link to a folder, which is not followed; list that folder under [files] in {FILE}")
        if path.is_dir():
            yield from _walk(path)
        elif path.is_file():
            yield path
