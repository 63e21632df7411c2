"""Where a model's weights are on this machine, for every method and metric: found, fetched, or missing with all that helps to get them."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, Protocol

from realbench import huggingface, registry, weightfiles
from realbench.errors import RealbenchError, UsageError, WeightsMissing
from realbench.huggingface import Unavailable
from realbench.method import Weights
from realbench.weightfiles import load_state as load_state

VARIABLE = "REALBENCH_WEIGHTS"
"""Environment variable: a folder that holds models as `<owner>/<name>`, `<owner>--<name>` or by their short names."""
CACHE = "hub cache"
ASK_AGAIN = 300.0
"""Seconds for which a source that refused is not asked again by this process: a run asks for the same weights at every cell."""
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True)
class Pickled(Weights):
    """Weights that are published as pickles only: each is accepted with its SHA-256."""

    sha256: tuple[tuple[str, str], ...] = ()
    """(file, SHA-256) pairs, the file as `unet/diffusion_pytorch_model.bin`."""


@dataclass(frozen=True)
class Resolved:
    """Weights on this machine, complete."""

    path: Path
    """Folder that holds them."""
    origin: str
    """`folder` (a setting), `REALBENCH_WEIGHTS`, `hub cache`, or `hub` when they were downloaded just now."""
    revision: str
    """The commit found; for a folder that doesn't say, `content` and a hash of its files."""


@dataclass(frozen=True)
class Status:
    """What this machine has of some weights; nothing was fetched to find out."""

    state: Literal["present", "incomplete", "missing"]
    path: Path | None = None
    origin: str = ""
    commit: str = ""
    """Empty for a folder that doesn't say."""
    size: int = 0
    """Bytes on disk of the files that are needed."""
    note: str = ""
    """What is lacking or in the way."""


@dataclass(frozen=True)
class Entry:
    """Weights that a card lists, and the names of the methods and metrics that do."""

    weights: Weights
    used_by: tuple[str, ...]


class Source(Protocol):
    """A kind of place that weights come from: the hub is the first."""

    def check(self, wanted: Weights) -> None:
        """Raise UsageError for weights that this source cannot have."""

    def cached(self, wanted: Weights, pickles: tuple[str, ...] = ()) -> Path | None:
        """The folder that holds them on this machine, complete or not."""

    def download(self, wanted: Weights, pickles: tuple[str, ...] = ()) -> Path:
        """Get what is missing. Raises Unavailable."""

    def elsewhere(self, wanted: Weights, pickles: tuple[str, ...] = ()) -> str:
        """A command for a machine without this project."""

    def other_commits(self, wanted: Weights) -> list[str]:
        """Versions of them on this machine, where the one wanted is not."""


@dataclass(frozen=True)
class _Place:
    """A folder that should be the weights wanted, and what keeps it from being used."""

    path: Path
    origin: str
    commit: str
    files: tuple[str, ...]
    faults: tuple[str, ...]


_lock = threading.Lock()
_used: dict[str, str] = {}
_refused: dict[Weights, tuple[float, Unavailable]] = {}


def resolve(wanted: Weights, folder: str | Path = "") -> Resolved:
    """The weights wanted: from a folder named in a setting, from REALBENCH_WEIGHTS, the hub's cache, or the hub, in this order.

    Raises WeightsMissing that says what is missing and how to get it, UsageError for an id or a folder that can't be, RealbenchError for
    a pickle that is not the one pinned.
    """
    place = _find(wanted, folder)
    if place is None or (place.faults and place.origin == CACHE):
        place = _fetch(wanted, place)
    if place.faults:
        raise WeightsMissing(f"{_title(wanted)}: {place.path} {_words(place.faults)}; {_mend(place)}")
    for name, digest in _pickles(wanted).items():
        weightfiles.verify(place.path / name, digest)
    found = Resolved(place.path, place.origin, place.commit or f"content {weightfiles.content(place.path, place.files)[:12]}")
    with _lock:
        _used[wanted.name] = f"{found.origin} {found.revision}"
    return found


def used() -> dict[str, str]:
    """What this process has resolved so far: by name, where from and which commit or content."""
    with _lock:
        return dict(_used)


def custom(text: str, files: Sequence[str] = ()) -> Weights:
    """Weights for a setting that is a folder, or a hub id with an optional revision (`owner/name@commit`).

    Raises UsageError for anything else. `files` are patterns as in Weights.
    A folder has no id, so that where it lies is no part of any fingerprint.
    """
    if text and Path(text).is_dir():
        return Weights(text, "", revision="", files=tuple(files))
    name, _, revision = text.partition("@")
    wanted = Weights(text, name, revision=revision or "main", files=tuple(files))
    if not huggingface.is_id(name):
        raise UsageError(f"{text!r}: expected an existing folder or a hub id like owner/name, found neither")
    huggingface.check(wanted)
    return wanted


def status(wanted: Weights) -> Status:
    """What this machine has, without asking any source."""
    place = _find(wanted, "")
    if place is None:
        return Status("missing", note=_others(wanted))
    size = sum((place.path / name).stat().st_size for name in place.files)
    return Status("incomplete" if place.faults else "present", place.path, place.origin, place.commit, size, _words(place.faults))


def pull(wanted: Weights) -> Resolved:
    """Resolve, even if the source refused a moment ago, and compare each file with the SHA-256 that the hub's cache names it by."""
    with _lock:
        _refused.pop(wanted, None)
    found = resolve(wanted)
    for name in weightfiles.needed(found.path, wanted.files, _pickles(wanted)):
        blob = (found.path / name).resolve()
        if re.fullmatch(r"[0-9a-f]{64}", blob.name):
            try:
                weightfiles.verify(blob, blob.name)
            except RealbenchError as error:
                raise WeightsMissing(f"{_title(wanted)}: {name} is damaged: delete {blob} and pull again") from error
    return found


def catalogue() -> tuple[list[Entry], list[str]]:
    """All weights on the cards of all methods and metrics, sorted by name; and what is wrong with plug-ins that can't be read."""
    users: dict[Weights, list[str]] = {}
    broken = []
    kinds: tuple[registry.Kind, ...] = ("methods", "metrics")
    for kind in kinds:
        for name in registry.names(kind):
            try:
                card = registry.load(kind, name).card
            except RealbenchError as error:  # one broken plug-in must not hide the others
                broken.append(str(error))
                continue
            for item in card.weights:
                users.setdefault(item, []).append(name)
    entries = [Entry(item, tuple(names)) for item, names in users.items()]
    return sorted(entries, key=lambda entry: (entry.weights.name, entry.weights.id)), broken


def named(names: Sequence[str]) -> list[Weights]:
    """The weights that words stand for: names or ids on cards, `all`, or a hub id. Raises UsageError with what is close or known."""
    entries, _ = catalogue()
    found: dict[Weights, None] = {}
    for name in names:
        matching = [entry.weights for entry in entries if name in ("all", entry.weights.name, entry.weights.id)]
        if not matching and huggingface.is_id(name.partition("@")[0]):
            matching = [custom(name)]
        if not matching and name != "all":
            raise UsageError(_unknown(name, entries))
        found |= dict.fromkeys(matching)
    return list(found)


def _unknown(name: str, entries: Sequence[Entry]) -> str:
    user = [entry.weights.name for entry in entries if name in entry.used_by]
    if user:
        return f"{name!r} is no weights; it uses {', '.join(user)}: name them"
    known = [entry.weights.name for entry in entries]
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"unknown weights {name!r}: {hint}known: {', '.join([*known, 'all'])}, or a hub id owner/name"


def _find(wanted: Weights, folder: str | Path) -> _Place | None:
    """The first place on this machine that should hold the weights, whether it does or not."""
    text = str(folder) or ("" if wanted.id else wanted.name)
    if text or not wanted.id:
        path = Path(text)
        if not text or not path.is_dir():
            raise UsageError(f"weights {wanted.name}: expected a folder at {text!r}, found none")
        return _examined(wanted, path, "folder")
    source = _source(wanted)
    source.check(wanted)
    shared = _shared(wanted)
    if shared is not None:
        return _examined(wanted, shared, VARIABLE)
    snapshot = source.cached(wanted, tuple(_pickles(wanted)))
    return None if snapshot is None else _examined(wanted, snapshot, CACHE)


def _source(wanted: Weights) -> Source:
    """The source of a kind of weights."""
    return huggingface


def _shared(wanted: Weights) -> Path | None:
    """The folder for these weights below REALBENCH_WEIGHTS, if there is one."""
    setting = os.environ.get(VARIABLE, "")
    if not setting:
        return None
    root = Path(setting).expanduser()
    if not root.is_dir():
        raise UsageError(f"{VARIABLE}: expected a folder at {root}, found none; create it or unset the variable")
    names = [wanted.id, wanted.id.replace("/", "--"), *([wanted.name] if _PLAIN_NAME.fullmatch(wanted.name) else [])]
    return next((root / name for name in names if (root / name).is_dir()), None)


def _examined(wanted: Weights, folder: Path, origin: str) -> _Place:
    pickles = _pickles(wanted)
    files = weightfiles.needed(folder, wanted.files, pickles)
    commit = folder.name if origin in (CACHE, "hub") else huggingface.copied_commit(folder, files)
    faults = weightfiles.faults(folder, wanted.files, pickles)
    if origin == VARIABLE and commit and huggingface.COMMIT.fullmatch(wanted.revision) and commit != wanted.revision:
        faults.insert(0, f"holds commit {commit[:12]} instead of the pinned {wanted.revision[:12]}")
    return _Place(folder, origin, commit, tuple(files), tuple(faults))


def _fetch(wanted: Weights, partial: _Place | None) -> _Place:
    """Download, or say why not."""
    source, pickles = _source(wanted), tuple(_pickles(wanted))
    try:
        _raise_if_refused(wanted)
        path = source.download(wanted, pickles)
    except Unavailable as reason:
        with _lock:
            _refused.setdefault(wanted, (time.monotonic(), reason))
        here = f"{partial.path} {_words(partial.faults)}" if partial else _others(wanted)
        raise WeightsMissing(_missing(wanted, reason, here)) from reason
    return _examined(wanted, path, "hub")


def _raise_if_refused(wanted: Weights) -> None:
    with _lock:
        when, reason = _refused.get(wanted, (0.0, None))
        if reason is not None and time.monotonic() - when < ASK_AGAIN:
            raise reason
        _refused.pop(wanted, None)


def _missing(wanted: Weights, reason: Unavailable, here: str) -> str:
    """The one message about weights that can't be had; workers keep 1000 characters of it."""
    parts = [f"{_title(wanted)} {'cannot be used' if here else 'are not on this machine'}: {reason.cause}"]
    parts += [here] if here else []
    parts.append(f"get them: {reason.mend}")
    if reason.elsewhere:
        command = _source(wanted).elsewhere(wanted, tuple(_pickles(wanted)))
        place = (
            f"copy what is in its folder weights to ${VARIABLE}"
            if VARIABLE in os.environ
            else f"copy its folder weights here and set {VARIABLE} to it"
        )
        parts.append(f"or on another machine `{command}`, then {place}")
    return "; ".join(parts)


def _title(wanted: Weights) -> str:
    """What is wanted, with what one must know before getting it, and who asks for it."""
    users = [", ".join(entry.used_by) for entry in catalogue()[0] if entry.weights == wanted]
    facts = [f"{wanted.id} at {wanted.revision[:12]}" if wanted.id else "a folder", wanted.size, wanted.licence, wanted.gated and "gated"]
    return " ".join([f"weights {wanted.name} ({', '.join(str(fact) for fact in facts if fact)})", *(f"of {user}" for user in users)])


def _others(wanted: Weights) -> str:
    commits = [commit[:12] for commit in _source(wanted).other_commits(wanted)]
    return f"the hub's cache holds another commit ({', '.join(commits)}), which is not used in its place" if commits else ""


def _mend(place: _Place) -> str:
    if place.origin == "hub":
        return "the hub has no more of it that is safe to load: convert it to safetensors (docs/weights.md) and name that folder"
    if any("pickle" in fault for fault in place.faults):
        return "convert it to safetensors (docs/weights.md) and name that folder"
    return "complete it, or take it away to use another source"


def _words(faults: Sequence[str]) -> str:
    return "; ".join([*faults[:3], *([f"and {len(faults) - 3} more"] if len(faults) > 3 else [])])


def _pickles(wanted: Weights) -> Mapping[str, str]:
    return dict(wanted.sha256) if isinstance(wanted, Pickled) else {}
