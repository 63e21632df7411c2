"""Paths as a shell takes them, and lists in sentences."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from realbench.text import listed, typed


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("runs/new", "runs/new"),
        (Path("runs") / "my run", "'runs/my run'"),
        ("-x", "./-x"),
        ("~/run", "'./~/run'"),
        ("/home/me/runs/it's", """~/'runs/it'"'"'s'"""),
        ("/home/me", "~"),
        ("/home/meow/run", "/home/meow/run"),
        ("", "''"),
    ],
)
def test_typed(monkeypatch: pytest.MonkeyPatch, path: str | Path, text: str) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert typed(path) == text


@pytest.mark.parametrize("path", ["a b", "-n", "~", "~root/x", "$(echo no)", "`no`", "it's", 'a"b', "a\\b", "*", "/home/me/a b", "ü;|&<#"])
def test_a_shell_reads_what_was_meant(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    found = subprocess.run(["sh", "-c", f"printf %s {typed(path)}"], capture_output=True, text=True, check=True).stdout
    assert Path(found) == Path(path)


@pytest.mark.parametrize(
    ("names", "text"),
    [([], "none"), (["b", "a"], "b, a"), (range(8), "0, 1, 2, 3, 4, 5, 6, 7"), (range(10), "0, 1, 2, 3, 4, 5, 6, 7 and 2 more")],
)
def test_listed(names: list[object], text: str) -> None:
    assert listed(names) == text
