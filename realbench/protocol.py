"""A paper's protocol: what it states, what it leaves open with the choice made here, and how a run departs from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal

from realbench import registry
from realbench.composite import FEATHER, Feather
from realbench.errors import RealbenchError, UsageError
from realbench.plan import Column, Row, parse_seeds, plan_columns, plan_rows
from realbench.records import Adopted, Manifest
from realbench.settings import shown

FEW = 5
"""Scenes that a departure names."""


@dataclass(frozen=True)
class Open:
    """Something the paper does not state."""

    what: str
    choice: str = ""
    """The choice made, where it is the same for every run."""
    metric: str = ""
    """The choice is this metric's signature."""
    method: str = ""
    """The choice is these settings of this method's rows."""
    settings: tuple[str, ...] = ()
    repeats: Literal["", "seeds", "fits"] = ""
    """The choice is which seeds, or how many fits, were asked for."""


@dataclass(frozen=True)
class PublishedRow:
    """One row of a printed table."""

    label: str
    source: str
    values: Mapping[str, float] = field(default_factory=dict)
    """By metric; empty for a row that the method's card holds."""
    method: str = ""
    """The method whose card holds the values."""

    def scores(self) -> dict[str, float]:
        """The values, the card's where it holds them."""
        if not self.method:
            return dict(self.values)
        return {item.metric: item.value for item in registry.load("methods", self.method).card.published}


@dataclass(frozen=True)
class Protocol:
    """Everything a paper states, as the command line takes it."""

    name: str
    source: str
    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    """The columns of its table first, then what else it needs."""
    seeds: str
    scenes: tuple[str, ...]
    """Ids of its data set's scenes."""
    data_set: str
    stated: Mapping[str, str]
    """What the paper says, by subject."""
    left_open: tuple[Open, ...]
    table: Mapping[str, str] = field(default_factory=dict)
    """Headings of the printed table by metric, in its order."""
    published: tuple[PublishedRow, ...] = ()
    caution: str = ""
    """Why measured numbers must not stand in a column with printed ones."""


@dataclass(frozen=True)
class AskedRow:
    """A row as a command or a run folder asks for it."""

    label: str
    method: str
    preset: str | None
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    fits: int


@dataclass(frozen=True)
class AskedColumn:
    """A metric as a command or a run folder asks for it."""

    metric: str
    signature: str


@dataclass(frozen=True)
class Asked:
    """What is compared with a protocol."""

    rows: tuple[AskedRow, ...]
    columns: tuple[AskedColumn, ...]
    feather: float
    suite: str
    """Name of the suite."""
    scenes: tuple[str, ...]
    untrue: tuple[str, ...] = ()
    """Scenes that are known to lack ground truth."""


def protocols() -> dict[str, Protocol]:
    """All protocols by name."""
    from realbench.paper import PAPER

    return {PAPER.name: PAPER}


def load(name: str) -> Protocol:
    """A protocol. Raises UsageError, which lists the known ones."""
    known = protocols()
    if name not in known:
        raise UsageError(f"--protocol {name!r}: unknown; known: {', '.join(known)}")
    return known[name]


def asked(
    rows: Iterable[Row], columns: Iterable[Column], seeds: Sequence[int], fits: int, feather: float, suite: str, scenes: Iterable[str]
) -> Asked:
    """What a command asks for."""
    lines = (AskedRow(row.label, row.method, row.preset, row.settings, row.seeds(seeds), len(row.fits(fits))) for row in rows)
    own = (AskedColumn(column.metric, column.signature) for column in columns)
    return Asked(tuple(lines), tuple(own), feather, suite, tuple(scenes))


def asked_by(manifest: Manifest) -> Asked:
    """What a run folder asks for, over all commands that worked on it."""
    rows = (
        AskedRow(label, row.method, row.preset, row.settings, tuple(row.seeds), len(row.fits))
        for label, row in manifest.rows.items()
        if not row.oracle
    )
    columns = (AskedColumn(column.metric, column.signature) for column in manifest.columns.values())
    untrue = tuple(name for name, info in manifest.scenes.items() if not info.truth and not info.refused)
    return Asked(tuple(rows), tuple(columns), manifest.feather, manifest.suite, tuple(manifest.scenes), untrue)


def departures(protocol: Protocol, found: Asked) -> list[str]:
    """How what is asked for differs from the protocol, one sentence each; empty where it does not."""
    texts = [*_rows(protocol, found), *_columns(protocol, found)]
    if found.feather != FEATHER:
        texts.append(f"feather: {found.feather:g} instead of {FEATHER:g} pixels for a shorter side of 512, our choice")
    return [*texts, *_scenes(protocol, found)]


def choices(protocol: Protocol, found: Asked) -> dict[str, str]:
    """What the paper leaves open, each with the choice made here: signatures and settings as they are asked for."""
    return {item.what: item.choice or _chosen(item, found) for item in protocol.left_open} | {
        "which scenes": f"{len(found.scenes)} of the suite {found.suite}; their ids are compared with {protocol.data_set}'s, their content "
        "is not",
        "feather": f"{found.feather:g} pixels for a shorter side of 512, outside the hole; every hole pixel is the fill's",
    }


def explain(protocol: Protocol, found: Asked) -> Iterator[str]:
    """What `realbench run --protocol` prints, line by line."""
    yield f"protocol {protocol.name}: {protocol.source}"
    yield from (f"  stated: {what}: {text}" for what, text in protocol.stated.items())
    yield from (f"  left open: {what}: {text}" for what, text in choices(protocol, found).items())
    yield from (f"  departs: {text}" for text in departures(protocol, found) or ["in nothing"])


def adopt(protocol: Protocol, manifest: Manifest) -> Adopted:
    """What run.json records: which protocol the run follows, what was chosen and how it departs."""
    found = asked_by(manifest)
    return Adopted(
        protocol=protocol.name,
        source=protocol.source,
        stated=dict(protocol.stated),
        left_open=choices(protocol, found),
        departures=departures(protocol, found),
    )


def _rows(protocol: Protocol, found: Asked) -> Iterator[str]:
    wanted = plan_rows(protocol.methods)
    seeds = parse_seeds(protocol.seeds)
    for row in wanted:
        own = [one for one in found.rows if (one.method, one.preset) == (row.method, row.preset)]
        if not own:
            yield f"methods: {row.label} is not among the rows"
        for one in own:
            yield from _row(row, one, len(row.seeds(seeds)))
    known = {(row.method, row.preset) for row in wanted}
    others = [one.label for one in found.rows if (one.method, one.preset) not in known]
    if others:
        yield f"methods: not of the protocol: {', '.join(others)}"


def _row(row: Row, one: AskedRow, seeds: int) -> Iterator[str]:
    name = row.label if one.label == row.label else f"{row.label} as {one.label}"
    for key, value in one.settings.items():
        if key in row.settings and row.settings[key] != value:
            now, then = shown(row.method, key, value), shown(row.method, key, row.settings[key])
            yield f"settings: {name}: {key} is {now} instead of {then}"
    if len(one.seeds) != seeds:
        yield f"seeds: {name}: {len(one.seeds)} instead of {seeds}"
    if one.fits != 1:
        yield f"fits: {name}: {one.fits} instead of 1"


def _scenes(protocol: Protocol, found: Asked) -> Iterator[str]:
    if len(found.scenes) != len(protocol.scenes):
        yield f"scenes: {len(found.scenes)} instead of the {len(protocol.scenes)} of {protocol.data_set}"
    others = [name for name in found.scenes if name not in protocol.scenes]
    if others:
        yield f"scenes: no ids of {protocol.data_set}: {_some(others)}"
    if found.untrue:
        yield f"scenes: without ground truth: {_some(found.untrue)}"


def _some(names: Sequence[str]) -> str:
    """A few names, and how many more there are."""
    rest = len(names) - FEW
    return ", ".join(names[:FEW]) + (f" and {rest} more" if rest > 0 else "")


def _columns(protocol: Protocol, found: Asked) -> Iterator[str]:
    wanted: dict[str, Column | None] = {}
    for text in protocol.metrics:
        name = text.partition(":")[0]
        try:
            (wanted[name],) = plan_columns([text], Feather(found.feather))
        except RealbenchError:  # this installation lacks the metric, or its setting: then its name alone is compared
            wanted[name] = None
    further: list[str] = []
    for name, column in wanted.items():
        own = [one for one in found.columns if one.metric == name]
        if not own:
            yield f"metrics: {name} is not measured"
        elif column is not None and all(one.signature != column.signature for one in own):
            yield from (f"metrics: {_difference(one, column)}" for one in own)
        elif column is not None:
            further += [_difference(one, column) for one in own if one.signature != column.signature]
    others = [*sorted({one.metric for one in found.columns if one.metric not in wanted}), *further]
    if others:
        yield f"metrics: measured beside the protocol's: {', '.join(others)}"


def _difference(one: AskedColumn, wanted: Column) -> str:
    """What differs between two signatures of a metric."""
    own, other = one.signature.split("|"), wanted.signature.split("|")
    here, there = ("|".join(part for part in parts if part not in rest) for parts, rest in ((own, other), (other, own)))
    return f"{one.metric}: {here or 'nothing'} instead of {there or 'nothing'}"


def _chosen(item: Open, found: Asked) -> str:
    if item.metric:
        return "; ".join(column.signature for column in found.columns if column.metric == item.metric) or "not measured"
    if item.repeats:
        return _repeats(item.repeats, found.rows)
    rows = [row for row in found.rows if row.method == item.method]
    texts = dict.fromkeys(
        ", ".join(f"{key}={shown(row.method, key, row.settings[key])}" for key in item.settings if key in row.settings) for row in rows
    )
    return "; ".join(texts) or "not run"


def _repeats(what: Literal["seeds", "fits"], rows: Iterable[AskedRow]) -> str:
    """Seeds or fits of all rows, with their labels where they differ."""
    labels: dict[str, list[str]] = {}
    for row in rows:
        labels.setdefault(_ranges(row.seeds) if what == "seeds" else f"{row.fits} a scene", []).append(row.label)
    if len(labels) == 1:
        return next(iter(labels))
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in labels.items()) or "no row"


def _ranges(numbers: Iterable[int]) -> str:
    """Whole numbers in order, each run of neighbours as `first to last`."""
    runs = (list(run) for _, run in groupby(enumerate(sorted(set(numbers))), key=lambda pair: pair[1] - pair[0]))
    ends = ((run[0][1], run[-1][1]) for run in runs)
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in ends)
