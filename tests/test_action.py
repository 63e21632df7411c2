"""action.yml: that it is sound as a file, and that its scripts do with the real command line what they say."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from realbench import baseline as baselines
from realbench.baseline import Noise
from realbench.errors import Exit

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "action.yml"
GIVEN = {"GITHUB_ACTION_PATH", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "RUNNER_ARCH", "RUNNER_OS", "RUNNER_TEMP"}
"""Variables that GitHub sets in every step of an action."""
INPUT = re.compile(r"\binputs\.([\w-]+)")
OUTPUT = re.compile(r"\bsteps\.([\w-]+)\.outputs\.([\w-]+)")
KEYS = {"name", "id", "if", "uses", "with", "run", "shell", "env", "continue-on-error"}
VERDICTS = {
    Exit.DONE: "holds", Exit.REGRESSION: "regression", Exit.USAGE: "usage", Exit.FAILED_CELLS: "failed-cells",
    Exit.NO_BASELINE: "no-baseline",
    Exit.NOTHING_MEASURED: "nothing-compared", Exit.WEIGHTS_MISSING: "weights-missing", Exit.INTERRUPTED: "interrupted",
}  # fmt: skip
ACTIONS = {"actions/cache/restore": {"cache-hit"}}
"""Outputs of the actions used here, as far as they are read."""


def action() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return loaded


def faults(of: dict[str, Any]) -> Iterator[str]:
    """What GitHub, or a careful reader, would refuse."""
    steps, known = of["runs"]["steps"], {}
    if of["runs"]["using"] != "composite" or not all(of.get(key) for key in ("name", "description")):
        yield "not a composite action with a name and a description"
    for step in steps:
        name = step.get("name", "a step without a name")
        yield from (f"{name}: unknown key {key}" for key in step.keys() - KEYS)
        if ("run" in step) == ("uses" in step):
            yield f"{name}: either run or uses"
        elif "run" in step:
            yield from (f"{name}: {fault}" for fault in _script(step))
        elif not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", step["uses"]):
            yield f"{name}: {step['uses']} is not pinned to a commit"
        for text in _texts({key: value for key, value in step.items() if key != "run"}):
            for other, output in OUTPUT.findall(text):
                if output not in known.get(other, ()):
                    yield f"{name}: no earlier step {other} has the output {output}"
        if "id" in step:
            known[step["id"]] = _outputs(step)
    used = {found for text in _texts(of["runs"]) for found in INPUT.findall(text)}
    yield from (f"input {name} is not used" for name in of["inputs"].keys() - used)
    yield from (f"input {name} is not declared" for name in used - of["inputs"].keys())
    yield from (f"input {name} lacks a description, or a default that is text" for name, one in of["inputs"].items()
                if not one.get("description") or not isinstance(one.get("default"), str))  # fmt: skip
    for name, one in of["outputs"].items():
        found = OUTPUT.findall(one["value"])
        if not one.get("description") or not found or any(output not in known.get(step, ()) for step, output in found):
            yield f"output {name}: {one['value']}"


def _script(step: dict[str, Any]) -> Iterator[str]:
    text, env = step["run"], step.get("env", {})
    if "${{" in text:
        yield "an expression inside a script"
    if step.get("shell") != "bash":
        yield "no shell"
    if subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True).returncode:
        yield "not bash"
    read = {*re.findall(r"\$\{?([A-Z][A-Z_]+)\b", text)}
    yield from (f"reads {name}, which it is not given" for name in read - env.keys() - GIVEN)
    yield from (f"does not read {name}" for name in env.keys() - read if not name.startswith("PIP_DISABLE"))


def _outputs(step: dict[str, Any]) -> set[str]:
    if "uses" in step:
        return ACTIONS.get(step["uses"].partition("@")[0], set())
    return {*re.findall(r"[\"']([a-z-]+)=", step["run"])}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)
    else:
        yield str(value)


def test_the_file_has_no_faults() -> None:
    assert [*faults(action())] == []


def _step(of: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [step for step in of["runs"]["steps"] if step["name"] == name]
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("break_it", "fault"),
    [
        (lambda a: _step(a, "Check").update(run="realbench check ${{ inputs.methods }}"), "an expression inside a script"),
        (lambda a: _step(a, "Check").pop("shell"), "no shell"),
        (lambda a: _step(a, "Check").update(run="if"), "not bash"),
        (lambda a: _step(a, "Check")["env"].pop("BASELINE"), "reads BASELINE"),
        (lambda a: _step(a, "Check").update(id="other"), "no earlier step check has the output report"),
        (lambda a: _step(a, "Python").update(uses="actions/setup-python@v7"), "not pinned"),
        (lambda a: _step(a, "Python").update(run="true"), "either run or uses"),
        (lambda a: _step(a, "Python").update(wiht={}), "unknown key wiht"),
        (lambda a: a["inputs"].pop("strict"), "input strict is not declared"),
        (lambda a: a["inputs"].update(more={"description": "More", "default": ""}), "input more is not used"),
        (lambda a: a["inputs"]["strict"].update(default=False), "a default that is text"),
        (lambda a: a["outputs"]["verdict"].update(value="${{ steps.check.outputs.word }}"), "output verdict"),
    ],
)  # fmt: skip
def test_a_planted_fault_is_found(break_it: Any, fault: str) -> None:
    broken = copy.deepcopy(action())
    break_it(broken)
    assert [found for found in faults(broken) if fault in found]


def test_each_pinned_commit_says_its_version() -> None:
    pinned = re.findall(r"uses: [^@\s]+@([0-9a-f]{40})(.*)", FILE.read_text(encoding="utf-8"))
    assert len(pinned) == 6 and all(re.fullmatch(r" # v\d+\.\d+\.\d+", comment) for _, comment in pinned)


def test_the_report_is_uploaded_whatever_the_verdict() -> None:
    """The check's step hands its exit code on, and only the last step fails; trouble with cache and upload changes no verdict."""
    steps = action()["runs"]["steps"]
    names = [step["name"] for step in steps]
    assert names.index("Check") < names.index("Upload the report") < names.index("Verdict") == len(names) - 1
    assert "always()" in _step(action(), "Upload the report")["if"]
    assert all(step["continue-on-error"] is True for step in steps if re.search("cache/save|upload", step.get("uses", "")))


@dataclass
class Job:
    """Runs the scripts of action.yml as a runner does, in a folder of its own; actions it uses are passed over."""

    root: Path
    path: str = os.environ["PATH"]
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    log: str = ""

    def __post_init__(self) -> None:
        for name in ("work", "temp", "bin"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.summary = self.root / "summary.md"
        self.program("python", f'[ "$1 $2 $3" = "-m pip install" ] || exec {sys.executable} "$@"\nprintf "%s\\n" "$@" CALLED >>pip.log')
        if not (Path(sys.executable).parent / "realbench").exists():
            self.program("realbench", f'exec {sys.executable} -m realbench "$@"')

    def program(self, name: str, script: str) -> None:
        """A program that goes before all others of its name."""
        file = self.root / "bin" / name
        file.write_text(f"#!/bin/bash\n{script}\n")
        file.chmod(0o755)

    def run(self, *names: str, **inputs: str) -> int:
        """The exit code of the first of these steps that fails; 0 where none does."""
        of = action()
        values = {name: one["default"] for name, one in of["inputs"].items()} | {
            key.replace("_", "-"): text for key, text in inputs.items()
        }
        assert values.keys() == of["inputs"].keys()
        for step in of["runs"]["steps"]:
            if step["name"] in names and (code := self._run(step, values)):
                return code
        return 0

    def _run(self, step: dict[str, Any], inputs: dict[str, str]) -> int:
        def value(text: str) -> str:
            text = re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda match: inputs[match[1]], text)
            return re.sub(r"\$\{\{ steps\.([\w-]+)\.outputs\.([\w-]+) \}\}", lambda match: self.outputs[match[1]][match[2]], text)

        script, output = self.root / "script.sh", self.root / "output"
        script.write_text(step["run"])
        output.write_text("")
        environment = os.environ | {key: value(text) for key, text in step.get("env", {}).items()}
        environment |= {
            "PATH": os.pathsep.join([str(self.root / "bin"), str(Path(sys.executable).parent), self.path]),
            "GITHUB_ACTION_PATH": str(ROOT), "GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(self.summary),
            "RUNNER_TEMP": str(self.root / "temp"), "RUNNER_OS": "Linux", "RUNNER_ARCH": "X64",
        }  # fmt: skip
        words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
        done = subprocess.run(words, cwd=self.root / "work", env=environment, capture_output=True, text=True, timeout=300)
        self.log += done.stdout + done.stderr
        if "id" in step:
            self.outputs[step["id"]] = dict(line.partition("=")[::2] for line in output.read_text().splitlines())
        return done.returncode

    @property
    def check(self) -> dict[str, str]:
        return self.outputs["check"]

    @property
    def report(self) -> Path:
        return Path(self.check["report"])


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a cheap method over the embedded suite, and its baseline."""
    root = tmp_path_factory.mktemp("accepted")
    for words in (
        ["run", "--method", "telea", "--metric", "psnr", "--out", str(root / "run")],
        ["accept", str(root / "run"), "-o", str(root / "baseline.json")],
    ):
        subprocess.run([sys.executable, "-m", "realbench", *words], check=True, capture_output=True, cwd=root)
    return root


def test_methods_run_and_hold(accepted: Path, tmp_path: Path) -> None:
    job = Job(tmp_path)
    given = {"baseline": str(accepted / "baseline.json"), "methods": "\n  telea  \n\n", "settings": "telea.radius=3\n", "seeds": "1"}
    assert job.run("Where weights are kept", "Check", "Verdict", **given) == 0, job.log
    assert job.check["exit-code"] == "0" and job.check["verdict"] == "holds"
    assert {"check.html", "check.md", "check.xml", "check.json", "candidate.json"} <= {path.name for path in job.report.iterdir()}
    assert job.summary.read_text() == (job.report / "check.md").read_text()
    held, candidate = (json.loads(path.read_text()) for path in (accepted / "baseline.json", job.report / "candidate.json"))
    assert candidate["scores"] == held["scores"]
    assert not [*(tmp_path / "work").iterdir()]
    weights = job.outputs["weights"]
    assert Path(weights["hub"]).is_dir() and Path(weights["own"]).is_dir()
    assert weights["prefix"] == "realbench-weights-Linux-" and re.fullmatch("[0-9a-f]{16}", weights["key"])


def test_a_drop_fails_and_keeps_report_and_candidate(accepted: Path, tmp_path: Path) -> None:
    job = Job(tmp_path)
    better = baselines.read(accepted / "baseline.json")
    for scenes in better.scores["telea"].values():
        for cells in scenes.values():
            cells["0"]["0"] += 1
    measured = Noise(fit=0.1, fit_freedom=7, seed=0.0, seed_freedom=0, seeds=1.0)
    noise = {"telea": {signature: {"coffee": measured} for signature in better.scores["telea"]}}
    baselines.write(better.model_copy(update={"noise": noise}), tmp_path / "work" / "better.json")
    assert job.run("Check", "Verdict", baseline="better.json", runs=f"\n {accepted / 'run'}\n") == 1
    assert job.check["exit-code"] == "1" and job.check["verdict"] == "regression"
    assert "::error title=realbench check::regression (exit code 1)" in job.log
    held, candidate = (json.loads(path.read_text()) for path in (accepted / "baseline.json", job.report / "candidate.json"))
    assert candidate["scores"] == held["scores"] and candidate["noise"] == {
        "telea": {name: {"coffee": measured.model_dump()} for name in noise["telea"]}
    }
    assert "egression" in job.summary.read_text()


def test_without_a_baseline_a_candidate_is_kept(accepted: Path, tmp_path: Path) -> None:
    job = Job(tmp_path)
    assert job.run("Check", "Verdict", runs=str(accepted / "run")) == 4
    assert job.check["verdict"] == "no-baseline"
    assert json.loads((job.report / "candidate.json").read_text())["rows"].keys() == {"telea"}
    assert job.summary.read_text() == "**realbench check: no-baseline** (exit code 4). The log says why.\n"


HOSTILE = "x'\"; touch pwned; $(touch pwned) `touch pwned` * \\"


@pytest.mark.parametrize(
    "name", ["baseline", "methods", "runs", "scenes", "settings", "seeds", "fits", "workers", "config", "strict", "arguments"]
)
def test_what_an_input_says_is_data(accepted: Path, tmp_path: Path, name: str) -> None:
    """Each input reaches `realbench` as it is: nothing of it is run, and no pattern in it is expanded."""
    job = Job(tmp_path)
    (tmp_path / "work" / "file").touch()
    job.program("realbench", 'printf "%s\\n" "$@" >>"$RUNNER_TEMP/called"')
    assert job.run("Where weights are kept", "Check", "Verdict", **{name: HOSTILE}) == 0, job.log
    called = (tmp_path / "temp" / "called").read_text().splitlines()
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["file"]
    wanted = {"strict": [f"--strict={HOSTILE}"], "arguments": HOSTILE.split()}.get(name, [HOSTILE])
    assert any(called[at : at + len(wanted)] == wanted for at in range(len(called)))


def test_all_inputs_reach_the_command(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.program("realbench", '[ "$1" != check ] || printf "%s\\n" "$@" >"$RUNNER_TEMP/called"')
    job.run(
        "Check", baseline="b.json", methods="one\ntwo:fast=My label", runs="r 1\nr2", scenes="suite", settings="a=1\none.b=x y",
        seeds="0-3", fits="2", workers="3", config="c.toml", strict="true", arguments="--timeout 9\n--device cpu",
    )  # fmt: skip
    called = (tmp_path / "temp" / "called").read_text().splitlines()
    out, report = called[called.index("--out") + 1], job.check["report"]
    assert called == [
        "check", "--timeout", "9", "--device", "cpu", "--baseline", "b.json", "--scenes", "suite", "--workers", "3", "--out", out,
        "-o", report,
        "--method", "one", "--method", "two:fast=My label", "--set", "a=1", "--set", "one.b=x y", "--seeds", "0-3", "--fits", "2",
        "--config", "c.toml", "--strict", "--", "r 1", "r2",
    ]  # fmt: skip
    assert Path(out).is_dir() and Path(report).is_dir() and out != report


def test_real_nonsense_is_explained(tmp_path: Path) -> None:
    """The real command line refuses what the inputs must not say."""
    job = Job(tmp_path)
    assert job.run("Check", "Verdict", methods="telea", strict="yes") == 2
    assert job.check["verdict"] == "usage" and "--strict" in job.log
    assert "usage" in job.summary.read_text() and not (job.report / "candidate.json").exists()


@pytest.mark.parametrize("code", [*Exit, 127])
def test_every_exit_code_has_a_word_and_ends_the_job(tmp_path: Path, code: int) -> None:
    job = Job(tmp_path)
    job.program("realbench", f'[ "$1" = check ] || exit 9\necho "::set-env name=PATH::x"\nexit {int(code)}')
    assert job.run("Check", "Verdict") == code
    assert job.check["exit-code"] == str(int(code))
    assert job.check["verdict"] == VERDICTS.get(code, "error")  # type: ignore[call-overload]
    lines = [line for line in job.log.splitlines() if line.startswith("::")]
    token = lines[0].removeprefix("::stop-commands::")
    assert len(token) == 32 and lines[:3] == [f"::stop-commands::{token}", "::set-env name=PATH::x", f"::{token}::"]


def test_no_verdict_is_no_pass(tmp_path: Path) -> None:
    job = Job(tmp_path, outputs={"check": {"exit-code": "", "verdict": ""}})
    assert job.run("Verdict") != 0


def test_packages_are_installed_and_keyed(tmp_path: Path) -> None:
    job = Job(tmp_path)
    keys = {}
    for name, given in {"plain": {}, "index": {"torch_index": ""}, "more": {"pip_arguments": f"-e  .\n{HOSTILE}"}}.items():
        (tmp_path / "work" / "pip.log").unlink(missing_ok=True)
        assert job.run("Where packages are kept", "Install", **given) == 0, job.log
        keys[name] = job.outputs["packages"]["key"]
        keys[f"{name} calls"] = (tmp_path / "work" / "pip.log").read_text().split("CALLED\n")[:-1]
    assert len({keys["plain"], keys["index"], keys["more"]}) == 3
    torch = "-m\npip\ninstall\n--index-url\nhttps://download.pytorch.org/whl/cpu\ntorch\ntorchvision\n"
    own = f"-m\npip\ninstall\n{ROOT}\n"
    assert keys["plain calls"] == [torch, own] and keys["index calls"] == [own]
    assert keys["more calls"] == [torch, own + "\n".join(["-e", ".", *HOSTILE.split()]) + "\n"]
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["pip.log"]
    assert job.outputs["packages"]["prefix"].startswith("realbench-pip-Linux-X64-3.")
    assert job.outputs["packages"]["folder"]
