"""The seeds of one row on one scene, by their matches, and which of them a selection keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from realbench import selection
from realbench.errors import UsageError
from realbench.results import Results
from realbench.selection import CELL, KEEP
from realbench.store import Cell

from ._images import Picture

if TYPE_CHECKING:
    import pandas as pd

MOST = 64
"""Seeds shown of one row on one scene."""


@dataclass(frozen=True)
class Fill:
    """One cell, as the pages need it."""

    run: str
    label: str
    scene: str
    fit: int
    seed: int
    state: str
    reason: str
    notes: str
    folder: str
    image: str
    """SHA-256 of fill.png; empty where there is none."""
    cell: Cell
    place: int = 0
    """Among the seeds of its row, scene and fit, 1 is best; 0 where nothing ranks them."""
    matches: float | None = None
    kept: bool = True


@dataclass(frozen=True)
class SeedShown:
    """A fill in the strip."""

    fill: Fill
    picture: Picture | None
    reason: str = ""
    """Why there is no picture."""


@dataclass(frozen=True)
class Ranking:
    """What ranks seeds, and how many a selection keeps."""

    by: str = ""
    """Title of the metric; empty where none ranks them."""
    digits: int = 0
    keep: Fraction = KEEP
    counts: bool = False
    """The tables count the kept seeds alone; otherwise the marks only show what `--keep` would keep."""
    absent: str = ""
    """Why nothing ranks them."""

    @property
    def percent(self) -> str:
        """The share kept, as it is typed."""
        return f"{float(100 * self.keep):g}%"


def ranked_fills(results: Results) -> tuple[Ranking, dict[str, dict[str, list[Fill]]]]:
    """Every cell by scene and row, by fit, then by place where a metric ranks seeds, then by seed."""
    policy, lines = results.policy, results.fills()
    lines = lines.assign(place=0, matches=float("nan"), kept=True)
    try:
        by = selection.choose(results.columns, policy.by or None)
    except UsageError as error:
        ranking = Ranking(absent=str(error))
    else:
        selected = policy.reducer == "selected"
        ranking = Ranking(by.title, by.digits, policy.keep if selected else KEEP, selected)
        lines = _placed(lines, selection.mark(selection.places(results.scores(), by), ranking.keep))
    order = lines.sort_values(["fit", "place", "seed"], kind="stable")
    found: dict[str, dict[str, list[Fill]]] = {}
    for fill in _fills(order):
        found.setdefault(fill.scene, {}).setdefault(fill.label, []).append(fill)
    return ranking, found


def chosen(fills: Sequence[Fill]) -> list[Fill]:
    """At most MOST of them, evenly over their order, the first and the last included."""
    at = np.linspace(0, len(fills) - 1, min(len(fills), MOST)).round().astype(int)
    return [fills[index] for index in at]


def _placed(lines: pd.DataFrame, marked: pd.DataFrame) -> pd.DataFrame:
    found = marked.rename(columns={"value": "matches"})[[*CELL, "place", "matches", "kept"]]
    merged = lines.drop(columns=["place", "matches", "kept"]).merge(found, on=CELL, how="left")
    return merged.assign(place=merged["place"].fillna(0).astype(int), kept=merged["kept"].eq(True))


def _fills(lines: pd.DataFrame) -> list[Fill]:
    """Lines as records; a missing number is None."""
    columns = {name: lines[name].tolist() for name in Fill.__dataclass_fields__}
    columns["matches"] = [None if value != value else value for value in columns["matches"]]
    return [Fill(**dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)]
