"""A section of leaderboard.md: what people preferred on blind pages."""

from __future__ import annotations

from collections.abc import Iterator

from realbench.votes import Question, Tally

from ._seeds import Escape, line


def voted(found: Tally, text: Escape) -> Iterator[str]:
    """The section on votes."""
    yield from ("## Votes", "")
    yield (
        f"Ballots: {found.ballots}; pairs: {found.pairs}; scenes: {found.scenes}. Cast without knowing whose fills they were. Preferred is "
        "the mean over scenes of the share of comparisons won, a tie counting half; in brackets its 95 % bootstrap interval over scenes."
    )
    yield ""
    for question in found.questions:
        if question.rows:
            yield from _question(question, text)
    yield from (f"- {text(words)}" for words in found.notes)
    yield from [""] if found.notes else []


def _question(question: Question, text: Escape) -> Iterator[str]:
    yield from (f"### Which is {question.title}?", "", line(["row", "preferred", "won", "tied", "lost"]), line([":--", *["--:"] * 4]))
    for row in question.rows:
        yield line([text(row.label), text(_percent(row.share, row.interval)), str(row.wins), str(row.ties), str(row.losses)])
    yield ""
    yield from (line(["first", "second", "first preferred", "first", "tie", "second"]), line([":--", ":--", *["--:"] * 4]))
    for duel in question.duels:
        share = "–" if duel.share is None else text(_percent(duel.share, duel.interval))
        yield line([text(duel.first), text(duel.second), share, str(duel.wins), str(duel.ties), str(duel.losses)])
    yield ""


def _percent(share: float, interval: tuple[float, float] | None) -> str:
    ends = "" if interval is None else f" [{100 * interval[0]:.0f}, {100 * interval[1]:.0f}]"
    return f"{100 * share:.0f} %{ends}"
