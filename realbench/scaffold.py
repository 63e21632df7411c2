"""The skeleton of a method's package: written once, from the files in skeletons/."""

from __future__ import annotations

import re
import sys
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from realbench import __version__, registry
from realbench.errors import UsageError

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST = 40
TAKEN = ("all", "show", "check", "new")
"""Words that mean something else where a method is named."""


def new(name: str, into: Path | None = None, *, isolated: bool = False) -> Path:
    """Write the package of a method that fills the hole with one colour, with its test, and return its folder.

    Args:
        name: the method's registry name: small letters and digits, with single hyphens between them.
        into: the package's folder, new or empty; None means realbench-NAME in the present folder.
        isolated: the method is a script in an environment of its own (method.toml), not a class in this one.

    Raises UsageError for a name that cannot be used, and for a folder that holds something.
    """
    _check(name)
    folder = into or Path(f"realbench-{name}")
    module = f"realbench_{name.replace('-', '_')}"
    words = {
        "name": name,
        "package": f"realbench-{name}",
        "module": module,
        "title": name.replace("-", " ").capitalize(),
        "version": __version__,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
    }
    source = files("realbench") / "skeletons" / ("isolated" if isolated else "method")
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(
                f"{folder}: expected a new or an empty folder, found something in it; nothing is overwritten, give another --into"
            )
        _write(source, folder, words)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written ({error.strerror or error}); give another --into") from error
    return folder


def _check(name: str) -> None:
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        hint = "small letters and digits with single hyphens between them, starting with a letter"
        raise UsageError(f"name {name[:80]!r}: expected up to {LONGEST} {hint}, for example my-method")
    if name in TAKEN:
        raise UsageError(f"name {name!r}: the word means something else; choose another")
    if name in registry.names("methods"):
        owner = registry.third_party("methods", name) or "realbench"
        raise UsageError(f"name {name!r}: there is a method of this name ({owner}); choose another")


def _write(source: Traversable, folder: Path, words: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for item in sorted(source.iterdir(), key=lambda item: item.name):
        if item.is_dir():
            _write(item, folder / (words["module"] if item.name == "package" else item.name), words)
        elif item.name.endswith(".in"):
            (folder / item.name.removesuffix(".in")).write_text(Template(item.read_text("utf-8")).substitute(words), encoding="utf-8")
