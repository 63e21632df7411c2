from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import pytest

from realbench.agreement import agreement, tau
from realbench.costs import Cost, costs
from realbench.results import load_run
from realbench.selection import Policy
from realbench.strata import Stratum, policies, share_bin, strata, tables_for
from realbench.tables import tables
from tests.making import DRIFT, Made

MATCHES = "matches|region:hole|backend:sift|v:1"
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Six scenes; `good` has ten dB more than `poor`, but on the outpainting ones."""
    run = Made(tmp_path / "run")
    kinds = [("inpainting", 0.05, 1), ("inpainting", 0.1, 2), ("outpainting", 0.249, 2), ("outpainting", 0.5, 5), ("inpainting", 1.0, 9)]
    for name, (kind, share, references) in zip("abcde", kinds, strict=True):
        run.scene(name, hole_kind=kind, hole_share=share, references=references, tags=["indoor", EVIL, "indoor"] if name in "ab" else [])
    run.scene("f", hole_kind="", tags=["indoor"])
    run.scene("never asked", hole_kind="outpainting")
    for label in ("good", "poor"):
        run.row(label, scenes=[*"abcdef"])
        sign = 1 if label == "good" else -1
        run.scores(label, {name: 20 + sign * (-5 if name in "cd" else 5) for name in "abcdef"})
    return run


def test_strata_by_hand(made: Made) -> None:
    found = [(one.kind, one.value, "".join(one.scenes)) for one in strata(load_run(made.write()))]
    assert found == [
        ("hole", "inpainting", "abe"), ("hole", "outpainting", "cd"),
        ("hole share", "0–10 %", "af"), ("hole share", "10–25 %", "bc"), ("hole share", "50–100 %", "de"),
        ("references", "1", "af"), ("references", "2", "bc"), ("references", "5 or more", "de"),
        ("tag", EVIL, "ab"), ("tag", "indoor", "abf"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("share", "name"), [(0, "0–10 %"), (0.0999, "0–10 %"), (0.1, "10–25 %"), (0.25, "25–50 %"), (0.5, "50–100 %"), (1, "50–100 %")]
)
def test_a_bin_holds_its_lower_end(share: float, name: str) -> None:
    assert share_bin(share)[1] == name


def test_what_all_scenes_share_is_no_stratum(tmp_path: Path) -> None:
    run = Made(tmp_path / "run")
    for name in "ab":
        run.scene(name, tags=["all"])
    run.row("row")
    assert strata(load_run(run.write())) == ()


def test_a_leaderboard_of_a_stratum(made: Made) -> None:
    results = load_run(made.write())
    outpainting = next(one for one in strata(results) if one.value == "outpainting")
    assert {row.label: row.entries[0].mean for row in tables_for(results).leaderboard.rows} == pytest.approx(
        {"good": 21 + 2 / 3, "poor": 18 + 1 / 3}
    )
    board = tables_for(results, outpainting).leaderboard
    assert [(row.label, row.entries[0].mean, row.entries[0].rank) for row in board.rows] == [("poor", 25, 1), ("good", 15, 2)]
    assert board.columns[0].scenes == ("c", "d") and tables_for(results, outpainting) is tables_for(results, outpainting)
    assert tables_for(results, outpainting).pairs[0].pairs[0].scenes == ("c", "d")


def test_a_stratum_is_the_run_of_its_scenes_alone(made: Made, tmp_path: Path) -> None:
    """Whatever is shown of a stratum is what a run of these scenes would show."""
    whole = load_run(made.write()).within(["a", "b", "e"])
    part = Made(tmp_path / "part")
    for name in "abe":
        part.manifest.scenes[name] = made.manifest.scenes[name]
    for label in ("good", "poor"):
        part.row(label, fingerprint=made.manifest.rows[label].fingerprint)
        part.scores(label, dict.fromkeys("abe", 25 if label == "good" else 15))
    alone = load_run(part.write())
    assert [row.entries for row in tables(whole).leaderboard.rows] == [row.entries for row in tables(alone).leaderboard.rows]
    assert tables(whole).per_scene == tables(alone).per_scene and tables(whole).pairs == tables(alone).pairs
    assert [*whole.scenes] == [*alone.scenes] and len(whole.cells()) == len(alone.cells()) == 6
    assert whole.within(["a"]).scores()["scene"].unique().tolist() == ["a"] and whole.environments == alone.environments


def test_policies_that_a_run_can_have(made: Made) -> None:
    assert [one.reducer for one in policies(load_run(made.write()))] == ["mean"]
    made.row("seeds", scenes=["a"], seeds=[0, 1])
    assert [one.reducer for one in policies(load_run(made.write()))] == ["mean", "oracle"]
    made.column(MATCHES, reads=["references"])
    found = policies(load_run(made.write()))
    assert [one.reducer for one in found] == ["mean", "selected", "oracle"] and found[1].by == MATCHES
    results = load_run(made.write())
    object.__setattr__(results, "policy", Policy("selected", Fraction(1, 2), MATCHES))
    assert policies(results)[1].keep == Fraction(1, 2)


def test_policies_with_an_unclear_metric(made: Made) -> None:
    made.row("seeds", scenes=["a"], seeds=[0, 1])
    for name in (MATCHES, "matches|other|v:1"):
        made.column(name)
    assert [one.reducer for one in policies(load_run(made.write()))] == ["mean", "oracle"]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 2, 3], [1, 2, 3], 1),
        ([1, 2, 3], [6, 5, 4], -1),
        ([1, 2, 3, 4], [1, 3, 2, 4], 4 / 6),  # five pairs agree, one does not
        ([1, 1, 2], [1, 2, 3], 2 / math.sqrt(2 * 3)),  # tau-b: the tied pair counts in one of the two factors
        ([1, math.nan, 2], [1, 5, 2], 1),
        ([1, math.inf], [1, 2], 1),
        ([1, 1], [1, 2], None),
        ([1], [1], None),
    ],
)
def test_tau_by_hand(one: list[float], other: list[float], expected: float | None) -> None:
    assert tau(one, other) == (None if expected is None else pytest.approx(expected))


def test_agreement_takes_directions_into_account(made: Made) -> None:
    made.column(DRIFT, direction="lower", region="known", image="raw", reads=["target"])
    made.row("truth", oracle=True, scenes=[*"abcdef"])
    made.scores("truth", dict.fromkeys("abcdef", math.inf))
    for label, value in (("good", 1.0), ("poor", 2.0), ("truth", 9.0)):
        made.scores(label, dict.fromkeys("abcdef", value), DRIFT)
    found = agreement(load_run(made.write()))
    assert [info.metric for info in found.columns] == ["psnr", "drift"] and found.rows == 2
    assert found.by_rows == ((1, 1), (1, 1))
    # Fill by fill they agree on four scenes of six.
    assert found.by_fills == ((1, pytest.approx(2 / 6)), (pytest.approx(2 / 6), 1))


def test_costs(made: Made) -> None:
    from realbench.records import FitRecord

    for seed in (0, 1):
        made.fill("good", "a", seed=seed, seconds=2.0 + seed, peak_memory={"host": 100 + seed, "device": 7})
    made.fill("good", "b", seconds=7.0)
    made.fill("poor", "a", state="failed", seconds=99.0, peak_memory={"host": 999})
    made.row("good", scenes=["a", "b"], seeds=[0, 1], cells={"a": [(0, 0), (0, 1)], "b": [(0, 0)]})
    for scene, seconds in (("a", 30.0), ("b", 10.0)):
        record = FitRecord(state="ok", inputs="", seconds=seconds, peak_memory={"host": 500})
        made.folder.write_fit(made.cell("good", scene), record, {})
    made.row("poor", scenes=["a"])
    found = costs(load_run(made.write()))
    assert found["good"] == Cost(2, 3, 20.0, 4.0, (30 + 5 + 10 + 7) / 2, 500, 7)
    assert found["poor"] == Cost(0, 0, None, None, None, None, None)


def test_a_pair_marks_what_ties_with_the_best(tmp_path: Path) -> None:
    run = Made(tmp_path / "run")
    names = "abcdefgh"
    for name in names:
        run.scene(name)
    for label in ("best", "near", "far"):
        run.row(label)
    run.row("few", scenes=[*names])
    for at, name in enumerate(names):
        run.score("best", name, 20 + at)
        run.score("near", name, 20 + at + (1 if at % 2 else -1.5))
        run.score("far", name, 10 + at)
    run.scores("few", {"a": 1.0})
    board = tables(load_run(run.write())).leaderboard
    marks = {row.label: (row.entries[0].best, row.entries[0].tied, row.entries[0].rank) for row in board.rows}
    assert marks == {"best": (True, False, 1), "near": (False, True, 2), "far": (False, False, 3), "few": (False, False, None)}
    spans = {row.label: row.mean_rank_interval for row in board.rows}
    assert spans["far"] == (3, 3) and spans["best"] == (1, 2) and spans["near"] == (1, 2) and spans["few"] is None


def test_intervals_within_a_scene(tmp_path: Path) -> None:
    run = Made(tmp_path / "run")
    run.scene("a")
    run.row("row", seeds=[0, 1, 2, 3])
    for seed in range(4):
        run.score("row", "a", 10 + seed, seed=seed)
    entry = tables(load_run(run.write())).per_scene[0].rows["row"][0]
    assert entry.value == 11.5 and entry.interval is not None and 10 <= entry.interval[0] < 11.5 < entry.interval[1] <= 13


def test_a_stratum_says_what_it_is() -> None:
    assert Stratum("hole", "outpainting", ("a",)).title == "hole: outpainting"


def test_seeds_selected_on_a_stratum_are_those_of_its_scenes(tmp_path: Path) -> None:
    run = Made(tmp_path / "run")
    run.column(MATCHES, reads=["references"], digits=0)
    for name in "ab":
        run.scene(name)
    run.row("row", seeds=[0, 1, 2, 3])
    for seed in range(4):
        for name in "ab":
            run.score("row", name, 10 * seed, seed=seed)
        run.score("row", "a", seed, seed=seed, signature=MATCHES)
    run.score("row", "b", 5, signature=MATCHES)
    results, half = load_run(run.write()), Policy("selected", Fraction(1, 2), MATCHES)
    whole = tables_for(results, None, half)
    assert len(whole.notes) == 1 and whole.notes[0].startswith("row: 3 of 8 seeds have no matches score")
    assert whole.leaderboard.rows[0].unranked == "5 of 8 seeds could be ranked for the selection, 80 % needed"
    one, other = (tables_for(results, Stratum("tag", name, (name,)), half) for name in "ab")
    assert one.notes == () and one.leaderboard.rows[0].entries[0].mean == 25 and one.leaderboard.rows[0].entries[0].rank == 1
    assert other.notes[0].startswith("row: 3 of 4 seeds") and other.leaderboard.rows[0].unranked.startswith("1 of 4 seeds")
