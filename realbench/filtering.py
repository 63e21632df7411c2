"""What it brings to drop the seeds with fewest matches: every metric at several shares (RealFill, Table 2). Never imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from realbench import selection, statistics
from realbench.errors import UsageError
from realbench.records import ColumnInfo
from realbench.results import Results
from realbench.selection import Policy
from realbench.tables import NESTS, REDUCED, Entry, SceneEntry, TableColumn, Tables, tables

if TYPE_CHECKING:
    import pandas as pd

DROPPED = (0, 25, 50, 75)
"""Percent of the seeds that are dropped: the paper's."""
FIELDS = (
    "label", "method", "preset", "dropped_percent", "seeds_kept", "seeds", "by", "metric", "signature",
    "mean", "low", "high", "scenes", "of_scenes", "change", "change_low", "change_high", "change_scenes",
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One metric of one row after dropping a share of its seeds."""

    entry: Entry
    change: float | None
    """Mean over scenes of this value minus that of all seeds, over the scenes that have both; None at 0 %."""
    interval: tuple[float, float] | None
    """95 % bootstrap interval of that mean, paired by scene; None for too few scenes."""
    scenes: int
    """Scenes that `change` rests on."""


@dataclass(frozen=True)
class Line:
    """One row at one share."""

    dropped: int
    """Percent."""
    kept: str
    """Seeds kept of those asked for, for each scene and fit: `48 of 64`, or a range where they differ."""
    steps: tuple[Step, ...]
    """One a column."""


@dataclass(frozen=True)
class Filtering:
    """Seeds filtered by correspondences, for every row with more than one seed that is no oracle."""

    columns: tuple[TableColumn, ...]
    """The leaderboard's, in its order."""
    rows: Mapping[str, tuple[Line, ...]]
    by: ColumnInfo | None = None
    """The metric that selects; None where there is no table."""
    notes: tuple[str, ...] = ()
    """Seeds that could not be ranked."""
    absent: str = ""
    """Why there is no table, though there are seeds."""


def filtering(results: Results) -> Filtering | None:
    """The table; None for runs in which no row has more than one seed. Selects by the policy's metric, else by the only `matches`."""
    return results.once("filtering", lambda: _filtering(results))


def _filtering(results: Results) -> Filtering | None:
    scores = results.scores()
    labels = _with_seeds(results, scores)
    if not labels:
        return None
    try:
        by = selection.choose(results.columns, results.policy.by or None)
    except UsageError as error:
        return Filtering((), {}, absent=str(error))
    policies = {dropped: Policy("selected", 1 - Fraction(dropped, 100), by.signature) for dropped in DROPPED}
    steps = {dropped: tables(results, policy) for dropped, policy in policies.items()}
    results.forget((key, policy) for key in (REDUCED, NESTS) for policy in policies.values() if policy != results.policy)
    placed = selection.places(scores[scores["label"].isin(labels)], by)
    rows = {label: tuple(_line(steps, dropped, label, placed[placed["label"] == label]) for dropped in DROPPED) for label in labels}
    hardest = selection.mark(placed, 1 - Fraction(max(DROPPED), 100))
    return Filtering(steps[0].leaderboard.columns, rows, by, tuple(selection.notes(hardest, by)))


def frame(found: Filtering, results: Results) -> pd.DataFrame:
    """The table in long form, one line a (row, share, metric); columns as FIELDS, NaN or None where there is nothing."""
    import pandas as pd

    lines = []
    for label, steps in found.rows.items():
        row = results.rows[label]
        for line in steps:
            kept, _, asked = line.kept.partition(" of ")
            head = [label, row.method, row.preset, line.dropped, kept, asked, found.by.signature if found.by else ""]
            for column, step in zip(found.columns, line.steps, strict=True):
                low, high = step.entry.interval or (None, None)
                least, most = step.interval or (None, None)
                own = [column.info.metric, column.info.signature, step.entry.mean, low, high, step.entry.scenes, len(column.scenes)]
                lines.append([*head, *own, step.change, least, most, step.scenes])
    table = pd.DataFrame(lines, columns=list(FIELDS))
    numbers = ["mean", "low", "high", "change", "change_low", "change_high"]
    return table.astype(dict.fromkeys(numbers, "float64"))


def _with_seeds(results: Results, scores: pd.DataFrame) -> list[str]:
    """Rows with more than one seed on some scene, oracles apart."""
    seeds = scores.groupby(selection.GROUP, sort=False)["seed"].nunique().groupby("label", sort=False).max()
    return [label for label, row in results.rows.items() if not row.oracle and seeds.get(label, 0) > 1]


def _line(found: Mapping[int, Tables], dropped: int, label: str, placed: pd.DataFrame) -> Line:
    groups = selection.mark(placed, 1 - Fraction(dropped, 100)).drop_duplicates(selection.GROUP)
    entries = next(row.entries for row in found[dropped].leaderboard.rows if row.label == label)
    pairs = zip(found[0].per_scene, found[dropped].per_scene, strict=True)
    changes = [_changes(before.rows[label], after.rows[label]) for before, after in pairs]
    steps = (_step(entry, change if dropped else []) for entry, change in zip(entries, changes, strict=True))
    return Line(dropped, f"{_range(groups['quota'])} of {_range(groups['asked'])}", tuple(steps))


def _changes(before: tuple[SceneEntry, ...], after: tuple[SceneEntry, ...]) -> list[float]:
    """Differences by scene, of scenes with both values; two infinite values of one sign are equal."""
    pairs = ((old.value, new.value) for old, new in zip(before, after, strict=True))
    both = ((old, new) for old, new in pairs if old is not None and new is not None)
    return [0.0 if old == new else new - old for old, new in both]


def _step(entry: Entry, changes: list[float]) -> Step:
    return Step(entry, statistics.mean(changes), statistics.interval(changes), len(changes))


def _range(counts: pd.Series) -> str:
    least, most = int(counts.min()), int(counts.max())
    return str(least) if least == most else f"{least}–{most}"
