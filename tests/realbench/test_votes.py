"""Votes from strangers: checked against the key, counted once, with the intervals of the textbooks."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from realbench import votes
from realbench.errors import UsageError
from realbench.results import Results, load_run
from realbench.votes import BlindOptions, Key, Pair, Side, tally, wilson
from tests.making import Made

STUDY = "0123456789abcdef"
BALLOT = "0" * 32


def pair(number: int, scene: str, a: str, b: str) -> Pair:
    return Pair(id=f"{number:016x}", scene=scene, a=side(a), b=side(b))


def side(label: str) -> Side:
    return Side(label=label, fit=0, seed=0, image="x")


PAIRS = [pair(1, "s1", "warp", "mean"), pair(2, "s2", "mean", "warp"), pair(3, "s2", "warp", "telea"), pair(4, "s3", "warp", "mean")]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    run = Made(tmp_path / "run")
    run.scene("s1")
    run.row("warp")
    run.write()
    folder = tmp_path / "run" / votes.FOLDER
    folder.mkdir()
    (folder / f"{STUDY}.key.json").write_text(Key(study=STUDY, seed=0, pairs=PAIRS).model_dump_json())
    return load_run(tmp_path / "run")


def ballot(**fields: Any) -> dict[str, Any]:
    return {"kind": "realbench-votes/1", "study": STUDY, "ballot": BALLOT, "votes": []} | fields


def vote(number: int, realistic: str | None, faithful: str | None = None) -> dict[str, Any]:
    return {"pair": f"{number:016x}", "realistic": realistic, "faithful": faithful}


def given(results: Results, folder: Path, *contents: Any) -> Results:
    paths = []
    for at, content in enumerate(contents):
        paths.append(folder / f"votes-{at}.json")
        paths[-1].write_text(content if isinstance(content, str) else json.dumps(content))
    return replace(results, votes=tuple(paths))


def test_without_files_there_is_nothing(results: Results) -> None:
    assert tally(results) is None


def test_preferences_are_counted_by_hand(results: Results, tmp_path: Path) -> None:
    first = ballot(votes=[vote(1, "a", "b"), vote(2, "b"), vote(3, "tie", "a")])
    second = ballot(ballot="1" * 32, votes=[vote(1, "b"), vote(4, "a", "tie")])
    found = tally(given(results, tmp_path, first, second))
    assert found is not None and (found.ballots, found.pairs, found.scenes, found.notes) == (2, 4, 3, ())
    realistic, faithful = found.questions
    rows = {row.label: row for row in realistic.rows}
    # warp: s1 won and lost (½), s2 won and tied (¾), s3 won (1); mean: ½, 0, 0; telea: tied.
    assert (rows["warp"].wins, rows["warp"].ties, rows["warp"].losses, rows["warp"].votes) == (3, 1, 1, 5)
    assert rows["warp"].share == pytest.approx((0.5 + 0.75 + 1) / 3) and rows["mean"].share == pytest.approx(0.5 / 3)
    assert rows["telea"].share == 0.5 and rows["warp"].interval is None, "three scenes give no interval"
    assert [row.label for row in realistic.rows] == ["warp", "telea", "mean"]
    duels = {(duel.first, duel.second): duel for duel in realistic.duels}
    assert list(duels) == [("mean", "warp"), ("telea", "warp")]
    assert (duels["mean", "warp"].wins, duels["mean", "warp"].losses, duels["mean", "warp"].share) == (1, 3, 0.25)
    assert duels["telea", "warp"].share is None and duels["telea", "warp"].interval is None and duels["telea", "warp"].ties == 1
    assert {row.label: row.share for row in faithful.rows} == {"warp": pytest.approx(0.5), "mean": 0.75, "telea": 0}


def test_from_four_scenes_on_there_is_an_interval() -> None:
    pairs = [pair(at, f"s{at}", "a", "b") for at in range(4)]
    key = Key(study=STUDY, seed=0, pairs=pairs)
    cast = votes.Ballot.model_validate(ballot(votes=[vote(at, "a") for at in range(4)]))
    row = votes.count([cast], {STUDY: key}).questions[0].rows[0]
    assert row.label == "a" and row.interval == (1.0, 1.0)


def test_wilson_is_the_textbook_s() -> None:
    # Newcombe 1998, Table I, method 3: 81 of 263.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    z = 1.959963984540054
    share, n = 0.8, 10
    middle, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    assert wilson(8, 10) == pytest.approx(((middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)))
    assert wilson(0, 0) is None


def test_a_ballot_given_twice_counts_once(results: Results, tmp_path: Path) -> None:
    short, full = ballot(votes=[vote(1, "a")]), ballot(votes=[vote(1, "a"), vote(4, "b")])
    for order in ((short, full), (full, short)):
        found = tally(given(results, tmp_path, *order))
        assert found is not None and (found.ballots, found.pairs) == (1, 2)
        assert found.notes == ("votes-1.json: a ballot that was given before; the fuller of the two counts",)


def test_open_questions_count_for_nothing(results: Results, tmp_path: Path) -> None:
    found = tally(given(results, tmp_path, ballot(votes=[vote(1, None)])))
    assert found is not None and (found.ballots, found.pairs) == (0, 0)
    assert [question.rows for question in found.questions] == [(), ()]


BAD = {
    "no json": ("<html>", "expected the file that a blind page exported"),
    "nothing": ("", "expected the file that a blind page exported"),
    "deep": ("[" * 50_000, "expected the file that a blind page exported"),
    "list": ([ballot()], "expected the file that a blind page exported"),
    "other kind": (ballot(kind="realbench-votes/2"), "kind"),
    "extra": (ballot(more=1), "more: Extra inputs"),
    "study": (ballot(study="../../etc/passwd"), "study: String should match"),
    "ballot": (ballot(ballot="x"), "ballot: String should match"),
    "answer": (ballot(votes=[vote(1, "c")]), "votes.0.realistic"),
    "answer of a type": (ballot(votes=[{"pair": "0" * 16, "realistic": 1}]), "votes.0.realistic"),
    "too many": (ballot(votes=[vote(at, "a") for at in range(votes.MAX_PAIRS + 1)]), "at most 2000"),
    "unknown": (ballot(votes=[vote(1, "a"), vote(9, "a")]), f"1 of its pairs are none of study {STUDY}, the first is 0000000000000009"),
    "twice": (ballot(votes=[vote(1, "a"), vote(1, "b")]), "answered twice"),
    "another study": (ballot(study="f" * 16), "whose key is not in the run's folder blind/"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_no_page_wrote_is_refused(results: Results, tmp_path: Path, name: str) -> None:
    content, words = BAD[name]
    with pytest.raises(UsageError, match=r"--votes .*votes-0\.json") as caught:
        tally(given(results, tmp_path, content))
    assert words in str(caught.value) and len(str(caught.value)) < 500


def test_a_file_that_is_too_large_is_not_read(results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(votes, "MAX_BYTES", 100)
    with pytest.raises(UsageError, match="more than 100 bytes"):
        tally(given(results, tmp_path, " " * 101))
    with pytest.raises(UsageError, match="cannot be read"):
        tally(replace(results, votes=(tmp_path / "absent",)))


def test_names_in_a_file_are_not_obeyed_by_the_terminal(results: Results, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        tally(given(results, tmp_path, ballot(**{"\x1b[31mred": 1})))
    assert "\x1b" not in str(caught.value)


def test_a_broken_key_is_told(results: Results, tmp_path: Path) -> None:
    (tmp_path / "run" / votes.FOLDER / f"{STUDY}.key.json").write_text("{}")
    with pytest.raises(UsageError, match="broken"):
        tally(given(results, tmp_path, ballot()))


@pytest.mark.parametrize("options", [{"pairs": 0}, {"pairs": votes.MAX_PAIRS + 1}, {"seed": -1}])
def test_a_page_that_cannot_be_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="a blind page"):
        BlindOptions(**options)
