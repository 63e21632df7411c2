"""What is in a run folder, read without the project's own readers: what is finished, what is recorded, whether two folders agree."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.planning import DEADLY, expected

Stamp = tuple[int, int, int]
TIMES = ("finished", "seconds", "timings", "peak_memory")
"""What of a record may differ between two runs: when, how long, how much memory."""


def loaded(path: Path) -> dict[str, Any] | None:
    """A JSON file, or None where it is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def files(root: Path) -> dict[str, bytes]:
    """Everything a run is made of, by path: without its logs, its lock, and the records of earlier attempts."""
    found = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        parts = path.relative_to(root).parts
        if parts[0] not in ("logs", ".lock") and "attempts" not in parts:
            found["/".join(parts)] = path.read_bytes()
    return found


def meaning(root: Path) -> dict[str, Any]:
    """The same with each record reduced to what must not differ between two runs."""
    found: dict[str, Any] = {}
    for name, data in files(root).items():
        record = loaded(root / name) if name.endswith(".json") and "/state/" not in name else None
        if record is None:
            found[name] = data
        elif name == "run.json":
            found[name] = {**record, "invocations": None}
        else:
            found[name] = {key: value for key, value in record.items() if key not in TIMES}
    return found


def finished(root: Path, calm: dict[str, Any]) -> dict[str, Stamp]:
    """Every record of a finished cell, its images, and every score that is done, with when they were written and in which file."""
    found: dict[str, Stamp] = {}
    for name in calm:
        path = root / name
        record = loaded(path) if "/seed-" in name and name.endswith(".json") else None
        if record is None or record.get("state") != "ok" or record.get("schema_version") != 1:
            continue
        images = [path.parent / image for image in record.get("files", ())]
        if "/scores/" in name or (images and all(_digest(image) == record["files"][image.name] for image in images)):
            found |= {str(file.relative_to(root)): _stamp(file) for file in (path, *images)}
    return found


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size


def damaged(root: Path, kind: str, target: str, which: int) -> tuple[Path, bool] | None:
    """Do something to one file of a kind; the file, and whether it can be missed (a record that was there). None where there is none."""
    chosen = list(_candidates(root, target))
    if not chosen:
        return None
    path = sorted(chosen)[which % len(chosen)]
    data = path.read_bytes()
    if kind == "deleted":
        path.unlink()
        return path, False
    record = loaded(path)
    changed = {
        "truncated": data[: len(data) // 2], "garbage": bytes((byte + 101) % 256 for byte in data), "zeros": bytes(len(data)),
        "emptied": b"", "longer": data + b"\x00{", "foreign": json.dumps({**record, "schema_version": 99}).encode() if record else b"\xff",
    }[kind]  # fmt: skip
    path.write_bytes(changed)
    return path, True


def _candidates(root: Path, target: str) -> Iterator[Path]:
    pattern = {
        "image": "*/*/fit-*/seed-*/*.png", "record": "*/*/fit-*/seed-*/record.json", "score": "*/*/fit-*/seed-*/scores/*.json",
        "fit record": "*/*/fit-*/record.json", "fitted state": "*/*/fit-*/state/*", "manifest": "run.json",
    }[target]  # fmt: skip
    return (path for path in root.glob(pattern) if not path.name.startswith(".tmp-"))


def undone_by(path: Path) -> set[Path]:
    """The files that may be written anew after one was damaged: a cell's record and images stand and fall together."""
    if path.parent.name.startswith("seed-"):
        return {path.parent / name for name in ("raw.png", "fill.png", "record.json")}
    return {path}


@dataclass(frozen=True)
class Strike:
    """A fault that struck in a worker."""

    index: int
    time: int


def strikes(folder: Path) -> list[Strike]:
    """In the order in which they struck; the last of each fault."""
    found: dict[int, int] = {}
    for path in folder.glob("*-*") if folder.is_dir() else ():
        index = int(path.name.partition("-")[0])
        found[index] = max(found.get(index, 0), int(path.read_bytes() or 0))
    return sorted((Strike(index, when) for index, when in found.items()), key=lambda strike: strike.time)


def unit_of(fault: dict[str, Any]) -> tuple[Any, ...]:
    """What a worker does at one go: lost together when the driver ends."""
    where = fault["at"]
    return ("fill", where["scene"], where["fit"]) if "fit" in where else ("score", where["scene"])


def is_recorded(root: Path, fault: dict[str, Any], index: int, *, alone: bool) -> bool:
    """Whether some record tells of this fault. `alone`: no other seed was asked for with it, so that it had no second try."""
    wanted = expected(fault, index)
    if wanted is None:
        return True
    state, reason = wanted
    records = [record for record in _records(root, fault) if record is not None]
    if any(record["state"] == state and reason.search(record["reason"]) for record in records):
        return True
    second_try = fault["stage"] == "fill" and not alone and fault["kind"] not in DEADLY
    return second_try and any(reason.search(note) for record in records for note in record["notes"])


def _records(root: Path, fault: dict[str, Any]) -> Iterator[dict[str, Any] | None]:
    at = fault["at"]
    if fault["stage"] in ("prepare", "score"):
        for path in root.glob(f"*/{at['scene']}/fit-*/seed-*/scores/*.json"):
            record = loaded(path)
            if record and record.get("metric") == at["metric"]:
                yield record
        return
    for fit in root.glob(f"*/{at['scene']}/fit-{at['fit']}"):
        folder = fit / f"seed-{at['seed']:05d}" if fault["stage"] == "fill" else fit
        for path in (folder / "record.json", *folder.glob("attempts/*.json")):
            yield loaded(path)


def space() -> Path | None:
    """A file system in memory, where syncing costs nothing."""
    shared = Path("/dev/shm")
    return shared if shared.is_dir() and os.access(shared, os.W_OK) else None
