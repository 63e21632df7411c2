"""Getting one archive from the package indexes that pip is set up with, by its file name and SHA-256; nothing of it is built or run."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from realbench import fingerprint, pipconfig
from realbench.errors import UsageError
from realbench.huggingface import is_network
from realbench.packages import Packaged
from realbench.pipconfig import Indexes, without_credentials

if TYPE_CHECKING:
    from unearth import Link
    from unearth.fetchers import Fetcher

TRIES = 3
"""How often a download that breaks off is begun again."""
LONGEST_CONNECT = 15.0
"""Seconds to wait for an index to answer at all, whatever pip's timeout is: a run should not stand still for long."""
LONGEST_NOTE = 120
"""Characters of what one index says: workers keep 1000 of the whole message."""
_CHUNK = 1 << 18
_BROKEN = "broke off"


@dataclass(frozen=True)
class Archive:
    """A verified archive on this disk."""

    path: Path
    url: str
    """Where it was found, without credentials."""


class NotFound(Exception):
    """No index has the archive; the message lists what each of them said."""


@dataclass(frozen=True)
class _Place:
    """An index, or a folder or page of links."""

    url: str
    is_index: bool

    @property
    def is_local(self) -> bool:
        return self.url.startswith("file:") or "://" not in self.url


class _Listener(logging.Handler):
    """What the finder warns of, as it passes over indexes that fail; nothing of it reaches the screen, it may tell credentials."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what was said of an index."""
        if record.name == "unearth.collector":
            self.heard.append(record.getMessage().removeprefix("Failed to collect links from "))


def obtain(wanted: Packaged, keep: Path, *, online: bool) -> Archive:
    """The archive: from `keep`, from an index or folder on this disk, or else downloaded into `keep`.

    Without `online` nothing beyond this disk is asked: no place there, and no link to there on a page of this disk. Raises NotFound
    where no place has it, OSError where the disk refuses.
    """
    kept = keep / wanted.archive
    if _is_right(kept, wanted):
        origin = _origin(kept)
        return Archive(kept, origin.read_text(encoding="utf-8") if origin.is_file() else kept.as_uri())
    settings = pipconfig.indexes()
    notes: list[str] = []
    with _session(settings) as session:
        for place in _places(settings, online=online):
            try:
                for link in _links(session, place, wanted, notes, online=online):
                    with _listening():
                        found = _from(session, link, wanted, keep, notes)
                    if found is not None:
                        return found
            except Exception as error:  # each library below has errors of its own; one bad index must not hide the next
                if isinstance(error, OSError) and not is_network(error):
                    raise
                notes.append(f"{place.url}: {_words(error)}")
    told = [without_credentials(note)[:LONGEST_NOTE] for note in dict.fromkeys(notes)]
    raise NotFound("; ".join([*told[:5], *([f"and {len(told) - 5} more"] if len(told) > 5 else [])]) or "none is set up")


def _places(settings: Indexes, *, online: bool) -> list[_Place]:
    """What lies on this disk first, then the main index, the extra ones, and pages of links."""
    places = [*(_Place(url, True) for url in settings.urls), *(_Place(url, False) for url in settings.links)]
    return [place for place in places if place.is_local] + [place for place in places if online and not place.is_local]


@contextmanager
def _session(settings: Indexes) -> Iterator[Fetcher]:
    """A client with pip's settings that never asks for a password."""
    import ssl

    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers import PyPIClient

    if settings.certificates and not Path(settings.certificates).is_file():
        raise UsageError(f"pip's cert: expected a file of certificates at {settings.certificates}, found none; mend pip's configuration")
    waits = (min(settings.timeout, LONGEST_CONNECT), *[settings.timeout] * 3)
    options: dict[str, Any] = {"timeout": waits, "follow_redirects": True}
    options |= {"verify": ssl.create_default_context(cafile=settings.certificates)} if settings.certificates else {}
    options |= {"cert": settings.client} if settings.client else {}
    options |= {"proxy": settings.proxy} if settings.proxy else {}
    with PyPIClient(trusted_hosts=settings.trusted, **options) as session:
        session.auth = MultiDomainBasicAuth(prompting=False, index_urls=settings.urls)
        yield cast("Fetcher", session)


@contextmanager
def _listening() -> Iterator[list[str]]:
    listener, logger = _Listener(), logging.getLogger("unearth")
    before, logger.propagate = logger.propagate, False
    logger.addHandler(listener)
    try:
        yield listener.heard
    finally:
        logger.removeHandler(listener)
        logger.propagate = before


def _links(session: Fetcher, place: _Place, wanted: Packaged, notes: list[str], *, online: bool) -> list[Link]:
    """The links to the archive in one place, without those that tell another SHA-256 and, unless `online`, those that leave this disk."""
    from unearth import PackageFinder

    finder = PackageFinder(session, ignore_compatibility=True)
    finder.sources = [{"url": place.url, "type": "index" if place.is_index else "find_links"}]
    with _listening() as heard:
        links = [package.link for package in finder.find_all_packages(wanted.project, allow_yanked=True)]
    notes += heard
    named = [link for link in links if link.filename == wanted.archive]
    if not named and not heard:
        notes.append(f"{place.url}: has no {wanted.archive}")
    right = [link for link in named if (link.hash_option or {}).get("sha256", [wanted.archive_sha256]) == [wanted.archive_sha256]]
    notes += [f"{link.redacted}: another file of this name (SHA-256)" for link in named if link not in right]
    barred = [] if online else [link for link in right if not link.is_file]
    notes += [f"not asked offline: {link.redacted}" for link in barred]
    return [link for link in right if link not in barred]


def _from(session: Fetcher, link: Link, wanted: Packaged, keep: Path, notes: list[str]) -> Archive | None:
    """The archive behind a link, or None and a note."""
    shown = without_credentials(link.url_without_fragment)
    if link.is_file:
        if _is_right(link.file_path, wanted):
            return Archive(link.file_path, shown)
        notes.append(f"{shown}: another file of this name (SHA-256)")
        return None
    for attempt in range(TRIES):
        try:
            fault = _download(session, link, wanted, keep)
        except Exception as error:
            if not is_network(error) or attempt == TRIES - 1:
                raise
            continue
        if not fault:
            return Archive(keep / wanted.archive, shown)
        notes.append(f"{shown}: {fault}")
        if not fault.startswith(_BROKEN):
            return None
    return None


def _download(session: Fetcher, link: Link, wanted: Packaged, keep: Path) -> str:
    """Write the archive into `keep` if it is the right one; else what is wrong with it. The caller holds a lock."""
    keep.mkdir(parents=True, exist_ok=True)
    part = keep / f".{wanted.archive}.part"
    try:
        with part.open("wb") as sink:
            fault = _stream(session, link, wanted, sink)
        if not fault:
            _origin(keep / wanted.archive).write_text(without_credentials(link.url_without_fragment), encoding="utf-8")
            part.replace(keep / wanted.archive)
        return fault
    finally:
        part.unlink(missing_ok=True)


def _stream(session: Fetcher, link: Link, wanted: Packaged, sink: IO[bytes]) -> str:
    digest, size = hashlib.sha256(), 0
    with session.get_stream(link.normalized, headers={"Accept-Encoding": "identity"}) as response, _bar(wanted) as advance:
        if response.status_code != 200:
            return f"the answer was {response.status_code}"
        for chunk in response.iter_bytes(_CHUNK):
            size += len(chunk)
            if size > wanted.archive_size:
                return f"longer than the {wanted.archive_size:,} bytes that are pinned"
            digest.update(chunk)
            sink.write(chunk)
            advance(len(chunk))
    if size < wanted.archive_size:
        return f"{_BROKEN} after {size:,} of {wanted.archive_size:,} bytes"
    found = digest.hexdigest()
    return "" if found == wanted.archive_sha256 else f"has the SHA-256 {found[:12]}… instead of the pinned {wanted.archive_sha256[:12]}…"


@contextmanager
def _bar(wanted: Packaged) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(wanted.archive, total=wanted.archive_size)
        yield lambda size: progress.update(task, advance=size)


def _is_right(path: Path, wanted: Packaged) -> bool:
    return path.is_file() and path.stat().st_size == wanted.archive_size and fingerprint.of_file(path) == wanted.archive_sha256


def _origin(archive: Path) -> Path:
    """Where the URL of a kept archive is noted."""
    return archive.with_name(f"{archive.name}.url")


def _words(error: Exception) -> str:
    """A half sentence for what a library raised."""
    if isinstance(error, ValueError) and "non-existing path" in str(error):
        return "no such folder"
    if is_network(error):
        return f"cannot be reached ({type(error).__name__})"
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
