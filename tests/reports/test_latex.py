from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from realbench.reports.latex import LaTeX, escape
from realbench.results import load_run
from tests.making import DRIFT, Made

EVIL = r"\input{/etc/passwd} 50% & $x$ #1 _a^b~ {c} <d> [e] *f*"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain-label:fast", "plain-label:fast"),
        ("a_b & c%", r"a\_b \& c\%"),
        ("\\input{x}", r"\textbackslash{}input\{x\}"),
        ("$1 #2 ~ ^", r"\$1 \#2 \textasciitilde{} \textasciicircum{}"),
        ("[x]*", "{[}x{]}{*}"),
        ("a--b---c", "a-{}-b-{}-{}-c"),
        ("PSNR ↑ ∞ − ≈", r"PSNR $\uparrow$ $\infty$ $-$ $\approx$"),
        ("one\n% two", r"one \% two"),
        ("\x1b", r"\textbackslash{}x1b"),
    ],
)
def test_escape(text: str, expected: str) -> None:
    assert escape(text) == expected


@pytest.fixture
def page(tmp_path: Path) -> str:
    run = Made(tmp_path / "run")
    names = "abcdefgh"
    for name in names:
        run.scene(name)
    run.column(DRIFT, direction="lower", region="known", image="raw", reads=["target"], title=EVIL, unit="", digits=1)
    for label in ("best", EVIL, "far", "truth", "part"):
        run.row(label, oracle=label == "truth")
    for at, name in enumerate(names):
        run.score("best", name, 20 + at)
        run.score(EVIL, name, 20 + at + (1 if at % 2 else -1.5))
        run.score("far", name, -10 + at)
        run.score("truth", name, math.inf)
        run.score("best", name, 2.0, signature=DRIFT)
    run.scores("part", {"a": 3.25})
    (path,) = LaTeX().write(load_run(run.write()), tmp_path)
    assert path.name == "leaderboard.tex"
    return path.read_text(encoding="utf-8")


def line(page: str, start: str) -> list[str]:
    found = next(text for text in page.splitlines() if text.startswith(f"    {start} "))
    return found.removesuffix(r" \\").strip().split(" & ")


def test_best_second_tied_and_missing(page: str) -> None:
    best, far, part, truth = (line(page, name) for name in ("best", "far", "part", "truth"))
    assert best[1].startswith("1.00") and re.fullmatch(r"\\textbf\{23\.50\}\\realbenchinterval\{2\d\.\d\d\}\{2\d\.\d\d\}", best[2])
    second = next(text for text in page.splitlines() if r"\underline{" in text and "realbenchtied{}" in text)
    assert r"\underline{23.25}\realbenchtied{}\realbenchinterval" in second
    assert far[2].startswith(r"$-$6.50\realbenchinterval{$-$") and "realbenchtied" not in far[2] and far[3] == "--"
    assert (part[0], part[1], part[2]) == ("part (unranked)", "--", r"3.25\realbenchcoverage{1}{8}")
    assert (truth[0], truth[2]) == ("truth (oracle)", r"$\infty$\realbenchinterval{$\infty$}{$\infty$}")


def test_a_lone_row_is_neither_best_nor_second(page: str) -> None:
    assert line(page, "best")[3] == r"2.0\realbenchinterval{2.0}{2.0}"


def test_it_is_a_table(page: str) -> None:
    body = page.split(r"\begin{tabular}{lrrr}")[1].split(r"\end{tabular}")[0]
    rows = [text for text in body.splitlines() if text.endswith(r"\\")]
    assert len(rows) == 1 + 5 and {len(re.findall(r"(?<!\\)&", text)) for text in rows} == {3}
    assert [text.strip() for text in body.splitlines() if "rule" in text] == [r"\toprule", r"\midrule", r"\bottomrule"]
    plain = re.sub(r"\\[{}]", "", "\n".join(text for text in page.splitlines() if not text.startswith("%")))
    assert plain.count("{") == plain.count("}")
    assert page.count(r"\begin{") == page.count(r"\end{") == 2


def test_no_text_of_the_run_is_a_command(page: str) -> None:
    own = r"realbench\w+|providecommand|textsuperscript|approx|scriptsize|begin|end|centering|caption|label|toprule|midrule|bottomrule"
    own += r"|textbf|underline|infty|uparrow|downarrow|text\w+|newcommand|input(?= ?,)|usepackage"
    code = "\n".join(text for text in page.splitlines() if not text.startswith("%"))
    assert {name for name in re.findall(r"\\([A-Za-z]+)", code) if not re.fullmatch(own, name)} == set()
    assert r"\input" not in code and "50\\%" in code
    assert all(text.startswith("%") for text in page.splitlines()[:6] if "Metric" in text)
