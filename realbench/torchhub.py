"""Files that torch.hub downloads by URL as a place to get weights from: its cache on this disk, else the server."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from realbench import converted, fingerprint, packaged
from realbench.errors import RealbenchError, UsageError
from realbench.huggingface import Unavailable, is_network
from realbench.method import Weights
from realbench.packages import Checkpoint

PLACE = "torch hub"
KEPT = "torch hub cache"
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._]*-([0-9a-f]{8,64})\.(pt|pth)")


def check(wanted: Weights) -> None:
    """Raise UsageError for a URL that does not tell its file's SHA-256."""
    file = _checkpoint(wanted)
    packaged.check_name(wanted, "name", wanted.name)
    if not file.url.startswith("https://") or not _FILE.fullmatch(file.file):
        raise UsageError(f"weights {wanted.name}: expected a URL like https://…/name-1234abcd.pth, found {file.url!r}")


def described(wanted: Weights) -> str:
    """The file's name."""
    return _checkpoint(wanted).file


def cached(wanted: Weights, pickles: tuple[str, ...] = ()) -> Path | None:
    """The folder of exactly these weights, converted as this version does it."""
    return converted.kept(_checkpoint(wanted))


def others(wanted: Weights) -> str:
    """A sentence on what else is kept under the name; for weights that `cached` does not find."""
    return converted.others(_checkpoint(wanted))


def download(wanted: Weights, pickles: tuple[str, ...] = (), *, asked: bool = False) -> Path:
    """Convert the file of torch.hub's cache, downloaded into it first where it is missing, and return the folder. Raises Unavailable."""
    checkpoint = _checkpoint(wanted)
    return converted.once(checkpoint, checkpoint.file, 0, lambda: _make(checkpoint, online=asked or not packaged.is_offline()))


def verify(wanted: Weights, folder: Path, files: Sequence[str]) -> None:
    """Compare the tensors with the SHA-256 noted when they were converted, and make them anew where they differ."""
    download(wanted, asked=True)


def commit(wanted: Weights, folder: Path) -> str:
    """The file that a folder says it was made from; empty where it doesn't."""
    return converted.pin(folder)


def elsewhere(wanted: Weights, pickles: tuple[str, ...], shared: str) -> str:
    """How to get these weights where the server can't be reached."""
    checkpoint = _checkpoint(wanted)
    return f"from another machine bring {checkpoint.url} into {_cache()}, then `realbench weights pull {wanted.name}`"


def _checkpoint(wanted: Weights) -> Checkpoint:
    if not isinstance(wanted, Checkpoint):
        raise TypeError(f"{wanted.name} is no file of torch.hub")
    return wanted


def _cache() -> Path:
    """Where torch.hub keeps such files, found without importing torch."""
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch"
    return Path(home).expanduser() / "hub" / "checkpoints"


def _make(wanted: Checkpoint, *, online: bool) -> None:
    path = _obtained(wanted, online=online)
    origin = {"url": wanted.url, "member": path.name, "member_sha256": fingerprint.of_file(path)}
    with converted.workplace(wanted) as temporary:
        converted.write(wanted, path, origin, temporary)


def _obtained(wanted: Checkpoint, *, online: bool) -> Path:
    """The verified file in torch.hub's cache."""
    path, prefix = _cache() / wanted.file, wanted.pin.rpartition("-")[2]
    if not path.is_file():
        _get(wanted, path, prefix, online=online)
    if not fingerprint.of_file(path).startswith(prefix):
        raise RealbenchError(f"{path}: expected a SHA-256 that begins with {prefix}, as its name says, found another; delete it")
    return path


def _get(wanted: Checkpoint, path: Path, prefix: str, *, online: bool) -> None:
    from urllib.error import URLError

    from torch.hub import download_url_to_file

    pull = f"`realbench weights pull {wanted.name}`"
    if not online:
        raise Unavailable(f"{packaged.OFFLINE} is set, so {wanted.file} was not downloaded", pull)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        download_url_to_file(wanted.url, str(path), hash_prefix=prefix)  # writes to a temporary name, verifies, renames
    except Exception as error:
        if not isinstance(error, URLError | RuntimeError) and not is_network(error):
            raise
        reason = str(error).split("\n")[0][:120]
        raise Unavailable(f"{wanted.url} cannot be had ({reason})", f"once it can, {pull}") from error
