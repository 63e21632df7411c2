"""Where converted weights are kept: a folder for each file and way of conversion, written at once or not at all, with its provenance."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from realbench import fingerprint
from realbench.huggingface import Unavailable, says_full
from realbench.packages import FILE, Converted

PROVENANCE = "provenance.json"
"""Beside the tensors: where they come from."""


def root() -> Path:
    """The folder of all that is kept: `weights` in REALBENCH_CACHE, else in the user's cache folder."""
    from realbench.demo import default_cache

    return default_cache().expanduser().absolute() / "weights"


def folder(wanted: Converted) -> Path:
    """Named after all that decides what the tensors are: a change of pin or conversion never meets old files."""
    from realbench.convert import VERSION

    member = getattr(wanted, "member_sha256", "")
    facts = [VERSION, member, wanted.form, wanted.rename, wanted.channels_last]
    return root() / f"{wanted.name}@{wanted.pin}-{fingerprint.of_data(facts)[:8]}"


def kept(wanted: Converted) -> Path | None:
    """The folder of exactly these weights, converted as this version does it, if there is one."""
    place = folder(wanted)
    return place if place.is_dir() else None


def once(wanted: Converted, file: str, needed: int, make: Callable[[], None]) -> Path:
    """The folder of these weights; `make` writes it where its tensors are not as they were written, one process a `file` at a time.

    Raises Unavailable where the disk does not take it: `needed` bytes.
    """
    from filelock import FileLock

    place = folder(wanted)
    try:
        root().mkdir(parents=True, exist_ok=True)
        with FileLock(root() / f".{file}.lock"):
            if not is_whole(place):
                make()
    except OSError as error:
        raise _refused(error, wanted, needed) from error
    return place


def others(wanted: Converted) -> str:
    """A sentence on what else is kept under the name of weights that are not there."""
    kept = sorted(path.name for path in root().glob(f"{wanted.name}@*"))
    return f"{root()} holds {', '.join(kept[:3])}, which is not used in its place" if kept else ""


def is_whole(place: Path) -> bool:
    """Whether a folder's tensors are those that were written there."""
    path = place / FILE
    return path.is_file() and noted(place).get("sha256") == fingerprint.of_file(path)


def noted(place: Path) -> dict[str, object]:
    """The provenance of a folder; empty where there is none."""
    try:
        found = json.loads((place / PROVENANCE).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def pin(place: Path) -> str:
    """Which file a folder says it was made from; empty where it doesn't."""
    found = noted(place).get("pin")
    return found if isinstance(found, str) else ""


@contextmanager
def workplace(wanted: Converted) -> Iterator[Path]:
    """A temporary folder beside that of these weights; those that killed processes left are cleared away. The caller holds a lock."""
    prefix = f".{wanted.name}@"
    for left in root().glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=root(), prefix=prefix, ignore_cleanup_errors=True) as temporary:
        yield Path(temporary)


def write(wanted: Converted, member: Path, origin: dict[str, str], temporary: Path) -> None:
    """Convert a file into the folder of these weights, by way of a temporary one: an interruption leaves no half of it."""
    import realbench
    from realbench import convert

    place = folder(wanted)
    made = temporary / place.name
    made.mkdir()
    tensors = convert.convert(member, wanted, made / FILE)
    facts = {"file": FILE, "sha256": fingerprint.of_file(made / FILE), "tensors": len(tensors), "converter": convert.VERSION}
    facts |= {"realbench": realbench.__version__, "date": datetime.now(UTC).isoformat(timespec="seconds")}
    text = json.dumps({"weights": wanted.name, "pin": wanted.pin, "licence": wanted.licence, **origin, **facts}, indent=2)
    (made / PROVENANCE).write_text(f"{text}\n", encoding="utf-8")
    with suppress(FileNotFoundError):
        shutil.rmtree(place)
    made.replace(place)


def _refused(error: OSError, wanted: Converted, needed: int) -> Unavailable:
    """Why the disk does not take weights of `needed` bytes."""
    pull = f"then `realbench weights pull {wanted.name}`"
    if says_full(error):
        return Unavailable("the disk is full", f"make room ({needed / 1e6:.0f} MB) or set REALBENCH_CACHE to another disk, {pull}", False)
    return Unavailable(
        f"{root()} cannot be written ({error.strerror or error})", f"set REALBENCH_CACHE to a folder of yours, {pull}", False
    )
