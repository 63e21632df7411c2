"""leaderboard.tex: the comparison table for a paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from realbench import __version__
from realbench.pairs import SIGNIFICANCE
from realbench.report import ReportCard
from realbench.results import Results
from realbench.store import write_atomic
from realbench.tables import Entry, Leaderboard, TableColumn, TableRow, tables

from ._text import RANK_DIGITS, heading, number, plain, redact, redactions

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "`": r"\textasciigrave{}", "'": r"\textquotesingle{}", '"': r"\textquotedbl{}", "[": "{[}", "]": "{]}", "*": "{*}",
    "∞": r"$\infty$", "−": "$-$", "–": "--", "×": r"$\times$", "≈": r"$\approx$", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
    "…": r"\ldots{}", "·": r"$\cdot$", "Δ": r"$\Delta$", "²": "$^2$", "°": r"$^\circ$",
}  # fmt: skip
"""How characters are written that mean something to LaTeX, or that its fonts may lack. A bracket or star that begins a line must not be
taken for an option of the line before.
"""
_PREAMBLE = r"""% Needs \usepackage{booktabs}; with pdfLaTeX \usepackage[T1]{fontenc} too (other alphabets need LuaLaTeX or XeLaTeX).
% Before the \input, \newcommand{\realbenchinterval}[2]{} leaves the intervals out, \newcommand{\realbenchtied}{} the marks of ties.
\providecommand{\realbenchinterval}[2]{{\scriptsize\,[#1, #2]}}
\providecommand{\realbenchtied}{\textsuperscript{$\approx$}}
\providecommand{\realbenchcoverage}[2]{\textsuperscript{#1/#2}}"""


class LaTeX:
    """One booktabs table; every text of a run is escaped."""

    card: ClassVar[ReportCard] = ReportCard("latex", "the comparison table as leaderboard.tex, for a paper")

    def write(self, results: Results, folder: Path) -> list[Path]:
        """Write leaderboard.tex. Raises NothingMeasured when no cell or no metric was asked for."""
        path = folder / "leaderboard.tex"
        write_atomic({path: "\n".join(_Page(results).lines()).encode() + b"\n"})
        return [path]


def escape(text: str) -> str:
    """Text that LaTeX sets as it is, on one line; two hyphens do not join into a dash."""
    return re.sub("-(?=-)", "-{}", "".join(_SPECIAL.get(character, character) for character in plain(text)))


class _Page:
    """The file of one set of runs."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.tables = tables(results)
        self.board: Leaderboard = self.tables.leaderboard
        self.pairs = redactions(results)

    def text(self, text: str) -> str:
        """A text of the run, escaped."""
        return escape(redact(text, self.pairs))

    def lines(self) -> Iterator[str]:
        """The file, line by line."""
        yield f"% Written by realbench {__version__}."
        for at, column in enumerate(self.board.columns, 1):
            yield f"% Metric {at}: {plain(redact(column.info.signature, self.pairs))}"
        yield from (_PREAMBLE, r"\begin{table}", r"  \centering", f"  \\caption{{{self.caption()}}}", r"  \label{tab:realbench}")
        yield f"  \\begin{{tabular}}{{lr{'r' * len(self.board.columns)}}}"
        yield r"    \toprule"
        yield _line(["Row", "Mean rank", *(self.text(heading(column.info)) for column in self.board.columns)])
        yield r"    \midrule"
        seconds = [self.second(at) for at in range(len(self.board.columns))]
        for row in self.board.rows:
            entries = zip(row.entries, self.board.columns, seconds, strict=True)
            yield _line([self.label(row), _mean_rank(row), *(_entry(*each) for each in entries)])
        yield from (r"    \bottomrule", r"  \end{tabular}", r"\end{table}")

    def caption(self) -> str:
        """What the numbers are."""
        suites = ", ".join(sorted({manifest.suite for _, _, manifest in self.results.runs}))
        return (
            f"{self.text(suites)}: mean over seeds ({self.text(self.tables.policy)}), fits and scenes, with its 95\\,\\% bootstrap "
            "interval. "
            r"Best in bold, second underlined; \realbenchtied: not shown to differ from the best (sign-flip test, Holm-corrected over the "
            f"pairs of rows, {100 * SIGNIFICANCE:g}\\,\\%). Fractions: scenes with a score, where some lack one."
        )

    def label(self, row: TableRow) -> str:
        mark = " (oracle)" if row.info.oracle else " (unranked)" if row.unranked else ""
        return self.text(row.label) + mark

    def second(self, at: int) -> int | None:
        """The rank behind the best; None where all ranked rows tie."""
        ranks = sorted({rank for row in self.board.rows if (rank := row.entries[at].rank) is not None})
        return ranks[1] if len(ranks) > 1 else None


def _line(cells: list[str]) -> str:
    return f"    {' & '.join(cells)} \\\\"


def _mean_rank(row: TableRow) -> str:
    if row.mean_rank is None:
        return "--"
    ends = row.mean_rank_interval
    spans = "" if ends is None else rf"\realbenchinterval{{{number(ends[0], RANK_DIGITS)}}}{{{number(ends[1], RANK_DIGITS)}}}"
    return number(row.mean_rank, RANK_DIGITS) + spans


def _entry(entry: Entry, column: TableColumn, second: int | None) -> str:
    """Mean (bold when best, underlined when second), mark of a tie, interval, and coverage where it is not whole."""
    digits, of = column.info.mean_digits, len(column.scenes)
    if entry.mean is None:
        return "--"
    value = _number(entry.mean, digits)
    value = (
        rf"\textbf{{{value}}}" if entry.best else rf"\underline{{{value}}}" if entry.rank is not None and entry.rank == second else value
    )
    parts = [value, r"\realbenchtied{}" if entry.tied else ""]
    parts += [rf"\realbenchcoverage{{{entry.scenes}}}{{{of}}}"] if entry.scenes != of else []
    parts += (
        [rf"\realbenchinterval{{{_number(entry.interval[0], digits)}}}{{{_number(entry.interval[1], digits)}}}"] if entry.interval else []
    )
    return "".join(parts)


def _number(value: float, digits: int) -> str:
    """A number with a true minus sign."""
    return re.sub("^[-−]", "$-$", number(value, digits)).replace("∞", r"$\infty$")
