"""What pip was told about indexes, as pip itself says it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from realbench import pipconfig
from realbench.errors import UsageError
from realbench.pipconfig import DEFAULT_INDEX, Indexes, indexes, without_credentials

needs_pip = pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="no pip in this environment")


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's configuration."""
    import os

    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


@needs_pip
def test_files_and_environment_are_read_as_pip_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert indexes() == Indexes((DEFAULT_INDEX,))
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://me:secret@one.example/simple\nextra-index-url =\n  file:///a b\n  https://two.example/simple\n"
        "find-links = /links /more\ntrusted-host = one.example\ntimeout = 7\ncert = /certs.pem\nproxy = http://proxy:3128\n"
        "[freeze]\nindex-url = https://wrong.example\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    assert indexes() == Indexes(
        ("https://me:secret@one.example/simple", "file:///a", "b", "https://two.example/simple"),
        ("/links", "/more"),
        ("one.example",),
        "/certs.pem",
        "",
        "http://proxy:3128",
        7.0,
    )
    file.write_text(file.read_text() + "[download]\nindex-url = https://three.example/simple\n")
    assert indexes().urls[0] == "https://three.example/simple"
    monkeypatch.setenv("PIP_INDEX_URL", "https://four.example/simple")
    assert indexes().urls[0] == "https://four.example/simple" and indexes().links == ("/links", "/more")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert (indexes().urls, indexes().links) == ((), ("/links", "/more"))


@needs_pip
def test_a_folder_called_pip_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__main__.py").write_text("open('pwned', 'w')")
    (tmp_path / "pip" / "__init__.py").write_text("")
    monkeypatch.chdir(tmp_path)
    assert indexes().urls == (DEFAULT_INDEX,) and not (tmp_path / "pwned").exists()


@needs_pip
def test_a_configuration_that_pip_cannot_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip.conf").write_text("index-url = https://me:secret@x/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    with pytest.raises(UsageError, match="`pip config list` failed") as caught:
        indexes()
    assert "secret" not in str(caught.value)


def test_without_pip_its_environment_variables_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PIP_INDEX_URL", "https://one.example/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://two.example/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "/links")
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "180")
    assert indexes() == Indexes(("https://one.example/simple", "https://two.example/simple"), ("/links",), timeout=180.0)


def test_odd_lines_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (
        "\n:env:.index-url='https://a=b/simple'\nglobal.index-url='https://c/simple'\nglobal.cert=['x'\nnonsense\nglobal.timeout='soon'\n"
    )
    monkeypatch.setattr(pipconfig, "_listed", lambda: lines)
    assert indexes() == Indexes(("https://a=b/simple",))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:secret@host/simple", "https://***@host/simple"),
        ("at https://token@host:8080/x and https://host/y@z", "at https://***@host:8080/x and https://host/y@z"),
        ("file:///a/b", "file:///a/b"),
        ("https://me:se%40cret@host", "https://***@host"),
    ],
)
def test_credentials_are_hidden(text: str, shown: str) -> None:
    assert without_credentials(text) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:secret@host/simple", "https://***@host/simple"),
        ("https://user:se@cret@host/simple", "https://***@host/simple"),
        ("see https://a:b@c/d and https://e/f@g", "see https://***@c/d and https://e/f@g"),
    ],
)
def test_no_part_of_a_password_is_told(url: str, shown: str) -> None:
    assert pipconfig.without_credentials(url) == shown
