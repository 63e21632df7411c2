"""The words and numbers of a check, the same in all of its outputs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from realbench.errors import Exit
from realbench.gate import MEANING, Change, Judgement, Verdict
from realbench.redaction import redact, redactions
from realbench.results import Results
from realbench.text import number, p_value, signed

from ._provenance import hidden
from ._text import ARROWS, plain

ORDER: tuple[Verdict, ...] = ("worse", "lost", "unknown", "better", "within noise", "shown", "same")
"""What a reader looks for first."""
ALL = "all scenes"
NEVER = "this method's scores never vary, so that any change counts"
UNKNOWN = "unknown: neither run has repeats, and nothing was calibrated"
OUTCOMES = {
    Exit.DONE: "holds", Exit.REGRESSION: "regression", Exit.FAILED_CELLS: "not whole", Exit.NOTHING_MEASURED: "nothing judged",
}  # fmt: skip
ADVICE = {"gain": "To keep the gain:", "drop": "If the drop is meant:"}


@dataclass(frozen=True)
class Line:
    """One change as it is printed."""

    label: str
    title: str
    """The metric's, with its signature where another metric has the same title."""
    heading: str
    """Title, unit and the direction of better."""
    signature: str
    scene: str
    """`all scenes` for the mean."""
    before: str
    after: str
    difference: str
    tolerance: str
    noise: str
    p: str
    verdict: Verdict
    gates: bool
    noise_tip: str
    p_tip: str
    verdict_tip: str
    partial: str
    """Of a mean: how many scenes it is over, where a score is lost on others; empty elsewhere."""

    @property
    def sentence(self) -> str:
        """All of it on one line: `PSNR 21.30 → 19.10, −2.20 (tolerance 0.01, noise ±0.31, p 0.002): a drop beyond tolerance and noise`."""
        numbers = f"{self.title} {self.before} → {self.after}, {self.difference}"
        over = f", {self.partial}" if self.partial else ""
        return f"{numbers} (tolerance {self.tolerance}, noise {self.noise}, p {self.p}{over}): {self.verdict_tip}"


@dataclass(frozen=True)
class Place:
    """A row on a scene, under all metrics."""

    label: str
    scene: str
    changes: tuple[Change, ...]

    @property
    def first(self) -> Change:
        """What changed most."""
        return min(self.changes, key=striking)


class Check:
    """A judgement, ready to print: no folder of this machine, no value that is no number."""

    def __init__(self, results: Results) -> None:
        assert results.judgement is not None, "the report asks first"
        self.results = results
        self.judgement = _told(results.judgement, results)

    @cached_property
    def titles(self) -> dict[str, str]:
        """Titles of metrics by signature; where two are the same, each with its signature."""
        found = {change.signature: change.metric.title for change in self.judgement.changes}
        often = Counter(found.values())
        return {signature: title if often[title] == 1 else f"{title} ({signature})" for signature, title in found.items()}

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Every row on every scene, what changed most first."""
        found: dict[tuple[str, str], list[Change]] = {}
        for change in self.judgement.changes:
            if change.scene:
                found.setdefault((change.label, change.scene), []).append(change)
        return tuple(sorted((Place(*at, tuple(changes)) for at, changes in found.items()), key=lambda place: striking(place.first)))

    @property
    def counts(self) -> list[tuple[Verdict, int, int]]:
        """Verdicts with their number of means and of scenes, those that fell."""
        means, scenes = (Counter(one.verdict for one in self.judgement.changes if bool(one.scene) == by) for by in (False, True))
        return [(verdict, means[verdict], scenes[verdict]) for verdict in ORDER if means[verdict] or scenes[verdict]]

    @property
    def advice(self) -> tuple[str, str]:
        """What to type where scores changed, in words and as a command with the paths that were given; empty where there is nothing."""
        kind = self.judgement.advice
        return (ADVICE[kind], plain(self.judgement.accepting)) if kind else ("", "")

    def lines(self, changes: Sequence[Change]) -> list[Line]:
        """Changes as they are printed."""
        return [self.line(change) for change in changes]

    def line(self, change: Change) -> Line:
        """A change as it is printed."""
        metric, rules, digits = change.metric, self.judgement.rules, change.digits
        gates = rules.gates(change.signature, metric)
        before, after = ("–" if value is None else number(value, digits) for value in (change.before, change.after))
        p = change.p if change.adjusted is None else change.adjusted
        title = self.titles[change.signature]
        unit = f" ({metric.unit})" if metric.unit and metric.unit.casefold() != metric.title.casefold() else ""
        return Line(
            label=change.label, title=title, heading=f"{title}{unit} {ARROWS[metric.direction]}", signature=change.signature,
            scene=change.scene or ALL, before=before, after=after,
            difference="–" if change.difference is None else signed(change.difference, digits), tolerance=self.tolerance(change),
            noise=_noise(change), p="–" if p is None else p_value(p), verdict=change.verdict, gates=gates,
            noise_tip=_noise_tip(change), p_tip=self.p_tip(change, gates),
            verdict_tip=MEANING[change.verdict] + (f" ({change.reason})" if change.reason else ""), partial=self.partial(change),
        )  # fmt: skip

    def partial(self, change: Change) -> str:
        """Over how many scenes a mean is, where that is not all of them."""
        compared, scenes = self._scenes[change.label, change.signature]
        return "" if change.scene or compared == scenes else f"over {compared} of {scenes} scenes"

    @cached_property
    def _scenes(self) -> dict[tuple[str, str], tuple[int, int]]:
        """By row and metric: scenes with a score in both, and all scenes."""
        found: dict[tuple[str, str], tuple[int, int]] = {}
        for one in self.judgement.changes:
            compared, scenes = found.get((one.label, one.signature), (0, 0))
            both = bool(one.scene) and one.difference is not None
            found[one.label, one.signature] = compared + both, scenes + bool(one.scene)
        return found

    def tolerance(self, change: Change) -> str:
        """A tolerance in the metric's unit, and as the share it was given as."""
        given = self.judgement.rules.tolerance(change.signature, change.metric)
        return f"{change.tolerance:.3g}" + (f" ({100 * given.amount:g} %)" if given.relative else "")

    def p_tip(self, change: Change, gates: bool) -> str:
        """How a p-value came to be."""
        if change.p is None:
            return "not tested: nothing says what chance does" if change.verdict != "lost" else "not tested: there is no score"
        alone = f"one-sided p of this change alone: {p_value(change.p)}"
        if change.adjusted is None:
            return f"{alone}; not adjusted, since {'it is not tested' if gates else 'the metric does not gate'}"
        over = "rows, metrics and scenes" if change.scene else "rows and metrics"
        level = f"it counts at {self.judgement.rules.level:g} or less"
        return f"{alone}; adjusted for all {over}: {p_value(change.adjusted)}; {level}"


def striking(change: Change) -> tuple[int, float]:
    """What sorts changes: by verdict, then by how many tolerances they are."""
    gain = change.gain
    if gain is None:
        return ORDER.index(change.verdict), -math.inf
    return ORDER.index(change.verdict), 0.0 if gain == 0 else -abs(gain) / change.tolerance if change.tolerance else -math.inf


def standing(places: Sequence[Place]) -> Iterator[Place]:
    """Places where something is not as it was."""
    return (place for place in places if place.first.verdict != "same")


def _noise(change: Change) -> str:
    if change.deviation is None:
        return "–"
    digits = change.digits
    fixed = f"{change.deviation:.{digits}f}"
    return f"±{fixed if change.deviation == 0 or fixed.strip('0.') else f'{change.deviation:.1g}'}"


def _noise_tip(change: Change) -> str:
    if change.deviation is None:
        return UNKNOWN if change.verdict != "lost" else "no score, so nothing to compare"
    if change.deviation == 0:
        return NEVER
    before, after = change.repeats
    repeats = f"; fits × seeds: {before} in the baseline, {after} in the run" if before or after else ""
    return f"standard deviation that chance gives the change: {change.deviation:.3g}{repeats}"


def _told(judgement: Judgement, results: Results) -> Judgement:
    """Without folders, and with None for what no number is (the mean of infinities of both signs)."""
    pairs = [pair for side in (results, results.before) if side for pair in redactions(side)]

    def number_or_none(value: float | None) -> float | None:
        return None if value is None or math.isnan(value) else value

    return replace(
        judgement,
        changes=tuple(
            replace(one, reason=redact(one.reason, pairs), before=number_or_none(one.before), after=number_or_none(one.after))
            for one in judgement.changes
        ),
        mismatches=tuple(redact(text, pairs) for text in judgement.mismatches),
        warnings=tuple(redact(text, pairs) for text in judgement.warnings),
        differences=tuple(
            replace(one, before=redact(hidden(one.before), pairs), after=redact(hidden(one.after), pairs)) for one in judgement.differences
        ),
    )
