"""Content hashes. A fingerprint covers the content of everything a stage reads, never a name or a path."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def of_array(array: npt.NDArray[Any]) -> str:
    """SHA-256 of an array's type, shape and values."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()


def of_bytes(data: bytes) -> str:
    """SHA-256 of raw bytes."""
    return hashlib.sha256(data).hexdigest()


def of_data(data: object) -> str:
    """SHA-256 of plain data (mappings, sequences, strings, numbers, booleans, None), independent of key order."""
    return of_bytes(json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str).encode())


def of_file(path: Path) -> str:
    """SHA-256 of a file's bytes; a file that has not changed since (size and time) is not read again."""
    status = path.stat()
    return _of_file(path, status.st_size, status.st_mtime_ns)


@cache
def _of_file(path: Path, size: int, modified: int) -> str:
    return of_file_now(path)


def of_file_now(path: Path) -> str:
    """SHA-256 of a file's bytes, read whatever was known of it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_path(path: Path) -> str:
    """SHA-256 over a file's content, or over the names and contents of all files in a folder (the folder's own name does not count)."""
    if path.is_file():
        return of_file(path)
    files = sorted(item for item in path.rglob("*") if item.is_file())
    return of_data([[item.relative_to(path).as_posix(), of_file(item)] for item in files])


def of_source(cls: type) -> str:
    """SHA-256 of the source of a plug-in, of its base classes, and of every module of its own package that these import, transitively.

    The own package is the top-level one; inside realbench it is the spoke's, so that a change of the hub does not invalidate fits.
    """
    modules = {base.__module__ for base in cls.__mro__ if base.__module__.partition(".")[0] not in _NEVER and not _is_hub(base.__module__)}
    found: dict[str, Path] = {}
    for module in sorted(modules):
        found |= _closure(module)
    sources = {name: of_bytes(path.read_bytes().replace(b"\r\n", b"\n")) for name, path in sorted(found.items())}
    return of_data(sources)


def short(digests: Mapping[str, object] | Iterable[str]) -> str:
    """Twelve hexadecimal digits for folder names."""
    return of_data(dict(digests) if isinstance(digests, Mapping) else list(digests))[:12]


_NEVER = ("builtins", "abc", "typing", "typing_extensions")
_SPOKE = re.compile(r"realbench\.(methods|metrics|runners|reports)\b")


def _is_hub(module: str) -> bool:
    return module.partition(".")[0] == "realbench" and not _SPOKE.match(module)


def _closure(module: str) -> dict[str, Path]:
    """The module and the modules of its own package that it imports, by name."""
    found: dict[str, Path] = {}
    waiting = [module]
    spoke = _SPOKE.match(module)
    package = spoke[0] if spoke else module.partition(".")[0]
    while waiting:
        name = waiting.pop()
        path = None if name in found else _source_file(name)
        if path is None:
            continue
        found[name] = path
        waiting += [other for other in _imports(name, path) if _belongs(other, package, path)]
    return found


def _belongs(module: str, package: str, importer: Path) -> bool:
    """Whether an imported module is the plug-in's own: of its package, or, for a plug-in that is a single file, a file beside it."""
    if module == package or module.startswith(f"{package}."):
        return True
    return importer.stem == package and (importer.parent / f"{module.partition('.')[0]}.py").is_file()


def _source_file(module: str) -> Path | None:
    parent = module.rpartition(".")[0]
    try:
        # What a module that is no package holds is no module; to ask for it would import the module, and with it perhaps torch.
        above = importlib.util.find_spec(parent) if parent else None
        spec = importlib.util.find_spec(module) if not parent or (above and above.submodule_search_locations is not None) else None
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


def _imports(module: str, path: Path) -> Iterator[str]:
    """Absolute names of what a module imports: each `from a import b` yields a.b too, since b may be a module."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parent, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
