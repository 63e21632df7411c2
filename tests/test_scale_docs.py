"""docs/scale.md: its scripts, its YAML and its tables are what the code takes and makes."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from benchmarks import scale
from realbench.cli.app import app
from realbench.shard import Shard, parse_shard

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "scale.md").read_text(encoding="utf-8")
OTHERS = {"--array", "--dependency", "--help"}
"""Options of other programs on the page."""


def blocks(mark: str) -> list[str]:
    """The code blocks under this mark."""
    return re.findall(rf"<!-- {re.escape(mark)} -->\n```\w*\n(.*?)```", PAGE, re.DOTALL)


def parsed(words: list[str]) -> dict[str, Any]:
    """What the command line makes of a command. Raises click's UsageError for what it does not take."""
    group = typer.main.get_command(app)
    while words and words[0] in getattr(group, "commands", {}):
        group, words = group.commands[words[0]], words[1:]  # type: ignore[attr-defined]
    return group.make_context("", list(words)).params


def commands(text: str) -> list[list[str]]:
    """The realbench commands of a script or a YAML value."""
    lines = re.findall(r"(?:^|[\s\"'/])realbench ((?:run|merge|report|weights)\b[^\n\"]*(?:\"\$[^\"]*\"[^\n\"]*)*)", text)
    return [shlex.split(line) for line in lines]


def options() -> set[str]:
    group = typer.main.get_command(app)
    return {name for command in group.commands.values() for option in command.params for name in option.opts}  # type: ignore[attr-defined]


def run_slurm(script: str, folder: Path, task: str) -> list[list[str]]:
    """What a script asks realbench for, as the given task of its array."""
    (folder / "realbench").write_text('#!/bin/bash\nprintf "%s\\n" "$@" "" >> "$ASKED"\n')
    (folder / "realbench").chmod(0o755)
    asked = folder / "asked"
    asked.unlink(missing_ok=True)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "ASKED": str(asked), "SLURM_ARRAY_TASK_ID": task, "SCENES": "my scenes"}
    subprocess.run(["bash", "-c", script], cwd=folder, env=environment, check=True)
    return [words.split("\n") for words in asked.read_text().rstrip("\n").split("\n\n")]


def test_the_slurm_script_runs_each_shard_of_one_plan(tmp_path: Path) -> None:
    script, after = blocks("slurm")
    first, last = map(int, re.findall(r"#SBATCH --array=([0-9]+)-([0-9]+)\n", script)[0])
    folders = []
    for task in (first, last):
        ((command, *words),) = run_slurm(script, tmp_path, str(task))
        asked = parsed([command, *words])
        assert command == "run" and asked["scenes"] == "my scenes" and asked["seeds"] == "64"
        assert parse_shard(asked["shard"]) == Shard(task, last)
        folders.append(parse_shard(asked["shard"]).folder(asked["out"]))
    assert first == 1
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    (_, *runs), (_, report) = run_slurm(after, tmp_path, "1")
    merged = parsed(["merge", *runs])
    assert sorted(merged["runs"]) == sorted(folders) and merged["out"] == Path(report) == asked["out"]
    assert all(fnmatch.fnmatch(str(folder), "runs/realfill-shard-*-of-33") for folder in folders)


def test_the_cluster_file_is_what_ray_takes() -> None:
    config = yaml.safe_load(blocks("ray cluster")[0])
    provider = config["provider"]
    assert config["max_workers"] == len(provider["worker_ips"]) == len(set(provider["worker_ips"])) == 8
    assert not any("realbench run" in line for line in config["setup_commands"])
    for line in config["setup_commands"]:
        for words in commands(line):
            parsed(words)
    util = pytest.importorskip("ray.autoscaler._private.util")
    util.validate_config(util.prepare_config(config))


def test_the_kuberay_job_is_whole() -> None:
    job = yaml.safe_load(blocks("kuberay")[0])
    spec = job["spec"]
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    asked = parsed(shlex.split(spec["entrypoint"])[1:])
    assert (asked["runner"], asked["address"]) == ("ray", "auto")
    head, (workers,) = spec["rayClusterSpec"]["headGroupSpec"], spec["rayClusterSpec"]["workerGroupSpecs"]
    for group in (head, workers):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert [mount["name"] for mount in container["volumeMounts"]] == [volume["name"] for volume in pod["volumes"]]
        assert container["image"] == "IMAGE"
    mount = head["template"]["spec"]["containers"][0]["volumeMounts"][0]
    assert all(path.startswith(mount["mountPath"] + "/") for path in (asked["scenes"], str(asked["out"]))) and "readOnly" not in mount
    assert workers["replicas"] == workers["minReplicas"] == workers["maxReplicas"]
    assert workers["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert head["rayStartParams"] == {"num-cpus": "0"}, "no work on the driver's node"


def test_every_command_and_option_is_there() -> None:
    found = commands(PAGE)
    assert {"run", "merge", "report", "weights"} == {words[0] for words in found} and len(found) >= 7
    for words in found:
        plain = [re.sub(r"`.*", "", word) for word in words]
        if "…" not in plain and plain != ["run"]:
            parsed([word for word in plain if word])
    inline = set(re.findall(r"`(--[a-z-]+)", PAGE))
    known = options() | set(re.findall(r"--[a-z-]+", Path(scale.__file__).read_text(encoding="utf-8"))) | OTHERS
    assert inline <= known, inline - known


def test_the_table_is_what_its_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    scale.main(["--repeat", "1"])
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|") and "stragglers" not in line]
    assert len(printed) == 2 + 6
    assert [line for line in printed if line not in PAGE] == []
    assert "not measured" in PAGE.partition("## How long it takes")[2].partition("\n\n")[2].partition("\n\n")[0]


def test_weights_on_the_page_are_those_of_the_method() -> None:
    from realbench import registry
    from realbench.specs import needed, settings_class

    method = registry.load("methods", "realfill")
    settings = settings_class(method)(**method.card.presets["paper"])
    pulled = {name for words in commands(PAGE) if words[:2] == ["weights", "pull"] for name in words[2:]}
    assert pulled == {item.name for item in needed(method, settings)}
