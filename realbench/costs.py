"""What a row's fits and fills took, from their records. Never imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from realbench.results import Results

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Cost:
    """Time and memory of one row; None where nothing is recorded."""

    fits: int
    """Fits with a time."""
    fills: int
    """Finished fills."""
    fit_seconds: float | None
    """Mean time of a fit of one scene; None for a row that fits nothing."""
    fill_seconds: float | None
    """Mean time of one fill."""
    scene_seconds: float | None
    """All finished fits and fills of a scene, averaged over the scenes that have a finished fill."""
    host_bytes: int | None
    """Largest peak of the worker's memory in any fit or fill."""
    device_bytes: int | None
    """The same on the accelerator."""


def costs(results: Results) -> dict[str, Cost]:
    """Each row's cost, by label; made once. A row without finished fills has a cost of None throughout."""
    return results.once("costs", lambda: _costs(results))


def _costs(results: Results) -> dict[str, Cost]:
    cells = results.cells()
    done = cells[cells["state"] == "ok"]
    return {label: _cost(done[done["label"] == label]) for label in results.rows}


def _cost(done: pd.DataFrame) -> Cost:
    # A fit's time stands with each of its fills.
    fits = done.drop_duplicates(["run", "scene", "fit"]).dropna(subset=["fit_seconds"])
    scenes = max(done["scene"].nunique(), 1)
    total = float(fits["fit_seconds"].sum() + done["seconds"].sum())
    return Cost(
        len(fits),
        len(done),
        _mean(fits["fit_seconds"]),
        _mean(done["seconds"]),
        total / scenes if len(done) else None,
        _peak(done["host_bytes"]),
        _peak(done["device_bytes"]),
    )


def _mean(values: pd.Series) -> float | None:
    return float(values.mean()) if values.notna().any() else None


def _peak(values: pd.Series) -> int | None:
    return int(values.max()) if values.notna().any() else None
