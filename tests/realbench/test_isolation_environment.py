"""Environments: named after lock, Python and platform, built once, whole or not at all, without the user's secrets."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from realbench import locks, venvs
from realbench.errors import RealbenchError, UsageError
from realbench.process import FAMILY
from tests.isolating import PYTHON


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REALBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "environments"


def lock(tmp_path: Path, text: str = "") -> locks.Lock:
    path = tmp_path / "requirements.txt"
    path.write_text(text)
    return locks.read(path)


def test_an_environment_is_built_once_and_is_bare(tmp_path: Path, cache: Path) -> None:
    said: list[str] = []
    one = venvs.ensure(lock(tmp_path), PYTHON, said.append)
    two = venvs.ensure(lock(tmp_path), PYTHON, said.append)
    assert one == two and len(said) == 1 and said[0].startswith(f"building the environment {one.folder.parent.name} with ")
    assert one.folder.parent.parent == cache and one.packages == () and one.notes == () and one.version.startswith(PYTHON)
    program = "import importlib.util as u; print([u.find_spec(name) is None for name in ('numpy', 'realbench')])"
    done = subprocess.run([str(one.python), "-c", program], capture_output=True, text=True, check=True, env={}, cwd=tmp_path)
    assert done.stdout.strip() == "[True, True]"


def test_two_processes_at_once_build_it_once(tmp_path: Path, cache: Path) -> None:
    lock(tmp_path)
    program = (
        "import sys; from pathlib import Path; from realbench import locks, venvs\n"
        f"venvs.ensure(locks.read(Path(sys.argv[1])), {PYTHON!r}, lambda text: print('said', text))"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "requirements.txt")]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [one.communicate()[0] for one in both]
    assert [one.returncode for one in both] == [0, 0] and "".join(outputs).count("said building") == 1
    assert len(list(cache.glob("*/environment.json"))) == 1


def test_the_key_is_lock_python_and_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = venvs.key(lock(tmp_path), "3.11")
    assert first == venvs.key(lock(tmp_path), "3.11")
    others = {venvs.key(lock(tmp_path, "# changed"), "3.11"), venvs.key(lock(tmp_path), "3.12")}
    monkeypatch.setattr("sysconfig.get_platform", lambda: "other")
    others.add(venvs.key(lock(tmp_path), "3.11"))
    assert first not in others and len(others) == 3


def test_a_build_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venvs, "LONG", 0.2)
    new = venvs.Environment(tmp_path / "new", "", "", (), ())
    (tmp_path / "log").touch()
    with pytest.raises(RealbenchError, match=r"requirements\.txt: building the environment took longer .* given up; see .*log, mend"):
        venvs._perform([sys.executable, "-c", "import time; time.sleep(100)"], new, tmp_path / "log", lock(tmp_path))


def test_waiting_for_another_process_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venvs, "SHORT", 0.1)
    held, said = threading.Event(), list[str]()

    def hold() -> None:
        with FileLock(tmp_path / "key.lock"):
            held.set()
            time.sleep(1)

    threading.Thread(target=hold).start()
    assert held.wait(30)
    with venvs._alone(FileLock(tmp_path / "key.lock"), said.append):
        assert said == ["waiting for another process that builds the environment key"]


def test_a_half_made_environment_is_made_anew(tmp_path: Path) -> None:
    one = venvs.ensure(lock(tmp_path), PYTHON)
    (one.folder.parent / venvs.RECORD).unlink()
    two = venvs.ensure(lock(tmp_path), PYTHON)
    assert two.folder.parent == one.folder.parent and not one.folder.exists()
    two.python.unlink()  # as after an upgrade that removed the Python it was made of
    assert venvs.ensure(lock(tmp_path), PYTHON).python.exists()


def test_what_a_killed_build_left_running_writes_into_nobodys_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first build's record was never written; all that its orphan still does, it does in a folder of its own."""
    first = venvs.ensure(lock(tmp_path), PYTHON)
    (first.folder.parent / venvs.RECORD).unlink()
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)  # as where the orphan writes faster than anything is removed
    second = venvs.ensure(lock(tmp_path), PYTHON)
    assert second.folder != first.folder and second.folder.parent == first.folder.parent and second.python.exists()
    assert venvs.ensure(lock(tmp_path), PYTHON) == second


def test_a_build_ends_with_the_worker_that_asked_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It carries the worker's family name, by which descendants are found."""
    monkeypatch.setenv(FAMILY, "the-family")
    new = venvs.Environment(tmp_path / "new", "", "", (), ())
    (tmp_path / "log").touch()
    venvs._perform([sys.executable, "-c", "import os; print(sorted(os.environ))"], new, tmp_path / "log", lock(tmp_path))
    assert f"'{FAMILY}'" in (tmp_path / "log").read_text()


def test_a_failed_build_shows_the_end_of_its_log_and_leaves_nothing_usable(tmp_path: Path, cache: Path) -> None:
    broken = lock(tmp_path, "--no-index\nno-such-package-here==1.0\n")
    with pytest.raises(RealbenchError, match=r"requirements\.txt: the environment cannot be built \(exit code [12]\)") as caught:
        venvs.ensure(broken, PYTHON)
    assert "no-such-package-here" in str(caught.value) and list(cache.glob("*/environment.json")) == []
    assert "no-such-package-here" in next(cache.glob("*.log")).read_text()


def test_pip_takes_uvs_place_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venvs, "find_uv", lambda: None)
    said: list[str] = []
    made = venvs.ensure(lock(tmp_path), PYTHON, said.append)
    assert made.notes == ("environment built with pip, because uv is not installed",) and said[1:] == list(made.notes)
    assert made.builder == f"pip of Python {PYTHON}" and made.python.exists()
    assert json.loads((made.folder.parent / venvs.RECORD).read_text())["notes"] == list(made.notes)
    (tmp_path / "pylock.toml").write_text("lock-version = '1.0'")
    with pytest.raises(UsageError, match=r"pylock\.toml: installing it takes uv"):
        venvs.ensure(locks.read(tmp_path / "pylock.toml"), PYTHON)


def test_a_lock_without_hashes_is_said(tmp_path: Path) -> None:
    assert venvs._notes(lock(tmp_path, "numpy==2.0\n"), "uv")[0].startswith(
        "requirements.txt has no hashes: the package index decided on 20"
    )
    assert venvs._notes(lock(tmp_path, "numpy==2.0 --hash=sha256:aa\n"), "uv") == ()


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("", "requirements.txt", None),
        ("numpy==2\n", "requirements.txt", ["pip", "install", "--requirements"]),
        ("numpy==2 --hash=sha256:aa\n", "requirements.txt", ["pip", "sync", "--require-hashes"]),
        ("lock-version = '1.0'\n", "pylock.toml", ["pip", "sync"]),
        ("version = 1\n", "uv.lock", ["sync", "--frozen", "--no-install-project", "--no-dev"]),
    ],
)
def test_how_each_lock_is_installed_with_uv(tmp_path: Path, text: str, name: str, expected: list[str] | None) -> None:
    (tmp_path / name).write_text(text)
    (tmp_path / "pyproject.toml").write_text("")
    new = venvs.Environment(tmp_path / "new", "", "", (), ())
    commands = venvs._with_uv("uv", new, locks.read(tmp_path / name), "/usr/bin/python3")
    assert commands[0][:2] == ["uv", "venv"] and "--no-python-downloads" in commands[0] and str(tmp_path / "new") in commands[0]
    assert len(commands) == (1 if expected is None else 2)
    if expected is not None:
        assert [word for word in commands[1] if word in expected] == expected or set(expected) <= set(commands[1])
        assert "--no-python-downloads" in commands[1] and ("--require-hashes" in commands[1]) == ("--require-hashes" in expected)


@pytest.mark.parametrize(("text", "words"), [("numpy==2\n", []), ("numpy==2 --hash=sha256:aa\n", ["--require-hashes", "--no-deps"])])
def test_how_a_lock_is_installed_with_pip(tmp_path: Path, text: str, words: list[str]) -> None:
    new = venvs.Environment(tmp_path / "new", "", "", (), ())
    first, second = venvs._with_pip(new, lock(tmp_path, text), "/usr/bin/python3")
    assert first == ["/usr/bin/python3", "-m", "venv", str(tmp_path / "new")]
    assert second[:4] == [str(new.python), "-m", "pip", "install"] and second[-2:] == ["--requirement", str(tmp_path / "requirements.txt")]
    assert [word for word in second if word in ("--require-hashes", "--no-deps")] == words


def test_a_python_that_is_not_there(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(
        UsageError, match=r"Python 3\.99 is not on this machine; get it with `uv python install 3\.99`.*python3\.99 on the PATH"
    ):
        venvs.ensure(lock(tmp_path), "3.99")
    assert list(cache.glob("*/*")) == []


def test_a_version_is_matched_by_its_parts() -> None:
    major, minor, micro = sys.version_info[:3]
    assert venvs._is(sys.executable, f"{major}.{minor}") and venvs._is(sys.executable, f"{major}.{minor}.{micro}")
    assert not venvs._is(sys.executable, f"{major}.{str(minor)[:-1] or 0}") and not venvs._is("/bin/false", "3.11")


def test_a_build_sees_indexes_and_no_tokens() -> None:
    kept = {"PATH": "/bin", "HOME": "/h", "PIP_INDEX_URL": "u", "UV_INDEX": "u", "https_proxy": "p", "LC_ALL": "C"}
    named = ("HF_TOKEN", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "UV_PUBLISH_TOKEN", "UV_PUBLISH_PASSWORD", "UV_INDEX_MINE_PASSWORD")
    assert venvs.outer({**kept, **dict.fromkeys(named, "s"), "PYTHONPATH": "/x", "VIRTUAL_ENV": "/v"}) == kept
