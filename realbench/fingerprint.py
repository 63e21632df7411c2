"""Content hashes. A fingerprint covers the content of everything a stage reads, never a name or a path."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
from collections.abc import Iterable, Iterator, Mapping
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
    return of_bytes(json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode())


def of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_source(cls: type) -> str:
    """SHA-256 of the source of a plug-in's module and of every module of its own package that it imports, transitively."""
    sources = {name: of_bytes(path.read_bytes().replace(b"\r\n", b"\n")) for name, path in sorted(_closure(cls.__module__).items())}
    return of_data(sources)


def short(digests: Mapping[str, object] | Iterable[str]) -> str:
    """Twelve hexadecimal digits for folder names."""
    return of_data(dict(digests) if isinstance(digests, Mapping) else list(digests))[:12]


def _closure(module: str) -> dict[str, Path]:
    """The module and the modules of its own package that it imports, by name."""
    found: dict[str, Path] = {}
    waiting = [module]
    package = module.rpartition(".")[0] or module
    while waiting:
        name = waiting.pop()
        path = None if name in found else _source_file(name)
        if path is None:
            continue
        found[name] = path
        waiting += [other for other in _imports(name, path) if other == package or other.startswith(f"{package}.")]
    return found


def _source_file(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
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
