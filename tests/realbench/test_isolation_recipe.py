"""method.toml and locks: what is accepted, what is refused in which words, what of a folder counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from realbench import locks, recipe
from realbench.errors import UsageError
from tests.isolating import PYTHON, write_method

FIT = ["python", "run.py", "{request}"]


def test_a_recipe_makes_a_card(tmp_path: Path) -> None:
    folder = write_method(tmp_path, fit=FIT, stochastic=True, torch=True, needs=["gpu"], paper="arXiv:1", licence="MIT", title="A <b>")
    card = recipe.read(folder).card("made")
    assert (card.id, card.title, card.summary, card.paper, card.licence) == ("made", "A <b>", "Fills.", "arXiv:1", "MIT")
    assert (card.fits, card.stochastic, card.torch, card.needs) == (True, True, True, ("gpu",))
    plain = recipe.read(write_method(tmp_path)).card("made")
    assert (plain.fits, plain.stochastic, plain.torch) == (False, False, False)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"titel": "x"}, ["titel: no such key", "known: title, summary"]),
        ({"title": None}, ["title: missing"]),
        ({"title": "two\nlines"}, ["title: String should match"]),
        ({"fill": None}, ["fill: missing"]),
        ({"fill": []}, ["fill: "]),
        ({"fill": "python run.py"}, ["fill: Input should be a valid list"]),
        ({"fill": ["python", "a\0b"]}, ["fill.1: "]),
        ({"python": 3.1}, ["python: Input should be a valid string, found 3.1", 'python = "3.10"']),
        ({"python": "2.7"}, ["python: ", "found '2.7'"]),
        ({"lock": "../requirements.txt"}, ["lock: "]),
        ({"lock": "conda.yaml"}, ["conda.yaml: expected uv.lock, pylock.toml or a requirements file"]),
        ({"lock": "gone.txt"}, ["gone.txt: cannot be read", "an empty requirements.txt"]),
        ({"timeout_s": 0}, ["timeout_s: Input should be greater than 0"]),
        ({"memory_gb": "8"}, ["memory_gb: Input should be a valid number, found '8'"]),
        ({"stochastic": 1}, ["stochastic: Input should be a valid boolean"]),
        ({"env": ["HOME"]}, ["env.0: ", "HOME is set by the harness"]),
        ({"env": ["PYTHONPATH=/x"]}, ["PYTHONPATH is set by the harness"]),
        ({"env": ["CUDA_VISIBLE_DEVICES=0,1"]}, ["CUDA_VISIBLE_DEVICES is set by the harness"]),
        ({"env": ["a b"]}, ["env.0: ", "expected NAME"]),
        ({"settings": {"method": "x"}}, ["settings.method", "is no name for it"]),
        ({"settings": {"class": 1}}, ["is no name for it"]),
        ({"settings": {"steps": [1, 2]}}, ["settings.steps: "]),
        ({"settings": {"steps": float("nan")}}, ["settings.steps: expected a number, found nan"]),
        ({"fill_settings": ["steps"], "fit": FIT}, ["fill_settings: 'steps' is no setting; known: none"]),
        ({"fill_settings": ["steps"], "settings": {"steps": 1}}, ["fill_settings: the method has no fit command"]),
        ({"files": {"big": "gone.pth"}}, ["files.big: ", "gone.pth does not exist"]),
        ({"id": "<img onerror=x>"}, ["id: "]),
    ],
)
def test_what_is_wrong_is_said_with_file_and_key(tmp_path: Path, keys: dict[str, Any], words: list[str]) -> None:
    folder = write_method(tmp_path, **keys)
    with pytest.raises(UsageError) as caught:
        recipe.read(folder)
    for word in [str(tmp_path), *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"a = = 1", "expected TOML"),
        (b"\xff\xfe", "expected TOML"),
        (b"a = 1\n" * 200_000, "more than the 1,000,000 accepted"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path: Path, data: bytes | None, words: str) -> None:
    if data is not None:
        (tmp_path / "method.toml").write_bytes(data)
    with pytest.raises(UsageError, match=words):
        recipe.read(tmp_path)


def test_words_of_a_command_that_are_own_files_become_paths(tmp_path: Path) -> None:
    folder = write_method(tmp_path / "a")
    (folder / "src").mkdir()
    (folder / "src" / "deep.py").write_text("")
    found = recipe.command(folder, ["python", "run.py", "src/deep.py", "src", "/bin/sh", "gone.py", "{request}"], "request.json")
    assert found == ["python", str(folder / "run.py"), str(folder / "src/deep.py"), "src", "/bin/sh", "gone.py", "request.json"]


def test_variables_are_passed_only_where_they_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/alice")
    one = recipe.read(write_method(tmp_path, env=["SEEN", "ABSENT", "SET=a=b", "HF_HOME=~/hub", "TILDE=a~"]))
    found = recipe.variables(one, {"SEEN": "1", "TOKEN": "secret", "SET": "outer"})
    assert found == {"SEEN": "1", "SET": "a=b", "HF_HOME": "/home/alice/hub", "TILDE": "a~"}


def test_what_of_a_folder_counts(tmp_path: Path) -> None:
    folder = write_method(tmp_path / "method", files={"big": str(tmp_path / "big.pth"), "own": "run.py"})
    big = tmp_path / "big.pth"
    big.write_bytes(b"1")
    one = recipe.read(folder)
    first = recipe.content(folder, one)
    for name in (".git/HEAD", "__pycache__/run.pyc", "deep/__pycache__/x.pyc", ".DS_Store", "venv/lib/x.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    (folder / "venv" / "pyvenv.cfg").write_text("")
    assert recipe.content(folder, one) == first
    big.write_bytes(b"22")
    second = recipe.content(folder, one)
    assert second["files"]["big"] != first["files"]["big"] and second["folder"] == first["folder"]
    (folder / "deep" / "code.py").write_text("x")
    third = recipe.content(folder, one)["folder"]
    assert third != first["folder"]
    (folder / "deep" / "code.py").rename(folder / "deep" / "other.py")
    assert recipe.content(folder, one)["folder"] not in (first["folder"], third)
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="link to a folder"):
        recipe.content(folder, one)


@pytest.mark.parametrize(
    ("text", "empty", "hashed"),
    [
        ("", True, True),
        ("# nothing\n\n  # more\n", True, True),
        ("--index-url https://example.org/simple\n", True, True),
        ("--index-url https://example.org/simple\nnumpy==2.0 --hash=sha256:aa\n", False, True),
        ("numpy==2.0 --hash=sha256:aa\n", False, True),
        ("numpy==2.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb  # via x\n", False, True),
        ("numpy==2.0\n", False, False),
        ("numpy==2.0 --hash=sha256:aa\npillow\n", False, False),
        ("torch @ https://example.org/torch.whl --hash=sha256:aa\n", False, True),
    ],
)
def test_requirements_are_read(tmp_path: Path, text: str, empty: bool, hashed: bool) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(text)
    found = locks.read(path)
    assert (found.kind, found.empty, found.hashed) == ("requirements", empty, hashed)


@pytest.mark.parametrize(
    "line",
    [
        "-r base.txt",
        "-rbase.txt",
        "-c limits.txt",
        "-e .",
        "--requirement=x",
        "./wheel.whl",
        "/tmp/x.whl",
        "file:///x",
        "a @ file:///x",
        "vendor/x.whl",
        "-f wheels",
        "--find-links=./wheels",
        "--find-links wheels",
        "x.whl",
        "x-1.0.tar.gz",
        r"C:\wheels\x.whl",
        "git+file:///x",
        "a @ git+file:///x",
        "a @ ${PROJECT_ROOT}/x",
        "a @ x.whl",
        "a[extra] @ wheels/x.whl",
        "x-1.0.tgz",
        "X-1.0.WHL",
    ],
)
def test_a_lock_leans_on_no_other_file(tmp_path: Path, line: str) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(f"numpy\n{line}\n")
    with pytest.raises(UsageError, match="leans on another file"):
        locks.read(path)


@pytest.mark.parametrize(
    "line",
    [
        "numpy==2.0 --hash=sha256:aa",
        "-f https://download.pytorch.org/whl/torch_stable.html",
        "-fhttps://example.org/wheels",
        "--find-links https://example.org/wheels",
        "--find-links=https://example.org/wheels",
        "--index-url https://example.org/simple/",
        "--extra-index-url=https://example.org/simple/",
        "--index-url https://${USER}@example.org/simple/",
        "a[extra] @ https://example.org/x-1.0-py3-none-any.whl",
        "https://example.org/x-1.0-py3-none-any.whl",
        "a @ https://example.org/x-1.0-py3-none-any.whl",
        "a @ git+https://github.com/owner/name@0123456789abcdef",
        "git+https://github.com/owner/name@0123456789abcdef#egg=name",
        "zipp==3.0  # not a .zip",
    ],
)
def test_what_an_index_or_an_address_holds_is_no_other_file(tmp_path: Path, line: str) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(f"numpy\n{line}\n")
    assert not locks.read(path).empty


@pytest.mark.parametrize(
    ("name", "text", "ok"),
    [
        ("uv.lock", '[[package]]\nname = "mine"\nsource = { editable = "." }\n', True),
        ("uv.lock", '[[package]]\nname = "numpy"\nsource = { registry = "https://example.org/simple" }\n', True),
        ("uv.lock", '[[package]]\nname = "beside"\nsource = { directory = "../beside" }\n', False),
        ("uv.lock", '[[package]]\nname = "beside"\nsource = { editable = "../beside" }\n', False),
        ("uv.lock", '[[package]]\nname = "beside"\nsource = { path = "x.whl" }\n', False),
        ("pylock.toml", '[[packages]]\nname = "a"\nwheels = [{ url = "https://example.org/a.whl", hashes = {} }]\n', True),
        ("pylock.toml", '[[packages]]\nname = "a"\nwheels = [{ path = "a.whl", hashes = {} }]\n', False),
        ("pylock.toml", '[[packages]]\nname = "a"\ndirectory = { path = "a" }\n', False),
        ("pylock.toml", '[[packages]]\nname = "a"\narchive = { path = "a.tar.gz" }\n', False),
        ("pylock.toml", "packages = 3\n", True),
        ("pylock.toml", "packages = [\n", False),
    ],
)
def test_locks_in_toml_lean_on_no_files(tmp_path: Path, name: str, text: str, ok: bool) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]")
    path = tmp_path / name
    path.write_text(text)
    if ok:
        assert locks.read(path).hashed
    else:
        with pytest.raises(UsageError, match=r"leans on files beside it|is no TOML"):
            locks.read(path)


def test_a_uv_lock_is_one_with_its_project(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text("version = 1")
    with pytest.raises(UsageError, match=r"pyproject\.toml: cannot be read"):
        locks.read(tmp_path / "uv.lock")
    (tmp_path / "pyproject.toml").write_text("[project]")
    first = locks.read(tmp_path / "uv.lock")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    assert first.kind == "uv" and locks.read(tmp_path / "uv.lock").digest != first.digest
    assert recipe.read(write_method(tmp_path, lock="uv.lock")).lock == "uv.lock" and PYTHON.startswith("3.")
