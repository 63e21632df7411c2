"""The paper's Table 2 by hand: four scenes, four seeds, matches that point at the better seeds in three scenes of four."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from realbench.filtering import FIELDS, Filtering, filtering, frame
from realbench.results import load_run
from realbench.selection import Policy
from tests.making import Made

MATCHES = "matches|region:hole|backend:sift|v:1"
OTHER = "matches|region:hole|backend:other|v:1"
VALUES = {"a": [10, 20, 30, 40], "b": [1, 2, 3, 4], "c": [5, 5, 5, 5], "d": [8, 6, 4, 2]}


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """`row` has a match count equal to the seed's number; `plain` has one seed and `truth` is an oracle with four."""
    run = Made(tmp_path / "run")
    run.column(MATCHES, reads=["references"], digits=0)
    for scene in VALUES:
        run.scene(scene)
    run.row("row", seeds=[0, 1, 2, 3])
    run.row("plain")
    run.row("truth", oracle=True, seeds=[0, 1, 2, 3])
    for scene, values in VALUES.items():
        for seed, value in enumerate(values):
            run.score("row", scene, value, seed=seed)
            run.score("row", scene, seed, seed=seed, signature=MATCHES)
            run.score("truth", scene, math.inf, seed=seed)
        run.score("plain", scene, 7)
    return run


def found(made: Made, **words: object) -> Filtering:
    result = filtering(load_run(made.write()))
    assert result is not None
    return result


def test_the_table_by_hand(made: Made) -> None:
    table = found(made)
    assert list(table.rows) == ["row"] and table.notes == () and table.by is not None
    lines = table.rows["row"]
    assert [(line.dropped, line.kept) for line in lines] == [(0, "4 of 4"), (25, "3 of 4"), (50, "2 of 4"), (75, "1 of 4")]
    psnr = [line.steps[0] for line in lines]
    # Scene means: all 25, 2.5, 5, 5; best three 30, 3, 5, 4; best two 35, 3.5, 5, 3; best one 40, 4, 5, 2.
    assert [step.entry.mean for step in psnr] == [9.375, 10.5, 11.625, 12.75]
    assert [step.change for step in psnr] == [None, 1.125, 2.25, 3.375]  # (5 + .5 + 0 − 1) / 4 and so on
    assert [step.scenes for step in psnr] == [0, 4, 4, 4]
    assert psnr[0].interval is None and psnr[3].interval is not None
    low, high = psnr[3].interval
    assert -3 <= low < 3.375 < high <= 15
    assert psnr[0].entry.interval is not None and psnr[0].entry.rank is not None
    matches = [line.steps[1].entry.mean for line in lines]
    assert matches == [1.5, 2, 2.5, 3]


def test_shares_that_differ_between_scenes_are_a_range(made: Made) -> None:
    made.manifest.rows["row"].cells = {"a": [(0, 0), (0, 1)], **{scene: [(0, seed) for seed in range(4)] for scene in "bcd"}}
    lines = found(made).rows["row"]
    assert [line.kept for line in lines] == ["2–4 of 2–4", "2–3 of 2–4", "1–2 of 2–4", "1 of 2–4"]


def test_seeds_without_a_count_are_told(made: Made) -> None:
    made.score("row", "a", None, seed=3, signature=MATCHES, state="failed", reason="it broke")
    table = found(made)
    assert table.notes == ("row: 1 of 16 seeds have no matches score and rank last (1 × failed: it broke); none of them counts",)
    # On scene a the best one is now seed 2: 30, 4, 5, 2.
    assert table.rows["row"][3].steps[0].entry.mean == 10.25


def test_infinite_scores_have_no_nan(made: Made) -> None:
    for seed in range(4):
        made.score("row", "a", math.inf, seed=seed)
    step = found(made).rows["row"][2].steps[0]
    assert step.entry.mean == math.inf and step.change == (0 + 1 + 0 - 2) / 4


def test_without_seeds_there_is_no_table(made: Made) -> None:
    made.manifest.rows["row"].seeds = [0]
    assert filtering(load_run(made.write())) is None


def test_without_matches_the_reason_stands_in_its_place(made: Made) -> None:
    made.manifest.columns = {key: info for key, info in made.manifest.columns.items() if info.metric != "matches"}
    table = found(made)
    assert table.by is None and "--metric matches" in table.absent and table.rows == {}


def test_of_several_matches_one_must_be_chosen(made: Made) -> None:
    from dataclasses import replace

    made.column(OTHER, reads=["references"])
    results = load_run(made.write())
    table = filtering(results)
    assert table is not None and table.by is None and OTHER in table.absent
    chosen = filtering(replace(results, policy=Policy(by=MATCHES)))
    assert chosen is not None and chosen.by is not None and chosen.by.signature == MATCHES


def test_the_long_form(made: Made) -> None:
    results = load_run(made.write())
    lines = frame(found(made), results)
    assert tuple(lines.columns) == FIELDS and len(lines) == 4 * 2
    last = lines[(lines["dropped_percent"] == 75) & (lines["metric"] == "psnr")].iloc[0]
    assert (last["label"], last["seeds_kept"], last["seeds"], last["by"], last["mean"]) == ("row", "1", "4", MATCHES, 12.75)
    assert (last["scenes"], last["of_scenes"], last["change"], last["change_scenes"]) == (4, 4, 3.375, 4)
    first = lines[(lines["dropped_percent"] == 0) & (lines["metric"] == "psnr")].iloc[0]
    assert math.isnan(first["change"]) and first["change_scenes"] == 0
