"""What a reader must know of every method and metric of a report: licence, paper, weights, needs, printed scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

from realbench import registry
from realbench.errors import RealbenchError
from realbench.method import Published, Weights
from realbench.records import RowInfo
from realbench.tables import Leaderboard, TableColumn, TableRow

GONE = "not installed here any more: the card shows what the run recorded"


@dataclass(frozen=True)
class Facts:
    """Names and texts, as a card lists them."""

    facts: tuple[tuple[str, str], ...]
    weights: tuple[str, ...]
    """One phrase for each model that it may load."""
    published: tuple[Published, ...] = ()


@dataclass(frozen=True)
class MethodView:
    """A method with its rows."""

    id: str
    title: str
    summary: str
    rows: tuple[tuple[int, TableRow], ...]
    """Each with its number in the leaderboard, from 1."""
    card: Facts


@dataclass(frozen=True)
class MetricView:
    """A metric with its columns."""

    id: str
    title: str
    summary: str
    columns: tuple[tuple[int, TableColumn], ...]
    card: Facts


def methods(board: Leaderboard) -> Iterator[MethodView]:
    """The methods in the leaderboard's order."""
    numbered = list(enumerate(board.rows, 1))
    for one in dict.fromkeys(_identity(row.info) for row in board.rows):
        rows = tuple((number, row) for number, row in numbered if _identity(row.info) == one)
        info = rows[0][1].info
        yield MethodView(info.method, info.title, info.summary, rows, _method_facts(info))


def _identity(info: RowInfo) -> tuple[str, str]:
    """Which method a row is of: its name, and for a name that stands for several (`isolated`) the title too."""
    try:
        several = hasattr(registry.load("methods", info.method), "variant")
    except RealbenchError:
        several = False
    return info.method, info.title if several else ""


def metrics(board: Leaderboard) -> Iterator[MetricView]:
    """The metrics in the leaderboard's order; one with several signatures has several columns."""
    numbered = sorted(enumerate(board.columns, 1), key=lambda pair: (_first(board, pair[1].info.metric), pair[0]))
    for name, group in groupby(numbered, key=lambda pair: pair[1].info.metric):
        columns = tuple(group)
        info = columns[0][1].info
        yield MetricView(name, info.title, info.summary, columns, _metric_facts(name))


def _first(board: Leaderboard, metric: str) -> int:
    return next(at for at, column in enumerate(board.columns) if column.info.metric == metric)


def _method_facts(info: RowInfo) -> Facts:
    """A method's card; what the run recorded comes first, because it is what was run."""
    facts = [("Paper", info.paper), ("Licence", info.licence)]
    try:
        card = registry.method(info.method, info.settings).card
    except RealbenchError:
        return Facts((*_given(facts), ("Note", GONE)), ())
    facts += [("Needs", ", ".join(card.needs)), ("Presets", ", ".join(card.presets)), ("Repeats", _repeats(card))]
    return Facts(_given(facts), tuple(map(_weights, card.weights)), tuple(card.published))


def _metric_facts(name: str) -> Facts:
    card = _metric_card(name)
    if card is None:
        return Facts((("Note", GONE),), ())
    reads = ", ".join(("mask", *card.reads))
    facts = [("Paper", card.paper), ("Licence", card.licence), ("Scores", f"the {card.image}"), ("Reads", reads)]
    return Facts(_given(facts), tuple(map(_weights, card.weights)))


def _given(facts: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, text) for name, text in facts if text)


def _repeats(card: Any) -> str:
    """Which repeats change a method's fill."""
    words = {(False, False): "always gives the same fill", (True, False): "depends on the fit", (False, True): "depends on the seed"}
    return words.get((card.fits, card.stochastic), "depends on fit and seed")


def _weights(one: Weights) -> str:
    parts = [one.id, f"revision {one.revision}", one.size, one.licence, "gated" if one.gated else ""]
    return f"{one.name}: {', '.join(filter(None, parts))}"


@cache
def _metric_card(name: str) -> Any:
    """An installed metric's card; None for one that is gone or broken."""
    try:
        return registry.load("metrics", name).card
    except RealbenchError:
        return None
