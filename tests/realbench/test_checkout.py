from __future__ import annotations

import re
import subprocess
from pathlib import Path

from realbench import checkout


def git(root: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True, capture_output=True)


def test_the_commit_and_whether_files_were_changed(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert checkout.state(tmp_path) == ""  # nothing committed yet
    (tmp_path / "a.txt").write_text("1")
    git(tmp_path, "add", "a.txt")
    git(tmp_path, "commit", "-qm", "one")
    (tmp_path / "untracked.txt").write_text("x")
    clean = checkout.state(tmp_path)
    assert re.fullmatch("[0-9a-f]{40}", clean)
    (tmp_path / "a.txt").write_text("2")
    assert checkout.state(tmp_path) == f"{clean} and changes"


def test_an_installed_package_has_none(tmp_path: Path) -> None:
    assert checkout.state(tmp_path) == ""
