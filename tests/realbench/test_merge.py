"""Merging runs: the union of what is valid, alike in any order; contradictions refused by name; nothing lost by a crash or a bad file."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realbench import carrying, fingerprint, merge, union
from realbench import protocol as protocols
from realbench.errors import Exit, RealbenchError, UsageError
from realbench.merge import Merged, merge_runs
from realbench.plan import Row
from realbench.records import FitRecord, Invocation
from realbench.results import load_run
from realbench.shard import Shard, share
from realbench.store import RunFolder
from realbench.watch import Silent
from tests.making import DRIFT, PSNR, Made
from tests.test_shard import row as planned

WEIGHTS = "adapter.safetensors"


def made(root: Path, *cells: tuple[str, str, int, int], value: float = 20, scored: bool = True, **row: Any) -> Made:
    """A run that is asked for these cells (label, scene, fit, seed) alone and has finished and scored them."""
    run = Made(root)
    for scene in dict.fromkeys(scene for _, scene, _, _ in cells):
        run.scene(scene)
    for label in dict.fromkeys(label for label, *_ in cells):
        own = [cell for cell in cells if cell[0] == label]
        pairs = {scene: [(fit, seed) for _, one, fit, seed in own if one == scene] for _, scene, _, _ in own}
        asked = [pair for pairs in pairs.values() for pair in pairs]
        run.row(label, pairs, fits=sorted({fit for fit, _ in asked}), seeds=sorted({seed for _, seed in asked}), cells=pairs, **row)
    for label, scene, fit, seed in cells:
        run.fill(label, scene, fit=fit, seed=seed)
        if scored:
            run.score(label, scene, value + seed, fit=fit, seed=seed)
    run.write()
    return run


def fit(run: Made, label: str, scene: str, state: bytes = b"weights", *, number: int = 0, when: str = "2030-01-01T00:00:00+00:00") -> None:
    record = FitRecord(state="ok", inputs="inputs", files={WEIGHTS: fingerprint.of_bytes(state)}, finished=when)
    run.folder.write_fit(run.cell(label, scene, number), record, {WEIGHTS: state})


def tree(root: Path) -> dict[str, bytes]:
    """Every file of a run but its lock."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file() and path.name != ".lock"}


@pytest.fixture(scope="module", autouse=True)
def _unsynced() -> Iterator[None]:
    """No waiting for the disk: what power failures need is tested with the store."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


A, B, C = ("m", "x", 0, 0), ("m", "x", 0, 1), ("m", "y", 0, 0)


def test_the_union_of_two_runs(tmp_path: Path) -> None:
    one, two = made(tmp_path / "one", A, B), made(tmp_path / "two", B, C, ("n", "y", 0, 0))
    fit(one, "m", "x")
    merged = merge_runs([tmp_path / "one", tmp_path / "two"], tmp_path / "out")
    assert merged == Merged(tmp_path / "out", {"ok": 4}, 4) and merged.exit_code == Exit.DONE
    found = load_run(tmp_path / "out").scores()
    assert sorted(zip(found["label"], found["scene"], found["seed"], found["value"], found["state"], strict=True)) == [
        ("m", "x", 0, 20, "ok"), ("m", "x", 1, 21, "ok"), ("m", "y", 0, 20, "ok"), ("n", "y", 0, 20, "ok"),
    ]  # fmt: skip
    out = RunFolder(tmp_path / "out")
    cell = one.cell("m", "x")
    record = out.read_fill(cell)
    assert record is not None and out.read_images(cell, record) == one.folder.read_images(cell, record)
    fitted = out.read_fit(cell)
    assert fitted is not None and out.read_state(cell, fitted) == {WEIGHTS: b"weights"}
    assert (out.cell(cell) / "raw.png").samefile(one.folder.cell(cell) / "raw.png"), "a link, where the disk has them"
    assert tree(tmp_path / "two") == tree(two.root) and not list(out.root.rglob(".tmp-*"))
    info = out.read_manifest().rows["m"]
    assert info.cells == {"x": [(0, 0), (0, 1)], "y": [(0, 0)]} and (info.scenes, info.fits, info.seeds) == (["x", "y"], [0], [0, 1])


def test_a_row_of_an_earlier_version_has_no_source_of_its_own(tmp_path: Path) -> None:
    for names in (("one", ""), ("two", "abc")), (("three", "abc"), ("four", "")):
        for name, source in names:
            made(tmp_path / name, A, source=source)
        merge_runs([tmp_path / name for name, _ in names], tmp_path / f"out-{names[0][0]}")
        assert RunFolder(tmp_path / f"out-{names[0][0]}").read_manifest().rows["m"].source == "abc"


def test_every_command_is_kept_once(tmp_path: Path) -> None:
    runs = [made(tmp_path / name, A) for name in ("one", "two")]
    for at, run in enumerate(runs):
        run.manifest.invocations = [
            Invocation(started=f"203{1 - at}-01-01T00:00:00+00:00", command=["realbench", str(at)], version="1"),
            Invocation(started="2035-01-01T00:00:00+00:00", command=["both"], version="1"),
        ]
        run.write()
    merge_runs([run.root for run in runs], tmp_path / "out")
    assert [item.command for item in RunFolder(tmp_path / "out").read_manifest().invocations] == [
        ["realbench", "1"],
        ["realbench", "0"],
        ["both"],
    ]


def test_merging_again_writes_nothing(tmp_path: Path) -> None:
    one = made(tmp_path / "one", A, B)
    fit(one, "m", "x")
    one.fill("m", "x", seed=7, state="failed", reason="no luck")
    one.manifest.rows["m"].cells["x"].append((0, 7))
    one.write()
    merge_runs([tmp_path / "one"], tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file() and path.name != ".lock"}
    again = merge_runs([tmp_path / "one", tmp_path / "out", tmp_path / "one"], tmp_path / "out")
    assert again.carried == 0 and again.cells == {"ok": 2, "failed": 1}
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_later_runs_join_an_existing_one(tmp_path: Path) -> None:
    made(tmp_path / "one", A)
    made(tmp_path / "two", C)
    merge_runs([tmp_path / "one"], tmp_path / "out")
    assert merge_runs([tmp_path / "two"], tmp_path / "out").cells == {"ok": 2}
    merge_runs([tmp_path / "two", tmp_path / "one"], tmp_path / "at-once")
    assert tree(tmp_path / "out") == tree(tmp_path / "at-once")


Change = Callable[[Made], None]


def _other_image(run: Made) -> None:
    run.scene("x", size=(64, 32))
    run.fill("m", "x")


def _other_value(run: Made) -> None:
    run.score("m", "x", 20 + 1e-12)


def _scene(run: Made) -> None:
    run.manifest.scenes["x"].digests["truth"] = "another"


CONTRADICTIONS: dict[str, tuple[Change, str]] = {
    "suite": (lambda run: setattr(run.manifest, "suite", "other"), "suite: gone in .*one, other in .*two"),
    "feather": (lambda run: setattr(run.manifest, "feather", 8.0), "feather: 4.0 in .*one, 8.0 in .*two"),
    "setting": (lambda run: run.manifest.rows["m"].settings.update(steps=5), "row m: steps is 4 and 5 in .*one and .*two"),
    "fingerprint": (lambda run: setattr(run.manifest.rows["m"], "fingerprint", "0" * 12), "row m: fingerprint is [0-9a-f]{12} and 0{12}"),
    "preset": (lambda run: setattr(run.manifest.rows["m"], "preset", "fast"), "row m: preset is None and fast"),
    "scene": (_scene, "scene x: its truth differ between .*one and .*two"),
    "metric": (lambda run: run.column(PSNR, digits=2, unit="dB", reads=["truth"], source="other"), "metric psnr.*: its source or weights"),
    "image": (_other_image, "row m, scene x, fit 0, seed 0: its images differ between .*one and .*two"),
    "score": (_other_value, r"row m, scene x, fit 0, seed 0: psnr is 20\.0 in .*one.* and 20\.000000000001 in .*two.*move one of them"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_what_contradicts_is_refused_and_nothing_is_merged(tmp_path: Path, name: str) -> None:
    change, message = CONTRADICTIONS[name]
    made(tmp_path / "one", A, settings={"steps": 4})
    two = made(tmp_path / "two", A, settings={"steps": 4})
    change(two)
    two.write()
    for runs in (["one", "two"], ["two", "one"]):
        with pytest.raises(UsageError, match=message):
            merge_runs([tmp_path / run for run in runs], tmp_path / "out")
    assert tree(tmp_path / "out") == {}
    merge_runs([tmp_path / "one"], tmp_path / "out")
    before = tree(tmp_path / "out")
    with pytest.raises(UsageError, match="contradict each other, and nothing was merged"):
        merge_runs([tmp_path / "two"], tmp_path / "out")
    assert tree(tmp_path / "out") == before, "what stands in the folder is one of the runs"


def test_many_contradictions_are_counted(tmp_path: Path) -> None:
    names = [("m", f"s{at}", 0, 0) for at in range(8)]
    made(tmp_path / "one", *names)
    made(tmp_path / "two", *names, value=21)
    with pytest.raises(UsageError, match=r"scene s4, .*; and 3 more$"):
        merge_runs([tmp_path / "one", tmp_path / "two"], tmp_path / "out")


def test_labels_whose_folders_would_be_one(tmp_path: Path) -> None:
    made(tmp_path / "one", ("a:b", "x", 0, 0))
    made(tmp_path / "two", ("a.b", "x", 0, 0))
    with pytest.raises(UsageError, match="too alike"):
        merge_runs([tmp_path / "one", tmp_path / "two"], tmp_path / "out")


def test_equal_duplicates_are_one(tmp_path: Path) -> None:
    """The record that was finished first stands, with its time, whichever run comes first."""
    one, two = made(tmp_path / "one", A), made(tmp_path / "two", A)
    record = two.folder.read_fill(two.cell("m", "x"))
    images = two.folder.read_images(two.cell("m", "x"), record)
    shutil.rmtree(two.folder.cell(two.cell("m", "x")))
    earlier = record.model_copy(update={"finished": "2029-01-01T00:00:00+00:00", "seconds": 3.0})
    two.folder.write_fill(two.cell("m", "x"), earlier, images)
    trees = []
    for name, runs in (("out", [one, two]), ("turned", [two, one])):
        merged = merge_runs([run.root for run in runs], tmp_path / name)
        assert merged.cells == {"ok": 1} and RunFolder(merged.folder).read_fill(one.cell("m", "x")) == earlier
        trees.append(tree(merged.folder))
    assert trees[0] == trees[1]
    assert not any("attempts" in name for name in trees[0])


@pytest.mark.parametrize("order", [("bad", "good"), ("good", "bad")])
def test_a_failure_never_replaces_a_finished_cell(tmp_path: Path, order: tuple[str, str]) -> None:
    made(tmp_path / "good", A)
    bad = made(tmp_path / "bad", A, scored=False)
    shutil.rmtree(bad.folder.cell(bad.cell("m", "x")))
    bad.fill("m", "x", state="timeout", reason="too slow")
    bad.fill("m", "x", state="failed", reason="no luck")
    for name in order:
        merge_runs([tmp_path / name], tmp_path / "out")
    out = RunFolder(tmp_path / "out")
    record = out.read_fill(bad.cell("m", "x"))
    assert record is not None and record.state == "ok"
    attempts = sorted((out.cell(bad.cell("m", "x")) / "attempts").iterdir())
    assert {json.loads(path.read_text())["reason"] for path in attempts} == {"too slow", "no luck"} and len(attempts) == 2
    assert (load_run(tmp_path / "out").scores()["state"] == "ok").all()


def test_of_failures_the_latest_stands(tmp_path: Path) -> None:
    for name, when in (("one", "2031-01-01T00:00:00+00:00"), ("two", "2032-01-01T00:00:00+00:00"), ("three", "2030-01-01T00:00:00+00:00")):
        run = made(tmp_path / name, A, scored=False)
        cell = run.cell("m", "x")
        record = run.folder.read_fill(cell).model_copy(update={"state": "failed", "reason": name, "finished": when, "files": {}})
        shutil.rmtree(run.folder.cell(cell))
        run.folder.write_fill(cell, record, {})
    trees = []
    for order in itertools.permutations(["one", "two", "three"]):
        out = tmp_path / "-".join(order)
        for name in order:
            merge_runs([tmp_path / name], out)
        assert RunFolder(out).read_fill(cell).reason == "two"
        trees.append(tree(out))
    assert all(found == trees[0] for found in trees) and sum("attempts" in name for name in trees[0]) == 2


def test_what_is_not_as_recorded_is_left_behind_and_said(tmp_path: Path) -> None:
    one = made(tmp_path / "one", A, C)
    path = one.folder.cell(one.cell("m", "x")) / "fill.png"
    path.write_bytes(bytes(reversed(path.read_bytes())))
    merged = merge_runs([one.root], tmp_path / "out")
    assert merged.corrupt == (str(path.parent),) and merged.cells == {"missing": 1, "ok": 1} and merged.exit_code == Exit.FAILED_CELLS
    assert RunFolder(tmp_path / "out").read_fill(one.cell("m", "x")) is None
    # Where another run failed, both are told of; a whole copy in a third is taken, and then nothing is amiss.
    failed = made(tmp_path / "failed", A, scored=False)
    shutil.rmtree(failed.folder.cell(failed.cell("m", "x")))
    failed.fill("m", "x", state="failed", reason="no luck")
    merged = merge_runs([one.root, failed.root], tmp_path / "other")
    assert merged.corrupt == (str(path.parent),) and merged.cells == {"failed": 1, "ok": 1}
    made(tmp_path / "two", A)
    whole = merge_runs([one.root, tmp_path / "two"], tmp_path / "out")
    assert whole.cells == {"ok": 2} and not whole.corrupt


def test_what_is_damaged_contradicts_nothing(tmp_path: Path) -> None:
    """Another image of a cell is a contradiction; one whose bytes are not as recorded is no image."""
    one, two = made(tmp_path / "one", A), made(tmp_path / "two", A)
    shutil.rmtree(two.folder.cell(two.cell("m", "x")))
    _other_image(two)
    with pytest.raises(UsageError, match="its images differ"):
        merge_runs([one.root, two.root], tmp_path / "out")
    path = two.folder.cell(two.cell("m", "x")) / "raw.png"
    path.write_bytes(bytes(reversed(path.read_bytes())))
    merged = merge_runs([one.root, two.root], tmp_path / "out")
    out, cell = RunFolder(tmp_path / "out"), one.cell("m", "x")
    assert merged.cells == {"ok": 1} and out.read_fill(cell) == one.folder.read_fill(cell)
    assert not (out.cell(cell) / "attempts").exists()


def test_what_is_damaged_replaces_no_part_of_what_is_whole_in_the_target(tmp_path: Path) -> None:
    """An earlier cell of other images, and an earlier fit of another state, each with one good file and one bad one."""
    target, source = made(tmp_path / "out", A), made(tmp_path / "one", A)
    shutil.rmtree(source.folder.cell(source.cell("m", "x")))
    _other_image(source)
    fills = source.folder.cell(source.cell("m", "x"))
    early(fills / "record.json")
    (fills / "fill.png").write_bytes(bytes(reversed((fills / "fill.png").read_bytes())))
    for run, year, state in ((target, 2031, {"a": b"AAA", "b": b"BBB"}), (source, 2029, {"a": b"ccc", "b": b"ddd"})):
        files = {name: fingerprint.of_bytes(data) for name, data in state.items()}
        record = FitRecord(state="ok", inputs="inputs", files=files, finished=f"{year}-01-01T00:00:00+00:00")
        run.folder.write_fit(run.cell("m", "x"), record, state)
    (source.folder.fit(source.cell("m", "x")) / "state" / "b").write_bytes(b"rot")
    before = tree(target.root)
    merged = merge_runs([source.root], target.root)
    assert merged.cells == {"ok": 1} and merged.carried == 0
    changed = {name for name, data in tree(target.root).items() if before.get(name) != data}
    assert {name for name in changed if "/attempts/" not in name} <= {"run.json"}


def test_what_a_killed_merge_left_links_nothing_to_its_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended before its first rename, with links to the source's files under names that a run in the target writes to next."""
    source = made(tmp_path / "one", A)
    before, replace = tree(source.root), Path.replace

    def killed(self: Path, target: Path) -> Path:
        if self.suffix == ".png":
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        patch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
        with pytest.raises(KeyboardInterrupt):
            merge_runs([source.root], tmp_path / "out")
    out = Made(tmp_path / "out")
    left = sorted(path.name for path in out.folder.cell(source.cell("m", "x")).glob(".tmp-*"))
    assert left == [".tmp-fill.png", ".tmp-raw.png"]
    record = source.folder.read_fill(source.cell("m", "x"))
    assert record is not None
    out.folder.write_fill(source.cell("m", "x"), record, {"raw.png": b"other bytes", "fill.png": b"others"})
    assert tree(source.root) == before


@pytest.mark.parametrize("killed", [True, False])
def test_a_merge_tells_no_run_that_it_was_killed(tmp_path: Path, killed: bool) -> None:
    """And keeps what tells that one was."""
    source = made(tmp_path / "one", A)
    working = source.root / ".working"
    if killed:
        working.touch()
    merge_runs([source.root], tmp_path / "out")
    assert working.exists() == killed and not (tmp_path / "out" / ".working").exists()


def early(path: Path) -> None:
    """Let a record say that it was finished long ago."""
    path.write_text(json.dumps(json.loads(path.read_text()) | {"finished": "2001-01-01T00:00:00+00:00"}))


def test_what_rotted_in_the_target_is_mended(tmp_path: Path) -> None:
    one = made(tmp_path / "one", A)
    merge_runs([one.root], tmp_path / "out")
    before = tree(tmp_path / "out")
    path = RunFolder(tmp_path / "out").cell(one.cell("m", "x")) / "fill.png"
    path.unlink()  # a link to the other's
    path.write_bytes(bytes(reversed(before[str(path.relative_to(tmp_path / "out"))])))
    os.utime(path, (path.stat().st_mtime + 60,) * 2)
    merged = merge_runs([one.root], tmp_path / "out")
    assert merged.carried == 1 and not merged.corrupt and tree(tmp_path / "out") == before


def test_broken_stale_and_foreign_records_are_not_carried(tmp_path: Path) -> None:
    cells = [("m", "x", 0, seed) for seed in range(6)]
    run = made(tmp_path / "one", *cells)
    where = [run.folder.cell(run.cell("m", "x", 0, seed)) for seed in range(6)]
    (where[1] / "record.json").write_text("{")
    (where[2] / "raw.png").unlink()
    for at, change in ((3, {"task": "as it was before"}), (4, {"seed": 0}), (5, {"label": "n"})):
        data = json.loads((where[at] / "record.json").read_text()) | change
        (where[at] / "record.json").write_text(json.dumps(data))
    assert merge_runs([run.root], tmp_path / "out").cells == {"ok": 1, "missing": 5}


def test_stale_and_failed_scores(tmp_path: Path) -> None:
    """A score of another image stays behind; a failure comes along, but never before a value."""
    one, two = made(tmp_path / "one", A, B, C, scored=False), made(tmp_path / "two", A, B, C)
    for seed, state in ((0, "failed"), (1, "unsupported")):
        one.score("m", "x", None, seed=seed, state=state, reason="not here")
    (path,) = (one.folder.cell(one.cell("m", "x", 0, 1)) / "scores").iterdir()
    stale = json.loads(path.read_text()) | {"image": "another", "state": "ok", "value": 99}
    path.write_text(json.dumps(stale))
    merge_runs([one.root], tmp_path / "alone")
    assert list(load_run(tmp_path / "alone").scores()["state"]) == ["failed", "missing", "missing"]
    for order in ([one, two], [two, one]):
        out = tmp_path / f"out-{order[0].root.name}"
        for run in order:
            merge_runs([run.root], out)
        assert list(load_run(out).scores()["value"]) == [20, 21, 20]


def test_columns_that_one_run_has_are_not_scored_yet_in_the_other(tmp_path: Path) -> None:
    one, two = made(tmp_path / "one", A), made(tmp_path / "two", C)
    two.column(DRIFT, region="known", image="raw", direction="lower")
    two.score("m", "y", 0.5, signature=DRIFT)
    two.write()
    merge_runs([one.root, two.root], tmp_path / "out")
    states = {(line.scene, line.metric): line.state for line in load_run(tmp_path / "out").scores().itertuples()}
    assert states == {("x", "psnr"): "ok", ("x", "drift"): "missing", ("y", "psnr"): "ok", ("y", "drift"): "ok"}


def test_two_different_fits_of_one_number(tmp_path: Path) -> None:
    one, two = made(tmp_path / "one", A), made(tmp_path / "two", B)
    fit(one, "m", "x", b"one", when="2030-01-01T00:00:00+00:00")
    fit(two, "m", "x", b"two", when="2029-01-01T00:00:00+00:00")
    with pytest.raises(UsageError, match=r"fit 0 of row m on scene x is another one in .*one and .*two .*--mixed-fits"):
        merge_runs([one.root, two.root], tmp_path / "out")
    trees = []
    for order in ([one, two], [two, one]):
        out = tmp_path / f"out-{order[0].root.name}"
        for run in order:
            merge_runs([run.root], out, mixed_fits=True)
        record = RunFolder(out).read_fit(one.cell("m", "x"))
        assert RunFolder(out).read_state(one.cell("m", "x"), record) == {WEIGHTS: b"two"}
        trees.append(tree(out))
    assert trees[0] == trees[1] and sum("fit-0/attempts" in name for name in trees[0]) == 1, "the other's record stays, to be seen"
    # Equal fits are one, and a fit whose files are not as recorded contradicts nothing.
    fit(two, "m", "x", b"one")
    assert merge_runs([one.root, two.root], tmp_path / "equal").cells == {"ok": 2}
    fit(two, "m", "x", b"two")
    (two.folder.fit(two.cell("m", "x")) / "state" / WEIGHTS).write_bytes(b"rot")
    merge_runs([one.root, two.root], tmp_path / "whole")
    record = RunFolder(tmp_path / "whole").read_fit(one.cell("m", "x"))
    assert RunFolder(tmp_path / "whole").read_state(one.cell("m", "x"), record) == {WEIGHTS: b"one"}


def test_refused_scenes(tmp_path: Path) -> None:
    """A scene that one run refused and another did not is in order; one that no run ever saw in order has no cells."""
    one, two = made(tmp_path / "one", A, C), made(tmp_path / "two", B)
    two.scene("y", refused="no mask")
    two.scene("z", refused="no mask")
    two.manifest.scenes["x"].refused, two.manifest.scenes["x"].title = "unreadable today", "A first title"
    two.manifest.rows["m"].scenes += ["y", "z"]
    two.write()
    merged = merge_runs([one.root, two.root], tmp_path / "out")
    manifest = RunFolder(tmp_path / "out").read_manifest()
    assert merged.cells == {"ok": 3, "missing": 1}  # seed 1 on y, which was asked for while the scene was refused
    assert {name: info.refused for name, info in manifest.scenes.items()} == {"x": "", "y": "", "z": "no mask"}


@pytest.mark.parametrize("what", ["cell", "image", "record", "scores", "state", "manifest"])
def test_symlinks_are_refused(tmp_path: Path, what: str) -> None:
    run = made(tmp_path / "one", A)
    fit(run, "m", "x")
    cell = run.folder.cell(run.cell("m", "x"))
    path = {
        "cell": cell, "image": cell / "raw.png", "record": cell / "record.json", "scores": cell / "scores",
        "state": cell.parent / "state", "manifest": run.root / "run.json",
    }[what]  # fmt: skip
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RealbenchError, match="a symlink stands in the way"):
        merge_runs([run.root], tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.png")) or what in ("scores", "state")


@pytest.mark.parametrize("what", ["row", "cell", "scores"])
def test_nothing_is_written_through_a_symlink_in_the_target(tmp_path: Path, what: str) -> None:
    run = made(tmp_path / "one", A)
    out = RunFolder(tmp_path / "out")
    cell = out.cell(run.cell("m", "x"))
    path = {"row": cell.parents[2], "cell": cell, "scores": cell / "scores"}[what]
    path.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RealbenchError, match="a symlink stands in the way"):
        merge_runs([run.root], out.root)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_run_folder_may_itself_be_a_symlink(tmp_path: Path) -> None:
    made(tmp_path / "one", A)
    (tmp_path / "link").symlink_to(tmp_path / "one")
    assert merge_runs([tmp_path / "link", tmp_path / "one"], tmp_path / "out").cells == {"ok": 1}


def test_what_is_no_run(tmp_path: Path) -> None:
    made(tmp_path / "one", A)
    with pytest.raises(UsageError, match="no run here"):
        merge_runs([tmp_path / "one", tmp_path / "two"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="a run beside the one"):
        merge_runs([tmp_path / "one"], tmp_path / "one")
    for runs in ([], str(tmp_path / "one")):
        with pytest.raises(UsageError, match="expected a list of run folders"):
            merge_runs(runs, tmp_path / "out")
    run = made(tmp_path / "two", A)
    run.manifest.rows["m"].scenes.append("nowhere")
    run.write()
    with pytest.raises(UsageError, match=r"two/run\.json: broken"):
        merge_runs([tmp_path / "two"], tmp_path / "out")


@pytest.mark.parametrize("held", ["one", "out"])
def test_runs_that_others_work_on_are_left_alone(tmp_path: Path, held: str) -> None:
    made(tmp_path / "one", A)
    with RunFolder(tmp_path / held).lock(), pytest.raises(UsageError, match=f"{held}: another command is working"):
        merge_runs([tmp_path / "one"], tmp_path / "out")
    assert tree(tmp_path / "out") == {} if (tmp_path / "out").exists() else True
    assert merge_runs([tmp_path / "one"], tmp_path / "out").cells == {"ok": 1}


def test_a_run_that_cannot_be_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(tmp_path / "one", A)
    access = os.access
    monkeypatch.setattr(merge.os, "access", lambda path, mode: path != run.root and access(path, mode))
    said: list[str] = []
    watch = Silent()
    watch.say = said.append  # type: ignore[method-assign]
    assert merge_runs([run.root], tmp_path / "out", watch=watch).cells == {"ok": 1}
    assert said == [f"{run.root} cannot be written, so it is read without holding it"] and not (run.root / ".lock").exists()


def test_where_the_disk_cannot_link_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(tmp_path / "one", A)
    fit(run, "m", "x")
    monkeypatch.setattr(carrying.os, "link", lambda *_: (_ for _ in ()).throw(OSError("another disk")))
    merge_runs([run.root], tmp_path / "out")
    paths = {name for name in tree(tmp_path / "out") if name.endswith((".png", WEIGHTS))}
    assert len(paths) == 3 and not any((tmp_path / "out" / name).samefile(run.root / name) for name in paths)
    assert {name: (tmp_path / "out" / name).read_bytes() for name in paths} == {name: (run.root / name).read_bytes() for name in paths}


def test_a_refusing_disk_is_said_and_the_merge_goes_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(tmp_path / "one", A, B, C)
    fetch, calls = carrying.fetch, itertools.count()
    with monkeypatch.context() as patch:
        patch.setattr(
            carrying, "fetch", lambda *words: fetch(*words) if next(calls) < 3 else (_ for _ in ()).throw(OSError(28, "No space left"))
        )
        with pytest.raises(RealbenchError, match=r"cannot be carried over .*No space left.*merge again"):
            merge_runs([run.root], tmp_path / "out")
    assert merge_runs([run.root], tmp_path / "out").cells == {"ok": 3}
    assert tree(tmp_path / "out").keys() == tree(run.root).keys()


def test_a_merge_killed_at_any_moment_is_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted before each of its renames in turn: what stands is whole, and the next merge ends like an undisturbed one."""
    run, other = made(tmp_path / "one", A, C), made(tmp_path / "two", B)
    fit(run, "m", "x")
    other.fill("m", "x", seed=1, state="failed", reason="no luck")
    shutil.copytree(run.root / next(run.root.glob("m-*")).name, tmp_path / "kept")
    merge_runs([run.root, other.root], tmp_path / "calm")
    calm = tree(tmp_path / "calm")
    replace = Path.replace
    for kills in itertools.count():
        left = iter(range(kills))

        def broken(self: Path, target: Path, left: Any = left) -> Path:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return replace(self, target)

        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", broken)
            try:
                merge_runs([run.root, other.root], out)
                break
            except KeyboardInterrupt:
                pass
        for path in out.rglob("seed-*/record.json"):
            record = json.loads(path.read_text())
            assert all(fingerprint.of_bytes((path.parent / name).read_bytes()) == digest for name, digest in record["files"].items())
        merge_runs([run.root, other.root], out)
        assert tree(out) == calm
    assert kills > 10


def test_attempts_of_the_target_survive_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older attempt comes in before those that the target alone has: while they move up, none is lost."""
    for name, years in (("one", (2030, 2034)), ("out", (2031, 2032, 2033))):
        run = made(tmp_path / name, A, scored=False)
        shutil.rmtree(run.folder.cell(run.cell("m", "x")))
        for year in years:
            run.fill("m", "x", state="failed", reason=str(year))
            path = run.folder.cell(run.cell("m", "x")) / "record.json"
            path.write_text(path.read_text().replace("2030-01-02", f"{year}-01-02"))
    shutil.copytree(tmp_path / "out", tmp_path / "kept")
    replace = Path.replace
    for kills in range(20):
        left = iter(range(kills))

        def broken(self: Path, target: Path, left: Any = left) -> Path:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return replace(self, target)

        shutil.rmtree(tmp_path / "out")
        shutil.copytree(tmp_path / "kept", tmp_path / "out")
        ended = False
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", broken)
            try:
                merge_runs([tmp_path / "one"], tmp_path / "out")
                ended = True
            except KeyboardInterrupt:
                pass
        folder = RunFolder(tmp_path / "out").cell(run.cell("m", "x"))
        files = {path.name: json.loads(path.read_text())["reason"] for path in [*(folder / "attempts").iterdir(), folder / "record.json"]
                 if not path.name.startswith(".")}  # fmt: skip
        assert {"2031", "2032", "2033"} <= set(files.values())
        if ended:
            break
    assert files == {"000.json": "2030", "001.json": "2031", "002.json": "2032", "003.json": "2033", "record.json": "2034"}
    assert kills >= 4


@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_all_shards_in_any_order_are_the_whole(data: st.DataObject) -> None:
    """Random plans and numbers of shards, merged one by one in any order, and all at once: file for file what one command makes."""
    scenes = [f"s{at}" for at in range(data.draw(st.integers(1, 3)))]
    kinds = data.draw(st.lists(st.booleans(), min_size=1, max_size=2))
    fits, seeds, count = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 3)), data.draw(st.integers(1, 5))
    rows = [planned(f"row {at}", fits=fitting) for at, fitting in enumerate(kinds)]
    order = data.draw(st.permutations(range(1, count + 1)))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _shard(root / "whole", rows, scenes, fits, seeds, None)
        parts = {index: root / f"part-{index}" for index in order}
        for index, part in parts.items():
            _shard(part, rows, scenes, fits, seeds, Shard(index, count))
        for index in order:
            merged = merge_runs([parts[index]], root / "one-by-one")
        assert not merged.absent and set(merged.cells) == {"ok"}
        assert all(len(merge_runs([part], root / f"alone-{part.name}").absent) == (count > 1) for part in list(parts.values())[:1])
        merge_runs([parts[index] for index in order], root / "at-once")
        whole = tree(root / "whole")
        found = [tree(root / name) for name in ("one-by-one", "at-once")]
        assert found[0] == found[1]
        manifests = [RunFolder(root / name).read_manifest() for name in ("whole", "at-once")]
        for manifest in manifests:
            manifest.invocations = []
        assert manifests[0] == manifests[1]
        assert {name: data for name, data in found[0].items() if name != "run.json"} == {
            name: data for name, data in whole.items() if name != "run.json"
        }


def _shard(root: Path, rows: list[Row], scenes: list[str], fits: int, seeds: int, shard: Shard | None) -> None:
    """The run folder that a shard of a plan makes."""
    asked = share(rows, scenes, fits, range(seeds), shard)
    run = Made(root)
    for scene in scenes:
        if any(scene in own for own in asked.values()):
            run.scene(scene)
    for row in rows:
        own = {scene: list(pairs) for scene, pairs in asked[row.label].items()}
        every = [pair for pairs in own.values() for pair in pairs]
        numbers = {"fits": sorted({fit for fit, _ in every}), "seeds": sorted({seed for _, seed in every})}
        run.row(row.label, own, cells=own, **numbers)
        for scene, pairs in own.items():
            for number, seed in pairs:
                run.score(row.label, scene, 10 * number + seed, fit=number, seed=seed)
            for number in {number for number, _ in pairs if row.card.fits}:
                fit(run, row.label, scene, f"{scene} {number}".encode(), number=number)
    if shard:
        run.manifest.invocations[0].shard = f"{shard} of 0123456789ab"
    run.write()


def test_a_protocol_is_compared_with_what_all_ask_for(tmp_path: Path) -> None:
    runs = [made(tmp_path / "one", A), made(tmp_path / "two", C)]
    paper = protocols.load("paper")
    for run in runs:
        run.manifest.protocol = protocols.adopt(paper, run.manifest)
        run.write()
    merge_runs([run.root for run in runs], tmp_path / "out")
    manifest = RunFolder(tmp_path / "out").read_manifest()
    assert manifest.protocol is not None and manifest.protocol == protocols.adopt(paper, manifest)
    assert manifest.protocol.departures != runs[0].manifest.protocol.departures  # two scenes and not one
    runs[1].manifest.protocol = runs[1].manifest.protocol.model_copy(update={"protocol": "other"})
    runs[1].write()
    with pytest.raises(UsageError, match=r"protocol: paper in .*one, other in .*two"):
        merge_runs([run.root for run in runs], tmp_path / "other")


def test_order_of_rows_and_columns() -> None:
    """As asked where all runs agree; in natural order what they leave open or contradict."""
    assert union._order([["b", "a"], ["b", "a"]]) == ["b", "a"]
    assert union._order([["b", "a"], ["c"], ["a", "d"]]) == ["b", "a", "c", "d"]
    assert union._order([["m10"], ["m2"]]) == ["m2", "m10"]
    assert union._order([["b", "a"], ["c", "a"]]) == ["b", "c", "a"]
    assert union._order([["b", "a"], ["a", "b"]]) == ["a", "b"]
    assert union._order([]) == []


def test_shards_that_are_not_here_are_said(tmp_path: Path) -> None:
    one, two = made(tmp_path / "one", A), made(tmp_path / "two", C)
    one.manifest.invocations[0].shard, two.manifest.invocations[0].shard = "2/9 of 0123456789ab", "9/9 of 0123456789ab"
    for run in (one, two):
        run.write()
    merged = merge_runs([one.root, two.root], tmp_path / "out")
    assert merged.absent == ("of the 9 shards of plan 0123456789ab, 1/9, 3/9, 4/9, 5/9, 6/9 and 2 more are not here",)
    assert merged.exit_code == Exit.DONE
