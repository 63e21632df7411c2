from __future__ import annotations

import math
from pathlib import Path

import pytest

from realbench.errors import NothingMeasured
from realbench.results import load_run
from realbench.tables import Entry, Leaderboard, leaderboard, per_scene, tables
from tests.making import DRIFT, PSNR, Made

INF = math.inf


def entry(board: Leaderboard, label: str, column: int = 0) -> Entry:
    return next(row.entries[column] for row in board.rows if row.label == label)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Five scenes with ground truth and `none` without; drift needs no truth, and lower is better."""
    run = Made(tmp_path / "run")
    run.column(DRIFT, direction="lower", region="known", image="raw", reads=["target"])
    for scene in "abcde":
        run.scene(scene)
    run.scene("none", truth=False, references=2)
    return run


def without_truth(run: Made, label: str) -> None:
    run.score(label, "none", None, state="unsupported", reason="the scene has no ground truth")


def test_means_intervals_coverage_and_ranks(made: Made) -> None:
    made.row("low")
    made.row("high")
    made.row("truth", oracle=True)
    made.scores("low", {"a": 10, "b": 12, "c": 11, "d": 9, "e": 13})
    made.scores("high", {"a": 20, "b": 22, "c": 21, "d": 19, "e": 23})
    made.scores("truth", dict.fromkeys("abcde", INF))
    for label in ("low", "high"):
        without_truth(made, label)
        made.scores(label, dict.fromkeys(["a", "b", "c", "d", "e", "none"], 1.0 if label == "low" else 2.0), DRIFT)
    made.fill("truth", "none", state="unsupported", reason="no truth to copy")
    board = leaderboard(load_run(made.write()))

    assert [row.label for row in board.rows] == ["low", "high", "truth"]
    assert [row.mean_rank for row in board.rows] == [1.5, 1.5, None]
    found = entry(board, "low")
    assert (found.mean, found.scenes, found.rank, found.best, found.missing) == (11, 5, 2, False, ())
    assert found.interval is not None and 9 < found.interval[0] < 11 < found.interval[1] < 13
    assert (entry(board, "high").rank, entry(board, "high").best) == (1, True)
    assert (entry(board, "low", 1).rank, entry(board, "high", 1).rank) == (1, 2)
    oracle = entry(board, "truth")
    assert (oracle.mean, oracle.interval, oracle.rank, oracle.best) == (INF, (INF, INF), None, False)
    assert "oracle" in oracle.unranked and "oracle" in board.rows[-1].unranked
    psnr, drift = board.columns
    assert psnr.scenes == tuple("abcde") and psnr.outside == {"none": "the scene has no ground truth"}
    assert drift.scenes == ("a", "b", "c", "d", "e", "none") and drift.outside == {}


@pytest.mark.parametrize(("scored", "ranked"), [("abcd", True), ("abc", False)])
def test_a_row_is_ranked_from_exactly_80_percent(made: Made, scored: str, ranked: bool) -> None:
    made.row("full")
    made.row("part")
    made.scores("full", dict.fromkeys("abcde", 10.0))
    made.scores("part", dict.fromkeys(scored, 99.0))
    for scene in set("abcde") - set(scored):
        made.fill("part", scene, state="failed", reason="it broke")
    found = entry(leaderboard(load_run(made.write())), "part")
    assert found.mean == 99 and found.scenes == len(scored)
    assert (found.rank == 1) is ranked
    assert [(item.state, item.count, item.reason) for item in found.missing] == [("failed", 5 - len(scored), "fill: it broke")]
    if not ranked:
        assert found.rank is None and found.unranked == "scores on 3 of 5 scenes, 80 % needed"


def test_a_row_gains_nothing_from_the_hard_scene_it_misses(made: Made) -> None:
    made.row("good")
    made.row("misses")
    made.scores("good", {"a": 20, "b": 20, "c": 20, "d": 20, "e": 1})
    made.scores("misses", {"a": 18, "b": 18, "c": 18, "d": 18})
    board = leaderboard(load_run(made.write()))
    good, misses = entry(board, "good"), entry(board, "misses")
    assert good.mean == 16.2 and misses.mean == 18
    assert (good.rank, misses.rank, good.common, misses.common) == (1, 2, 20, 18)
    assert board.columns[0].common == tuple("abcd")


def test_missing_fills_within_scenes_count_too(made: Made) -> None:
    made.row("half", seeds=[0, 1])
    made.row("full")
    made.scores("full", dict.fromkeys("abcde", 1.0))
    for scene in "abcde":
        made.score("half", scene, 5, seed=0)
        made.fill("half", scene, seed=1, state="timeout", reason="took too long")
    found = entry(leaderboard(load_run(made.write())), "half")
    assert (found.mean, found.scenes, found.fills, found.asked, found.rank) == (5, 5, 5, 10, None)
    assert found.unranked == "scores for 5 of 10 fills, 80 % needed"
    assert [(item.state, item.count) for item in found.missing] == [("timeout", 5)]


def test_repeats_are_averaged_seeds_first(made: Made) -> None:
    made.row("row", scenes=["a"], fits=[0, 1], seeds=[0, 1])
    for fit, seed, value in ((0, 0, 1), (0, 1, 3), (1, 0, 10), (1, 1, None)):
        if value is not None:
            made.score("row", "a", value, fit=fit, seed=seed)
    results = load_run(made.write())
    board, table = leaderboard(results), per_scene(results)[0]
    assert entry(board, "row").mean == 6
    assert (board.rows[0].fits, board.rows[0].seeds) == (2, 2)
    found = table.rows["row"][0]
    assert (found.value, found.fills, found.asked) == (6, 3, 4)
    assert [(item.state, item.reason) for item in found.missing] == [("missing", "not run yet")]


def test_a_missing_score_is_neither_zero_nor_silent(made: Made) -> None:
    made.row("row", scenes=["a", "b"])
    made.score("row", "a", 8)
    made.score("row", "b", None, state="failed", reason="ValueError: odd")
    table = per_scene(load_run(made.write()))[0]
    assert [(found.value, [item.reason for item in found.missing]) for found in table.rows["row"]] == [(8, []), (None, ["ValueError: odd"])]
    assert entry(leaderboard(load_run(made.root)), "row").mean == 8


def test_a_record_that_says_ok_without_a_value_counts_as_failed(made: Made) -> None:
    made.row("row", scenes=["a"])
    made.score("row", "a", None)
    found = entry(leaderboard(load_run(made.write())), "row")
    assert found.mean is None and [item.state for item in found.missing] == ["failed"]


def test_mean_ranks_share_tied_places_and_leave_out_full_ties(made: Made) -> None:
    made.column("third|v:1", region="full")
    for label, psnr, third in (("x", 3.0, 1.0), ("y", 3.0, 2.0), ("z", 1.0, 3.0)):
        made.row(label)
        made.scores(label, dict.fromkeys("abcde", psnr))
        made.scores(label, dict.fromkeys([*"abcde", "none"], 0.5), DRIFT)
        made.scores(label, dict.fromkeys([*"abcde", "none"], third), "third|v:1")
    board = leaderboard(load_run(made.write()))
    # PSNR: x and y tie for places 1 and 2; drift: all tie; third: z, y, x.
    assert {row.label: row.mean_rank for row in board.rows} == {"y": 1.75, "z": 2, "x": 2.25}
    assert [info.metric for info in board.tied] == ["drift"]
    assert [entry(board, label, 1).rank for label in "xyz"] == [1, 1, 1]


def test_where_every_metric_ties_there_is_no_mean_rank(made: Made) -> None:
    for label in "xy":
        made.row(label)
        made.scores(label, dict.fromkeys("abcde", 3.0))
    board = leaderboard(load_run(made.write()))
    assert [(row.mean_rank, row.unranked) for row in board.rows] == [(None, ""), (None, "")]


def test_one_scene_has_no_interval(made: Made) -> None:
    made.row("row", scenes=["a"], seeds=[0, 1])
    made.score("row", "a", 8)
    made.score("row", "a", 9, seed=1)
    found = entry(leaderboard(load_run(made.write())), "row")
    assert (found.mean, found.interval) == (8.5, None)


def test_a_scene_that_a_row_was_not_asked_for_lowers_its_coverage(made: Made) -> None:
    made.row("all")
    made.row("some", scenes=["a", "b"])
    made.scores("all", dict.fromkeys("abcde", 5.0))
    made.scores("some", {"a": 50, "b": 50})
    found = entry(leaderboard(load_run(made.write())), "some")
    assert (found.scenes, found.rank) == (2, None)
    assert [(item.state, item.count, item.reason) for item in found.missing] == [("missing", 3, "not asked for")]


def test_a_metric_unsupported_on_a_scene_does_not_apply_there(made: Made) -> None:
    made.row("x")
    made.row("y")
    for label in "xy":
        made.scores(label, dict.fromkeys("abcd", 3.0), DRIFT)
    made.score("x", "e", None, signature=DRIFT, state="unsupported", reason="the hole is everything")
    made.fill("y", "e", state="failed", reason="broke")
    board = leaderboard(load_run(made.write()))
    assert board.columns[1].outside == {"e": "the hole is everything"}
    assert entry(board, "x", 1).scenes == 4


def test_a_method_that_cannot_do_a_scene_lacks_it(made: Made) -> None:
    made.row("x")
    made.row("y")
    made.scores("x", dict.fromkeys("abcde", 3.0))
    made.scores("y", dict.fromkeys("abc", 4.0))
    for scene in "de":
        made.fill("y", scene, state="unsupported", reason="needs two references")
    board = leaderboard(load_run(made.write()))
    assert board.columns[0].scenes == tuple("abcde")
    assert entry(board, "y").rank is None


def test_a_scene_that_the_only_method_cannot_do_still_counts(made: Made) -> None:
    made.row("row")
    made.scores("row", dict.fromkeys("abc", 4.0))
    for scene in "de":
        made.fill("row", scene, state="unsupported", reason="needs two references")
    board = leaderboard(load_run(made.write()))
    assert board.columns[0].scenes == tuple("abcde")
    assert entry(board, "row").unranked == "scores on 3 of 5 scenes, 80 % needed"


def test_a_lone_row_is_ranked_but_not_best(made: Made) -> None:
    made.row("row")
    made.scores("row", dict.fromkeys("abcde", 3.0))
    found = entry(leaderboard(load_run(made.write())), "row")
    assert (found.rank, found.best) == (1, False)


def test_infinities_of_both_signs_have_no_mean(made: Made) -> None:
    made.row("row", scenes=["a"], seeds=[0, 1])
    made.score("row", "a", INF)
    made.score("row", "a", -INF, seed=1)
    found = entry(leaderboard(load_run(made.write())), "row")
    assert found.mean is None and "no mean" in found.missing[0].reason


def test_mixed_devices_are_told(made: Made) -> None:
    made.row("one")
    made.row("two")
    for scene in "ab":
        made.fill("one", scene)
        made.fill("two", scene, device="cpu" if scene == "a" else "cuda")
    board = leaderboard(load_run(made.write()))
    devices = {row.label: row.devices for row in board.rows}
    assert devices == {"one": ("cpu (Some), float32",), "two": ("cpu (Some), float32", "cuda (Some), float32")}


def test_equal_labels_of_two_runs_stay_apart_unless_they_are_equal_rows(tmp_path: Path) -> None:
    runs = []
    for name, fingerprint in (("one", "a" * 12), ("two", "b" * 12)):
        run = Made(tmp_path / name)
        run.scene("a")
        run.row("same")
        run.row("other", fingerprint=fingerprint)
        run.scores("same", {"a": 5})
        run.scores("other", {"a": 6 if name == "one" else 7})
        runs.append(run.write())
    board = leaderboard(load_run(*runs))
    assert {row.label: row.entries[0].mean for row in board.rows} == {"same": 5, "other @one": 6, "other @two": 7}
    assert entry(board, "same").asked == 1


def test_rows_ranked_under_fewer_metrics_come_later(made: Made) -> None:
    made.row("few")
    made.row("all")
    made.scores("few", dict.fromkeys("abcde", 9.0))
    made.scores("all", dict.fromkeys("abcde", 8.0))
    made.scores("all", dict.fromkeys([*"abcde", "none"], 8.0), DRIFT)
    board = leaderboard(load_run(made.write()))
    assert [(row.label, row.mean_rank) for row in board.rows] == [("all", 1.5), ("few", 1.0)]


def test_the_best_of_each_scene_leaves_oracles_out(made: Made) -> None:
    for label in ("x", "y", "truth"):
        made.row(label, oracle=label == "truth")
    made.scores("x", {"a": 1, "b": 4})
    made.scores("y", {"a": 2})
    made.scores("truth", {"a": INF, "b": INF})
    table = per_scene(load_run(made.write()))[0]
    assert table.scenes[:2] == ("a", "b") and table.best[:2] == (2, None)


def test_where_all_are_equal_none_is_best(made: Made) -> None:
    for label in "xy":
        made.row(label)
        made.scores(label, dict.fromkeys("abcde", 3.0))
    found = tables(load_run(made.write()))
    assert [(row.entries[0].rank, row.entries[0].best) for row in found.leaderboard.rows] == [(1, False), (1, False)]
    assert set(found.per_scene[0].best) == {None}


def test_metrics_stand_in_groups_the_hole_first(made: Made) -> None:
    made.column("full|v:1", reads=["truth"], region="full")
    made.column("ssim|v:1", reads=["truth"])
    made.row("row", scenes=["a"])
    made.scores("row", {"a": 1})
    found = tables(load_run(made.write()))
    assert [column.info.metric for column in found.leaderboard.columns] == ["psnr", "ssim", "full", "drift"]
    assert [table.info.metric for table in found.per_scene] == ["psnr", "ssim", "full", "drift"]


def test_nothing_measured(tmp_path: Path) -> None:
    run = Made(tmp_path / "run")
    run.scene("bad", refused="target.png: broken")
    run.row("row")
    with pytest.raises(NothingMeasured, match=r"scene bad: target.png: broken"):
        tables(load_run(run.write()))


def test_a_run_where_all_failed_still_has_a_table(made: Made) -> None:
    made.row("row", scenes=["a"])
    made.fill("row", "a", state="failed", reason="it broke")
    board = leaderboard(load_run(made.write()))
    assert board.rows[0].mean_rank is None and entry(board, "row").mean is None
    assert board.columns[0].info.signature == PSNR
