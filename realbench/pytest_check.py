"""The fixture `realbench_check`, and how pytest tells a drop; imported once it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from realbench import baseline as baselines
from realbench import tolerance
from realbench.baseline import Baseline
from realbench.errors import Exit, RealbenchError
from realbench.gate import MEANING, Change, Judgement, Verdict, judge
from realbench.results import Results, load_run
from realbench.text import number, p_value, printable, signed

FAILING: tuple[Verdict, ...] = ("worse", "lost")
"""Verdicts that fail a test."""


class Checker:
    """The fixture `realbench_check`."""

    def __init__(self, default: Path) -> None:
        self._default = default

    def __call__(
        self,
        runs: Results | str | Path | Sequence[str | Path],
        baseline: Baseline | str | Path | None = None,
        *,
        rows: Sequence[str] = (),
        strict: bool = False,
        config: str | Path | None = None,
    ) -> Judgement:
        """The judgement; fails the test where `realbench check` would not end with 0.

        Args:
            runs: a run folder, several, or what `load_run` gave.
            baseline: a baseline, or its file.
            rows: labels of the rows to compare; empty: all of the baseline's.
            strict: another class of device is not comparable.
            config: a realbench.toml; None: that of the current folder, where there is one.
        """
        __tracebackhide__ = True
        try:
            path = self._default if baseline is None or isinstance(baseline, Baseline) else Path(baseline)
            held = baseline if isinstance(baseline, Baseline) else baselines.read(path)
            results = runs if isinstance(runs, Results) else load_run(*([runs] if isinstance(runs, str | Path) else runs))
            rules = tolerance.rules(None if config is None else Path(config))
            judged = judge(held, results, rules, labels=rows, strict=strict, path=path)
        except RealbenchError as error:
            _fail(str(error))
        if judged.exit_code is not Exit.DONE:
            _fail(told(judged))
        return judged


def describe(change: Change, level: float) -> str:
    """A change with its numbers, in two lines."""
    metric, digits = change.metric, change.digits
    unit = f" {metric.unit}" if metric.unit else ""
    where = f"on scene {change.scene}" if change.scene else "over all scenes"
    head = f"{change.label}, {metric.title} ({metric.direction} is better) {where}: {change.verdict}, {MEANING[change.verdict]}"
    before, after = ("none" if value is None else number(value, digits) + unit for value in (change.before, change.after))
    facts = [f"tolerance {number(change.tolerance, digits)}"]
    if change.difference is not None:
        facts.insert(0, f"change {signed(change.difference, digits)}")
    if change.deviation is not None:
        facts.append(f"noise ±{number(change.deviation, digits)}")
    if change.adjusted is not None:
        facts.append(f"p {p_value(change.adjusted)} (level {level:g})")
    why = f": {change.reason}" if change.reason else ""
    return f"{one_line(head)}{one_line(why)}\n  baseline {before}, now {after}; {', '.join(facts)}"


def told(judged: Judgement) -> str:
    """Why fill quality does not hold: what dropped or is lost, or why nothing could be compared."""
    lines = [judged.headline, *judged.mismatches[1:], *(f"warning: {text}" for text in judged.warnings)]
    return "\n".join([*lines, *(describe(change, judged.rules.level) for change in judged.having(*FAILING))])


def one_line(text: str) -> str:
    """Names come from anyone's folders: one with a line break must not look like a line of ours."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def _fail(text: str) -> NoReturn:
    __tracebackhide__ = True
    pytest.fail(printable(text), pytrace=False)
