"""Files of trained models: what a folder must hold before any of it is loaded, and the safe way to read one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from realbench import fingerprint
from realbench.errors import RealbenchError

if TYPE_CHECKING:
    from torch import Tensor

PLAIN = (".safetensors", ".json", ".txt", ".model", ".jinja")
"""Endings of files that hold data; a tokenizer's chat template (.jinja) is rendered in a sandbox."""
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")
"""Endings of files that can run code when they are read carelessly."""
SPARE = ("safety_checker", ".fp16", ".non_ema")
"""Parts of a pipeline that are not loaded and copies in another precision: left alone unless a pattern names them."""


def needed(folder: Path, patterns: Sequence[str], pickles: Mapping[str, str]) -> list[str]:
    """The files of a folder that make up a model, as sorted `a/b` names: plain ones that match, and the pickles that are pinned."""
    return sorted(name for name in _walk(folder) if name in pickles or (name.endswith(PLAIN) and _is_wanted(name, patterns)))


def spare(patterns: Sequence[str]) -> list[str]:
    """Patterns of the files that are left alone, given the patterns of those that are needed."""
    words = [word for word in SPARE if not any(word in pattern for pattern in patterns)]
    return [f"*{word}*" if word.startswith(".") else f"{word}/*" for word in words]


def faults(folder: Path, patterns: Sequence[str] = (), pickles: Mapping[str, str] | None = None) -> list[str]:
    """What keeps a folder from being loaded, each in a few words; empty when it is complete.

    A pattern without wildcard and one that ends in .safetensors must match something. A `model_index.json` must find its parts,
    each with its configuration and weights; an index of shards all shards; a safetensors file its own length.
    `pickles` are SHA-256 by name.
    """
    pickles = pickles or {}
    files = needed(folder, patterns, pickles)
    lacking = [f"lacks {pattern}" for pattern in patterns if _must_match(pattern) and not any(_matches(name, [pattern]) for name in files)]
    lacking += [f"lacks {name}" for name in pickles if name not in files]
    if "model_index.json" in files:
        lacking += _part_faults(folder, files, patterns, pickles)
    elif not patterns:
        lacking += _bare_faults(files, pickles)
    for name in files:
        if name.endswith(".safetensors.index.json"):
            lacking += _shard_faults(folder, name, files, patterns)
        elif name.endswith(".safetensors") and not _is_whole(folder / name):
            lacking.append(f"{name} is damaged or cut off")
    return list(dict.fromkeys(lacking))


def content(folder: Path, files: Sequence[str]) -> str:
    """SHA-256 over the names and contents of some files of a folder; read once as long as sizes and times stay."""
    return fingerprint.of_data([[name, fingerprint.of_file(folder / name)] for name in files])


def verify(path: Path, sha256: str) -> None:
    """Raise RealbenchError unless a file has this SHA-256; read once as long as its size and time stay."""
    found = fingerprint.of_file(path)
    if found != sha256.lower():
        raise RealbenchError(
            f"{path}: expected the SHA-256 {sha256.lower()}, found {found}: it is not the file that was pinned; it is not read. "
            "Delete it and get it again"
        )


def load_state(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """The tensors of one file, by name, on the CPU: safetensors, or a pickle whose SHA-256 is pinned, read with weights_only.

    A pickle may hold its tensors under the key `state_dict`. Raises RealbenchError for a pickle without or with another SHA-256
    (before it is opened as one), for an unknown ending and for a file that holds something else.
    """
    if not path.is_file():
        raise RealbenchError(f"{path}: expected a file of weights, found nothing there")
    if path.suffix not in (".safetensors", *PICKLES):
        raise RealbenchError(
            f"{path}: expected weights as .safetensors (or a pinned {', '.join(PICKLES)}), found {path.suffix or 'no ending'}"
        )
    if sha256 is not None:
        verify(path, sha256)
    elif path.suffix in PICKLES:
        raise RealbenchError(
            f"{path}: a pickle can run code when it is read, so it is read only with a pinned SHA-256, and none is given; "
            f"convert it to safetensors, or pin {fingerprint.of_file(path)} if you trust this very file"
        )
    try:
        state = _read(path)
    except Exception as error:
        words = str(error).split("\n")[0]
        raise RealbenchError(f"{path}: expected tensors, found a file that cannot be read ({type(error).__name__}: {words})") from error
    import torch

    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise RealbenchError(f"{path}: expected tensors by name, found something else; convert it to safetensors")
    return {str(name): tensor for name, tensor in state.items()}


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    return state["state_dict"] if isinstance(state, Mapping) and "state_dict" in state else state


def _walk(folder: Path) -> Iterator[str]:
    """Names of all files below, without hidden ones; links to files count, links to folders are not followed."""
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(root) / name
            if not name.startswith(".") and path.is_file():
                yield path.relative_to(folder).as_posix()


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _is_wanted(name: str, patterns: Sequence[str]) -> bool:
    return not _matches(name, spare(patterns)) and (not patterns or _matches(name, patterns))


def _must_match(pattern: str) -> bool:
    return not any(sign in pattern for sign in "*?[") or pattern.endswith(".safetensors")


def _bare_faults(files: Sequence[str], pickles: Mapping[str, str]) -> list[str]:
    """A folder of which nothing is known in advance: a model's configuration and some weights must be there."""
    config = [] if "config.json" in files else ["lacks model_index.json or config.json"]
    return config if pickles or any(name.endswith(".safetensors") for name in files) else [*config, "lacks *.safetensors"]


def _part_faults(folder: Path, files: Sequence[str], patterns: Sequence[str], pickles: Mapping[str, str]) -> list[str]:
    try:
        index = json.loads((folder / "model_index.json").read_bytes())
        parts = [name for name, kind in index.items() if isinstance(kind, list) and all(kind)]
    except (ValueError, AttributeError):
        return ["model_index.json is damaged"]
    found = []
    for part in parts:
        if PurePosixPath(part).parts != (part,) or part == "..":
            found.append(f"model_index.json names a part outside of the folder: {part!r}")
        elif part not in SPARE and (not patterns or any(_covers(pattern, part) for pattern in patterns)):
            found += _one_part(folder, part, [name for name in files if name.startswith(f"{part}/")], pickles)
    return found


def _covers(pattern: str, part: str) -> bool:
    """Whether a pattern means files of a pipeline's part: `*.json` does, as a star also stands for slashes."""
    head, slash, _ = pattern.partition("/")
    return fnmatchcase(part, head) if slash else head.startswith("*")


def _one_part(folder: Path, part: str, files: Sequence[str], pickles: Mapping[str, str]) -> list[str]:
    """A part needs a configuration, and a model (it has a config.json) needs weights."""
    weights = [name for name in files if name.endswith(".safetensors") or name in pickles]
    model = f"{part}/config.json" in files
    if weights and not model:
        return [f"lacks {part}/config.json"]
    if not any(name.endswith(".json") and not name.endswith(".index.json") for name in files):
        return [f"lacks {part}/"]
    if weights or not model:
        return []
    unsafe = sorted(path.name for path in (folder / part).iterdir() if path.suffix in PICKLES)
    return [f"{part}/{unsafe[0]} is a pickle without a pinned SHA-256" if unsafe else f"lacks {part}/*.safetensors"]


def _shard_faults(folder: Path, index: str, files: Sequence[str], patterns: Sequence[str]) -> list[str]:
    parent = PurePosixPath(index).parent
    try:
        shards = sorted(set(json.loads((folder / index).read_bytes())["weight_map"].values()))
        names = [(parent / shard).as_posix() for shard in shards]
    except (ValueError, KeyError, TypeError, AttributeError):
        return [f"{index} is damaged"]
    if any(PurePosixPath(shard).parts != (shard,) or shard == ".." for shard in shards):
        return [f"{index} names a file outside of its folder"]
    return [f"lacks {name}" for name in names if name not in files and _is_wanted(name, patterns)]


def _is_whole(path: Path) -> bool:
    """Whether a safetensors file is as long as its own header says; a download that broke off, or a pointer to a file, is not."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= size - 8 else {}
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return False
    return bool(size == 8 + length + max(ends, default=0))
