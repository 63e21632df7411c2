"""Locks: the files that say which packages a method's environment holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from realbench import fingerprint
from realbench.errors import UsageError

Kind = Literal["uv", "pylock", "requirements"]
MOST_BYTES = 20_000_000
PROJECT = "pyproject.toml"
ELSEWHERE = re.compile(
    r"-[rce]|(-f|--find-links)[\s=]*(?!https?:)|--(requirement|constraint|editable)\b|[./~\\]|file:|[^#]*@\s*(file:|[./~\\])"
    r"|(?!-|https?:|git\+)[^@;#\s]*/"
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
        return Lock(path, kind, digest, empty=False, hashed=True)
    lines = requirements(texts[0])
    for line in lines:
        if ELSEWHERE.match(line):
            found = f"{line[:200]!r} leans on another file, which is no part of the lock"
            raise UsageError(f"{path}: {found}; write all packages into {path.name}")
    packages = [line for line in lines if not line.startswith("-")]
    return Lock(path, kind, digest, empty=not packages, hashed=all("--hash" in line for line in packages))


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
