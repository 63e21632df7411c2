"""Results as DataFrames, in a terminal and in a notebook."""

from __future__ import annotations

import io
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from realbench.frames import LEADERBOARD_FIELDS, PAIR_FIELDS, leaderboard_frame, pairs_frame
from realbench.results import Results, load_run
from tests.making import DRIFT, PSNR, Made

EVIL = "<script>alert(1)</script>[bold]\x1b[31m"


@pytest.fixture
def results(tmp_path: Path) -> Results:
    run = Made(tmp_path / "run")
    for name in "abcdefg":
        run.scene(name)
    run.column(DRIFT, direction="lower", region="known", image="raw", reads=["target"])
    for label in ("low", EVIL, "truth"):
        run.row(label, oracle=label == "truth", preset="fast" if label == "low" else None)
    run.scores("low", {name: 10 + at for at, name in enumerate("abcdefg")})
    run.scores(EVIL, {name: 30 - at for at, name in enumerate("abcdefg")})
    run.scores("truth", dict.fromkeys("abcdefg", math.inf))
    run.scores("low", dict.fromkeys("ab", 1.0), DRIFT)
    return load_run(run.write())


def test_the_wide_table(results: Results) -> None:
    table = results.table()
    assert [*table.index] == [EVIL, "low", "truth"] and [*table.columns] == ["psnr", "drift"]
    assert table.index.name == "row" and table.loc["low", "psnr"] == 13 and table.loc["truth", "psnr"] == math.inf
    assert math.isnan(table.loc[EVIL, "drift"])
    spans = results.table(intervals=True)
    low, high = spans.loc["low", ("psnr", "low")], spans.loc["low", ("psnr", "high")]
    assert 10 < low < 13 == spans.loc["low", ("psnr", "mean")] < high < 16 and math.isnan(spans.loc["low", ("drift", "low")])


def test_two_columns_of_one_metric_are_named_by_their_signatures(tmp_path: Path) -> None:
    run = Made(tmp_path / "run")
    run.scene("a")
    run.column("psnr|other|v:1", metric="psnr")
    run.row("row")
    assert [*load_run(run.write()).table().columns] == [PSNR, "psnr|other|v:1"]


def test_the_leaderboard_in_long_form(results: Results) -> None:
    frame = leaderboard_frame(results)
    assert tuple(frame.columns) == LEADERBOARD_FIELDS and len(frame) == 3 * 2
    line = frame[(frame["label"] == "low") & (frame["metric"] == "psnr")].iloc[0]
    assert (line["preset"], line["mean"], line["rank"], line["best"], line["tied"]) == ("fast", 13, 2, False, False)
    assert (line["scenes"], line["of_scenes"], line["common_scenes"], line["mean_rank"]) == (7, 7, 7, 2)
    unranked = frame[(frame["label"] == "low") & (frame["metric"] == "drift")].iloc[0]
    assert unranked["rank"] is pd.NA and unranked["unranked"] == "scores on 2 of 7 scenes, 80 % needed"


def test_pairs_in_long_form(results: Results) -> None:
    frame = pairs_frame(results)
    assert tuple(frame.columns) == PAIR_FIELDS and len(frame) == 2
    line = frame.iloc[0]
    assert (line["first"], line["second"], line["scenes"], line["difference"]) == (EVIL, "low", 7, 14)
    assert (line["p"], line["better"], line["wins"], line["exact"]) == (2 / 128, EVIL, 7, True)


def test_in_a_terminal(results: Results) -> None:
    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system="standard")
    console.print(results)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    shown = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert "<script>alert(1)</script>[bold]\\x1b[31m" in shown and "\x1b[31m" not in text
    assert re.search(r"low +2\.00.* 13\.00 \[\d\d\.\d\d, \d\d\.\d\d\]", shown)
    assert "truth (oracle)" in shown and "∞ [∞, ∞]" in shown and "psnr ↑" in shown and "drift ↓" in shown
    assert re.search(r"\x1b\[1m27\.00 ", text)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_in_a_notebook(results: Results) -> None:
    page = results._repr_html_()
    tags = Tags()
    tags.feed(page)
    assert tags.found == {"table", "caption", "thead", "tbody", "tr", "th", "td", "strong"} and tags.attributes == {"scope"}
    assert "&lt;script&gt;alert(1)" in page and "<strong>27.00 [" in page and "\x1b" not in page


def test_nothing_measured_is_said_and_not_raised(tmp_path: Path) -> None:
    run = Made(tmp_path / "run")
    run.scene("bad", refused="<b>broken</b>")
    run.row("row")
    results = load_run(run.write())
    assert "&lt;b&gt;broken" in results._repr_html_()
    console = Console(file=io.StringIO(), width=200)
    console.print(results)
    assert "nothing to show" in console.file.getvalue()  # type: ignore[attr-defined]
