"""Files that settings name: they travel with a request, since no node is expected to see the driver's disk."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import Any

from realbench import fingerprint, registry
from realbench.errors import RealbenchError, UsageError
from realbench.recipe import own_files
from realbench.specs import settings_class
from realbench.wire import Message, blob

MOST = 2 << 30
"""Most bytes of one setting's files: what is larger (a model's folder) is better installed on each node under a name."""


def pack(request: Message, there: Collection[str] = ()) -> Message:
    """A request that no path of this machine is left in: the files its settings name go with it, checkpoints stay on the node.

    `there` holds the keys of contents that the node has from earlier requests. Raises UsageError for more files than should travel.
    """
    head = dict(request.head)
    if head["stage"] != "fill":
        return request
    head["work"] = None
    arrays, files = dict(request.arrays), {}
    for name, path, whole in _paths(head["method"], head["settings"]):
        size = sum(item.stat().st_size for item in whole)
        if size > MOST:
            raise UsageError(
                f"method {head['method']}, setting {name}: {path} holds {size >> 20} MB, more than the {MOST >> 20} MB that --runner ray "
                "takes to its nodes; install it on each node under a name (`realbench weights`), or use --runner local"
            )
        names = [item.name if item == path else item.relative_to(path).as_posix() for item in whole]
        runs = [os.access(item, os.X_OK) for item in whole]
        key = fingerprint.short(map(str, [path.name, *zip(names, runs, map(fingerprint.of_file, whole), strict=True)]))
        files[name] = {"key": key, "names": names, "runs": runs, "single": path.is_file()}
        if key not in there:
            arrays |= {f"file/{name}/{index}": blob(item.read_bytes()) for index, item in enumerate(whole)}
    return Message({**head, "files": files}, arrays)


def unpack(request: Message, folder: Path) -> Message:
    """The request as the worker knows it: files written below `folder` once for each content, settings naming them there."""
    files: Mapping[str, Any] = request.head.get("files") or {}
    settings = dict(request.head.get("settings") or {})
    for name, entry in files.items():
        place = folder / entry["key"]
        if not place.exists():
            _write(request, name, entry, place)
        settings[name] = str(place / entry["names"][0] if entry["single"] else place)
    head = {key: value for key, value in request.head.items() if key != "files"}
    arrays = {name: array for name, array in request.arrays.items() if not name.startswith("file/")}
    return Message({**head, "settings": settings} if files else head, arrays)


def _write(request: Message, setting: str, entry: Mapping[str, Any], place: Path) -> None:
    """All of it or nothing."""
    growing = place.with_name(f"{place.name}-growing")
    growing.mkdir(parents=True, exist_ok=True)
    for index, (name, runs) in enumerate(zip(entry["names"], entry["runs"], strict=True)):
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise RealbenchError(f"setting {setting}: {name!r} would be written elsewhere")
        path = growing / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(request.data(f"file/{setting}/{index}"))
        path.chmod(0o755 if runs else 0o644)
    growing.rename(place)


def _paths(method: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, Path, list[Path]]]:
    """Settings that name a file or folder of this machine, with its files; of an isolated method's folder those that are part of it."""
    for item in fields(settings_class(registry.method(method, settings))):
        value = settings.get(item.name)
        if item.metadata.get("path") and isinstance(value, str) and value and (path := Path(os.path.expanduser(value))).exists():  # noqa: PTH111
            own = item.metadata["path"] == "content"
            inside = own_files(path) if own else sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
            yield item.name, path, inside
