"""Which commit of a clone this code is, and which one is worked on, and whether files were changed since. Never asks for a remote."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_SECONDS = 10
CI = ("GITHUB_SHA", "CI_COMMIT_SHA")
"""Where GitHub and GitLab say which commit a job is about; asked where git says nothing."""
_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
"""Set inside git's hooks: they would lead to another repository than the folder's."""
_OWN = {"GIT_OPTIONAL_LOCKS": "0", "GIT_LITERAL_PATHSPECS": "1", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}


def state(root: Path = _ROOT) -> str:
    """The commit, with ` and changes` where tracked files differ from it; empty outside a clone, and without git."""
    if not (root / ".git").exists():
        return ""
    try:
        commit = git(root, "rev-parse", "HEAD").decode("ascii").strip()
        return f"{commit} and changes" if git(root, "status", "--porcelain", "--untracked-files=no").strip() else commit
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""


def project(folder: Path | None = None) -> str:
    """The commit of the repository that a folder (the current one) lies in, the project whose fills are measured; as `state` writes it.

    Without one, as in a container that holds files alone, the commit that a CI names.
    """
    here = (folder or Path.cwd()).resolve()
    found = next((state(root) for root in (here, *here.parents) if (root / ".git").exists()), "")
    named = (os.environ.get(name, "") for name in CI)
    return found or next((name for name in named if re.fullmatch(r"[0-9a-f]{40}([0-9a-f]{24})?", name)), "")


def short(text: str, digits: int = 12) -> str:
    """What `state` wrote, with the first digits of the commit."""
    commit, space, rest = text.partition(" ")
    return f"{commit[:digits]}{space}{rest}"


def git(folder: Path, *words: str, seconds: float = _SECONDS) -> bytes:
    """What git prints, run without a shell. Raises OSError and subprocess.SubprocessError."""
    quiet = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE} | _OWN
    return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, timeout=seconds, check=True, env=quiet).stdout
