"""Locks: the files that say which packages a method's environment holds."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from realbench import fingerprint
from realbench.errors import UsageError

Kind = Literal["uv", "pylock", "requirements"]
MOST_BYTES = 20_000_000
PROJECT = "pyproject.toml"
ELSEWHERE = re.compile(
    r"-[rce]|(-f|--find-links)[\s=]*+(?!https?:)|--(requirement|constraint|editable)\b|[./~\\]|[A-Za-z]:[\\/]|file:|git\+file:"
    r"|[A-Za-z0-9._-]+\s*(\[[^]]*\])?\s*@\s*+(?!https?:|git\+https?:|git\+ssh:)"
    r"|(?!-|https?:|git\+)[^@;#\s]*(/|\.(whl|zip|tgz|tar(\.[a-z0-9]+)?)\b)",
    re.IGNORECASE,
)
"""A requirement whose content lies in another file, which the environment's key would not see."""


@dataclass(frozen=True)
class Lock:
    """A lock that can be installed."""

    path: Path
    kind: Kind
    digest: str
    """Hash of its content, and for uv.lock of the project's it belongs to."""
    empty: bool
    """A requirements file without requirements: nothing to install."""
    hashed: bool
    """Every archive is pinned by its hash; without, an index decides what is installed."""


def read(path: Path) -> Lock:
    """The lock in a file. Raises UsageError for one that is missing, of an unknown kind, or that leans on further files."""
    kind = _kind(path)
    parts = [path] if kind != "uv" else [path, path.parent / PROJECT]
    texts = [_text(part) for part in parts]
    digest = fingerprint.of_data([kind, *(fingerprint.of_bytes(text.encode()) for text in texts)])
    if kind != "requirements":
        if found := next(_elsewhere(_table(path, texts[0])), None):
            raise UsageError(
                f"{path}: {found[:200]!r} leans on files beside it, which are no part of the lock; build a wheel and lock that"
            )
        return Lock(path, kind, digest, empty=False, hashed=True)
    lines = requirements(texts[0])
    for line in lines:
        if ELSEWHERE.match(line):
            found = f"{line[:200]!r} leans on another file, which is no part of the lock"
            raise UsageError(f"{path}: {found}; write all packages into {path.name}")
    packages = [line for line in lines if not line.startswith("-")]
    return Lock(path, kind, digest, empty=not packages, hashed=all("--hash" in line for line in packages))


def _table(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: is no TOML ({error}); lock anew") from error


def _elsewhere(lock: Mapping[str, Any]) -> Iterator[str]:
    """Packages of a uv.lock or pylock.toml that lie in the file system, but for the project itself."""
    for package in _tables(lock.get("package")) or _tables(lock.get("packages")):
        name = str(package.get("name", ""))
        for source in _tables([package.get("source")]):
            yield from (f"{name}: {kind} {source[kind]}" for kind in ("path", "directory", "editable") if source.get(kind, ".") != ".")
        parts = [package.get("archive"), package.get("sdist"), *_tables(package.get("wheels"))]
        if "directory" in package or any("path" in part and "url" not in part for part in _tables(parts)):
            yield f"{name}: a path"


def _tables(value: object) -> list[dict[str, Any]]:
    """The tables of a list, whatever else is in it."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def requirements(text: str) -> list[str]:
    """The lines of a requirements file: continued ones joined, comments and empty ones left out."""
    joined = re.sub(r"\\\r?\n", " ", text)
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]


def _kind(path: Path) -> Kind:
    if path.name == "uv.lock":
        return "uv"
    if re.fullmatch(r"pylock(\.[^.]+)?\.toml", path.name):
        return "pylock"
    if path.suffix == ".txt":
        return "requirements"
    raise UsageError(f"{path}: expected uv.lock, pylock.toml or a requirements file (.txt), found another name; correct `lock`")


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        if len(data) > MOST_BYTES:
            raise UsageError(f"{path}: {len(data):,} bytes, more than the {MOST_BYTES:,} accepted for a lock")
        return data.decode()
    except OSError as error:
        hint = "put the lock there; an empty requirements.txt asks for Python alone"
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}); {hint}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: expected a text in UTF-8, found other bytes; save it again") from error
