"""Whether fill quality holds: a run against an accepted baseline, scene by scene and over all scenes (docs/ci.md)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from realbench import checkout, groups, noise, statistics
from realbench.baseline import BROKEN, Baseline, BaselineMetric, Cells, cells_of, refuse_shared_cells, tested
from realbench.comparable import Difference, changed, devices, mismatches
from realbench.errors import Exit, UsageError
from realbench.noise import NONE, UNKNOWN, Sample, Variance
from realbench.pairs import holm, least_p, sign_flip
from realbench.results import Results
from realbench.statistics import LEAST_SCENES, difference
from realbench.text import typed
from realbench.tolerance import Rules

if TYPE_CHECKING:
    import pandas as pd

Scores: TypeAlias = Mapping[str, Mapping[str, Mapping[str, Cells]]]
"""By label, signature and scene."""
Place: TypeAlias = tuple[str, str, str]
"""Label, signature, scene."""
Verdict: TypeAlias = Literal["worse", "better", "within noise", "same", "unknown", "lost", "shown"]
"""worse and better: beyond tolerance and noise. same: within tolerance. unknown: beyond it, and nothing says what chance does.
lost: the baseline has a score, the run none. shown: beyond tolerance, or lost, of a metric that does not gate.
"""
MEANING: Mapping[Verdict, str] = {
    "worse": "a drop beyond tolerance and noise",
    "better": "a gain beyond tolerance and noise",
    "within noise": "beyond the tolerance, but chance does as much",
    "same": "within the tolerance",
    "unknown": "beyond the tolerance; without repeats nothing says what chance does",
    "lost": "the baseline has scores that the run lacks",
    "shown": "beyond the tolerance, or lost, of a metric that does not gate",
}
FILES = ("check.html", "check.json", "check.xml", "check.md")
"""What the report of a check is: the page, and the same as data, for JUnit's readers and in Markdown."""
BASELINE = Path("baseline.json")
_MOST_DIGITS = 9


@dataclass(frozen=True)
class Change:
    """One row under one metric, on one scene or over all of them."""

    label: str
    signature: str
    metric: BaselineMetric
    scene: str
    """Empty: the mean over all scenes that have a score in both."""
    before: float | None
    after: float | None
    tolerance: float
    """In the metric's unit."""
    verdict: Verdict
    deviation: float | None = None
    """Standard deviation that chance gives `after - before`; None where unknown."""
    p: float | None = None
    """One-sided, in the direction of the change; None where unknown or not tested."""
    adjusted: float | None = None
    """Holm's, over all rows and metrics, and over all of their scenes; twice, since both families are looked at."""
    repeats: tuple[str, str] = ("", "")
    """Fits × seeds of the baseline and of the run, for one scene."""
    reason: str = ""
    """Why it is lost."""
    moved: float | None = None
    """Over all scenes: the mean of the scenes' differences, which that of the means is not where scores are infinite."""

    @property
    def difference(self) -> float | None:
        """after - before; equal infinite scores differ by 0."""
        if self.moved is not None or self.before is None or self.after is None:
            return self.moved
        return difference(self.before, self.after)

    @property
    def digits(self) -> int:
        """Decimals to show: the metric's, and more where a change that counts would read as none."""
        digits, found = self.metric.mean_digits, self.difference
        if self.verdict != "same" and found and math.isfinite(found):
            while digits < _MOST_DIGITS and not f"{abs(found):.{digits}f}".strip("0."):
                digits += 1
        return digits

    @property
    def gain(self) -> float | None:
        """The difference turned so that more is better."""
        found = self.difference
        return found if found is None or self.metric.direction == "higher" else 0.0 - found


@dataclass(frozen=True)
class Judgement:
    """The outcome of a check."""

    changes: tuple[Change, ...]
    """Row by row and metric by metric: over all scenes, then each scene."""
    mismatches: tuple[str, ...]
    """What makes the two incomparable; then nothing was judged."""
    differences: tuple[Difference, ...]
    """What is under test and changed: settings, weights, code, versions."""
    warnings: tuple[str, ...]
    rules: Rules
    suite: str
    accepted: str
    """When, and from which commit, the baseline was made."""
    runs: tuple[str, ...] = ()
    """Names of the runs judged."""
    paths: tuple[str, ...] = ()
    """Their folders, as they were given."""
    baseline: str = str(BASELINE)
    """The baseline's file, as it was given."""
    failed: bool = False
    """Cells of the run that was made for this check failed, be they in the baseline or not."""
    blind: bool = False
    """Nothing that gates could have been shown to drop, for want of repeats and scenes."""

    def having(self, *verdicts: Verdict) -> list[Change]:
        """The changes with one of these verdicts."""
        return [change for change in self.changes if change.verdict in verdicts]

    @cached_property
    def exit_code(self) -> Exit:
        """Not comparable (5) before a regression (1) before lost or failed cells (3) before nothing measured (5)."""
        if self.mismatches:
            return Exit.NOTHING_MEASURED
        if self.having("worse"):
            return Exit.REGRESSION
        if self.having("lost") or self.failed:
            return Exit.FAILED_CELLS
        if self.blind and self.having("unknown", "within noise"):
            return Exit.NOTHING_MEASURED
        judged = any(change.difference is not None and self.rules.gates(change.signature, change.metric) for change in self.changes)
        return Exit.DONE if judged else Exit.NOTHING_MEASURED

    @property
    def advice(self) -> Literal["gain", "drop", ""]:
        """What accepting these runs would do: keep a gain, or take a drop for good; empty where nothing is to be accepted, or not whole."""
        if self.mismatches or self.failed or self.having("lost"):
            return ""
        return "drop" if self.having("worse") else "gain" if self.having("better") else ""

    @property
    def accepting(self) -> str:
        """The line to type that accepts these runs."""
        return accepting(self.paths, self.baseline)

    @property
    def headline(self) -> str:
        """The verdict in one sentence."""
        worse, lost = self.having("worse"), self.having("lost")
        if self.mismatches:
            return f"not comparable: {self.mismatches[0]}"
        if worse:
            return f"regression: {_count(worse)} dropped" + (f"; {_count(lost)} lost" if lost else "")
        if lost:
            return f"not whole: {_count(lost)} lost"
        if self.failed:
            return "not whole: cells of this run failed"
        if self.blind and self.exit_code is not Exit.DONE:
            return "not judged: scores changed, and without repeats nothing says what chance does"
        if self.exit_code is not Exit.DONE:
            return "nothing measured: no score that gates is in both"
        better = self.having("better")
        return "fill quality holds" + (f"; {_count(better)} improved" if better else "")


def accepting(runs: Iterable[str | Path], baseline: str | Path) -> str:
    """The line to type that accepts runs, for a shell."""
    return f"realbench accept {' '.join(map(typed, runs))} -o {typed(baseline)}"


def judge(
    baseline: Baseline,
    results: Results,
    rules: Rules | None = None,
    *,
    labels: Sequence[str] = (),
    strict: bool = False,
    failed: bool = False,
    path: str | Path = BASELINE,
) -> Judgement:
    """Compare results with a baseline.

    Args:
        rules: tolerances, level and which metrics gate; None: the usual ones.
        labels: the rows to compare; empty: all of the baseline's.
        strict: another class of device is a mismatch, not a warning.
        failed: the run that was made for this check had failed cells.
        path: the baseline's file, for the line that accepts the run.
    """
    rules = rules or Rules()
    refuse_shared_cells(results)
    if unknown := rules.unknown(baseline.metrics):
        names = sorted({metric.metric for metric in baseline.metrics.values()})
        raise UsageError(f"{rules.file} names {unknown[0]}, which no metric of the baseline is: {', '.join(names)}")
    asked = list(labels) or list(baseline.rows)
    rows = tested(results, [label for label in asked if label in results.rows and label in baseline.rows])
    held = dict.fromkeys(signature for label in rows for signature in baseline.scores.get(label, ()))
    metrics = {name: BaselineMetric.of(info, results.environments.get(name, ())) for name, info in results.columns.items() if name in held}
    apart = devices(baseline, rows, metrics)
    wrong = (*mismatches(baseline, results, asked), *(apart if strict else ()))
    changes = () if wrong else _compared(baseline, results, rules, asked)
    powerless, blind = _power(changes, rules)
    return Judgement(
        changes, wrong, tuple(changed(baseline, results, rows, metrics)), (*(() if strict else apart), *powerless), rules, baseline.suite,
        " from commit ".join(filter(None, (baseline.accepted.when, checkout.short(baseline.accepted.code)))),
        runs=tuple(name for name, _, _ in results.runs), paths=tuple(str(folder.root) for _, folder, _ in results.runs),
        baseline=str(path), failed=failed, blind=blind,
    )  # fmt: skip


def _compared(baseline: Baseline, results: Results, rules: Rules, labels: Sequence[str]) -> tuple[Change, ...]:
    """The changes, in the order of the rows, and of metrics as leaderboards have it: those of the hole first."""
    lines = results.scores()
    found = compare(baseline, cells_of(lines), rules, labels=labels, broken=_broken(lines))
    columns = sorted(results.columns, key=lambda name: groups.place(results.columns[name]))
    places = {name: at for at, name in enumerate(columns)}
    return tuple(sorted(found, key=lambda one: (labels.index(one.label), places[one.signature])))


def _power(changes: Sequence[Change], rules: Rules) -> tuple[list[str], bool]:
    """What this check could not have found, whatever the scores, in sentences; and whether it could have found nothing at all."""
    gating = [one for one in changes if one.p is not None and rules.gates(one.signature, one.metric)]
    means = [one for one in gating if not one.scene]
    scenes = Counter(_row(one) for one in changes if one.scene and one.difference is not None)
    # The smallest adjusted p-value that the signs of scenes' differences can have for a mean: one-sided (/ 2), in two families (· 2).
    by_signs = {_row(one): len(means) * least_p(scenes[_row(one)]) for one in means if one.deviation is None}
    told = []
    advice = (
        "`realbench calibrate` measures once what chance does, or accept and check runs with --fits 2 (--seeds 4 where nothing is fitted)"
    )
    if any(change.verdict == "unknown" for change in changes):
        told.append(f"some changes cannot be told from chance, since no fit (or seed) was repeated: {advice}")
    for mean in means:
        if by_signs.get(_row(mean), 0.0) > rules.level:
            say = f"{scenes[_row(mean)]} scenes without repeats cannot show a drop at level {rules.level:g}"
            told.append(f"{mean.label} {mean.metric.title}: {say}: {advice}")
    able = any(one.deviation is not None or by_signs.get(_row(one), 1.0) <= rules.level for one in gating)
    return told, bool(changes) and not able


def _row(change: Change) -> tuple[str, str]:
    return change.label, change.signature


def compare(
    baseline: Baseline, scores: Scores, rules: Rules, *, labels: Sequence[str] = (), broken: Mapping[Place, str] | None = None
) -> Iterator[Change]:
    """The changes from a baseline to scores that are comparable with it; `broken` says why scores are lost, by label, signature, scene."""
    return _judged(_Judge(baseline, scores, broken or {}, rules).drafts(labels or baseline.rows), rules)


def _broken(lines: pd.DataFrame) -> dict[Place, str]:
    """Scores that could have been there, each scene's with the first one's reason."""
    bad = lines[lines["state"].isin(BROKEN)].drop_duplicates(["label", "signature", "scene"])
    fields = bad[["label", "signature", "scene", "state", "reason"]].itertuples(index=False, name=None)
    return {(label, signature, scene): f"{state}: {why}" if why else state for label, signature, scene, state, why in fields}


class _Judge:
    """Differences and their noise; what they mean together is decided afterwards."""

    def __init__(self, baseline: Baseline, scores: Scores, broken: Mapping[Place, str], rules: Rules) -> None:
        self.baseline = baseline
        self.scores = scores
        self.broken = broken
        self.rules = rules

    def drafts(self, rows: Iterable[str]) -> Iterator[Change]:
        for label in rows:
            for signature, scenes in self.baseline.scores.get(label, {}).items():
                yield from self.metric(label, signature, scenes)

    def metric(self, label: str, signature: str, scenes: Mapping[str, Cells]) -> Iterator[Change]:
        """One row under one metric."""
        samples = {scene: Sample.of(cells) for scene, cells in sorted(scenes.items())}
        before = {scene: sample for scene, sample in samples.items() if not math.isnan(sample.mean)}
        found = self.scores.get(label, {}).get(signature, {})
        after = {scene: sample for scene in before if (sample := Sample.of(found.get(scene, {}))).fits}
        calibrated = self.baseline.noise.get(label, {}).get(signature, {})
        varies = self.baseline.rows[label].varies
        spread = noise.differences(before, after, calibrated, varies)
        metric = self.baseline.metrics[signature]

        def change(
            scene: str, old: float, new: float | None, variance: Variance, p: float | None = None, moved: float | None = None
        ) -> Change:
            tolerance = self.rules.tolerance(signature, metric).at(old)
            one = Change(label, signature, metric, scene, old, new, tolerance, "same", moved=moved)
            return replace(one, p=p if p is not None else None if new is None else _p(one, variance), deviation=_deviation(variance))

        both = [scene for scene, sample in after.items() if not math.isnan(sample.mean)]
        if both:
            old, new = (statistics.mean(side[scene].mean for scene in both) for side in (before, after))
            apart = [difference(before[scene].mean, after[scene].mean) for scene in both]
            together = noise.total([spread[scene] for scene in both])
            flipped = _flipped(apart) if together.freedom <= 0 else None
            # Without a mean, some scenes are infinitely better and others infinitely worse: they speak for themselves.
            if old is not None and new is not None and (moved := statistics.mean(apart)) is not None:
                yield change("", old, new, together, flipped, moved)
        for scene, sample in before.items():
            declined = _declined(scenes[scene], found.get(scene, {}))
            lost = scene not in both or (label, signature, scene) in self.broken or bool(declined)
            new = after[scene].mean if scene in both else None
            one = change(scene, sample.mean, new, spread.get(scene, UNKNOWN) if new is not None else UNKNOWN)
            reason = self.broken.get((label, signature, scene), declined or _absent(after.get(scene))) if lost else ""
            shape = (_shape(sample), _shape(after[scene]) if scene in after else "")
            yield replace(one, verdict="lost" if lost else "same", reason=reason, repeats=shape)


def _judged(drafts: Iterable[Change], rules: Rules) -> Iterator[Change]:
    """The verdicts, with p-values adjusted over all scenes' means, and over all scenes."""
    found = list(drafts)
    for by_scene in (False, True):
        gating = (at for at, change in enumerate(found) if rules.gates(change.signature, change.metric))
        members = [at for at in gating if bool(found[at].scene) == by_scene]
        for at, p in zip(members, holm([found[at].p for at in members]), strict=True):
            found[at] = replace(found[at], adjusted=None if p is None else min(1.0, 2 * p))
    return (replace(change, verdict=_verdict(change, rules)) for change in found)


def _verdict(change: Change, rules: Rules) -> Verdict:
    gain = change.gain
    if change.verdict == "lost" or gain is None:
        return "lost" if rules.gates(change.signature, change.metric) else "shown"
    if abs(gain) <= change.tolerance or math.isclose(abs(gain), change.tolerance, rel_tol=1e-9):
        return "same"
    if not rules.gates(change.signature, change.metric):
        return "shown"
    if change.adjusted is None:
        return "unknown"
    return "within noise" if change.adjusted > rules.level else "better" if gain > 0 else "worse"


def _p(change: Change, variance: Variance) -> float | None:
    gain = change.gain
    return None if gain is None else noise.p_value(abs(gain), variance)


def _flipped(differences: Sequence[float]) -> float | None:
    """One-sided sign-flip test over scenes: all that can be said where no fit was repeated."""
    p = sign_flip(differences) if len(differences) >= LEAST_SCENES else None
    return None if p is None else p / 2


def _deviation(variance: Variance) -> float | None:
    return math.sqrt(variance.value) if variance.freedom > 0 or variance is NONE else None


def _declined(before: Cells, after: Cells) -> str:
    """Why a scene's scores are not whole: a larger share of fills than at the baseline has none. Empty where they are."""
    sides = [[value for seeds in cells.values() for value in seeds.values()] for cells in (before, after)]
    (old, of), (new, now) = ((side.count(None), len(side)) for side in sides)
    return f"{new} of {now} fills have no score, at the baseline {old} of {of}" if now and new * of > old * now else ""


def _absent(sample: Sample | None) -> str:
    return "not in the run" if sample is None else "values of +∞ and −∞ have no mean"


def _shape(sample: Sample) -> str:
    counts = {fit.size for fit in sample.fits}
    return f"{len(sample.fits)} × {'–'.join(map(str, sorted({min(counts), max(counts)})))}" if counts else "none"


def _count(changes: Sequence[Change]) -> str:
    """What changed, in words: `realfill:tiny PSNR over all scenes and on 2 scenes`."""
    first = changes[0]
    where = f"on {first.scene}" if first.scene else "over all scenes"
    more = len(changes) - 1
    return f"{first.label} {first.metric.title} {where}" + (f" and {more} more" if more else "")
