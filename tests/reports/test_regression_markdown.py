"""check.md: tables that GitHub reads, bounded, in which no text of a run is markup."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from realbench.comparable import Difference
from realbench.gate import Change, Verdict
from realbench.reports._check_markdown import cut, markdown, shown
from realbench.tolerance import Rules
from tests.making import DRIFT, PSNR
from tests.reports.checking import CONTROL, HOSTILE, change, checked

MOST = 500_000
"""Bytes: GitHub shows no more than 1,048,576 of all summaries of a step."""


def page(folder: Path, *changes: Change, **fields: object) -> str:
    return markdown(checked(folder / "run", *changes, **fields))


def table(text: str, title: str) -> list[list[str]]:
    """The cells of the table below a title, its two head lines left out."""
    lines = text.partition(title)[2].lstrip().splitlines()
    rows = [line for line in lines[: next(at for at, line in enumerate([*lines, ""]) if not line)] if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in rows][2:]


def test_headline_tables_and_folded_scenes(tmp_path: Path) -> None:
    worse = change("a", 20, 17.5, "worse", deviation=0.5, p=0.001, adjusted=0.012)
    text = page(
        tmp_path, change("", 20, 18.75, "worse"), worse, change("b"), change("", 0.1, 0.1, signature=DRIFT),
        change("a", 0.1, 0.05, "shown", signature=DRIFT), rules=Rules(metrics=("psnr",)),
        differences=(Difference("row", "setting steps", "20", "5"), Difference("", "version of torch", "1", "2")),
        warnings=("beware",),
    )  # fmt: skip
    assert text.startswith(
        "## ✗ Regression: row PSNR over all scenes and 1 more dropped\n\nSuite suite, run against the baseline of 2030-01-02"
    )
    assert "Verdicts: worse 2, shown 1, same 2." in text and "If the drop is meant: `realbench accept run -o baseline.json`" in text
    assert table(text, "### Over all scenes")[0][:6] == ["row", "PSNR (dB) ↑", "**▼ worse**", "20.00", "18.75", "−1.25"]
    assert table(text, "### Scenes that changed") == [
        ["row", "a", "PSNR (dB) ↑", "**▼ worse**", "20.00", "17.50", "−2.50", "0.01", "±0.50", "0.012"],
        ["row", "a", "DRIFT ↓", "shown *(does not gate)*", "0.100", "0.050", "−0.050", "0.01", "–", "–"],
    ]
    assert table(text, "<summary>1 scores of scenes that hold</summary>")[0][1] == "b"
    assert table(text, "### What changed under test") == [["row", "setting steps", "20", "5"], ["all", "version of torch", "1", "2"]]
    assert "### Warnings\n\n- beware\n" in text and f"- PSNR: `{PSNR}`" in text and "</details>\n\n### What changed" in text


@pytest.mark.parametrize(
    ("verdict", "after", "start"),
    [
        ("same", 20, "## ✓ Fill quality holds\n"),
        ("better", 21, "## ✓ Fill quality holds; row PSNR on a improved\n"),
        ("lost", None, "## ✗ Not whole"),
    ],
)
def test_outcomes(tmp_path: Path, verdict: Verdict, after: float | None, start: str) -> None:
    text = page(tmp_path, change("a", 20, after, verdict, reason="failed: out of memory"))
    assert text.startswith(start)
    assert ("None: every score is within its tolerance." in text) == (verdict == "same")
    assert ("To keep the gain: `realbench accept" in text) == (verdict == "better")
    assert ("**lost**: the baseline has scores that the run lacks (failed: out of memory)" in text) == (verdict == "lost")


def test_mismatches_take_the_place_of_tables(tmp_path: Path) -> None:
    text = page(tmp_path, mismatches=("row x is not in the run", "scene y is another"))
    assert text.startswith("## ⚠ Not comparable: row x is not in the run")
    assert "### Why nothing was judged\n\n- row x is not in the run\n- scene y is another\n" in text
    assert "Over all scenes" not in text and "Scenes that" not in text


def test_no_text_of_a_run_is_markup(tmp_path: Path) -> None:
    names = [CONTROL, HOSTILE, "a|b", "[x](http://evil.example)", "</details>", "`code`"]
    changes = [change(name, 20, 19, verdict, label=name, reason=name) for name in names for verdict in ("worse", "same", "lost")]
    differences = tuple(Difference(name, name, name, name) for name in names)
    text = page(tmp_path, *changes, differences=differences, warnings=tuple(names), suite=HOSTILE, runs=(HOSTILE, "`"), accepted=CONTROL)
    code = re.sub(r"(`+).*?\1", "", text.replace("\\`", ""))
    assert set(re.findall(r"<[^>]*>?", code)) == {"<details>", "</details>", "<summary>", "</summary>"}
    assert text.count("</details>") == 1 and "http://" not in text and "\x1b" not in text and "\u202e" not in text
    assert not re.search(r"^# d", text, re.MULTILINE)
    for found in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in found.splitlines()}) == 1


def test_a_page_stays_below_github_s_limit(tmp_path: Path) -> None:
    name = "<&|>" * 60
    changes = [change(f"{name}{at}", 20, 19, verdict, label=name, reason=name * 9) for at in range(1500) for verdict in ("worse", "same")]
    means = [change("", 20, 19, "worse", label=f"{name}{at}") for at in range(1500)]
    texts = tuple(name * 20 + str(at) for at in range(500))
    differences = tuple(Difference(name, name, text, text) for text in texts)
    text = page(tmp_path, *means, *changes, differences=differences, warnings=texts, runs=texts)
    assert 300_000 < len(text.encode()) < MOST
    assert len(re.findall(r"\*Cut here: \d+ more lines", text)) == 5 and text.count("</details>") == 1


def test_cut_counts_what_is_left_out() -> None:
    assert [*cut(["abc", "é", "x"], 7)] == ["abc", "é", "", "*Cut here: 1 more lines; check.html and check.json have them all.*"]
    assert [*cut(["abc", "é", "x"], 9)] == ["abc", "é", "x"]


def test_long_texts_are_shortened() -> None:
    assert shown("x" * 300) == "x" * 300 and shown("x" * 301) == "x" * 299 + "…"
