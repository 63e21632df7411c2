"""check.md: a check on the page of a CI job or in a comment; GitHub shows at most 1 MiB of it, so every part has its limit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from realbench.errors import Exit

from ._check_words import ORDER, Check, Line, standing
from ._seeds import code, line
from ._text import plain
from .markdown import escape

LONGEST = 300
"""Characters of one text of a run that are shown."""
MEANS, SCENES, TESTED, SPOKEN, HELD = 60_000, 120_000, 60_000, 40_000, 80_000
"""Bytes of each part: the means, the scenes that changed, what is under test, sentences, the scenes that hold."""
MARKS = {"worse": "**▼ worse**", "better": "**▲ better**", "lost": "**lost**"}
SIGNS = {Exit.DONE: "✓", Exit.REGRESSION: "✗", Exit.FAILED_CELLS: "✗", Exit.NOTHING_MEASURED: "⚠"}
_COLUMNS = ["baseline", "now", "change", "tolerance", "noise", "p"]


def markdown(check: Check) -> str:
    """The page; every text of a run is escaped for Markdown, tables and HTML."""
    return "\n".join(_lines(check)) + "\n"


def shown(text: str) -> str:
    """A text of a run, shortened and escaped."""
    words = plain(text)
    return escape(words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…")


def cut(lines: Iterable[str], limit: int) -> Iterator[str]:
    """Lines up to so many bytes, then how many were left out."""
    found = list(lines)
    for at, one in enumerate(found):
        limit -= len(one.encode()) + 1
        if limit < 0:
            yield from ("", f"*Cut here: {len(found) - at} more lines; check.html and check.json have them all.*")
            return
        yield one


def _lines(check: Check) -> Iterator[str]:
    judgement = check.judgement
    yield from (f"## {SIGNS[judgement.exit_code]} {shown(judgement.headline[:1].upper() + judgement.headline[1:])}", "")
    runs = shown(", ".join(judgement.runs)) or "no run"
    yield f"Suite {shown(judgement.suite)}, {runs} against the baseline of {shown(judgement.accepted)}, level {judgement.rules.level:g}."
    counts = [f"{word} {means + scenes}" for word, means, scenes in check.counts]
    yield from (f"Verdicts: {', '.join(counts)}.", "") if counts else ("",)
    words, command = check.advice
    if words:
        yield from (f"{words} {code(command)}", "")
    yield from _listed("Why nothing was judged", judgement.mismatches)
    yield from _listed("Warnings", judgement.warnings)
    yield from _tables(check)
    yield from _tested(check)
    yield from _explained(check)


def _tables(check: Check) -> Iterator[str]:
    """The means, the scenes that changed, and folded away those that hold."""
    changes = check.judgement.changes
    if not changes:
        return
    means = check.lines([change for change in changes if not change.scene])
    yield from ("### Over all scenes", "", *cut(_table(means, scenes=False), MEANS), "")
    moved = [change for place in standing(check.places) for change in place.changes if change.verdict != "same"]
    moved.sort(key=lambda change: ORDER.index(change.verdict))
    yield from ("### Scenes that changed", "")
    yield from (*cut(_table(check.lines(moved), scenes=True), SCENES), "") if moved else ("None: every score is within its tolerance.", "")
    held = [change for change in changes if change.scene and change.verdict == "same"]
    if held:
        yield from ("<details>", f"<summary>{len(held)} scores of scenes that hold</summary>", "")
        yield from (*cut(_table(check.lines(held), scenes=True), HELD), "", "</details>", "")


def _table(lines: Iterable[Line], *, scenes: bool) -> Iterator[str]:
    head = ["row", "scene", "metric", "verdict"] if scenes else ["row", "metric", "verdict"]
    yield line([*head, *_COLUMNS])
    yield line([*[":--"] * len(head), *["--:"] * len(_COLUMNS)])
    for one in lines:
        names = [one.label, one.scene, one.heading] if scenes else [one.label, one.heading]
        numbers = (one.before, one.after, one.difference, one.tolerance, one.noise, one.p)
        reason = f": {shown(one.verdict_tip)}" if one.verdict == "lost" else f" {one.partial}" if one.partial else ""
        gates = "" if one.gates else " *(does not gate)*"
        yield line([*map(shown, names), MARKS.get(one.verdict, one.verdict) + reason + gates, *map(shown, numbers)])


def _tested(check: Check) -> Iterator[str]:
    """What changed under test."""
    found = check.judgement.differences
    if check.judgement.mismatches and not found:
        return
    yield from ("### What changed under test", "")
    if not found:
        yield from ("Nothing that is recorded: settings, weights, code, versions and machine are the baseline's.", "")
        return
    rows = (line(map(shown, (one.label or "all", one.what, one.before, one.after))) for one in found)
    yield from (*cut([line(["row", "what", "baseline", "now"]), line([":--"] * 4), *rows], TESTED), "")


def _explained(check: Check) -> Iterator[str]:
    """How to read the numbers, and the metrics' signatures."""
    if not check.judgement.changes:
        return
    yield (
        "Noise: the standard deviation that chance gives the change. p: one-sided, adjusted for everything that was looked at. A change is "
        f"worse or better where it is larger than the tolerance and p is at most {check.judgement.rules.level:g}."
    )
    signatures = [f"- {shown(title)}: {code(signature)}" for signature, title in check.titles.items()]
    yield from ("", *cut(signatures, SPOKEN))


def _listed(title: str, texts: Iterable[str]) -> Iterator[str]:
    """A section; nothing when it is empty."""
    found = [f"- {shown(text)}" for text in texts]
    if found:
        yield from (f"### {title}", "", *cut(found, SPOKEN), "")
