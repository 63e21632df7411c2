"""Reading runs: every cell and score as plain tables, for reports and for your own analysis. Never imports torch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from realbench.errors import NothingMeasured
from realbench.metric import State
from realbench.reading import ScoreLine, parts, read_many
from realbench.records import IMAGE_FILES, ColumnInfo, Environment, FillRecord, FitRecord, Manifest, RowInfo, SceneInfo
from realbench.selection import Policy
from realbench.store import MANIFEST, Cell, RunFolder, cells
from realbench.votes import BlindOptions

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from realbench.gate import Judgement
    from realbench.history import History

T = TypeVar("T")
_Found: TypeAlias = tuple[str, RunFolder, Manifest, Cell, FillRecord | None, State]
"""A cell of a run: the run's name, folder and manifest, then as `realbench.store.cells`."""

SCORE_FIELDS = (
    "run", "label", "method", "preset", "fingerprint", "scene", "fit", "seed", "metric", "signature", "value", "state", "reason"
)  # fmt: skip
CELL_FIELDS = (
    "run", "label", "method", "preset", "fingerprint", "scene", "fit", "seed", "state", "reason", "notes",
    "seconds", "fit_seconds", "device", "device_name", "dtype", "threads", "folder", "host_bytes", "device_bytes",
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
    votes: tuple[Path, ...] = ()
    """Files of votes that people gave on blind pages."""
    blind: BlindOptions = field(default_factory=BlindOptions)
    """How a blind page is made, where one is asked for."""
    judgement: Judgement | None = None
    """The outcome of a check, for the report that shows it."""
    before: Results | None = field(default=None, repr=False)
    """The run that the check's baseline was accepted from, where its fills are to be shown."""
    history: History | None = None
    """Scores over time, for the report that shows them."""
    whole: Results | None = field(default=None, repr=False, compare=False)
    """For results made of others, by `within` or `judged`: those that read the files."""
    _filled_with: dict[tuple[Any, ...], Environment] = field(default_factory=dict, init=False, repr=False, compare=False)
    _environments: dict[str, Environment] = field(default_factory=dict, init=False, repr=False, compare=False)
    _texts: dict[Hashable, str] = field(default_factory=dict, init=False, repr=False, compare=False)
    _made: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What is derived from these results, made once for all reports; it must not be changed by those who get it."""
        if key not in self._made:
            self._made[key] = make()
        found: T = self._made[key]
        return found

    def forget(self, keys: Iterable[Hashable]) -> None:
        """Give back what `once` made under these keys."""
        for key in keys:
            self._made.pop(key, None)

    @cached_property
    def rows(self) -> dict[str, RowInfo]:
        """Rows by label, in the order they were asked for."""
        return {self._label(name, label): row for name, _, manifest in self.runs for label, row in manifest.rows.items()}

    @cached_property
    def scenes(self) -> dict[str, SceneInfo]:
        """Scenes by id; a scene whose content differs between runs gets its run's name added."""
        return {self._scene(name, scene): info for name, _, manifest in self.runs for scene, info in manifest.scenes.items()}

    @cached_property
    def origins(self) -> dict[str, tuple[Manifest, str]]:
        """By scene as it is named here: the manifest of a run that has it, and its id there."""
        found = ((self._scene(name, scene), (manifest, scene)) for name, _, manifest in self.runs for scene in manifest.scenes)
        return {shown: origin for shown, origin in found if shown in self.scenes}

    @cached_property
    def columns(self) -> dict[str, ColumnInfo]:
        """Metrics by signature: scores with different signatures never share a column. Where runs scored with different sources of a
        metric, the source is added to the signature.
        """
        return {self._signature(info): info for _, _, manifest in self.runs for info in manifest.columns.values()}

    def within(self, scenes: Iterable[str]) -> Results:
        """The results of these scenes alone, under the same policy; nothing is read again."""
        kept = frozenset(scenes)
        return self.once(("within", kept), lambda: self._within(kept))

    def judged(self, judgement: Judgement, before: Results | None = None) -> Results:
        """The same results with what a check found; nothing is read again."""
        made = replace(self, judgement=judgement, before=before, whole=self.whole or self)
        vars(made)["scenes"] = self.scenes
        return made

    def _within(self, kept: frozenset[str]) -> Results:
        part = replace(self, whole=self.whole or self)
        vars(part)["scenes"] = {scene: info for scene, info in self.scenes.items() if scene in kept}
        return part

    def table(self, policy: Policy | None = None, *, intervals: bool = False) -> pd.DataFrame:
        """The leaderboard in wide form: rows by label, a column a metric (named by its signature where two share a name).

        With `intervals`, each metric has the columns `mean`, `low` and `high`. Raises NothingMeasured when there is nothing to show.
        """
        from realbench.frames import wide

        return wide(self, policy, intervals=intervals)

    def __rich__(self) -> Table:
        from realbench.display import rich_table

        return rich_table(self)

    def _repr_html_(self) -> str:
        from realbench.display import html_table

        return html_table(self)

    def scores(self) -> pd.DataFrame:
        """One line a (cell, metric), missing ones included; columns as SCORE_FIELDS; value is NaN unless state is `ok`."""
        return self._scores[list(SCORE_FIELDS)].copy()

    @cached_property
    def environments(self) -> dict[str, tuple[Environment, ...]]:
        """Where and with what the scores that count (those whose state is ok) were made: the different ones, by signature."""
        whole = self.whole or self
        found: dict[str, dict[str, Environment]] = {signature: {} for signature in self.columns}
        for scene, signature, environment in whole._scored_where:
            if scene in self.scenes:
                found[signature][environment] = whole._environments[environment]
        return {signature: tuple(group[text] for text in sorted(group)) for signature, group in found.items()}

    @cached_property
    def _scored_where(self) -> list[tuple[str, str, str]]:
        """Scene, signature and environment of the scores that count, each combination once."""
        made = self._scores.loc[self._scores["state"] == "ok", ["scene", "signature", "environment"]].dropna().drop_duplicates()
        return list(made.itertuples(index=False, name=None))

    def devices(self, signature: str) -> tuple[str, ...]:
        """Device and its name of a column's scores; more than one is worth a warning. A metric computes in float32 whatever --dtype is."""
        return tuple(sorted({f"{made.device} ({made.device_name})" for made in self.environments.get(signature, ())}))

    @cached_property
    def filled_with(self) -> tuple[Environment, ...]:
        """Where and with what the finished fills were made: the different ones."""
        whole = self.whole or self
        return tuple(whole._filled_with.values()) if len(whole._cell_table) else ()

    def cells(self) -> pd.DataFrame:
        """One line a cell asked for, missing ones included; columns as CELL_FIELDS; times in seconds, memory in bytes: the
        larger peak of the fill and its fit.
        """
        return self._cell_table[list(CELL_FIELDS)].copy()

    def fills(self) -> pd.DataFrame:
        """As `cells`, with `image`, the SHA-256 of the composite's PNG (empty where there is none), and `cell`, where it is stored."""
        return self._cell_table.copy()

    @cached_property
    def _scores(self) -> pd.DataFrame:
        if self.whole:
            return self._own(self.whole._scores)
        return self._frame("_cell_table", self._score_table())

    @cached_property
    def _cell_table(self) -> pd.DataFrame:
        if self.whole:
            return self._own(self.whole._cell_table)
        import pandas as pd

        return self._frame("_scores", pd.DataFrame([*self._cell_lines()], columns=[*CELL_FIELDS, "image", "cell"]))

    def _own(self, table: pd.DataFrame) -> pd.DataFrame:
        """The lines of these results' scenes."""
        return table[table["scene"].isin(self.scenes)].reset_index(drop=True)

    def artefacts(self, cell: Cell, signature: str, run: str) -> dict[str, Any]:
        """What a metric left for drawing on one cell; empty when there is nothing."""
        for name, folder, manifest in self.runs:
            keys = [key for key, info in manifest.columns.items() if self._signature(info) == signature]
            record = folder.read_score(cell, keys[0]) if name == run and keys else None
            if record is not None:
                return record.artefacts
        return {}

    @cached_property
    def _cells(self) -> list[_Found]:
        return [(name, folder, manifest, *cell) for name, folder, manifest in self.runs for cell in cells(folder, manifest)]

    def _score_table(self) -> pd.DataFrame:
        """As `_scores`, of all runs: what a cell's scores have in common, and what a metric's have, is put down once and repeated."""
        import numpy as np
        import pandas as pd

        cells = [cell for cell in self._cells if cell[2].columns]
        lines = pd.DataFrame([*self._score_lines(cells)], columns=["value", "state", "reason", "environment"])
        if lines.empty:
            return pd.DataFrame([], columns=[*SCORE_FIELDS, "environment"])
        columns: list[list[str]] = []
        own: dict[str, range] = {}
        for name, _, manifest in self.runs:
            own[name] = range(len(columns), len(columns) + len(manifest.columns))
            columns += [[info.metric, self._signature(info)] for info in manifest.columns.values()]
        heads = pd.DataFrame([self._head(name, manifest, cell) for name, _, manifest, cell, *_ in cells], columns=[*SCORE_FIELDS[:8]])
        metrics = pd.DataFrame(columns, columns=["metric", "signature"])
        line = np.repeat(np.arange(len(cells)), [len(own[name]) for name, *_ in cells])
        column = np.concatenate([own[name] for name, *_ in cells])
        parts = heads.take(line), metrics.take(column), lines
        return pd.concat([part.reset_index(drop=True) for part in parts], axis=1)

    def _score_lines(self, cells: Sequence[_Found]) -> Iterator[tuple[float, State, str, str | None]]:
        """Value, state, reason and environment of every score, cell by cell."""
        seen: dict[tuple[str, str, str], str] = {}
        done = [record is not None and state == "ok" for *_, record, state in cells]
        finished = (cell for cell, ok in zip(cells, done, strict=True) if ok)
        found = read_many([(folder.cell(cell), [*manifest.columns]) for _, folder, manifest, cell, *_ in finished])
        for (name, folder, manifest, cell, record, state), ok in zip(cells, done, strict=True):
            info = manifest.scenes[cell.scene]
            lacking = "" if record else "its record or an image is broken: run again" if folder.has_record(cell) else "not run yet"
            scores = next(found) if ok else [None] * len(manifest.columns)
            for (key, column), score in zip(manifest.columns.items(), scores, strict=True):
                if score is not None and (name, cell.scene, key) not in seen:
                    seen[name, cell.scene, key] = info.read(column.reads)
                read = seen.get((name, cell.scene, key), "")
                yield *_verdict(info.refused, record, state, score, column, read, lacking), self._noted(score)

    def _noted(self, score: ScoreLine | None) -> str | None:
        """The environment of a score, kept once for all that share it."""
        if score is None or score.environment is None:
            return None
        made, key = score.environment, parts(score.environment)
        if key not in self._texts:
            self._texts[key] = made.model_dump_json()
            self._environments.setdefault(self._texts[key], made)
        return self._texts[key]

    def _cell_lines(self) -> Iterator[list[Any]]:
        fits: dict[tuple[str, Cell], FitRecord | None] = {}
        for name, folder, manifest, cell, record, state in self._cells:
            key = name, replace(cell, seed=0)
            if key not in fits:
                fits[key] = folder.read_fit(cell)
            fit = fits[key]
            environment = record.environment if record else None
            if environment and state == "ok":
                self._filled_with.setdefault(parts(environment), environment)
            machine = [environment.device, environment.device_name, environment.dtype, environment.threads] if environment else [None] * 4
            notes, seconds, reason = ("; ".join(record.notes), record.seconds, record.reason) if record else ("", None, "")
            head = self._head(name, manifest, cell)
            image = record.files.get("fill.png", "") if record else ""
            peaks = [_peak(memory, record, fit) for memory in ("host", "device")]
            yield [
                *head,
                state,
                reason,
                notes,
                seconds,
                fit.seconds if fit else None,
                *machine,
                str(folder.cell(cell)),
                *peaks,
                image,
                cell,
            ]

    def _head(self, run: str, manifest: Manifest, cell: Cell) -> list[Any]:
        row = manifest.rows[cell.label]
        label, scene = self._label(run, cell.label), self._scene(run, cell.scene)
        return [run, label, row.method, row.preset, cell.fingerprint, scene, cell.fit, cell.seed]

    def _label(self, run: str, label: str) -> str:
        if len(self.runs) == 1:
            return label
        prints = {manifest.rows[label].fingerprint for _, _, manifest in self.runs if label in manifest.rows}
        return label if len(prints) == 1 else f"{label} @{run}"

    def _signature(self, column: ColumnInfo) -> str:
        others = (info for _, _, manifest in self.runs for info in manifest.columns.values() if info.signature == column.signature)
        return column.signature if len({info.source for info in others}) == 1 else f"{column.signature}|source:{column.source[:8]}"

    def _scene(self, run: str, scene: str) -> str:
        if len(self.runs) == 1:
            return scene
        contents = {str(manifest.scenes[scene].digests) for _, _, manifest in self.runs if scene in manifest.scenes}
        return scene if len(contents) == 1 else f"{scene} @{run}"

    def _frame(self, other: str, frame: pd.DataFrame) -> pd.DataFrame:
        """One table of all runs; a cell that two runs share (same row, same scene) counts once: the finished one if only one is."""
        if other in vars(self):
            # Both frames are made: the records of 20,000 cells are a hundred megabytes that nobody reads any more.
            vars(self).pop("_cells", None)
        if len(self.runs) == 1:
            return frame
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


def _peak(memory: str, *records: FillRecord | FitRecord | None) -> float | None:
    """The largest peak that is recorded, in bytes; a float, since a column of a table may lack some."""
    found = [record.peak_memory[memory] for record in records if record is not None and memory in record.peak_memory]
    return float(max(found)) if found else None


def _verdict(
    refused: str, fill: FillRecord | None, state: State, record: ScoreLine | None, column: ColumnInfo, scene: str, lacking: str
) -> tuple[float, State, str]:
    """Value, state and reason of one score: the fill's own trouble first, then the score's. `scene` is the hash of what the metric reads
    of it by now.
    """
    nothing = float("nan")
    if fill is None or state != "ok":
        return nothing, state, f"fill: {refused or fill.reason or state}" if fill else lacking
    if record is None:
        return nothing, "missing", "not scored yet"
    image = fill.files.get(IMAGE_FILES[column.image])
    if record.image != image or record.scene != scene or record.source != column.source:
        return nothing, "stale", "the fill, the scene or the metric changed since it was scored"
    if record.state == "ok" and record.value is None:
        return nothing, "failed", "the record says ok but holds no value; score again"
    return nothing if record.value is None else record.value, record.state, record.reason
