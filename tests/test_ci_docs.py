"""docs/ci.md: what it tells a reader to type works, and its tables say what the code does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from realbench.errors import Exit
from realbench.gate import MEANING
from realbench.tolerance import Tolerance, rules
from tests.conftest import Plugins
from tests.test_action import VERDICTS, action

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "ci.md").read_text(encoding="utf-8")

NOISY = """
import numpy as np
from realbench.method import BaseMethod, MethodCard

class Noisy(BaseMethod):
    card = MethodCard("realfill", "Noisy", "Fits a level that differs from fit to fit.", fits=True, stochastic=True)

    def fit(self, task, *, seed, context):
        self.level = 128 + np.random.default_rng(seed).normal(0, 8)

    def complete(self, task, seed, context):
        image = task.target.copy()
        image[task.mask] = int(self.level)
        return image, ()

    def save(self, folder):
        (folder / "level").write_text(str(self.level))

    def load(self, folder):
        self.level = float((folder / "level").read_text())
"""


def blocks(mark: str) -> list[str]:
    """The code blocks under this mark."""
    return re.findall(rf"<!-- {re.escape(mark)} -->\n```\w*\n(.*?)```", PAGE, re.DOTALL)


def table(heading: str) -> dict[str, list[str]]:
    """The cells of the first table under a heading, by the first of each line."""
    text = PAGE.partition(f"\n## {heading}\n")[2]
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", text.partition("\n## ")[0], re.MULTILINE)
    ]
    return {line[0]: line[1:] for line in lines[2:]}


@pytest.fixture
def shell(plugins: Plugins, suite: Path, tmp_path: Path) -> Any:
    """Runs lines of a page in a folder of their own: over a small suite, under one metric, with a cheap method named realfill."""
    source = NOISY.replace('"realfill"', '"noisy"')
    site = plugins("methods", {"noisy": "Noisy"}, source).parent
    folder, programs = tmp_path / "work", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    tests = f'case "$1" in --realbench=*) set -- --realbench-scenes={suite} "$@" ;; esac'
    over = f"--scenes {suite}"
    more = f'case "$1" in run) set -- "$@" {over} --metric psnr ;; check | calibrate) set -- "$1" {over} "${{@:2}}" ;; esac'
    for name, script in {
        "realbench": f'{more}\nexec {sys.executable} -m realbench "$@"',
        "pytest": f'{tests}\nexec {sys.executable} -m pytest -p no:cacheprovider "$@"',
    }.items():
        (programs / name).write_text(f"#!/bin/bash\n{script}\n")
        (programs / name).chmod(0o755)

    def run(text: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        }
        words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", re.sub(r"\brealfill\b", "noisy", text)]
        return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)

    run.folder = folder  # type: ignore[attr-defined]
    run.suite = suite  # type: ignore[attr-defined]
    return run


def test_every_command_works(shell: Any) -> None:
    """The page's commands in their order, the GitLab job's script and the test of one's own."""
    for text in blocks("run"):
        done = shell(text)
        assert done.returncode == 0, text + done.stdout + done.stderr
    folder = shell.folder

    job = yaml.safe_load(blocks("gitlab")[0])["fill-quality"]
    subprocess.run(["rm", "-r", "check"], cwd=folder, check=True)
    done = shell("\n".join(job["script"]))
    assert done.returncode == 0, done.stdout + done.stderr
    (report,) = [job["artifacts"]["reports"]["junit"]]
    assert report.startswith(job["artifacts"]["paths"][0])
    cases = [*ElementTree.parse(folder / report).getroot().iter("testcase")]
    assert len(cases) >= 3  # the mean, and the two scenes that have a truth

    own = blocks("test")[0].replace("out=", f"scenes={str(shell.suite)!r}, metrics=['psnr'], out=")
    (folder / "test_own.py").write_text(own.replace('"realfill"', '"noisy"').replace('"realfill:tiny"', '"noisy"'))
    done = shell("pytest test_own.py")
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout


def test_the_gitlab_job_is_whole() -> None:
    job = yaml.safe_load(blocks("gitlab")[0])["fill-quality"]
    assert job["artifacts"]["when"] == job["cache"]["when"] == "always"
    kept = job["cache"]["paths"][0]
    assert all(path.startswith(f"$CI_PROJECT_DIR/{kept}/") for path in job["variables"].values())


def test_the_workflow_uses_the_action_as_it_is() -> None:
    workflow = yaml.safe_load(blocks("workflow")[0])
    assert workflow[True] == "pull_request" and workflow["permissions"] == {"contents": "read"}  # YAML reads `on` as true
    checkout, own = workflow["jobs"]["fill-quality"]["steps"]
    assert re.fullmatch(r"actions/checkout@[0-9a-f]{40}", checkout["uses"])
    assert own["uses"] == "OWNER/realbench@COMMIT" and own["with"].keys() <= action()["inputs"].keys()


def test_the_settings_file_is_read_as_shown(tmp_path: Path) -> None:
    file = tmp_path / "realbench.toml"
    file.write_text(blocks("realbench.toml")[0])
    found = rules(file)
    assert found.level == 0.05 and found.metrics == ("psnr", "ssim")
    assert found.tolerances == {"psnr": Tolerance(0.1), "ssim": Tolerance(0.01, relative=True)}


def test_tables_hold_what_the_code_has() -> None:
    assert {f"`{verdict}`" for verdict in MEANING} == table("How a verdict falls").keys()
    assert {code: cells[0].partition(",")[0] for code, cells in table("Exit codes").items()}.keys() == {str(int(code)) for code in Exit}
    inputs = {name.strip("`"): cells for text, cells in table("The GitHub action").items() for name in text.split(", ")}
    declared = action()["inputs"]
    assert inputs.keys() == declared.keys()
    for name, (usual, _) in inputs.items():
        if re.fullmatch(r"`[^`]+`", usual):
            assert usual.strip("`") == declared[name]["default"]
    assert re.findall(r"`([a-z-]+)`", PAGE.partition("`verdict` (")[2].partition(")")[0]) == [*VERDICTS.values(), "error"]


def test_the_options_of_pytest_are_all_there() -> None:
    plugin = (Path(__file__).resolve().parents[1] / "realbench" / "pytest_plugin.py").read_text()
    assert {*re.findall(r'addoption\(\s*"(--[a-z-]+)"', plugin)} == {*re.findall(r"--realbench[a-z-]*", PAGE.partition("\n## pytest\n")[2])}


def test_the_quick_start_is_ten_lines() -> None:
    lines = [line for text in (blocks("run")[0], blocks("workflow")[0]) for line in text.splitlines()]
    assert len(lines) == 10
