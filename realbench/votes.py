"""Blind comparisons by people: what was asked, what they answered, and what the answers say. Never imports torch.

A blind page shows pairs of fills under opaque names; the key that says what was shown stays in the run folder. Votes come back as files
from strangers, so everything in them is checked against the key before it counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from realbench import statistics
from realbench.errors import UsageError
from realbench.text import printable

if TYPE_CHECKING:
    from realbench.results import Results

FOLDER = "blind"
"""Of the run folder, where keys are kept."""
QUESTIONS: Mapping[str, str] = {"realistic": "more realistic", "faithful": "more faithful to the references"}
"""What is asked of each pair: the two questions of RealFill's user study."""
MAX_BYTES = 2_000_000
"""Largest file of votes that is read; a ballot of 60 pairs has 6 kB."""
MAX_PAIRS = 2_000

Token = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
BallotToken = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Answer = Literal["a", "b", "tie"]


@dataclass(frozen=True)
class BlindOptions:
    """How a blind page is made."""

    pairs: int = 60
    """Most pairs on the page; scenes and pairs of rows come up equally often."""
    seed: int = 0
    """What order, sides and seeds are drawn from, together with the content of the run."""
    oracles: bool = False
    """Whether rows that read the ground truth take part."""

    def __post_init__(self) -> None:
        """Raises UsageError for a number that cannot be."""
        if not 1 <= self.pairs <= MAX_PAIRS:
            raise UsageError(f"a blind page shows 1 to {MAX_PAIRS} pairs, not {self.pairs}")
        if self.seed < 0:
            raise UsageError(f"the seed of a blind page is 0 or more, not {self.seed}")


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Side(_Checked):
    """One of the two fills of a pair."""

    label: str
    fit: int
    seed: int
    image: str
    """SHA-256 of fill.png."""


class Pair(_Checked):
    """What a pair's opaque id stands for."""

    id: Token
    scene: str
    a: Side
    b: Side


class Key(_Checked):
    """What a blind page showed; it never leaves the run folder."""

    kind: Literal["realbench-blind-key/1"] = "realbench-blind-key/1"
    study: Token
    seed: int
    pairs: list[Pair]
    left_out: int = 0
    """Pairs that were drawn and not shown: no room was left, or a picture could not be read."""


class Vote(_Checked):
    """What one person said of one pair; a question may be left open."""

    pair: Token
    realistic: Answer | None = None
    faithful: Answer | None = None


class Ballot(_Checked):
    """A file of votes, as a blind page writes it."""

    kind: Literal["realbench-votes/1"]
    study: Token
    ballot: BallotToken
    """Drawn by the page, so that a file given twice counts once."""
    votes: Annotated[list[Vote], Field(max_length=MAX_PAIRS)]


@dataclass(frozen=True)
class RowShare:
    """How often a row was preferred."""

    label: str
    wins: int
    ties: int
    losses: int
    share: float
    """Mean over scenes of the share of comparisons won there, a tie counting half, 0–1."""
    interval: tuple[float, float] | None
    """95 % bootstrap interval over scenes; None for too few of them."""

    @property
    def votes(self) -> int:
        """Comparisons with an answer."""
        return self.wins + self.ties + self.losses


@dataclass(frozen=True)
class Duel:
    """Two rows against each other; wins are the first one's."""

    first: str
    second: str
    wins: int
    ties: int
    losses: int
    share: float | None
    """Share of wins among the votes that decided, 0–1; None where none did."""
    interval: tuple[float, float] | None
    """Wilson's 95 % score interval of that share, as if votes were independent."""


@dataclass(frozen=True)
class Question:
    """The answers to one question."""

    id: str
    title: str
    rows: tuple[RowShare, ...]
    """Most preferred first."""
    duels: tuple[Duel, ...]


@dataclass(frozen=True)
class Tally:
    """What all ballots say together."""

    questions: tuple[Question, ...]
    ballots: int
    pairs: int
    """Different pairs with an answer."""
    scenes: int
    notes: tuple[str, ...] = ()
    """What was left out, and why."""


_Answered = tuple[Pair, Answer]


def tally(results: Results) -> Tally | None:
    """The answers in the files that were given; None without files. Raises UsageError for a file that no page of this run wrote."""
    return results.once("votes", lambda: _tally(results)) if results.votes else None


def _tally(results: Results) -> Tally:
    keys: dict[str, Key] = {}
    ballots: dict[str, Ballot] = {}
    notes: list[str] = []
    for path in results.votes:
        ballot = read_ballot(path)
        if ballot.study not in keys:
            keys[ballot.study] = find_key(ballot.study, (folder.root for _, folder, _ in results.runs), path)
        _check(ballot, keys[ballot.study], path)
        if not _answers(ballot):
            notes.append(f"{path.name}: a ballot without answers")
        before = ballots.get(ballot.ballot)
        if before is not None:
            notes.append(f"{path.name}: a ballot that was given before; the fuller of the two counts")
        if before is None or _answers(ballot) > _answers(before):
            ballots[ballot.ballot] = ballot
    return count(ballots.values(), keys, notes)


def read_ballot(path: Path) -> Ballot:
    """A file of votes. Raises UsageError where it cannot be read, is too large, or is none."""
    if path.exists() and not path.is_file():  # a pipe that nobody writes to would keep us waiting for ever
        raise UsageError(f"--votes {path}: expected a file that a blind page exported, found something else")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"--votes {path}: cannot be read ({error.strerror or error})") from error
    if len(data) > MAX_BYTES:
        raise UsageError(f"--votes {path}: more than {MAX_BYTES:,} bytes; expected the file that a blind page exported")
    try:
        return Ballot.model_validate_json(data)
    except ValidationError as error:
        raise UsageError(f"--votes {path}: expected the file that a blind page exported; {_first(error)}") from None


def find_key(study: str, roots: Iterable[Path], votes: Path) -> Key:
    """The key of a study in these run folders. Raises UsageError where there is none."""
    for root in roots:
        path = root / FOLDER / f"{study}.key.json"
        if not path.is_file():
            continue
        try:
            key = Key.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise UsageError(f"{path}: broken ({type(error).__name__}); without it votes cannot be read") from None
        if key.study == study:
            return key
    where = f"whose key is not in the run's folder {FOLDER}/; give the run that the blind page was made of"
    raise UsageError(f"--votes {votes}: they are of study {study}, {where}")


def count(ballots: Iterable[Ballot], keys: Mapping[str, Key], notes: Iterable[str] = ()) -> Tally:
    """Add ballots up; each must have passed the checks of its key."""
    pairs = {(key.study, pair.id): pair for key in keys.values() for pair in key.pairs}
    cast = [(pairs[ballot.study, vote.pair], vote, ballot.ballot) for ballot in ballots for vote in ballot.votes]
    answered = {name: [(pair, answer) for pair, vote, _ in cast if (answer := getattr(vote, name)) is not None] for name in QUESTIONS}
    seen = [pair for answers in answered.values() for pair, _ in answers]
    questions = tuple(Question(name, QUESTIONS[name], _rows(found), _duels(found)) for name, found in answered.items())
    voters = {ballot for _, vote, ballot in cast if any(getattr(vote, name) is not None for name in QUESTIONS)}
    return Tally(questions, len(voters), len({pair.id for pair in seen}), len({pair.scene for pair in seen}), tuple(notes))


def wilson(wins: int, votes: int) -> tuple[float, float] | None:
    """Wilson's 95 % score interval of a share; None without votes."""
    from scipy.stats import binomtest

    if votes == 0:
        return None
    found = binomtest(wins, votes).proportion_ci(statistics.LEVEL, method="wilson")
    return float(found.low), float(found.high)


def _check(ballot: Ballot, key: Key, path: Path) -> None:
    """Raises UsageError for pairs that the page did not show, or that are answered twice."""
    known, named = {pair.id for pair in key.pairs}, [vote.pair for vote in ballot.votes]
    unknown = [name for name in named if name not in known]
    if unknown:
        raise UsageError(f"--votes {path}: {len(unknown)} of its pairs are none of study {key.study}, the first is {unknown[0]}")
    if len(set(named)) != len(named):
        raise UsageError(f"--votes {path}: a pair is answered twice; expected the file that a blind page exported")


def _answers(ballot: Ballot) -> int:
    return sum(getattr(vote, name) is not None for vote in ballot.votes for name in QUESTIONS)


def _outcomes(answers: Sequence[_Answered]) -> Iterator[tuple[str, str, str, float]]:
    """Each comparison from both sides: row, the other row, scene, and 1 for won, ½ for a tie, 0 for lost."""
    points = {"a": 1.0, "tie": 0.5, "b": 0.0}
    for pair, answer in answers:
        yield pair.a.label, pair.b.label, pair.scene, points[answer]
        yield pair.b.label, pair.a.label, pair.scene, 1 - points[answer]


def _rows(answers: Sequence[_Answered]) -> tuple[RowShare, ...]:
    found: dict[str, dict[str, list[float]]] = {}
    for label, _, scene, points in _outcomes(answers):
        found.setdefault(label, {}).setdefault(scene, []).append(points)
    rows = [_row(label, scenes) for label, scenes in found.items()]
    return tuple(sorted(rows, key=lambda row: (-row.share, row.label)))


def _row(label: str, scenes: Mapping[str, Sequence[float]]) -> RowShare:
    points = [point for values in scenes.values() for point in values]
    shares = [sum(values) / len(values) for values in scenes.values()]
    return RowShare(label, points.count(1), points.count(0.5), points.count(0), sum(shares) / len(shares), statistics.interval(shares))


def _duels(answers: Sequence[_Answered]) -> tuple[Duel, ...]:
    found: dict[tuple[str, str], list[float]] = {}
    for label, other, _, points in _outcomes(answers):
        if label < other:
            found.setdefault((label, other), []).append(points)
    return tuple(_duel(first, second, points) for (first, second), points in sorted(found.items()))


def _duel(first: str, second: str, points: Sequence[float]) -> Duel:
    wins, losses = points.count(1), points.count(0)
    share = wins / (wins + losses) if wins + losses else None
    return Duel(first, second, wins, points.count(0.5), losses, share, wilson(wins, wins + losses))


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, in one short line that repeats nothing long from the file."""
    found = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, found["loc"])) or "the file"
    return printable(f"{where[:80]}: {found['msg'][:120]}")
