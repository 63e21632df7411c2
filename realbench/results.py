"""Reading runs: every cell and score as plain tables, for reports and for your own analysis. Never imports torch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from realbench.errors import NothingMeasured
from realbench.metric import State
from realbench.records import ColumnInfo, Environment, FillRecord, Manifest, RowInfo, SceneInfo, ScoreRecord
from realbench.selection import Policy
from realbench.store import MANIFEST, Cell, RunFolder, cells

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

SCORE_FIELDS = (
    "run", "label", "method", "preset", "fingerprint", "scene", "fit", "seed", "metric", "signature", "value", "state", "reason"
)  # fmt: skip
CELL_FIELDS = (
    "run", "label", "method", "preset", "fingerprint", "scene", "fit", "seed", "state", "reason", "notes",
    "seconds", "fit_seconds", "device", "device_name", "dtype", "threads", "folder",
)  # fmt: skip


@dataclass(frozen=True)
class Results:
    """Everything measured in one or more runs. A label used for different settings in two runs gets its run's name added."""

    runs: tuple[tuple[str, RunFolder, Manifest], ...]
    """Name, folder and manifest of each run."""
    policy: Policy = field(default_factory=Policy)
    """Which seeds the tables count; `scores()` holds all of them."""
    protocol: str = ""
    """Name of the protocol whose published table is shown beside the measured one; empty for none."""
    _environments: dict[str, Environment] = field(default_factory=dict, init=False, repr=False, compare=False)
    _made: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What is derived from these results, made once for all reports; it must not be changed by those who get it."""
        if key not in self._made:
            self._made[key] = make()
        found: T = self._made[key]
        return found

    @cached_property
    def rows(self) -> dict[str, RowInfo]:
        """Rows by label, in the order they were asked for."""
        return {self._label(name, label): row for name, _, manifest in self.runs for label, row in manifest.rows.items()}

    @cached_property
    def scenes(self) -> dict[str, SceneInfo]:
        """Scenes by id; a scene whose content differs between runs gets its run's name added."""
        return {self._scene(name, scene): info for name, _, manifest in self.runs for scene, info in manifest.scenes.items()}

    @cached_property
    def columns(self) -> dict[str, ColumnInfo]:
        """Metrics by signature: scores with different signatures never share a column. Where runs scored with different sources of a
        metric, the source is added to the signature.
        """
        return {self._signature(info): info for _, _, manifest in self.runs for info in manifest.columns.values()}

    def scores(self) -> pd.DataFrame:
        """One line a (cell, metric), missing ones included; columns as SCORE_FIELDS; value is NaN unless state is `ok`."""
        return self._scores[list(SCORE_FIELDS)].copy()

    @cached_property
    def environments(self) -> dict[str, tuple[Environment, ...]]:
        """Where and with what the scores that count (those whose state is ok) were made: the different ones, by signature."""
        made = self._scores.loc[self._scores["state"] == "ok", ["signature", "environment"]].dropna()
        found: dict[str, dict[str, Environment]] = {signature: {} for signature in self.columns}
        for signature, environment in made.itertuples(index=False, name=None):
            found[signature][environment] = self._environments[environment]
        return {signature: tuple(group[text] for text in sorted(group)) for signature, group in found.items()}

    def devices(self, signature: str) -> tuple[str, ...]:
        """Device and its name of a column's scores; more than one is worth a warning. A metric computes in float32 whatever --dtype is."""
        return tuple(sorted({f"{made.device} ({made.device_name})" for made in self.environments.get(signature, ())}))

    def cells(self) -> pd.DataFrame:
        """One line a cell asked for, missing ones included; columns as CELL_FIELDS, times in seconds."""
        return self._cell_table.copy()

    @cached_property
    def _scores(self) -> pd.DataFrame:
        return self._frame((*SCORE_FIELDS, "environment"), self._score_lines())

    @cached_property
    def _cell_table(self) -> pd.DataFrame:
        return self._frame(CELL_FIELDS, self._cell_lines())

    def artefacts(self, cell: Cell, signature: str, run: str) -> dict[str, Any]:
        """What a metric left for drawing on one cell; empty when there is nothing."""
        for name, folder, manifest in self.runs:
            keys = [key for key, info in manifest.columns.items() if self._signature(info) == signature]
            record = folder.read_score(cell, keys[0]) if name == run and keys else None
            if record is not None:
                return record.artefacts
        return {}

    @cached_property
    def _cells(self) -> list[tuple[str, RunFolder, Manifest, Cell, FillRecord | None, State]]:
        return [(name, folder, manifest, *cell) for name, folder, manifest in self.runs for cell in cells(folder, manifest)]

    def _score_lines(self) -> Iterator[list[Any]]:
        for name, folder, manifest, cell, record, state in self._cells:
            head = self._head(name, manifest, cell)
            for key, column in manifest.columns.items():
                score = folder.read_score(cell, key) if record is not None and state == "ok" else None
                value, verdict, reason = _verdict(manifest, cell, record, state, score, column)
                yield [*head, column.metric, self._signature(column), value, verdict, reason, self._noted(score)]

    def _noted(self, score: ScoreRecord | None) -> str | None:
        """The environment of a score, kept once for all that share it."""
        if score is None or score.environment is None:
            return None
        text = score.environment.model_dump_json()
        self._environments.setdefault(text, score.environment)
        return text

    def _cell_lines(self) -> Iterator[list[Any]]:
        for name, folder, manifest, cell, record, state in self._cells:
            fit = folder.read_fit(cell)
            environment = record.environment if record else None
            machine = [environment.device, environment.device_name, environment.dtype, environment.threads] if environment else [None] * 4
            notes, seconds, reason = ("; ".join(record.notes), record.seconds, record.reason) if record else ("", None, "")
            head = self._head(name, manifest, cell)
            yield [*head, state, reason, notes, seconds, fit.seconds if fit else None, *machine, str(folder.cell(cell))]

    def _head(self, run: str, manifest: Manifest, cell: Cell) -> list[Any]:
        row = manifest.rows[cell.label]
        label, scene = self._label(run, cell.label), self._scene(run, cell.scene)
        return [run, label, row.method, row.preset, cell.fingerprint, scene, cell.fit, cell.seed]

    def _label(self, run: str, label: str) -> str:
        prints = {manifest.rows[label].fingerprint for _, _, manifest in self.runs if label in manifest.rows}
        return label if len(prints) == 1 else f"{label} @{run}"

    def _signature(self, column: ColumnInfo) -> str:
        others = (info for _, _, manifest in self.runs for info in manifest.columns.values() if info.signature == column.signature)
        return column.signature if len({info.source for info in others}) == 1 else f"{column.signature}|source:{column.source[:8]}"

    def _scene(self, run: str, scene: str) -> str:
        contents = {str(manifest.scenes[scene].digests) for _, _, manifest in self.runs if scene in manifest.scenes}
        return scene if len(contents) == 1 else f"{scene} @{run}"

    @staticmethod
    def _frame(columns: Sequence[str], lines: Iterable[list[Any]]) -> pd.DataFrame:
        import pandas as pd

        frame = pd.DataFrame(list(lines), columns=list(columns))
        # A cell that two runs share (same row, same scene) counts once: the finished one if only one is.
        frame["_bad"] = frame["state"] != "ok"
        keys = [name for name in ("label", "fingerprint", "scene", "fit", "seed", "signature") if name in frame]
        order = frame.sort_values("_bad", kind="stable").drop_duplicates(keys).index
        return frame.loc[sorted(order)].drop(columns="_bad").reset_index(drop=True)


def load_run(*paths: str | Path) -> Results:
    """Open one or more run folders for reading. Raises UsageError where a path is no run, NothingMeasured when nothing was asked for."""
    folders = [RunFolder(Path(path)) for path in paths]
    results = Results(tuple((name, folder, folder.read_manifest()) for name, folder in zip(_names(folders), folders, strict=True)))
    if not results.rows:
        raise NothingMeasured(f"{', '.join(map(str, paths))}: no row was asked for; run a method first")
    return results


def latest_run(parent: Path = Path("runs")) -> Path:
    """The run folder that was worked on last. Raises NothingMeasured when there is none."""
    manifests = sorted(parent.glob(f"*/{MANIFEST}"), key=lambda path: path.stat().st_mtime)
    if not manifests:
        raise NothingMeasured(f"no run in {parent.absolute()}; `realbench run --method …` makes one, or give the run's folder")
    return manifests[-1].parent


def _names(folders: Sequence[RunFolder]) -> list[str]:
    """Folder names; where two are the same, the parent's name is put before them."""
    names = [folder.root.resolve().name for folder in folders]
    longer = [f"{folder.root.resolve().parent.name}/{name}" for folder, name in zip(folders, names, strict=True)]
    return [long if names.count(name) > 1 else name for name, long in zip(names, longer, strict=True)]


def _verdict(
    manifest: Manifest, cell: Cell, fill: FillRecord | None, state: State, record: ScoreRecord | None, column: ColumnInfo
) -> tuple[float, State, str]:
    """Value, state and reason of one score: the fill's own trouble first, then the score's."""
    nothing = float("nan")
    if fill is None or state != "ok":
        reason = manifest.scenes[cell.scene].refused or (fill.reason if fill else "") or state
        return nothing, state, f"fill: {reason}" if fill else "not run yet"
    if record is None:
        return nothing, "missing", "not scored yet"
    image = fill.files.get("raw.png" if column.image == "raw" else "fill.png")
    if record.image != image or record.scene != manifest.scenes[cell.scene].read(column.reads) or record.source != column.source:
        return nothing, "stale", "the fill, the scene or the metric changed since it was scored"
    if record.state == "ok" and record.value is None:
        return nothing, "failed", "the record says ok but holds no value; score again"
    return nothing if record.value is None else record.value, record.state, record.reason
