"""check.json: everything that a check found, for programs. Each field says what it is; docs/ci.md names them too."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from realbench import __version__
from realbench.gate import Change, Judgement, Verdict
from realbench.metric import Direction
from realbench.records import Number, Record


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CheckedDifference(_Part):
    """Something under test that is not as it was accepted."""

    label: str
    """The row; empty where it concerns all."""
    what: str
    """Such as `setting steps`, `weights unet`, `version of torch`."""
    before: str
    after: str


class CheckedMetric(_Part):
    """A metric that was compared."""

    metric: str
    """Its registry name."""
    config: dict[str, Any]
    title: str
    unit: str
    direction: Direction
    """Which way is better."""
    digits: int
    """Decimals of a single score."""
    gates: bool
    """Whether a drop of it fails the check."""
    tolerance: float
    """The largest change that counts as none: in the metric's unit, or a share of the baseline's score."""
    relative: bool
    """`tolerance` is a share."""


class CheckedChange(_Part):
    """One row under one metric, on one scene or over all of them."""

    label: str
    signature: str
    """The key in `metrics`."""
    scene: str | None
    """null: the mean over all scenes with a score in both."""
    verdict: Verdict
    before: Number
    """The baseline's mean over seeds, then fits (then scenes); null where there is none, `inf` and `-inf` as words."""
    after: Number
    """The run's."""
    difference: Number
    """after - before."""
    gain: Number
    """The difference turned so that more is better."""
    tolerance: float
    """In the metric's unit."""
    noise: float | None
    """Standard deviation that chance gives the difference; null where nothing says so."""
    p: float | None
    """One-sided, in the direction of the change, of this change alone; null where it was not tested."""
    adjusted: float | None
    """p adjusted for all that was looked at: what is held against the level; null for a metric that does not gate."""
    repeats_before: str
    """Fits × seeds of the baseline on this scene; empty over all scenes."""
    repeats_after: str
    """The run's."""
    reason: str
    """Why it is lost."""


class CheckFile(Record):
    """check.json."""

    outcome: Literal["holds", "regression", "not whole", "nothing judged"]
    exit_code: int
    """Of the judgement; the command's own is 6 where it is 3 here for want of weights."""
    headline: str
    """The verdict in one sentence."""
    version: str
    """Of realbench."""
    suite: str
    accepted: str
    """When, and from which commit, the baseline was made."""
    runs: list[str]
    """Names of the runs judged."""
    accept: str
    """The line that accepts them as the new baseline, for a shell; empty where nothing changed or they are not whole."""
    level: float
    """How often unchanged code may fail the check."""
    counts: dict[str, int]
    """Changes by verdict, means and scenes together."""
    mismatches: list[str]
    """What makes the two incomparable; then `changes` is empty."""
    warnings: list[str]
    differences: list[CheckedDifference]
    """What is under test and changed."""
    metrics: dict[str, CheckedMetric]
    """By signature."""
    changes: list[CheckedChange]
    """Row by row and metric by metric: over all scenes, then each scene."""


def check_file(judgement: Judgement, outcome: Any) -> CheckFile:
    """A judgement as the file holds it."""
    changes = judgement.changes
    return CheckFile(
        outcome=outcome, exit_code=int(judgement.exit_code), headline=judgement.headline, version=__version__, suite=judgement.suite,
        accepted=judgement.accepted, runs=list(judgement.runs),
        accept=judgement.accepting if judgement.advice else "", level=judgement.rules.level,
        counts={verdict: len(judgement.having(verdict)) for verdict in dict.fromkeys(change.verdict for change in changes)},
        mismatches=list(judgement.mismatches), warnings=list(judgement.warnings),
        differences=[CheckedDifference(**vars(one)) for one in judgement.differences],
        metrics={change.signature: _metric(change, judgement) for change in changes},
        changes=[_change(change) for change in changes],
    )  # fmt: skip


def _metric(change: Change, judgement: Judgement) -> CheckedMetric:
    metric, rules = change.metric, judgement.rules
    found = {name: getattr(metric, name) for name in ("metric", "config", "title", "unit", "direction", "digits")}
    tolerance = rules.tolerance(change.signature, metric)
    return CheckedMetric(**found, gates=rules.gates(change.signature, metric), tolerance=tolerance.amount, relative=tolerance.relative)


def _change(change: Change) -> CheckedChange:
    same = ("label", "signature", "verdict", "before", "after", "difference", "gain", "tolerance", "p", "adjusted", "reason")
    before, after = change.repeats
    return CheckedChange(
        **{name: getattr(change, name) for name in same}, scene=change.scene or None, noise=change.deviation,
        repeats_before=before, repeats_after=after,
    )  # fmt: skip
