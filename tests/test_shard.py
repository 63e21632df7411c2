"""`--shard I/N`: the shares of a plan are disjoint, complete and balanced, and no fit is made twice without need."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import realbench
from realbench.errors import Exit, UsageError
from realbench.method import MethodCard
from realbench.plan import Row
from realbench.shard import Asked, Shard, parse_shard, plan_of, shard_of, share
from realbench.store import RunFolder
from tests.conftest import Plugins
from tests.faults.observing import TIMES

HOSTILE = "<img onerror=alert(1)>|"
FITTING = """
from pathlib import Path
from realbench.method import BaseMethod, MethodCard

LOG = Path(__file__).parent / "calls"

class Fitting(BaseMethod):
    card = MethodCard("fitting", "Fitting", "Learns the mean of the first reference.", fits=True, stochastic=True)
    def fit(self, task, *, seed, context):
        with LOG.open("a") as log:
            log.write(f"{task.id} {seed}\\n")
        self.level = int(task.references[0].mean()) // 2 + seed
    def complete(self, task, seed, context):
        image = task.target.copy()
        image[task.mask] = self.level + seed
        return image, ()
    def save(self, folder):
        (folder / "level").write_text(str(self.level))
    def load(self, folder):
        self.level = int((folder / "level").read_text())
"""


def row(label: str, *, fits: bool = True, stochastic: bool = True, fitting: str = "") -> Row:
    card = MethodCard(label, label, "Fills.", fits=fits, stochastic=stochastic)
    return Row(label, label, None, {}, card, f"row {label}", fitting or f"fit {label}")


def shares(rows: list[Row], scenes: list[str], fits: int, seeds: list[int], count: int) -> list[Asked]:
    return [share(rows, scenes, fits, seeds, Shard(index, count)) for index in range(1, count + 1)]


def cells(asked: Asked) -> set[tuple[str, str, int, int]]:
    return {(label, scene, fit, seed) for label, own in asked.items() for scene, pairs in own.items() for fit, seed in pairs}


def fits_of(asked: Asked, *labels: str) -> set[tuple[str, int]]:
    return {(scene, fit) for label, scene, fit, _ in cells(asked) if label in labels}


plans = st.tuples(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from(["", "one", "two"])), min_size=1, max_size=5),
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(1, 9),
    st.integers(1, 40),
)


@given(plans)
def test_shares_are_disjoint_complete_and_balanced(plan: tuple[list[tuple[bool, bool, str]], int, int, int, int]) -> None:
    kinds, scenes, fits, seeds, count = plan
    # Rows that share a fit are of one method, so they are alike in what the method is.
    rows = [
        row(str(at), fits=bool(family) or fits_, stochastic=bool(family) or stochastic, fitting=family)
        for at, (fits_, stochastic, family) in enumerate(kinds)
    ]
    names, numbers = [f"scene {at}" for at in range(scenes)], list(range(100, 100 + seeds))
    whole = cells(share(rows, names, fits, numbers))
    assert len(whole) == sum(scenes * len(row.fits(fits)) * len(row.seeds(numbers)) for row in rows)
    parts = shares(rows, names, fits, numbers, count)
    assert sum(len(cells(part)) for part in parts) == len(whole) and set().union(*map(cells, parts)) == whole
    assert all(part.keys() == {row.label for row in rows} for part in parts)
    fitted = len({(one.fitting, scene, fit) for one in rows if one.card.fits for scene in names for fit in range(fits)})
    for one in rows:
        sizes = [len(fits_of(part, one.label)) for part in parts]
        assert max(sizes) - min(sizes) <= 1, "every shard has as many fits of a row as any other, give or take one"
        groups = Counter((scene, fit) for part in parts for scene, fit in fits_of(part, one.label))
        if one.card.fits and count <= fitted:
            assert set(groups.values()) == {1}, "no fit is made twice while there are fits for all shards"


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 60))
def test_more_shards_than_fits_divide_the_seeds(scenes: int, seeds: int, count: int) -> None:
    parts = shares([row("realfill")], [str(at) for at in range(scenes)], 1, list(range(seeds)), count)
    sizes = [len(cells(part)) for part in parts if cells(part)]
    assert len(sizes) == min(
        count, sum(min(seeds, count // scenes + (at < count % scenes)) for at in range(scenes)) if count > scenes else count
    )
    if count > scenes:
        assert all(len(fits_of(part, "realfill")) <= 1 for part in parts), "a shard makes one fit at most"
        assert max(sizes) <= -(-seeds // (count // scenes))


def test_hand_computed_shares() -> None:
    """Three scenes of two fits: neighbours stay together. Two shards for one scene halve its seeds."""
    assert [cells(part) for part in shares([row("a")], ["x", "y", "z"], 2, [0], 3)] == [
        {("a", scene, fit, 0) for fit in (0, 1)} for scene in "xyz"
    ]
    assert [dict(part["a"]) for part in shares([row("a")], ["x"], 1, [0, 1, 2], 2)] == [{"x": [(0, 0)]}, {"x": [(0, 1), (0, 2)]}]
    # The odd one out of each method falls to another shard each time.
    two = shares([row("a"), row("b")], ["x", "y", "z"], 1, [0], 2)
    assert [len(cells(part)) for part in two] == [3, 3]
    # A method that does not fit is divided though the fits of another serve all shards.
    mixed = shares([row("fits"), row("free", fits=False)], ["x", "y"], 1, [0, 1, 2, 3], 2)
    assert [len(cells(part)) for part in mixed] == [8, 8]
    four = shares([row("fits"), row("free", fits=False)], ["x", "y"], 2, [0, 1, 2, 3], 4)
    assert [sorted(seed for label, _, _, seed in cells(part) if label == "free") for part in four] == [[0, 1], [2, 3], [0, 1], [2, 3]]
    assert [len(fits_of(part, "fits")) for part in four] == [1, 1, 1, 1]


def test_rows_that_share_a_fit_stay_together() -> None:
    parts = shares([row("a", fitting="same"), row("b", fitting="same")], ["x", "y", "z"], 2, [0, 1], 5)
    for part in parts:
        assert fits_of(part, "a") == fits_of(part, "b")


def test_a_share_does_not_depend_on_the_other_arguments_of_a_shard() -> None:
    asked = shares([row("a")], ["x", "y"], 3, [5, 6], 4)
    assert asked == shares([row("a")], ["x", "y"], 3, [5, 6], 4)
    assert plan_of("s", [row("a")], ["x"], 1, [0]) == plan_of("s", [row("a")], ["x"], 1, [0])
    others = [plan_of("t", [row("a")], ["x"], 1, [0]), plan_of("s", [row("b")], ["x"], 1, [0]), plan_of("s", [row("a")], ["y"], 1, [0])]
    others += [plan_of("s", [row("a")], ["x"], 2, [0]), plan_of("s", [row("a")], ["x"], 1, [1]), plan_of("s", [row("a")], ["x"], 1, [0])]
    assert len(set(others)) == 6


@pytest.mark.parametrize("text", ["0/8", "9/8", "1/0", "1", "1/8/2", "a/b", "-1/8", "1.0/8", "1/1000000", "", "１/８x"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(UsageError, match=r"--shard .* expected I/N"):
        parse_shard(text)


@pytest.mark.parametrize("asked", [(0, 8), (1, 2, 3), (), 3, ("a", "b"), (1.5, 2)])
def test_what_is_no_shard_in_python(asked: object) -> None:
    with pytest.raises(UsageError, match="1/8"):
        shard_of(asked)  # type: ignore[arg-type]


def test_shards_in_words_and_folders() -> None:
    assert shard_of("3/8") == shard_of((3, 8)) == parse_shard(" 3/8 ") == Shard(3, 8) and shard_of(None) is None
    assert Shard(3, 8).folder(Path("runs/x")) == Path("runs/x-shard-3-of-8") == Shard(3, 8).folder(Path("runs/x-shard-3-of-8"))
    assert Shard(1, 8).folder(Path("runs/x-shard-3-of-8")).name == "x-shard-3-of-8-shard-1-of-8"
    assert Shard(1, 2).folder(Path()).name == f"{Path().resolve().name}-shard-1-of-2"


def test_each_shard_asks_for_its_cells_alone(plugins: Plugins, suite: Path, tmp_path: Path) -> None:
    log = plugins("methods", {"fitting": "Fitting"}, FITTING).parent / "calls"
    asked: Counter[tuple[str, int, int]] = Counter()
    for index in (1, 2):
        summary = realbench.run(["fitting"], scenes=suite, metrics=["drift"], seeds=2, fits=2, out=tmp_path / "run", shard=(index, 2))
        assert summary.folder == tmp_path / f"run-shard-{index}-of-2" and summary.exit_code == Exit.DONE
        assert summary.fills["ok"] == 6 and summary.scores["ok"] == 6
        manifest = RunFolder(summary.folder).read_manifest()
        info = manifest.rows["fitting"]
        assert manifest.scenes.keys() == info.cells.keys() and set(info.scenes) == set(info.cells)
        asked.update((scene, fit, seed) for scene, pairs in info.cells.items() for fit, seed in pairs)
        assert re.fullmatch(rf"{index}/2 of [0-9a-f]{{12}}", manifest.invocations[-1].shard)
    assert asked == Counter({(scene, fit, seed): 1 for scene in "abc" for fit in (0, 1) for seed in (0, 1)})
    assert sorted(log.read_text().splitlines()) == sorted(f"{scene} {fit}" for scene in "abc" for fit in (0, 1))
    realbench.run(["fitting"], scenes=suite, metrics=["drift"], seeds=2, fits=2, out=tmp_path / "run", shard=(2, 2))
    assert len(log.read_text().splitlines()) == 6, "a shard run again resumes"
    realbench.merge_runs([tmp_path / f"run-shard-{index}-of-2" for index in (2, 1)], tmp_path / "run")
    summary = realbench.run(["fitting"], scenes=suite, metrics=["drift"], seeds=2, fits=2, out=tmp_path / "run")
    assert summary.fills["ok"] == 12 and len(log.read_text().splitlines()) == 6, "the merged run lacks nothing"


def test_what_shards_with_parts_of_a_fit_make_is_the_whole(plugins: Plugins, suite: Path, tmp_path: Path) -> None:
    """Two shards of one fit make it twice, alike; merged, images, states and values are those of one command."""
    log = plugins("methods", {"fitting": "Fitting"}, FITTING).parent / "calls"
    for out, shard in (("run", "1/2"), ("run", "2/2"), ("whole", None)):
        realbench.run(["fitting"], scenes=suite, scene=["a"], metrics=["psnr", "drift"], seeds=3, out=tmp_path / out, shard=shard)
    assert log.read_text().splitlines() == ["a 0"] * 3
    merged = realbench.merge_runs([tmp_path / "run-shard-1-of-2", tmp_path / "run-shard-2-of-2"], tmp_path / "run")
    assert merged.cells == {"ok": 3} and not merged.absent
    files = [
        {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in (tmp_path / name).rglob("*") if path.suffix in (".png", "")
         and path.is_file() and path.name != ".lock"}
        for name in ("run", "whole")
    ]  # fmt: skip
    assert files[0] == files[1] and len(files[0]) == 3 * 2 + 1
    records = [
        {path.relative_to(tmp_path / name): {key: value for key, value in json.loads(path.read_text()).items() if key not in TIMES}
         for path in (tmp_path / name).rglob("*.json") if path.name != "run.json"}
        for name in ("run", "whole")
    ]  # fmt: skip
    assert records[0] == records[1] and len(records[0]) == 1 + 3 * (1 + 2)
    scores = [realbench.load_run(tmp_path / name).scores().drop(columns="run") for name in ("run", "whole")]
    assert scores[0].equals(scores[1]) and len(scores[0]) == 6


def test_a_broken_scene_concerns_its_own_shard(suite: Path, tmp_path: Path) -> None:
    (suite / "b" / "target" / "mask.png").write_bytes(b"no image")
    codes = [
        realbench.run(["telea"], scenes=suite, metrics=["drift"], out=tmp_path / "run", shard=(index, 3)).exit_code for index in (1, 2, 3)
    ]
    assert codes == [Exit.DONE, Exit.FAILED_CELLS, Exit.DONE]


def test_a_shard_without_a_cell_is_done(suite: Path, tmp_path: Path) -> None:
    summary = realbench.run(["telea"], scenes=suite, scene=["a"], metrics=["drift"], out=tmp_path / "run", shard="2/2")
    assert summary.idle and summary.exit_code == Exit.DONE and not summary.fills["ok"]
    assert RunFolder(summary.folder).read_manifest().rows["telea"].scenes == []
    nothing = realbench.run(["telea"], scenes=suite, scene=["a"], metrics=["drift"], out=tmp_path / "run", shard="1/2")
    assert not nothing.idle and nothing.fills["ok"] == 1


def command(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "realbench", *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=300)
    assert "Traceback" not in done.stderr + done.stdout
    return done


def test_from_shards_to_leaderboard(suite: Path, tmp_path: Path) -> None:
    """The command line: shards, merged, are the run that one command makes, which goes on from there."""
    (suite / "c").rename(suite / HOSTILE)
    run = ["run", "-m", "telea", "-m", "patchmatch=p", "--set", "iterations=1", "--scenes", suite, "--metric", "psnr", "--out", "runs/x"]
    for index in (1, 2):
        done = command(*run, "--shard", f"{index}/2", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert f"run: runs/x-shard-{index}-of-2   next: realbench merge, once the other shards of 2 are done" in done.stdout
    done = command("merge", "runs/x-shard-1-of-2", "-o", "runs/x", cwd=tmp_path)
    assert done.returncode == 0 and "not whole: of the 2 shards of plan " in done.stdout and ", 2/2 is not here; their" in done.stdout
    done = command("merge", "runs/x-shard-1-of-2", "runs/x-shard-2-of-2", "-o", "runs/x", cwd=tmp_path)
    assert done.returncode == 0 and "not whole" not in done.stdout and "fills: 6 ok; 3 of them came in now" in done.stdout
    assert "next: realbench report runs/x" in done.stdout

    again = command(*run, cwd=tmp_path)
    assert again.returncode == 0 and "plan: telea: 3 done\nplan: p: 3 done\nplan: scores: 4 done, 2 unsupported\n" in again.stderr, (
        again.stderr
    )
    assert command(*run[:-1], "runs/whole", cwd=tmp_path).returncode == 0
    lines = []
    for name in ("x", "whole"):
        report = command("report", f"runs/{name}", "-o", name, "--format", "csv", cwd=tmp_path)
        assert report.returncode == 0, report.stderr
        lines.append([line.partition(",")[2] for line in (tmp_path / name / "scores.csv").read_text().splitlines()])
    assert lines[0] == lines[1] and len(lines[0]) == 7

    path = next((tmp_path / "runs" / "x-shard-2-of-2").rglob("run.json"))
    path.write_text(path.read_text().replace('"feather":4.0', '"feather":8.0').replace('"feather": 4.0', '"feather": 8.0'))
    refused = command("merge", "runs/x-shard-2-of-2", "-o", "runs/x", cwd=tmp_path)
    assert refused.returncode == 2 and "feather: 8.0 in runs/x-shard-2-of-2, 4.0 in runs/x" in refused.stderr


def test_the_command_line_refuses_what_is_no_shard_or_run(suite: Path, tmp_path: Path) -> None:
    done = command("run", "-m", "telea", "--scenes", suite, "--shard", "9/8", cwd=tmp_path)
    assert done.returncode == 2 and "--shard 9/8: expected I/N" in done.stderr and not (tmp_path / "runs").exists()
    done = command("merge", "nowhere", "-o", "out", cwd=tmp_path)
    assert done.returncode == 2 and "no run here" in done.stderr and not (tmp_path / "out").exists()
