"""History: the order of time, scenes that all points share, what differs is said, and steps with their commits."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from realbench import baseline as baselines
from realbench import bootstrap
from realbench.errors import NothingMeasured, UsageError
from realbench.history import History, Series, history
from realbench.points import Point, of_file, of_git, of_path, of_run
from realbench.records import Invocation
from realbench.results import load_run
from realbench.versions import Versions
from tests.making import PSNR, Made

SSIM = "ssim|region:hole|image:composite|v:1"
EVIL = "<img onerror=a>|\n`b`\x1b[31m"


def commit_of(day: int) -> str:
    return f"{day:02x}" * 20


def made_run(
    root: Path, day: int, values: dict[str, float], *, commit: str | None = None, label: str = "telea", device: str = "cpu"
) -> Made:
    """A run of one row on some scenes, of a day in May 2030."""
    run = Made(root)
    for scene in values:
        run.scene(scene)
    run.row(label)
    for scene in values:
        run.fill(label, scene, device=device)
    run.scores(label, values)
    when = f"2030-05-{day:02}T10:00:00+00:00"
    run.manifest.invocations = [
        Invocation(started=when, command=["realbench"], version="9", commit=commit_of(day) if commit is None else commit)
    ]
    run.write()
    return run


def of_days(tmp_path: Path, days: dict[int, dict[str, float]], **fields: Any) -> list[Point]:
    return [of_run(made_run(tmp_path / f"run {day}", day, values, **fields).root) for day, values in days.items()]


def only(found: History) -> Series:
    (series,) = found.series
    return series


def test_points_stand_in_the_order_of_time_with_means_and_changes(tmp_path: Path) -> None:
    series = only(history(of_days(tmp_path, {3: {"a": 12, "b": 21}, 1: {"a": 10, "b": 20}, 2: {"a": 10, "b": 23}})))
    assert [entry.point.day for entry in series.entries] == ["2030-05-01", "2030-05-02", "2030-05-03"]
    assert [entry.point.title for entry in series.entries] == ["0101010", "0202020", "0303030"]
    assert [entry.mean for entry in series.entries] == [15, 16.5, 16.5]
    assert [entry.change for entry in series.entries] == [None, 1.5, 0]
    assert series.scenes == ("a", "b") and not series.left_out and series.signature == PSNR
    assert series.note == "3 points: no step possible, it takes 4"
    assert {entry.interval for entry in series.entries} == {None}  # two scenes have none


def test_time_zones_are_reckoned_with(tmp_path: Path) -> None:
    early, late = made_run(tmp_path / "x", 2, {"a": 1}), made_run(tmp_path / "y", 2, {"a": 2})
    for run, when in ((early, "2030-05-02T12:00:00+09:00"), (late, "2030-05-02T04:00:00")):
        run.manifest.invocations[0].started = when
        run.write()
    assert [point.name for point in history([of_run(late.root), of_run(early.root)]).points] == ["x", "y"]


def test_the_mean_is_over_seeds_then_fits_then_scenes_with_the_interval_of_the_tables(tmp_path: Path) -> None:
    run = Made(tmp_path / "run")
    for at in range(4):
        run.scene(f"{at}")
    run.row("r", fits=[0, 1], seeds=[0, 1])
    for at in range(4):
        for fit, seed, value in ((0, 0, 1.0), (0, 1, 3.0), (1, 0, 10.0 * at)):
            run.score("r", f"{at}", value, fit=fit, seed=seed)
        run.fill("r", f"{at}", fit=1, seed=1, state="failed", reason="no")
    run.write()
    entry = only(history([of_run(run.root)])).entries[0]
    assert entry.mean == pytest.approx((1 + 6 + 11 + 16) / 4)
    nest = bootstrap.nests(load_run(run.root).scores())["r", PSNR]
    assert entry.interval == nest.interval(nest.scenes) and entry.interval is not None
    assert entry.marks == ("4 scores failed or missing",)


def test_a_step_is_told_with_its_size_and_commit(tmp_path: Path) -> None:
    levels = {1: 20.0, 2: 20.0, 3: 20.0, 4: 19.2, 5: 19.2}
    series = only(history(of_days(tmp_path, {day: {"a": value, "b": value + 1} for day, value in levels.items()})))
    assert [series.words(entry) for entry in series.entries] == ["", "", "", "step −0.80 dB since 0404040 (worse)", ""]
    assert series.steps == (series.entries[3],) and not series.note


def test_for_a_metric_that_falls_a_step_down_is_better(tmp_path: Path) -> None:
    points = []
    for day, value in enumerate([3.0, 3.0, 1.0, 1.0], 1):
        run = made_run(tmp_path / f"{day}", day, {"a": value})
        run.column(PSNR, digits=2, reads=["truth"], direction="lower")
        run.write()
        points.append(of_run(run.root))
    series = only(history(points))
    assert series.words(series.entries[2]) == "step −2.00 since 0303030 (better)"


def test_two_runs_of_one_commit_are_two_points(tmp_path: Path) -> None:
    values = [20.0, 20.0, 19.0, 19.0]
    points = [of_run(made_run(tmp_path / f"{at}", at + 1, {"a": value}, commit="ab" * 20).root) for at, value in enumerate(values)]
    series = only(history(points))
    assert len(series.entries) == 4 and [entry.again for entry in series.entries] == [False, True, True, True]
    assert series.words(series.entries[2]) == "step −1.00 dB between runs of abababa (worse)"


def accepted_from(run: Made, path: Path, when: str, **change: Any) -> Path:
    made = baselines.accept(load_run(run.root))
    accepted = made.accepted.model_copy(update={"when": when, "commit": run.manifest.invocations[0].commit})
    baselines.write(made.model_copy(update={"accepted": accepted} | change), path)
    return path


def test_a_point_over_again_is_one_point(tmp_path: Path) -> None:
    """A run, its copy and the baseline that was accepted from it: one measurement, not three."""
    run, later = made_run(tmp_path / "run", 1, {"a": 1 / 3}), made_run(tmp_path / "later", 2, {"a": 1 / 3}, commit=commit_of(1))
    shutil.copytree(run.root, tmp_path / "copy")
    file = accepted_from(run, tmp_path / "b.json", "2030-05-01T11:00:00+00:00")
    found = history([of_path(path) for path in (file, tmp_path / "copy", later.root, run.root)])
    first, second = ("copy", "run") if found.points[0].name == "copy" else ("run", "copy")
    assert [point.name for point in found.points] == [first, "later"], "a later run of the same commit is a measurement of its own"
    assert [entry.point.name for entry in only(found).entries] == [first, "later"]
    assert found.notes == (
        f"{first} (0101010) and {second} (0101010) are one point: the same scores, made at the same commit",
        f"{first} (0101010) and b.json (0101010) are one point: the same scores, made at the same commit",
    )


def test_a_baseline_in_git_and_its_run_are_one_point(tmp_path: Path) -> None:
    """Its commit is the one that accepted it; what counts is the one that the scores were made at."""
    repository = Repository(tmp_path / "repository")
    run = made_run(tmp_path / "run", 1, {"a": 1.0})
    repository.commit(accepted_from(run, tmp_path / "b.json", "2030-05-01T11:00:00+00:00").read_text(), 2)
    found = history([*of_git(repository.path)[0], of_run(run.root)])
    assert [point.name for point in found.points] == ["run"] and "are one point" in found.notes[0]


def test_a_baseline_that_was_taken_back_is_a_point_again(tmp_path: Path) -> None:
    """Neighbours alone are one: what stands again after something else is news."""
    repository = Repository(tmp_path / "repository")
    first, second = accepted(tmp_path, 20.0), accepted(tmp_path, 21.0)
    for day, text in enumerate((first, second, first), 1):
        repository.commit(text, day)
    found = history(of_git(repository.path)[0])
    assert [entry.mean for entry in only(found).entries] == [20, 21, 20] and found.notes == ()


@pytest.mark.parametrize("what", ["score", "commit", "scene"])
def test_points_that_differ_are_two(tmp_path: Path, what: str) -> None:
    run = made_run(tmp_path / "run", 1, {"a": 1.0})
    shutil.copytree(run.root, tmp_path / "copy")
    other = Made(tmp_path / "copy")
    other.manifest = other.folder.read_manifest()
    if what == "score":
        other.score("telea", "a", 1.0 + 1e-9)
    elif what == "commit":
        other.manifest.invocations[0].commit = commit_of(9)
    else:
        other.manifest.scenes["a"].digests["title"] = "another"
    other.write()
    found = history([of_run(run.root), of_run(other.root)])
    assert len(found.points) == 2 and not [note for note in found.notes if "one point" in note]


def test_without_a_commit_points_have_their_names(tmp_path: Path) -> None:
    points = [of_run(made_run(tmp_path / f"nightly {at}", at + 1, {"a": value}, commit="").root) for at, value in enumerate([2.0, 2, 1, 1])]
    series = only(history(points))
    assert not any(entry.again for entry in series.entries)
    assert series.words(series.entries[2]) == "step −1.00 dB since nightly 2 (worse)"


def test_files_that_differed_from_the_commit_are_starred(tmp_path: Path) -> None:
    point = of_run(made_run(tmp_path / "run", 1, {"a": 1}, commit=f"{'ab' * 20} and changes").root)
    assert (point.commit, point.changed, point.title) == ("ab" * 20, True, "abababa*")


def test_one_point_can_show_no_step(tmp_path: Path) -> None:
    found = history(of_days(tmp_path, {1: {"a": 1}}))
    assert only(found).note == "one point: no step possible, it takes 4" and found.chance == ""


def test_chance_is_told_where_a_step_could_be_seen(tmp_path: Path) -> None:
    found = history(of_days(tmp_path, {day: {"a": 1} for day in (1, 2, 3, 4)}))
    assert found.chance == "independent normal noise alone shows a step in up to 5 % of series (docs/history.md), of which here are 1"


def test_scenes_that_differ_are_left_out_and_named(tmp_path: Path) -> None:
    first = made_run(tmp_path / "1", 1, {"a": 10, "b": 20, "gone": 3})
    second = made_run(tmp_path / "2", 2, {"a": 11, "b": 99, "new": 5})
    second.manifest.scenes["b"].digests["truth"] = "another"
    second.scores("telea", {"b": 99})
    second.write()
    series = only(history([of_run(first.root), of_run(second.root)]))
    assert series.scenes == ("a",) and [entry.mean for entry in series.entries] == [10, 11]
    assert series.left_out == {
        "b": "its content differs: there are 2 of that name",
        "gone": "no score at 0202020",
        "new": "no score at 0101010",
    }


def test_no_common_scene_leaves_no_mean(tmp_path: Path) -> None:
    series = only(history(of_days(tmp_path, {1: {"a": 1}, 2: {"b": 2}})))
    assert series.scenes == () and [entry.mean for entry in series.entries] == [None, None]
    assert series.note == "0 points with a finite mean: no step possible, it takes 4" and set(series.left_out) == {"a", "b"}


def test_infinite_means_are_kept_and_play_no_part_in_steps(tmp_path: Path) -> None:
    values = [20.0, 20.0, math.inf, 19.0, 19.0]
    series = only(history(of_days(tmp_path, {at + 1: {"a": value} for at, value in enumerate(values)})))
    assert [entry.mean for entry in series.entries] == values
    assert [entry.change for entry in series.entries] == [None, 0, math.inf, -math.inf, 0]
    assert [entry.step is not None for entry in series.entries] == [False, False, False, True, False]


def test_only_equal_signatures_share_a_series(tmp_path: Path) -> None:
    other = PSNR.replace("4/512", "8/512")
    points = of_days(tmp_path, {1: {"a": 1}, 2: {"a": 2}})
    run = made_run(tmp_path / "3", 3, {"a": 3})
    run.column(other, reads=["truth"], digits=2)
    run.score("telea", "a", 5, signature=other)
    run.manifest.columns = {key: info for key, info in run.manifest.columns.items() if info.signature == other}
    run.write()
    found = history([*points, of_run(run.root)])
    assert {series.signature: [entry.mean for entry in series.entries] for series in found.series} == {PSNR: [1, 2], other: [5]}
    assert f"telea PSNR: nothing at 0303030 under {PSNR}" in found.notes
    assert len(history([*points, of_run(run.root)], metrics=["psnr"]).series) == 2
    assert only(history([*points, of_run(run.root)], metrics=[other])).signature == other


def test_a_run_without_the_metric_is_said_and_one_that_nobody_has_is_refused(tmp_path: Path) -> None:
    with_both = made_run(tmp_path / "1", 1, {"a": 1})
    with_both.column(SSIM)
    with_both.scores("telea", {"a": 0.5}, SSIM)
    with_both.write()
    points = [of_run(with_both.root), *of_days(tmp_path, {2: {"a": 2}})]
    found = history(points, metrics=["ssim"])
    assert len(only(found).entries) == 1 and found.notes == (f"telea SSIM: nothing at 0202020 under {SSIM}",)
    with pytest.raises(UsageError, match="--metric lpips: no point has it; there is psnr"):
        history(points, metrics=["lpips"])
    with pytest.raises(UsageError, match="--row other: no point has it; there is telea"):
        history(points, rows=["other"])


def test_rows_are_chosen_and_oracles_left_out(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", 1, {"a": 1})
    for label, oracle in (("other", False), ("truth", True)):
        run.row(label, oracle=oracle)
        run.scores(label, {"a": 5})
    run.write()
    assert {series.label for series in history([of_run(run.root)]).series} == {"telea", "other"}
    assert [series.label for series in history([of_run(run.root)], rows=["other"]).series] == ["other"]


def test_what_changed_beside_the_score_is_marked(tmp_path: Path) -> None:
    runs = [made_run(tmp_path / f"{day}", day, {"a": 1}, device=device) for day, device in enumerate(["cpu", "cuda:0", "cuda:1"], 1)]
    runs[2].manifest.rows["telea"].settings["radius"] = 5
    for info in runs[2].manifest.columns.values():
        info.source = "another"
    runs[2].manifest.invocations.insert(0, runs[0].manifest.invocations[0])
    # A score of the metric's code as it is now; the other one is stale.
    runs[2].scene("b")
    runs[2].manifest.rows["telea"].scenes.append("b")
    runs[2].write()
    fresh = load_run(runs[2].root).scores()
    assert list(fresh["state"]) == ["stale", "missing"]
    entries = only(history([of_run(run.root) for run in runs[:2]])).entries
    assert [entry.marks for entry in entries] == [(), ("device cpu → cuda",)]
    later = replace(of_run(runs[2].root), scores=of_run(runs[1].root).scores)
    entries = only(history([of_run(runs[1].root), later])).entries
    assert entries[1].marks == ("other settings", "other code of the metric", "2 scores failed or missing", "worked on at 2 commits")


def test_a_run_without_any_score_of_a_row_does_not_end_its_series(tmp_path: Path) -> None:
    points = of_days(tmp_path, {1: {"a": 1}, 2: {"a": 2}})
    failed = made_run(tmp_path / "3", 3, {"a": 3})
    failed.fill("telea", "a", state="failed", reason="no memory")
    found = history([*points, of_run(failed.root)])
    assert [entry.mean for entry in only(found).entries] == [1, 2]
    assert found.notes == (f"telea PSNR: nothing at 0303030 under {PSNR}",)


def test_baselines_are_points_too(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", 1, {"a": 10, "b": 20})
    path = tmp_path / "baseline.json"
    made = baselines.accept(load_run(run.root))
    accepted = made.accepted.model_copy(update={"when": "2030-05-04T00:00:00+00:00", "commit": "cd" * 20})
    baselines.write(made.model_copy(update={"accepted": accepted}), path)
    series = only(history([of_path(path), of_path(run.root)]))
    assert [(entry.point.title, entry.point.name, entry.mean) for entry in series.entries] == [
        ("0101010", "run", 15),
        ("cdcdcdc", "baseline.json", 15),
    ]
    assert not any(entry.marks for entry in series.entries)


def broken(tmp_path: Path, change: dict[str, Any]) -> Path:
    """A baseline with something else in it."""
    made = baselines.accept(load_run(made_run(tmp_path / "run", 1, {"a": 10}).root))
    path = tmp_path / "baseline.json"
    data = {**made.model_dump(mode="json"), **change}
    path.write_text(json.dumps(data | {"content": baselines.content(data)}))
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rows": {}}, "not a baseline of schema 1"),
        ({"metrics": {}}, "not a baseline of schema 1"),
        ({"schema_version": 99}, "of schema 99, expected 1"),
        ({"accepted": {"when": "yesterday", "version": "1"}}, "expected a time in ISO 8601, found 'yesterday'"),
        ({"accepted": {"when": "0001-01-01T00:00:00+14:00", "version": "1"}}, "expected a time in ISO 8601"),
        ({"scores": 5}, "not a baseline of schema 1"),
        ({"more": 5}, "not a baseline of schema 1"),
    ],
)
def test_a_broken_baseline_is_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = broken(tmp_path, change)
    with pytest.raises(UsageError, match=r"baseline\.json") as raised:
        of_file(path)
    assert words in str(raised.value)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not there; give a folder that `realbench run` wrote"):
        of_path(tmp_path / "nothing")
    with pytest.raises(UsageError, match="no run here"):
        of_path(tmp_path)
    run = Made(tmp_path / "empty")
    run.write()
    with pytest.raises(NothingMeasured):
        of_path(run.root)
    undated = made_run(tmp_path / "undated", 1, {"a": 1})
    undated.manifest.invocations = []
    undated.write()
    with pytest.raises(UsageError, match="does not say when it was made"):
        of_path(undated.root)


class Repository:
    """A git repository with one file in it."""

    def __init__(self, root: Path, name: str = "baseline.json") -> None:
        self.root, self.path = root, root / name
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet")

    def git(self, *words: str, day: int = 1) -> str:
        own = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "a"), ("EMAIL", "a@b.example"))}
        own |= {"GIT_COMMITTER_DATE": f"2030-06-{day:02}T01:00:00+0200", "GIT_CONFIG_GLOBAL": os.devnull}
        done = subprocess.run(["git", *words], cwd=self.root, env={**os.environ, **own}, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self, content: str | None, day: int) -> str:
        """What the file holds from this day in June 2030 on; None: it is removed. Returns the commit."""
        if content is None:
            self.path.unlink()
        else:
            self.path.write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", f"day {day}", day=day)
        return self.git("rev-parse", "HEAD")


def accepted(tmp_path: Path, value: float) -> str:
    """A baseline's text with one score."""
    path = tmp_path / f"of {value}.json"
    baselines.write(baselines.accept(load_run(made_run(tmp_path / f"of {value}", 1, {"a": value}).root)), path)
    return path.read_text()


@pytest.mark.parametrize("name", ["baseline.json", "ci/base line.json", "-b:*.json"])
def test_every_commit_of_a_baseline_is_a_point(tmp_path: Path, name: str) -> None:
    repository = Repository(tmp_path / "repository", name)
    commits = [repository.commit(accepted(tmp_path, value), day) for day, value in ((2, 20.0), (3, 20.5))]
    (repository.root / "other").write_text("another file")
    repository.commit(repository.path.read_text(), 4)  # the baseline is not changed
    points, notes = of_git(repository.path)
    assert [point.commit for point in points] == commits and notes == []
    # The committer's time, in UTC.
    assert [point.when.isoformat() for point in points] == ["2030-06-01T23:00:00+00:00", "2030-06-02T23:00:00+00:00"]
    assert [entry.mean for entry in only(history(points)).entries] == [20, 20.5]
    assert {point.name for point in points} == {Path(name).name}


def test_versions_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    good = accepted(tmp_path, 20.0)
    newer = good.replace('"schema_version": 1', '"schema_version": 99')
    edited = good.replace('{"0": 20.0}', '{"0": 25.0}')
    assert newer != good != edited
    for day, content in enumerate([good, "<<<<<<< HEAD", None, accepted(tmp_path, 21.0), newer, edited], 1):
        repository.commit(content, day)
    points, notes = of_git(repository.path)
    assert [point.scores["telea"][PSNR]["a"]["0"]["0"] for point in points] == [20, 21]
    assert [note.split(": ")[1] for note in notes] == [
        "not a baseline of schema 1 (the whole",
        "no file there, or one that is too large",
        "of schema 99, expected 1",
        "not as it was written, edited or merged by hand",
    ]
    assert all(note.startswith("left out ") and note.partition(":")[2].startswith("baseline.json: ") for note in notes)


def test_large_versions_are_not_read(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    repository.commit("12345", 1)
    repository.commit("123456", 2)
    assert [version.data for version in Versions(repository.path).read(5)] == [b"12345", None]


def test_a_link_is_no_baseline(tmp_path: Path) -> None:
    """What git stores of a link is the path it leads to, which is not followed."""
    repository = Repository(tmp_path / "repository")
    secret = tmp_path / "secret.json"
    secret.write_text(accepted(tmp_path, 1.0))
    repository.path.symlink_to(secret)
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--message", "link")
    with pytest.raises(UsageError, match="not a git repository"):
        of_git(repository.path)  # it is looked for where the link leads
    repository.path.unlink()
    repository.commit(accepted(tmp_path, 2.0), 2)
    points, notes = of_git(repository.path)
    assert len(points) == 1 and len(notes) == 1


def test_a_shallow_clone_says_so(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    for day in (1, 2):
        repository.commit(accepted(tmp_path, float(day)), day)
    repository.git("clone", "--quiet", "--depth", "1", f"file://{repository.root}", str(tmp_path / "clone"))
    points, notes = of_git(tmp_path / "clone" / "baseline.json")
    assert len(points) == 1 and "shallow" in notes[0] and "git fetch --unshallow" in notes[0]


@pytest.mark.parametrize("committed", [True, False])
def test_a_file_that_is_in_no_commit_is_refused(tmp_path: Path, committed: bool) -> None:
    repository = Repository(tmp_path / "repository", "other.json")
    if committed:
        repository.commit("{}", 1)
    with pytest.raises(UsageError, match="in no commit of"):
        of_git(repository.root / "baseline.json")


def test_a_file_in_no_repository_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="not a git repository"):
        of_git(tmp_path / "baseline.json")
    with pytest.raises(UsageError, match="is no folder"):
        of_git(tmp_path / "gone" / "baseline.json")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="git is not installed"):
        of_git(tmp_path / "baseline.json")


def test_in_a_hook_of_another_repository_the_file_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository, other = Repository(tmp_path / "one"), Repository(tmp_path / "other")
    repository.commit(accepted(tmp_path, 1.0), 1)
    monkeypatch.setenv("GIT_DIR", str(other.root / ".git"))
    assert len(of_git(repository.path)[0]) == 1


def test_nothing_that_a_repository_configures_is_run(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    repository.commit(accepted(tmp_path, 1.0), 1)
    ran = tmp_path / "ran"
    (repository.root / ".gitattributes").write_text("*.json diff=evil filter=evil\n")
    for key in ("diff.evil.textconv", "filter.evil.smudge", "core.pager", "diff.external"):
        repository.git("config", key, f"touch {ran};cat")
    assert len(of_git(repository.path)[0]) == 1 and not ran.exists()
