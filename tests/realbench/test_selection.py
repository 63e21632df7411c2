"""Seeds are ranked by matches, apart for each row, scene and fit, and never by the truth."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import realbench
from realbench import selection
from realbench.errors import UsageError
from realbench.records import ColumnInfo
from realbench.results import load_run
from realbench.selection import Policy, choose, mark, parse_keep, places, policy, reduce, select
from realbench.tables import leaderboard, tables
from tests.conftest import Plugins
from tests.making import DRIFT, PSNR, Made

MATCHES = "matches|region:hole|backend:sift|v:1"
LOFTR = "matches|region:hole|backend:loftr|v:1"
HALF = Fraction(1, 2)
INF = math.inf


def column(signature: str, **fields: object) -> ColumnInfo:
    standard = {
        "metric": signature.partition("|")[0], "config": {}, "title": "T", "summary": "", "direction": "higher", "region": "hole",
        "image": "composite", "reads": ["references"], "unit": "", "digits": 0,
    }  # fmt: skip
    return ColumnInfo(signature=signature, **(standard | fields))  # type: ignore[arg-type]


BY = column(MATCHES)


def lines(counts: list[float | None], psnr: list[float] | None = None, **keys: object) -> pd.DataFrame:
    """A match score and a PSNR a seed of one row, scene and fit."""
    head = {"label": "row", "scene": "a", "fit": 0} | keys
    values = zip(counts, psnr or [10.0 + seed for seed in range(len(counts))], strict=True)
    frames = [
        [
            {
                **head,
                "seed": seed,
                "signature": MATCHES,
                "value": math.nan if count is None else count,
                "state": "ok" if count is not None else "failed",
            },
            {**head, "seed": seed, "signature": PSNR, "value": value, "state": "ok"},
        ]
        for seed, (count, value) in enumerate(values)
    ]
    return pd.DataFrame([line for pair in frames for line in pair]).assign(
        reason=lambda frame: frame["state"].map({"ok": "", "failed": "broke"})
    )


def kept(scores: pd.DataFrame, keep: Fraction, by: ColumnInfo = BY) -> list[int]:
    found = select(scores, by, keep)
    return sorted(found.loc[found["signature"] == PSNR, "seed"])


@pytest.mark.parametrize(
    ("counts", "keep", "expected"),
    [
        ([5, 9, 7, 1], HALF, [1, 2]),
        ([5, 9, 7, 1], Fraction(1, 4), [1]),
        ([5, 9, 7, 1], Fraction(1), [0, 1, 2, 3]),
        ([5, 9, 7, 1, 8], HALF, [1, 2, 4]),  # 2.5 is rounded up
        ([5, 9, 7], Fraction(1, 100), [1]),  # at least one
        ([3, 3, 3, 3], HALF, [0, 1]),  # ties go to the lower seed
        ([3, 8, 8, 8], HALF, [1, 2]),
        ([None, 2, None, 1], HALF, [1, 3]),  # without a score: behind all others
        ([None, 0, None, None], HALF, [0, 1]),  # and among themselves by seed
        ([None, None], Fraction(1), [0, 1]),
        ([0.0], Fraction(1, 4), [0]),
    ],
)
def test_the_best_share_by_hand(counts: list[float | None], keep: Fraction, expected: list[int]) -> None:
    assert kept(lines(counts), keep) == expected


def test_fewer_is_better_where_the_metric_says_so() -> None:
    assert kept(lines([5, 9, 7, 1]), HALF, column(MATCHES, direction="lower")) == [0, 3]


def test_rows_scenes_and_fits_are_ranked_apart() -> None:
    frame = pd.concat([
        lines([1, 2]), lines([200, 100], scene="b"), lines([20, 10], fit=1), lines([7, 8], label="other"),
    ])  # fmt: skip
    found = mark(places(frame, BY), HALF)
    chosen = found.loc[found["kept"], ["label", "scene", "fit", "seed"]].itertuples(index=False, name=None)
    assert set(chosen) == {("row", "a", 0, 1), ("row", "b", 0, 0), ("row", "a", 1, 0), ("other", "a", 0, 1)}


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(0, 4)), min_size=1, max_size=9), st.randoms(), st.sampled_from([1, 25, 50, 75, 100]))
def test_the_order_of_lines_does_not_matter(counts: list[float | None], random: object, percent: int) -> None:
    frame = lines(counts)
    order = list(frame.index)
    random.shuffle(order)  # type: ignore[attr-defined]
    keep = Fraction(percent, 100)
    found = kept(frame, keep)
    assert kept(frame.loc[order], keep) == found and len(found) == math.ceil(len(counts) * keep)
    if percent == 100:
        assert found == list(range(len(counts)))


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=9), st.lists(st.floats(allow_nan=True), min_size=9, max_size=9))
def test_no_other_score_is_looked_at(counts: list[float], other: list[float]) -> None:
    frame = lines(list(counts))
    changed = frame.copy()
    changed.loc[changed["signature"] == PSNR, "value"] = other[: len(counts)]
    changed.loc[changed["signature"] == PSNR, "state"] = "failed"
    assert kept(frame, HALF) == kept(changed, HALF)


def test_where_no_seed_has_a_score_nothing_is_selected() -> None:
    found = select(lines([None, None, None, None]), BY, HALF)
    psnr = found[found["signature"] == PSNR]
    assert len(psnr) == 2 and psnr["value"].isna().all()
    assert set(psnr["state"]) == {"failed"} and set(psnr["reason"]) == {"no seed can be selected: broke"}
    assert select(lines([None]), BY, HALF)["value"].notna().any()  # a lone seed needs no selection


def test_a_seed_that_was_never_scored_is_missing() -> None:
    frame = lines([4, 5])
    frame = frame[~((frame["signature"] == MATCHES) & (frame["seed"] == 1))]
    found = places(frame, BY)
    assert list(found["seed"]) == [0, 1]
    assert list(found["state"]) == ["ok", "missing"] and list(found["scored"]) == [1, 1]


def test_what_could_not_be_ranked_is_told() -> None:
    frame = pd.concat([lines([None, 2, None, 1]), lines([1, None, None, None], label="poor"), lines([3, 4], label="fine")])
    reduced = reduce(frame, Policy("selected", HALF), {MATCHES: BY})
    assert reduced.notes == (
        "row: 2 of 4 seeds have no matches score and rank last (2 × failed: broke); none of them counts",
        "poor: 3 of 4 seeds have no matches score and rank last (3 × failed: broke); 1 of them count all the same, for want of others",
    )
    assert dict(reduced.pools) == {"row": (2, 4), "poor": (1, 4), "fine": (2, 2)}


def test_a_policy_that_drops_nothing_says_so() -> None:
    assert reduce(lines([1]), Policy("selected", HALF), {MATCHES: BY}).notes == (
        "nothing was dropped: no row has more seeds on a scene than are kept",
    )


def test_the_oracle_takes_the_best_by_each_metric_itself() -> None:
    frame = lines([5, 9, None], psnr=[30.0, 10.0, 20.0])
    found = reduce(frame, Policy("oracle", Fraction(0)), {MATCHES: BY, PSNR: column(PSNR)})
    chosen = found.scores.set_index("signature")["seed"].to_dict()
    assert chosen == {MATCHES: 1, PSNR: 0} and found.oracle


@pytest.mark.parametrize(
    ("text", "share"),
    [("25%", Fraction(1, 4)), ("25", Fraction(1, 4)), ("12.5 %", Fraction(1, 8)), ("100%", Fraction(1)), ("0.5%", Fraction(1, 200))],
)
def test_shares(text: str, share: Fraction) -> None:
    assert parse_keep(text) == share


@pytest.mark.parametrize(("text", "hint"), [("0%", "above 0"), ("101%", "up to 100"), ("x", "25%"), ("-5%", "25%"), ("0.25", "write 25%")])
def test_shares_that_cannot_be_meant(text: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        parse_keep(text)


def test_the_only_matches_select_and_several_are_listed() -> None:
    sift, loftr = column(MATCHES, config={"backend": "sift"}), column(LOFTR, config={"backend": "loftr"})
    psnr = column(PSNR, reads=["truth"])
    assert choose({PSNR: psnr, MATCHES: sift}) is sift
    both = {MATCHES: sift, LOFTR: loftr, PSNR: psnr, DRIFT: column(DRIFT, reads=["target"])}
    with pytest.raises(UsageError) as several:
        choose(both)
    assert MATCHES in str(several.value) and LOFTR in str(several.value)
    assert choose(both, LOFTR) is loftr and choose(both, "matches:backend=sift") is sift and choose(both, "drift") is both[DRIFT]
    with pytest.raises(UsageError, match="reads the ground truth"):
        choose(both, "psnr")
    with pytest.raises(UsageError, match=r"--metric dino(.|\n)*drift"):
        choose(both, "dino")
    with pytest.raises(UsageError, match="no matches to select"):
        choose({PSNR: psnr})


def test_the_words_of_the_command_line() -> None:
    columns = {MATCHES: BY, PSNR: column(PSNR, reads=["truth"])}
    assert policy(None, None, None, columns) == Policy()
    assert policy(None, "25%", None, columns) == Policy("selected", Fraction(1, 4), MATCHES)
    assert policy("selected", None, "matches", columns) == Policy("selected", selection.KEEP, MATCHES)
    assert policy("oracle", None, None, {PSNR: columns[PSNR]}) == Policy("oracle", selection.BEST_ONE)
    for words, message in ((("mean", "25%", None), "takes all"), (("median", None, None), "mean, selected, oracle")):
        with pytest.raises(UsageError, match=message):
            policy(*words, columns)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Four scenes, one row with four seeds: matches point at seeds 2 and 3, PSNR is 10, 20, 30, 40 by seed; `plain` has one seed."""
    run = Made(tmp_path / "run")
    run.column(MATCHES, reads=["references"], digits=0)
    for scene in "abcd":
        run.scene(scene)
    run.row("row", seeds=[0, 1, 2, 3])
    run.row("plain")
    for at, scene in enumerate("abcd"):
        for seed in range(4):
            run.score("row", scene, 10.0 * (seed + 1) + at, seed=seed)
            run.score("row", scene, float(seed), seed=seed, signature=MATCHES)
        run.score("plain", scene, 33.0)
        run.score("plain", scene, 1.0, signature=MATCHES)
    return run


def test_the_leaderboard_of_selected_seeds(made: Made) -> None:
    results = load_run(made.write())
    rows = {row.label: row.entries[0] for row in leaderboard(results, Policy("selected", HALF)).rows}
    assert (rows["row"].mean, rows["row"].fills, rows["row"].asked, rows["row"].rank) == (36.5, 8, 8, 1)
    assert (rows["plain"].mean, rows["plain"].rank) == (33, 2)
    before = {row.label: row.entries[0] for row in leaderboard(results).rows}
    assert (before["row"].mean, before["row"].rank, before["plain"].rank) == (26.5, 2, 1)


def test_oracle_seeds_are_never_ranked(made: Made) -> None:
    found = tables(load_run(made.write()), Policy("oracle", Fraction(0)))
    assert [entry.mean for row in found.leaderboard.rows for entry in row.entries[:1] if row.label == "row"] == [41.5]
    assert all(entry.rank is None and "oracle" in entry.unranked for row in found.leaderboard.rows for entry in row.entries)
    assert found.policy.startswith("oracle")


def test_a_choice_among_too_few_seeds_is_not_ranked(made: Made) -> None:
    for scene in "abcd":
        made.score("row", scene, None, seed=0, signature=MATCHES, state="failed", reason="odd")
    rows = {row.label: row for row in leaderboard(load_run(made.write()), Policy("selected", HALF)).rows}
    assert rows["row"].entries[0].mean == 36.5
    assert rows["row"].unranked == "12 of 16 seeds could be ranked for the selection, 80 % needed"
    assert rows["plain"].entries[0].rank == 1


def test_corrupting_the_truth_changes_no_selection(suite: Path, tmp_path: Path, plugins: Plugins) -> None:
    """The truth's files and every score that reads them change; the seeds that are kept do not."""
    from PIL import Image

    from tests.realbench.test_bench import CLASSES, METHODS

    plugins("methods", CLASSES, METHODS)
    realbench.run(["good"], scenes=suite, scene=["a", "b"], metrics=["psnr", "ssim", "matches", "drift"], seeds=6, out=tmp_path / "run")
    matches = next((tmp_path / "run").glob("good-*/a/fit-0")).parent
    rng = np.random.default_rng(7)

    def recount() -> None:
        """Counts that differ by seed, in place of the few that greys have."""
        for number, path in enumerate(sorted(matches.rglob("scores/*.json"))):
            text = path.read_text()
            if '"metric": "matches"' in text:
                path.write_text(text.replace('"value": 0.0', f'"value": {(number * 37) % 11}.0'))

    recount()
    first = load_run(tmp_path / "run")
    by = choose(first.columns)
    before = mark(places(first.scores(), by), HALF)
    assert before.loc[before["scene"] == "a", "value"].nunique() > 1
    for scene, path in itertools.product("ab", ["target/gt.png"]):
        size = Image.open(suite / scene / path).size
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(suite / scene / path)
    realbench.score(tmp_path / "run")
    again = load_run(tmp_path / "run")
    old, new = (one.scores().query("metric in ('psnr', 'ssim')")["value"].to_numpy() for one in (first, again))
    assert (old != new).all()
    pd.testing.assert_frame_equal(mark(places(again.scores(), by), HALF), before)


@pytest.mark.parametrize(
    ("others", "named"),
    [
        ([], "Matches"),
        ([("SSIM", {"backend": "sift"})], "Matches"),
        ([("Matches", {"backend": "loftr", "size": 640})], "Matches (backend=sift)"),
    ],
)
def test_a_policy_names_its_metric_once_and_shortly(others: list[tuple[str, dict[str, object]]], named: str) -> None:
    def column(title: str, config: dict[str, object]) -> ColumnInfo:
        words = {"metric": "matches", "config": config, "title": title, "summary": "", "direction": "higher", "region": "hole"}
        return ColumnInfo(signature=f"{title}|{config}", **words, image="composite", reads=[], unit="", digits=0)

    by = column("Matches", {"backend": "sift", "size": 640})
    text = Policy("selected", Fraction(1, 4)).describe(by, [by, *(column(*other) for other in others)])
    assert text == f"selected: 25 % of the seeds with most {named}"
