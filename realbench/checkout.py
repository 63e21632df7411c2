"""Which commit of a clone this code is, and whether files were changed since. Asks git alone, and never for a remote."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_SECONDS = 10


def state(root: Path = _ROOT) -> str:
    """The commit, with ` and changes` where tracked files differ from it; empty outside a clone, and without git."""
    if not (root / ".git").exists():
        return ""
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return f"{commit} and changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(root: Path, *words: str) -> str:
    quiet = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=_SECONDS, check=True, env=quiet)
    return done.stdout.strip()
