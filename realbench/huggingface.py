"""The Hugging Face hub as a place to get weights from: its cache on this disk, a download, and every way in which that can fail."""

from __future__ import annotations

import errno
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realbench import weightfiles
from realbench.errors import RealbenchError, UsageError
from realbench.method import Weights
from realbench.weightfiles import PICKLES, PLAIN, spare

PLACE = "hub"
KEPT = "hub cache"
ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}/[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")
REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}")
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass
class Unavailable(Exception):
    """Why something cannot be had from its source, and what to do about it; both are half sentences."""

    cause: str
    mend: str
    elsewhere: bool = True
    """Fetching it on another machine would help."""


def is_id(text: str) -> bool:
    """Whether a text is a hub id, `owner/name`: nothing that could lead out of a folder."""
    return bool(ID.fullmatch(text)) and ".." not in text and "--" not in text


def check(wanted: Weights) -> None:
    """Raise UsageError for an id or a revision that the hub cannot have."""
    if not is_id(wanted.id):
        raise UsageError(f"weights {wanted.name}: expected a hub id like owner/name, found {wanted.id!r}")
    if not REVISION.fullmatch(wanted.revision) or ".." in wanted.revision:
        raise UsageError(f"weights {wanted.name}: expected a commit, tag or branch as revision, found {wanted.revision!r}")


def described(wanted: Weights) -> str:
    """The model and its commit, shortened."""
    return f"{wanted.id} @ {wanted.revision[:12]}"


def cached(wanted: Weights, pickles: tuple[str, ...] = ()) -> Path | None:
    """The snapshot of the revision wanted in the hub's cache, complete or not; None without one. A branch means what refs/ says."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(**_request(wanted, pickles), local_files_only=True))
    except LocalEntryNotFoundError as error:
        path = getattr(error, "snapshot_path", None)
        return Path(path) if path else None


def others(wanted: Weights) -> str:
    """A sentence on other commits of this model in the hub's cache, for one that `cached` does not find."""
    snapshots = cache() / f"models--{wanted.id.replace('/', '--')}" / "snapshots"
    commits = sorted(path.name[:12] for path in snapshots.glob("*") if path.is_dir())
    return f"the hub's cache holds another commit ({', '.join(commits)}), which is not used in its place" if commits else ""


def download(wanted: Weights, pickles: tuple[str, ...] = (), *, asked: bool = False) -> Path:
    """Get what is missing into the hub's cache, with progress on stderr, and return the snapshot. Raises Unavailable."""
    from huggingface_hub import constants, snapshot_download

    if constants.HF_HUB_OFFLINE:
        raise _offline(wanted)
    try:
        return Path(snapshot_download(**_request(wanted, pickles)))
    except Exception as error:
        raise _why(wanted, error) from error


def verify(wanted: Weights, folder: Path, files: Sequence[str]) -> None:
    """Compare each file of a snapshot with the SHA-256 that the hub's cache names it by. Raises RealbenchError for one that differs."""
    for name in files:
        blob = (folder / name).resolve()
        if re.fullmatch(r"[0-9a-f]{64}", blob.name):
            try:
                weightfiles.verify(blob, blob.name)
            except RealbenchError as error:
                raise RealbenchError(f"{name} is damaged: delete {blob} and pull again") from error


def commit(wanted: Weights, folder: Path) -> str:
    """The commit of a snapshot in the hub's cache."""
    return folder.name


def copied_commit(folder: Path, files: list[str]) -> str:
    """The commit that `hf download --local-dir` noted beside each of these files; empty when it didn't or they differ."""
    notes = folder / ".cache" / "huggingface" / "download"
    commits = set()
    for name in files:
        note = notes / f"{name}.metadata"
        commits.add(note.read_text(errors="replace").partition("\n")[0].strip() if note.is_file() else "")
    commit = commits.pop() if len(commits) == 1 else ""
    return commit if COMMIT.fullmatch(commit) else ""


def elsewhere(wanted: Weights, pickles: tuple[str, ...], shared: str) -> str:
    """How to get these weights on a machine without this project; `shared` says where its folder `weights` is then copied to."""
    patterns = _patterns(wanted, pickles)
    if any("*" in pattern for pattern in patterns):
        words = [word for pattern in patterns for word in ("--include", pattern)]
        words += [word for pattern in spare(wanted.files) for word in ("--exclude", pattern)]
    else:
        words = patterns
    command = shlex.join(["hf", "download", wanted.id, "--revision", wanted.revision, *words, "--local-dir", f"weights/{wanted.id}"])
    return f"on another machine `{command}`, then {shared}"


def cache() -> Path:
    """The hub's cache on this machine."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _patterns(wanted: Weights, pickles: tuple[str, ...]) -> list[str]:
    return [*(wanted.files or [f"*{ending}" for ending in PLAIN]), *pickles]


def _request(wanted: Weights, pickles: tuple[str, ...]) -> dict[str, Any]:
    """Nothing that could run is fetched, whatever the patterns say: no code, and no pickles but those that are pinned."""
    pinned = {Path(name).suffix for name in pickles}
    refused = ["*.py", *(f"*{ending}" for ending in PICKLES if ending not in pinned), *spare(wanted.files)]
    return {
        "repo_id": wanted.id,
        "revision": wanted.revision,
        "cache_dir": cache(),
        "allow_patterns": _patterns(wanted, pickles),
        "ignore_patterns": refused,
    }


def _why(wanted: Weights, error: Exception) -> Unavailable:
    """One sentence for each way in which the hub refuses, from the most to the least specific error class."""
    from huggingface_hub import errors

    chain = list(_chain(error))
    page = f"https://huggingface.co/{wanted.id}"
    if any(says_full(link) for link in chain):
        return _full(wanted)
    for link in chain:
        if isinstance(link, errors.OfflineModeIsEnabled):
            return _offline(wanted)
        if isinstance(link, errors.GatedRepoError):
            return Unavailable("access is gated", f"accept the licence at {page}, then `hf auth login` and {_pull(wanted)}", False)
        if isinstance(link, errors.RepositoryNotFoundError):
            cause = f"the hub has no public model {wanted.id} (removed, renamed or private)"
            return Unavailable(
                cause, f"where you have access: `hf auth login` and {_pull(wanted)}; otherwise name another model or a folder", False
            )
        if isinstance(link, errors.RevisionNotFoundError):
            cause = f"{wanted.id} has no revision {wanted.revision} on the hub"
            return Unavailable(cause, f"see {page}/commits/main; name a folder, or {wanted.id}@REVISION where a setting takes one", False)
        if isinstance(link, errors.DisabledRepoError):
            return Unavailable(f"{wanted.id} was disabled on the hub", "name another model or a folder", False)
        if isinstance(link, errors.HfHubHTTPError):
            return _status(wanted, link.response.status_code, page)
        if isinstance(link, PermissionError):
            return Unavailable(f"{cache()} cannot be written", f"set HF_HUB_CACHE to a folder of yours, then {_pull(wanted)}", False)
    if any(is_network(link) for link in chain) or isinstance(error, errors.LocalEntryNotFoundError):
        first = f"accept the licence at {page}, `hf auth login`, and " if wanted.gated else ""
        return Unavailable("the hub cannot be reached (no network, or a proxy in between)", f"once it can, {first}{_pull(wanted)}")
    words = str(error).strip().split("\n")[0][:120]
    return Unavailable(f"the download failed ({type(error).__name__}: {words})", f"try {_pull(wanted)} again, it goes on where it stopped")


def _status(wanted: Weights, status: int, page: str) -> Unavailable:
    if status == 401:
        return Unavailable("the hub refused your token (401)", f"`hf auth login` (or unset HF_TOKEN), then {_pull(wanted)}", False)
    if status == 403:
        return Unavailable("the hub refused access (403)", f"see what {page} asks for, `hf auth login`, then {_pull(wanted)}", False)
    return Unavailable(f"the hub answered with an error ({status})", f"later: {_pull(wanted)}")


def _offline(wanted: Weights) -> Unavailable:
    first = f"accept the licence at https://huggingface.co/{wanted.id}, `hf auth login`, " if wanted.gated else ""
    return Unavailable("HF_HUB_OFFLINE is set, so the hub was not asked", f"{first}unset HF_HUB_OFFLINE and {_pull(wanted)}")


def _full(wanted: Weights) -> Unavailable:
    place = cache()
    while not place.exists():
        place = place.parent
    free = f"{shutil.disk_usage(place).free / 1e9:.1f} GB free"
    mend = (
        f"make room ({free} at {cache()}, {wanted.size or 'size unknown'} needed) or set HF_HUB_CACHE to another disk, then {_pull(wanted)}"
    )
    return Unavailable("the disk is full", mend, False)


def _pull(wanted: Weights) -> str:
    return f"`realbench weights pull {wanted.name}`"


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def says_full(error: BaseException) -> bool:
    """Whether an error means that the disk is full."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
    return full or os.strerror(errno.ENOSPC).lower() in str(error).lower()


def is_network(error: BaseException) -> bool:
    """Whether an error means that there is no way to a server. By name: each library here has a client of its own, and changes it."""
    return isinstance(error, (ConnectionError, TimeoutError)) or any(
        kind.__name__ in ("TransportError", "RequestException") for kind in type(error).__mro__
    )
