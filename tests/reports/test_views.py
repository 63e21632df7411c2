"""Every view of the leaderboard holds what `tables_for` says; nothing is left for a script to compute."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from realbench.groups import TITLES, group, place
from realbench.records import ColumnInfo
from realbench.reports._site import Site
from realbench.reports._views import board
from realbench.results import Results, load_run
from realbench.selection import Policy
from realbench.strata import policies, strata, tables_for
from tests.making import DRIFT, Made

MATCHES = "matches|region:hole|backend:sift|v:1"


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Two rows, one with seeds, and an oracle over six scenes of two kinds; `b` lacks two of them."""
    run = Made(tmp_path / "run")
    run.column(DRIFT, direction="lower", region="known", reads=["target"])
    run.column(MATCHES, reads=["references"], digits=0)
    for at in range(6):
        run.scene(f"s{at}", hole_kind="outpainting" if at < 2 else "inpainting", hole_share=0.2, tags=["odd"] if at == 5 else [])
    run.row("a", seeds=[0, 1, 2, 3])
    run.row("b")
    run.row("truth", oracle=True)
    for at in range(6):
        for seed in range(4):
            run.score("a", f"s{at}", 20.0 + at + seed, seed=seed)
            run.score("a", f"s{at}", float(seed), seed=seed, signature=MATCHES)
        run.score("truth", f"s{at}", float("inf"))
        if at < 4:
            run.score("b", f"s{at}", 10.0 + at)
            run.score("b", f"s{at}", 0.5, signature=DRIFT)
    run.fill("b", "s4", state="failed", reason="lost")
    run.write()
    return load_run(run.root)


def test_every_view_says_what_its_tables_say(results: Results, tmp_path: Path) -> None:
    found = board(Site(results, tmp_path))
    labels = [row.label for row in found.tables.leaderboard.rows]
    kept = {policy.reducer: policy for policy in policies(results)}
    assert set(found.data["views"]) == {f"{at}|{name}" for at in range(1 + len(strata(results))) for name in ("mean", "selected")}
    for key, view in found.data["views"].items():
        at, name = key.split("|")
        rows = tables_for(results, (None, *strata(results))[int(at)], kept[name]).leaderboard.rows
        assert [labels[line[0]] for line in view["rows"]] == [row.label for row in rows]
        for line, row in zip(view["rows"], rows, strict=True):
            sorts = [None if cell[1] is None else float(cell[1]) for cell in line[5]]
            assert sorts == [entry.mean for entry in row.entries]
            assert [cell[2] for cell in line[5]] == ["best" if e.best else "tied" if e.tied else "" for e in row.entries]
    json.dumps(found.data, allow_nan=False)


def test_what_is_missing_is_told_in_the_view_it_is_missing_in(results: Results, tmp_path: Path) -> None:
    found = board(Site(results, tmp_path))
    cell = found.view.rows["b"].cells[0]
    assert found.missing.texts[cell.missing - 1] == "1 × failed: fill: lost; 1 × missing: not run yet"
    assert cell.low == ("4 of 6 scenes", "unranked") and found.view.rows["b"].unranked
    outpainting = next(key for key, text, _ in found.strata["Kind of hole"] if text == "outpainting")
    line = next(line for line in found.data["views"][f"{outpainting}|mean"]["rows"] if line[0] == 1)
    assert line[5][0][4:] == [(), 0] and not line[4]


def test_choices_are_named_with_their_scenes(results: Results, tmp_path: Path) -> None:
    found = board(Site(results, tmp_path))
    assert {kind: [(text, count) for _, text, count in values] for kind, values in found.strata.items()} == {
        "Kind of hole": [("inpainting", 4), ("outpainting", 2)],
        "Tag": [("odd", 1)],
    }
    assert [(name, shown) for name, _, shown in found.policies] == [("mean", True), ("selected", False)]
    assert found.view.status.startswith("6 scenes; all seeds")


def test_ghosts_are_the_best_seeds(results: Results, tmp_path: Path) -> None:
    found = board(Site(results, tmp_path))
    assert found.ghosts is not None and found.ghosts.rows["a"].cells[0].mean == "25.50" and found.view.rows["a"].cells[0].mean == "24.00"
    assert all(cell.low == () for cell in found.ghosts.rows["a"].cells[::2])
    assert set(found.data["ghosts"]) == {str(at) for at in range(1 + len(strata(results)))}


@pytest.mark.parametrize(
    ("policy", "names", "ghosts"),
    [
        (Policy("selected", Fraction(1, 2), MATCHES), ["mean", "selected"], True),
        (Policy("oracle", Fraction(0)), ["mean", "selected", "oracle"], False),
    ],
)
def test_the_policy_that_was_asked_for_is_shown_first(
    policy: Policy, names: list[str], ghosts: bool, results: Results, tmp_path: Path
) -> None:
    found = board(Site(replace(results, policy=policy), tmp_path))
    assert [name for name, _, _ in found.policies] == names and [name for name, _, shown in found.policies if shown] == [policy.reducer]
    assert (found.ghosts is not None) is ghosts
    assert [list(line[:1]) for line in found.data["views"][f"0|{policy.reducer}"]["rows"]] == [[0], [1], [2]]


def test_a_run_without_choices_has_none(tmp_path: Path) -> None:
    run = Made(tmp_path / "run")
    run.scene("only")
    run.row("a")
    run.scores("a", {"only": 1.0})
    found = board(Site(load_run(run.write()), tmp_path))
    assert found.strata == {} and found.ghosts is None and len(found.policies) == 1 and list(found.data["views"]) == ["0|mean"]


def test_columns_stand_in_groups(results: Results, tmp_path: Path) -> None:
    found = board(Site(results, tmp_path))
    assert found.groups == (("Hole", 1), ("Known region", 1), ("Against references", 1)) and found.starts == {0, 1, 2}


@pytest.mark.parametrize(
    ("region", "reads", "name"),
    [
        ("hole", ["truth"], "hole"),
        ("full", ["truth", "references"], "full"),
        ("known", ["target"], "known"),
        ("border", ["target"], "border"),
        ("hole", ["references"], "references"),
        ("full", [], "alone"),
    ],
)
def test_groups_follow_region_and_what_is_read(region: str, reads: list[str], name: str, results: Results) -> None:
    info = next(iter(results.columns.values()))
    changed = ColumnInfo.model_validate(info.model_dump() | {"region": region, "reads": reads})
    assert group(changed) == name and place(changed) == list(TITLES).index(name)


@pytest.mark.parametrize(("scenes", "told"), [(5, "; ≈ means here: too few scenes to tell"), (6, None)])
def test_too_few_scenes_stand_out(scenes: int, told: str | None, tmp_path: Path) -> None:
    run = Made(tmp_path / "run")
    for at in range(scenes):
        run.scene(f"s{at}")
    for at, label in enumerate("ab"):
        run.row(label)
        run.scores(label, {f"s{scene}": 10.0 + scene + at for scene in range(scenes)})
    view = board(Site(load_run(run.write()), tmp_path)).view
    assert view.status == f"{scenes} scenes; all seeds"
    first = "5 scenes cannot show a difference at 5 %: with one pair of rows it takes at least 6"
    assert view.notes == ((first + told,) if told else ())
