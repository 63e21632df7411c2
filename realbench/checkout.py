"""Which commit of a clone this code is, and which one is worked on, and whether files were changed since. Never asks for a remote."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_SECONDS = 10
CI = ("GITHUB_SHA", "CI_COMMIT_SHA")
"""Where GitHub and GitLab say which commit a job is about: what is checked out may be a merge made for the job."""


def state(root: Path = _ROOT) -> str:
    """The commit, with ` and changes` where tracked files differ from it; empty outside a clone, and without git."""
    if not (root / ".git").exists():
        return ""
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return f"{commit} and changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.SubprocessError):
        return ""


def project(folder: Path | None = None) -> str:
    """The commit of the repository that a folder (the current one) lies in, the project whose fills are measured; as `state` writes it."""
    for name in CI:
        if re.fullmatch(r"[0-9a-f]{40}([0-9a-f]{24})?", os.environ.get(name, "")):
            return os.environ[name]
    here = (folder or Path.cwd()).resolve()
    return next((state(root) for root in (here, *here.parents) if (root / ".git").exists()), "")


def _git(root: Path, *words: str) -> str:
    quiet = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=_SECONDS, check=True, env=quiet)
    return done.stdout.strip()
