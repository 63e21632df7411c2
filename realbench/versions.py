"""The versions of one file that git remembers, from the commits that changed it. Asks git alone, and never a remote."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from realbench import checkout
from realbench.errors import UsageError

_SECONDS = 60
_COMMIT = re.compile(r"[0-9a-f]{40,64}")


@dataclass(frozen=True)
class Version:
    """A file as one commit left it."""

    commit: str
    when: datetime
    """The committer's time."""
    data: bytes | None
    """None where there is nothing to read: the commit removed the file, or it is larger than wanted, or no file."""


class Versions:
    """The commits up to the present one that changed a file. Renames are not followed."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError where the file is in no repository, or in none of its commits, and without git."""
        self.path = path.resolve()
        self.root = _root(self.path)
        # The path is resolved: it cannot lead out of the repository that it was found to lie in.
        self.name = self.path.relative_to(self.root).as_posix()
        self.commits = [*self._commits()]
        if not self.commits:
            raise UsageError(f"{path}: in no commit of {self.root}; commit it first, or give it without --git")

    @property
    def shallow(self) -> bool:
        """Whether older commits were left out when the repository was cloned, as CI services do."""
        return _git(self.root, "rev-parse", "--is-shallow-repository").strip() == b"true"

    def read(self, most_bytes: int) -> Iterator[Version]:
        """From the oldest on; a file larger than `most_bytes` is not read."""
        for commit, when in self.commits:
            yield Version(commit, when, self._data(commit, most_bytes))

    def _commits(self) -> Iterator[tuple[str, datetime]]:
        try:
            lines = _git(self.root, "rev-list", "--topo-order", "--reverse", "--timestamp", "HEAD", "--", self.name)
        except subprocess.CalledProcessError:
            return  # a repository without a commit
        for line in lines.decode("ascii").splitlines():
            seconds, _, commit = line.partition(" ")
            if _COMMIT.fullmatch(commit):
                yield commit, datetime.fromtimestamp(int(seconds), UTC)

    def _data(self, commit: str, most_bytes: int) -> bytes | None:
        """By `cat-file`: `git show` may run the filters that a repository configures."""
        try:
            size = int(_git(self.root, "cat-file", "-s", f"{commit}:{self.name}"))
            return _git(self.root, "cat-file", "blob", f"{commit}:{self.name}") if size <= most_bytes else None
        except subprocess.CalledProcessError:
            return None


def _root(path: Path) -> Path:
    """The top of the repository that a file lies in."""
    if not path.parent.is_dir():
        raise UsageError(f"{path}: {path.parent} is no folder; give a file in a git repository")
    try:
        return Path(os.fsdecode(_git(path.parent, "rev-parse", "--show-toplevel").rstrip(b"\n"))).resolve()
    except subprocess.CalledProcessError as error:
        say = os.fsdecode(error.stderr).strip().partition("\n")[0]
        raise UsageError(f"{path}: its versions cannot be read from git ({say}); give a file in a git repository") from error


def _git(folder: Path, *words: str) -> bytes:
    """As `checkout.git`. Raises UsageError where git is missing or hangs, CalledProcessError where it fails."""
    try:
        return checkout.git(folder, *words, seconds=_SECONDS)
    except FileNotFoundError:
        raise UsageError("git is not installed; give run folders or baseline files instead of --git") from None
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"git did not answer within {_SECONDS} s in {folder}; try again, or give files instead of --git") from error
