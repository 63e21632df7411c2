from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

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


def test_the_project_that_is_worked_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The repository around a folder; where there is none, what a CI says, unless it is no commit."""
    for name in checkout.CI:
        monkeypatch.delenv(name, raising=False)
    assert checkout.project(tmp_path) == ""
    monkeypatch.setenv("GITHUB_SHA", "not a commit; rm -rf")
    assert checkout.project(tmp_path) == ""
    monkeypatch.setenv("CI_COMMIT_SHA", "b" * 40)
    assert checkout.project(tmp_path) == "b" * 40
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-qm", "one", "--allow-empty")
    below = tmp_path / "a/b"
    below.mkdir(parents=True)
    commit = checkout.state(tmp_path)
    assert checkout.project(below) == commit and re.fullmatch("[0-9a-f]{40}", commit)
    (tmp_path / "a.txt").write_text("1")
    git(tmp_path, "add", "a.txt")
    assert checkout.project(below) == f"{commit} and changes", "a CI's variable does not know of changes"


def test_a_hook_of_another_repository_leads_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        git(tmp_path / name, "init", "-q")
        git(tmp_path / name, "commit", "-qm", name, "--allow-empty")
    commit = checkout.state(tmp_path / "one")
    for name in ("GIT_DIR", "GIT_WORK_TREE"):
        monkeypatch.setenv(name, str(tmp_path / "other" / (".git" if name == "GIT_DIR" else "")))
    assert commit and checkout.state(tmp_path / "one") == commit != checkout.state(tmp_path / "other")


@pytest.mark.parametrize(("text", "shown"), [("ab" * 20, "ab" * 6), ("ab" * 20 + " and changes", "ab" * 6 + " and changes"), ("", "")])
def test_a_short_commit_still_says_that_files_were_changed(text: str, shown: str) -> None:
    assert checkout.short(text) == shown
