"""From nothing to a row: `realbench methods new`, a wheel, an installation, the conformance kit, a run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from realbench import __version__, scaffold
from realbench.conformance_scenes import first
from realbench.errors import UsageError
from realbench.method import BaseMethod, Context, MethodCard

ROOT = Path(__file__).resolve().parents[1]


def call(*words: str | Path, cwd: Path, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command as a user types it, without a network, with a folder of packages on Python's path."""
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    environment |= {"PYTHONPATH": str(site), "REALBENCH_CACHE": str(site.parent / "cache")} if site else {}
    done = subprocess.run(list(map(str, words)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=600)
    assert "Traceback" not in done.stderr + done.stdout, done.stderr + done.stdout
    return done


def realbench(*words: str | Path, cwd: Path, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    return call(sys.executable, "-P", "-m", "realbench", *words, cwd=cwd, site=site)


@pytest.fixture(scope="module", params=["method", "isolated"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A package made by the command, and the folder that its wheel was installed into."""
    work = tmp_path_factory.mktemp(request.param)
    options = ["--isolated"] if request.param == "isolated" else []
    made = realbench("methods", "new", "my-fill", *options, cwd=work)
    assert made.returncode == 0, made.stderr
    assert "written: realbench-my-fill   next: pip install -e realbench-my-fill && realbench methods check my-fill" in made.stdout
    pip = (sys.executable, "-m", "pip")
    built = call(*pip, "wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", work, work / "realbench-my-fill", cwd=work)
    assert built.returncode == 0, built.stderr
    (wheel,) = work.glob("*.whl")
    put = call(*pip, "install", "--no-deps", "--no-index", "--target", work / "site", wheel, cwd=work)
    assert put.returncode == 0, put.stderr
    return work, work / "site"


def test_it_is_listed_shown_and_conforms(installed: tuple[Path, Path]) -> None:
    work, site = installed
    assert re.search(r"^my-fill +Fills the hole with the mean colour", realbench("methods", cwd=work, site=site).stdout, re.MULTILINE)
    assert "brightness = 1.0" in realbench("methods", "my-fill", cwd=work, site=site).stdout
    done = realbench("methods", "check", "my-fill", cwd=work, site=site)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("my-fill: 21 ok\n")
    assert re.search(r"^ok +hole +what stands below the hole plays no part$", done.stdout, re.MULTILINE)


def test_its_own_tests_pass(installed: tuple[Path, Path]) -> None:
    work, site = installed
    package = work / "realbench-my-fill"
    done = call(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", package, cwd=package, site=site)
    assert done.returncode == 0, done.stdout


def test_it_is_a_row_whose_fingerprint_names_the_package(installed: tuple[Path, Path], suite: Path, tmp_path: Path) -> None:
    work, site = installed
    words = ("run", "--method", "my-fill", "--method", "mean-color", "--scenes", suite, "--scene", "a", "--metric", "psnr", "--out")
    done = realbench(*words, tmp_path / "run", cwd=tmp_path, site=site)
    assert done.returncode == 0, done.stderr
    assert "fills: 2 ok" in done.stdout and "scores: 2 ok" in done.stdout
    ours, plain = ((tmp_path / "run").glob(f"{label}-*/a/fit-0/seed-00000/raw.png") for label in ("my-fill", "mean-color"))
    assert next(ours).read_bytes() == next(plain).read_bytes()

    row = json.loads((tmp_path / "run" / "run.json").read_text())["rows"]["my-fill"]
    assert row["title"] == "My fill"
    program = "from realbench import registry; print(registry.third_party('methods', 'my-fill'))"
    assert call(sys.executable, "-c", program, cwd=work, site=site).stdout == "realbench-my-fill 0.1.0\n"
    record = next(site.glob("*.dist-info")) / "METADATA"
    before = record.read_text()
    try:
        record.write_text(before.replace("Version: 0.1.0", "Version: 0.2.0"))
        assert realbench(*words, tmp_path / "other", cwd=tmp_path, site=site).returncode == 0
    finally:
        record.write_text(before)
    newer = json.loads((tmp_path / "other" / "run.json").read_text())["rows"]
    assert newer["my-fill"]["fingerprint"] != row["fingerprint"]
    assert newer["mean-color"] == json.loads((tmp_path / "run" / "run.json").read_text())["rows"]["mean-color"]


@pytest.mark.parametrize("isolated", [False, True])
def test_what_is_written_is_complete_and_in_order(isolated: bool, tmp_path: Path) -> None:
    folder = scaffold.new("two-words2", tmp_path / "deep" / "here", isolated=isolated)
    texts = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
    package = {"__init__.py", "method.py"} | (
        {f"isolated/{name}" for name in ("method.toml", "requirements.txt", "run.py", "png.py")} if isolated else set()
    )
    assert set(texts) == {"pyproject.toml", "README.md", "tests/test_method.py", *(f"src/realbench_two_words2/{name}" for name in package)}
    assert not any("$" in text or "package/" in text for text in texts.values())
    assert (
        f"realbench>={__version__}" in texts["pyproject.toml"]
        and 'two-words2 = "realbench_two_words2.method:Adapter"' in texts["pyproject.toml"]
    )
    lines = [line for text in texts.values() for line in text.splitlines()]
    assert max(map(len, lines)) <= 140
    for name, text in texts.items():
        if name.endswith(".py"):
            compile(text, name, "exec")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A",
        "1a",
        "-a",
        "a-",
        "a--b",
        "a_b",
        "a b",
        "../a",
        "a/b",
        "a.b",
        "ä",
        "a\n",
        "<img>",
        "a" * 41,
        "all",
        "check",
        "new",
        "show",
        "telea",
    ],
)
def test_names_that_cannot_be_used_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name '"):
        scaffold.new(name, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "full", "unwritable"])
def test_nothing_is_overwritten(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "x"
    if kind == "file":
        place.write_text("mine")
    elif kind == "full":
        place.mkdir()
        (place / "README.md").write_text("mine")
    else:
        (tmp_path / "file").write_text("mine")
        place = tmp_path / "file" / "x"
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="give another --into"):
        scaffold.new("mine", place)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    assert (scaffold.new("mine", tmp_path) / "pyproject.toml").is_file()


def test_the_command_line_says_what_is_wrong(tmp_path: Path) -> None:
    for words, says in (
        (("methods", "new", "Telea"), "expected up to 40 small letters"),
        (("methods", "new", "telea"), "there is a method of this name (realbench)"),
        (("methods", "check", "tela"), "did you mean telea"),
        (("methods", "check", "precomputed"), "--set precomputed.fills=FOLDER"),
        (("methods", "check", "telea", "--set", "radius=wide"), "setting radius"),
        (("methods", "check", "telea", "--preset", "x"), "no preset 'x'"),
        (("methods", "check", "telea", "--scenes", "nowhere"), "nowhere"),
        (("methods", "check", "telea", "--device", "abacus"), "device='abacus'"),
        (("methods", "chekc"), "unknown method 'chekc'"),
    ):
        done = realbench(*words, cwd=tmp_path)
        assert done.returncode == 2 and says in done.stderr, (words, done.stderr)


def test_a_check_runs_on_a_scene_of_somebody_s(suite: Path, tmp_path: Path) -> None:
    done = realbench("methods", "check", "telea", "--scenes", suite, "--scene", "b", "--set", "radius=2", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.endswith("telea: 21 ok\n"), done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["suite"]


def test_the_docs_example_fills() -> None:
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    (source,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "class Adapter" in block)
    names = {"BaseMethod": BaseMethod, "MethodCard": MethodCard, "dataclass": dataclass, "field": field, "__name__": __name__}
    exec(source, names)
    scene = first()
    image, notes = names["Adapter"]().complete(scene.task(), 0, Context())
    known = scene.target[~scene.mask].mean(axis=0)
    assert (np.abs(image[scene.mask] - known) <= 1).all() and notes == ("a note for the reader",)
    assert "realbench methods new flat" in page and "realbench methods check flat" in page
