"""The comparison tables that every report draws: means, intervals, coverage and ranks, with a reason for whatever is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from realbench import bootstrap, groups, selection, statistics
from realbench.errors import NothingMeasured
from realbench.marks import marked
from realbench.metric import Direction, State
from realbench.pairs import Pairs, compare
from realbench.records import ColumnInfo, RowInfo
from realbench.results import Results
from realbench.selection import Policy, Reduced
from realbench.settings import Setting, changed
from realbench.statistics import COVERAGE_PERCENT, Ranking

if TYPE_CHECKING:
    import pandas as pd

ORACLE = "oracle: it reads the ground truth"
CHOSEN = "oracle: its seeds are chosen by the scores themselves"
NO_TRUTH = "the scene has no ground truth"
NOT_ASKED = "not asked for"
SCORES = ["label", "scene", "fit", "seed", "signature", "value", "state", "reason"]
"""The fields of scores that tables read."""
REDUCED, NESTS = "reduced scores", "nests"
"""Keys, each with a policy, of what the tables of all scenes and those of some share."""


@dataclass(frozen=True)
class Missing:
    """Scores that are not there for one kind of reason."""

    state: State
    count: int
    """In fills, or in scenes where the row was never asked for the scene."""
    reason: str
    """The first one's reason."""


@dataclass(frozen=True)
class SceneEntry:
    """One row's scores on one scene under one metric."""

    value: float | None
    """Mean over seeds, then fits, of those that have a value."""
    fills: int
    """Fills with a value."""
    asked: int
    """Fills asked for."""
    missing: tuple[Missing, ...] = ()
    """What is not there, by state."""
    interval: tuple[float, float] | None = None
    """95 % bootstrap interval of the value over fits and seeds; None where nothing says how fills vary."""


@dataclass(frozen=True)
class Entry:
    """One row's standing under one metric."""

    mean: float | None
    """Mean over seeds, fits and scenes, of the scenes that have a value."""
    interval: tuple[float, float] | None
    """95 % bootstrap interval of the mean, over scenes, fits and seeds; None for fewer than statistics.LEAST_SCENES scenes."""
    scenes: int
    """Scenes with a value, of those where the metric applies (`TableColumn.scenes`)."""
    fills: int
    """Fills with a value on those scenes."""
    asked: int
    """Fills asked for on those scenes."""
    rank: int | None = None
    """1 is best; equal means share a rank."""
    place: float | None = None
    """What the mean rank counts: equal means share the mean of their places; None where all ranked rows tie."""
    common: float | None = None
    """Mean over the scenes common to all ranked rows, which `rank` rests on."""
    best: bool = False
    """First, with another ranked row behind it."""
    tied: bool = False
    """Ranked behind the best, and not shown to differ from it (realbench.pairs)."""
    unranked: str = ""
    """Why there is no rank; empty when there is one."""
    missing: tuple[Missing, ...] = ()


@dataclass(frozen=True)
class TableColumn:
    """A metric, and the scenes it applies to."""

    info: ColumnInfo
    scenes: tuple[str, ...]
    """Scenes on which a row could have a score: with ground truth where the metric needs it."""
    outside: Mapping[str, str]
    """The other scenes, each with the reason."""
    common: tuple[str, ...]
    """Scenes that the ranks rest on."""
    devices: tuple[str, ...] = ()
    """Device and its name of every score; more than one is worth a warning."""


@dataclass(frozen=True)
class TableRow:
    """A row of the leaderboard."""

    label: str
    info: RowInfo
    fits: int
    """Different fits asked for, over all scenes."""
    seeds: int
    devices: tuple[str, ...]
    """Device, its name and the floating-point type of every finished fill; more than one is worth a warning."""
    entries: tuple[Entry, ...]
    """One a column, in the leaderboard's order."""
    settings: tuple[Setting, ...] = ()
    """Those that differ from the method's defaults."""
    mean_rank_interval: tuple[float, float] | None = None
    """95 % bootstrap interval of the mean rank."""

    @property
    def mean_rank(self) -> float | None:
        """Mean of its places; None when it has none, or where no metric tells the ranked rows apart."""
        return statistics.mean(entry.place for entry in self.entries if entry.place is not None)

    @property
    def unranked(self) -> str:
        """Why it has no rank under any metric; empty when it has one."""
        ranked = any(entry.rank is not None for entry in self.entries)
        return "" if ranked else next((entry.unranked for entry in self.entries), "")


@dataclass(frozen=True)
class Leaderboard:
    """Rows by mean rank, best first (one ranked under fewer metrics comes later); then unranked ones; oracles last.

    Columns stand in the groups of realbench.groups, in each in the order they were asked for.
    """

    columns: tuple[TableColumn, ...]
    rows: tuple[TableRow, ...]

    @property
    def tied(self) -> tuple[ColumnInfo, ...]:
        """Metrics under which all of several ranked rows tie, which mean ranks leave out."""
        pairs = ((column.info, [row.entries[at] for row in self.rows]) for at, column in enumerate(self.columns))
        return tuple(info for info, entries in pairs if any(entry.rank is not None and entry.place is None for entry in entries))


@dataclass(frozen=True)
class SceneTable:
    """One metric, scene by scene."""

    info: ColumnInfo
    scenes: tuple[str, ...]
    rows: Mapping[str, tuple[SceneEntry, ...]]
    """By label, in the leaderboard's order; one entry a scene."""
    best: tuple[float | None, ...]
    """The best value on each scene of the rows that are no oracles; None where they do not differ."""


@dataclass(frozen=True)
class Tables:
    """Everything that is shown of a set of runs."""

    leaderboard: Leaderboard
    per_scene: tuple[SceneTable, ...]
    """One a column."""
    policy: str = "all seeds"
    """Which seeds count, in words."""
    notes: tuple[str, ...] = ()
    """What the policy could not do, and for which row."""
    pairs: tuple[Pairs, ...] = ()
    """One a column: every two rows that are no oracles, compared."""


def leaderboard(results: Results, policy: Policy | None = None) -> Leaderboard:
    """The comparison table, with the results' policy of seeds or another. Raises NothingMeasured when nothing was asked for."""
    return tables(results, policy).leaderboard


def per_scene(results: Results) -> tuple[SceneTable, ...]:
    """The comparison scene by scene, one table a metric. Raises NothingMeasured when no cell or no metric was asked for."""
    return tables(results).per_scene


def tables(results: Results, policy: Policy | None = None) -> Tables:
    """All tables, made once for the same results and policy. Raises NothingMeasured when no cell or no metric was asked for, and UsageError
    when the policy selects by a metric that is not clear.
    """
    how = policy or results.policy
    return results.once(("tables", how), lambda: _tables(results, how))


def _tables(results: Results, policy: Policy) -> Tables:
    cells, whole = results.cells(), results.whole or results
    if cells.empty or not results.columns:
        refused = [f"scene {scene}: {info.refused}" for scene, info in results.scenes.items() if info.refused]
        raise NothingMeasured(f"nothing to show: {refused[0] if refused else 'no cell or no metric was asked for'}")
    # Seeds compete on their own scene, and so does what is resampled: some scenes share the work with all.
    reduced = whole.once((REDUCED, policy), lambda: selection.reduce(whole.scores()[SCORES], policy, whole.columns))
    nests = whole.once((NESTS, policy), lambda: bootstrap.nests(reduced.scores))
    grid = _Grid(results, cells, reduced.within(results.scenes) if results.whole else reduced, nests)
    columns, standings = zip(*map(grid.column, sorted(results.columns.values(), key=groups.place)), strict=True)
    spans = grid.mean_ranks(columns, standings)
    found = _rows(results, cells, {label: [one[label] for one in standings] for label in grid.labels})
    rows = sorted((replace(row, mean_rank_interval=spans.get(row.label)) for row in found), key=_order)
    shown = tuple(scene for scene in results.scenes if scene in grid.scenes)
    labels = [row.label for row in rows]
    by_scene = tuple(grid.table(column, labels, shown) for column in columns)
    by = selection.choose(results.columns, policy.by or None) if policy.reducer == "selected" else None
    pairs = tuple(grid.pairs(column, labels) for column in columns)
    for nest in nests.values():
        nest.forget()
    return Tables(
        marked(Leaderboard(columns, tuple(rows)), pairs), by_scene, policy.describe(by, results.columns.values()), grid.reduced.notes, pairs
    )


class _Grid:
    """Scores by row, metric and scene."""

    def __init__(self, results: Results, cells: pd.DataFrame, reduced: Reduced, nests: Mapping[tuple[str, str], bootstrap.Nest]) -> None:
        self.results = results
        self.reduced = reduced
        self.nests = nests
        scores = reduced.scores
        self.scenes = set(cells["scene"].unique())
        self.labels = list(cells["label"].unique())
        means = statistics.scene_means(scores, by=("label", "signature")).to_dict()
        keys = ["label", "signature", "scene"]
        absent = dict(iter(scores[scores["value"].isna()].groupby(keys, sort=False)))
        counts = scores.groupby(keys, sort=False)["value"].agg(["count", "size"]).itertuples(name=None)
        entries = {key: _scene_entry(means.get(key), fills, asked, absent.get(key)) for key, fills, asked in counts}
        self.entries = {key: replace(entry, interval=self._nest(*key[:2]).scene_interval(key[2])) for key, entry in entries.items()}
        self.inapplicable = self._inapplicable(cells, scores)

    def _inapplicable(self, cells: pd.DataFrame, scores: pd.DataFrame) -> dict[tuple[str, str], str]:
        """Reasons by (signature, scene) where the metric itself, not a fill, said that it cannot score any row but oracles."""
        if not (scores["state"] == "unsupported").any():
            return {}
        ranked = [label for label in self.labels if not self.results.rows[label].oracle] or self.labels
        keys = ["label", "scene", "fit", "seed"]
        filled = scores.merge(cells.loc[cells["state"] == "ok", keys], on=keys)
        filled = filled[filled["label"].isin(ranked)]
        refused = filled[filled["state"] == "unsupported"].drop_duplicates(["signature", "scene"])
        scored = set(filled.loc[filled["value"].notna(), ["signature", "scene"]].drop_duplicates().itertuples(index=False, name=None))
        lines = refused[["signature", "scene", "reason"]].itertuples(index=False, name=None)
        return {(signature, scene): reason for signature, scene, reason in lines if (signature, scene) not in scored}

    def column(self, info: ColumnInfo) -> tuple[TableColumn, dict[str, Entry]]:
        """A metric's scenes, and every row's standing under it."""
        outside = {scene: reason for scene in self.results.scenes if scene in self.scenes and (reason := self._why_not(info, scene))}
        scenes = tuple(scene for scene in self.results.scenes if scene in self.scenes and scene not in outside)
        entries = {label: self._entry(label, info, scenes) for label in self.labels}
        eligible = {label: self._values(label, info, scenes) for label, entry in entries.items() if not entry.unranked}
        ranking = statistics.rank(eligible, info.direction)
        column = TableColumn(info, scenes, outside, ranking.common, self.results.devices(info.signature))
        return column, {label: _ranked(entry, label, ranking) for label, entry in entries.items()}

    def pairs(self, column: TableColumn, labels: Iterable[str]) -> Pairs:
        """Every two rows that are no oracles under one metric, in the order of `labels`."""
        compared = [label for label in labels if not self.results.rows[label].oracle]
        nests = {label: self._nest(label, column.info.signature) for label in compared}
        return compare(
            column.info, {label: (nest, [scene for scene in column.scenes if scene in nest.scenes]) for label, nest in nests.items()}
        )

    def mean_ranks(self, columns: Iterable[TableColumn], standings: Iterable[Mapping[str, Entry]]) -> dict[str, tuple[float, float] | None]:
        """The interval of each row's mean rank."""
        placed = [
            (column, [label for label, entry in rows.items() if entry.place is not None])
            for column, rows in zip(columns, standings, strict=True)
        ]
        return bootstrap.mean_rank_intervals(
            [
                (column.info.direction, column.common, {label: self._nest(label, column.info.signature) for label in labels})
                for column, labels in placed
                if labels
            ]
        )

    def _nest(self, label: str, signature: str) -> bootstrap.Nest:
        return self.nests.get((label, signature)) or bootstrap.nest(label, {})

    def table(self, column: TableColumn, labels: Iterable[str], scenes: tuple[str, ...]) -> SceneTable:
        """A metric scene by scene."""
        info = column.info
        rows = {label: tuple(self._at(label, info.signature, scene) for scene in scenes) for label in labels}
        compared = [entries for label, entries in rows.items() if not self.results.rows[label].oracle]
        return SceneTable(info, scenes, rows, tuple(_best((row[at] for row in compared), info.direction) for at in range(len(scenes))))

    def _why_not(self, info: ColumnInfo, scene: str) -> str:
        """Why a metric does not apply to a scene; empty when it does."""
        if all((label, info.signature, scene) not in self.entries for label in self.labels):
            return NOT_ASKED
        if "truth" in info.reads and not self.results.scenes[scene].truth:
            return NO_TRUTH
        return self.inapplicable.get((info.signature, scene), "")

    def _at(self, label: str, signature: str, scene: str) -> SceneEntry:
        return self.entries.get((label, signature, scene), SceneEntry(None, 0, 0, (Missing("missing", 1, NOT_ASKED),)))

    def _values(self, label: str, info: ColumnInfo, scenes: Iterable[str]) -> dict[str, float]:
        found = ((scene, self._at(label, info.signature, scene).value) for scene in scenes)
        return {scene: value for scene, value in found if value is not None}

    def _entry(self, label: str, info: ColumnInfo, scenes: tuple[str, ...]) -> Entry:
        """A row's standing before it is ranked; `unranked` says why it cannot be."""
        parts = [self._at(label, info.signature, scene) for scene in scenes]
        values = {scene: part.value for scene, part in zip(scenes, parts, strict=True) if part.value is not None}
        span = self._nest(label, info.signature).interval([*values])
        fills, asked = sum(part.fills for part in parts), sum(part.asked for part in parts)
        unranked = self._unrankable(label) or _uncovered(len(values), len(scenes), fills, asked)
        missing = _merge(item for part in parts for item in part.missing)
        return Entry(statistics.mean(values.values()), span, len(values), fills, asked, unranked=unranked, missing=missing)

    def _unrankable(self, label: str) -> str:
        """Why no score could rank a row; empty when one can. A choice among few of the seeds asked for is not the one asked for."""
        if self.results.rows[label].oracle:
            return ORACLE
        scored, asked = self.reduced.pools.get(label, (1, 1))
        if asked and not statistics.is_covered(scored, asked):
            return f"{scored} of {asked} seeds could be ranked for the selection, {COVERAGE_PERCENT} % needed"
        return CHOSEN if self.reduced.oracle else ""


def _scene_entry(value: float | None, fills: int, asked: int, absent: pd.DataFrame | None) -> SceneEntry:
    lines = () if absent is None else zip(absent["state"], absent["reason"], strict=True)
    missing = [_missing(state, reason) for state, reason in lines]
    if value is not None and value != value:
        value, missing = None, [*missing, Missing("failed", fills, "values of +∞ and −∞ have no mean")]
    return SceneEntry(value, fills, asked, _merge(missing))


def _best(entries: Iterable[SceneEntry], direction: Direction) -> float | None:
    values = [entry.value for entry in entries if entry.value is not None]
    return None if len(set(values)) < 2 else max(values) if direction == "higher" else min(values)


def _missing(state: State, reason: str) -> Missing:
    """A score record that says ok and holds no value is broken."""
    return Missing("failed", 1, "the score's record holds no value") if state == "ok" else Missing(state, 1, reason)


def _merge(missing: Iterable[Missing]) -> tuple[Missing, ...]:
    ordered = sorted(missing, key=lambda item: item.state)
    groups = [list(items) for _, items in groupby(ordered, key=lambda item: item.state)]
    return tuple(Missing(items[0].state, sum(item.count for item in items), items[0].reason) for items in groups)


def _uncovered(scenes: int, of: int, fills: int, asked: int) -> str:
    """Why a row's coverage is too small for a rank; empty when it is not."""
    if of == 0:
        return "the metric applies to no scene"
    if not statistics.is_covered(scenes, of):
        return f"scores on {scenes} of {of} scenes, {COVERAGE_PERCENT} % needed"
    if not statistics.is_covered(fills, asked):
        return f"scores for {fills} of {asked} fills, {COVERAGE_PERCENT} % needed"
    return ""


def _ranked(entry: Entry, label: str, ranking: Ranking) -> Entry:
    if entry.unranked:
        return entry
    if label not in ranking.ranks:
        return replace(entry, unranked="no mean over the scenes common to all rows with enough coverage")
    place = ranking.ranks[label]
    best = place == 1 and max(ranking.ranks.values()) > 1
    return replace(entry, rank=place, place=ranking.places.get(label), common=ranking.means[label], best=best)


def _rows(results: Results, cells: pd.DataFrame, entries: Mapping[str, list[Entry]]) -> list[TableRow]:
    """The rows in no order yet; `entries` by label."""
    repeats = cells.groupby("label", sort=False)[["fit", "seed"]].nunique()
    done = cells.loc[cells["state"] == "ok", ["label", "device", "device_name", "dtype"]].dropna().drop_duplicates()
    devices: dict[str, list[str]] = {label: [] for label in entries}
    for label, device, name, dtype in done.itertuples(index=False, name=None):
        devices[label].append(f"{device} ({name}), {dtype}")
    counts = {label: (int(fits), int(seeds)) for label, fits, seeds in repeats.itertuples(name=None)}
    return [
        TableRow(label, results.rows[label], *counts[label], tuple(sorted(devices[label])), tuple(own), changed(results.rows[label]))
        for label, own in entries.items()
    ]


def _order(row: TableRow) -> tuple[bool, int, float]:
    ranks = [entry.rank for entry in row.entries if entry.rank is not None]
    return row.info.oracle, -len(ranks), row.mean_rank or 0.0
