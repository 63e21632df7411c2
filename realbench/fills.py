"""The first stage of a run: which fills are missing, how they are asked for, and how their outcomes are written."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from realbench import fingerprint
from realbench.composite import Feather
from realbench.plan import Row
from realbench.records import FillRecord, FitRecord, Images, SceneInfo
from realbench.runner import Outcome, Unit
from realbench.scene import Scene
from realbench.shard import Asked
from realbench.store import Cell, RunFolder, refused
from realbench.survey import Scenes
from realbench.watch import Watcher
from realbench.wire import Array, Message, blob

KEPT = ("environment", "seconds", "peak_memory", "weights", "retried")


@dataclass
class FillStage:
    """Cells of some rows on some scenes: planned, asked for, written."""

    folder: RunFolder
    scenes: Scenes
    infos: Mapping[str, SceneInfo]
    rows: Sequence[Row]
    asked: Asked
    feather: float
    device: str
    dtype: str
    watch: Watcher
    fail_fast: bool = False
    states: Counter[str] = field(default_factory=Counter)
    """How many cells ended in which state in this invocation."""
    weights_missing: bool = False
    kept: dict[Cell, Images] = field(default_factory=dict)
    """Images of finished cells, old and new."""
    _todo: dict[Cell, str] = field(default_factory=dict)
    _said: set[tuple[str, str]] = field(default_factory=set)

    def cells(self, row: Row) -> list[Cell]:
        """Every cell this row is asked for, scene by scene."""
        return [
            Cell(row.label, row.fingerprint, scene, fit, seed)
            for scene, info in self.infos.items()
            if not info.refused
            for fit, seed in self.asked[row.label].get(scene, ())
        ]

    def survey(self) -> dict[str, Counter[str]]:
        """The state of each row's cells before the run: ok ones are kept, all others will be asked for."""
        counts: dict[str, Counter[str]] = {}
        for row in self.rows:
            counter = counts[row.label] = Counter()
            for cell in self.cells(row):
                inputs = self.inputs(row, cell)
                record = self.folder.read_fill(cell)
                state = "missing" if record is None else record.state if record.inputs == inputs else "stale"
                counter[state] += 1
                if record is not None and state == "ok":
                    self.kept[cell] = record.images
                else:
                    self._todo[cell] = inputs
        return counts

    def units(self) -> list[Unit]:
        """What is left to do, a unit for each (row, scene, fit)."""
        rows = {row.label: row for row in self.rows}
        groups: dict[tuple[str, str, int], list[str]] = {}
        for cell in self._todo:
            groups.setdefault((cell.label, cell.scene, cell.fit), []).append(str(cell.seed))
        return [_unit(rows[label], scene, fit, tuple(items)) for (label, scene, fit), items in groups.items()]

    def supply(self, unit: Unit) -> Message:
        """The request for a unit: the scene as the method may see it, its settings, and the fitted state where there is one."""
        row = self._row(unit.label)
        cell = self._cell(unit, int(unit.items[0]))
        scene = self.scenes.load(unit.scene, self.infos[unit.scene].digests)
        state = self._state(row, cell) if unit.fits else None
        work = self._work(cell) if unit.fits and state is None else None
        if state is not None:
            self._finish(cell)  # again: the driver may have been killed before it came to it
        return fill_request(row, scene, unit, state, work, feather=self.feather, device=self.device, dtype=self.dtype)

    def take(self, outcome: Outcome) -> None:
        """Write one outcome and tell the watcher. Raises StopRun after a failure when asked to fail fast."""
        if outcome.kind == "progress":
            self.watch.detail(outcome.data.get("text", ""), outcome.data.get("done", 0), outcome.data.get("total", 0))
        elif outcome.kind == "fit":
            self._take_fit(outcome)
        else:
            self._take_fill(outcome)

    def _take_fit(self, outcome: Outcome) -> None:
        if outcome.data.get("loaded"):
            return
        unit = outcome.unit
        cell = self._cell(unit, 0)
        state = {name.partition("/")[2]: array.tobytes() for name, array in outcome.arrays.items()}
        files = {name: fingerprint.of_bytes(data) for name, data in state.items()}
        record = FitRecord(inputs=self._fit_inputs(self._row(unit.label), cell), files=files, **_words(outcome))
        self.folder.write_fit(cell, record, state)
        if outcome.state == "ok":
            self._finish(cell)

    def _take_fill(self, outcome: Outcome) -> None:
        unit = outcome.unit
        row = self._row(unit.label)
        cell = self._cell(unit, int(outcome.item))
        images = {name: array.tobytes() for name, array in outcome.arrays.items()}
        record = FillRecord(
            **_words(outcome),
            inputs=self._todo[cell],
            task=self.infos[cell.scene].seen(row.card.oracle),
            label=row.label,
            method=row.method,
            preset=row.preset,
            scene=cell.scene,
            fit=cell.fit,
            seed=cell.seed,
            files={name: fingerprint.of_bytes(data) for name, data in images.items()},
            sizes={name: len(data) for name, data in images.items()},
            notes=outcome.data.get("notes", []),
            timings=outcome.data.get("timings", {}),
        )
        self.folder.write_fill(cell, record, images)
        self.states[record.state] += 1
        self.weights_missing |= bool(outcome.data.get("weights_missing"))
        if record.state == "ok":
            self.kept[cell] = record.images
        else:
            self._complain(cell, record)
        self.watch.step(f"{row.label}  {cell.scene}  seed {cell.seed}")
        if self.fail_fast and record.state in ("failed", "timeout"):
            raise StopRun

    def _complain(self, cell: Cell, record: FillRecord) -> None:
        """Say why a cell is not ok; the same reason once a row, since missing weights are missing for every scene."""
        if (cell.label, record.reason) not in self._said:
            self._said.add((cell.label, record.reason))
            self.watch.say(f"{record.state}: {cell.label} on {cell.scene}, seed {cell.seed}: {record.reason}")

    def inputs(self, row: Row, cell: Cell) -> str:
        """Hash of the content of everything a fill depends on: the task (for an oracle, the truth), row, fit, seed, feather."""
        return fingerprint.of_data([self._fit_inputs(row, cell), row.fingerprint, cell.seed, str(Feather(self.feather))])

    def _fit_inputs(self, row: Row, cell: Cell) -> str:
        return fingerprint.of_data([self.infos[cell.scene].seen(row.card.oracle), row.fitting or row.fingerprint, cell.fit])

    def _state(self, row: Row, cell: Cell) -> dict[str, bytes] | None:
        """The fitted state: the row's own, or a copy of another row's that differs in nothing the fit depends on."""
        inputs = self._fit_inputs(row, cell)
        record = self.folder.read_fit(cell)
        if record is not None and record.state == "ok" and record.inputs == inputs:
            state = self.folder.read_state(cell, record)
            if state is not None:
                return state
        twin = self.folder.find_fit(cell, inputs)
        if twin is not None:
            self.folder.write_fit(cell, *twin)
        return twin[1] if twin is not None else None

    def _work(self, cell: Cell) -> Path:
        """Where a fit leaves checkpoints; named after what it reads, so that a changed scene never resumes an old fit."""
        folder = self._checkpoints(cell)
        with refused(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _finish(self, cell: Cell) -> None:
        """A finished fit needs no checkpoints."""
        shutil.rmtree(self._checkpoints(cell), ignore_errors=True)

    def _checkpoints(self, cell: Cell) -> Path:
        return self.folder.fit(cell).absolute() / f"work-{self._fit_inputs(self._row(cell.label), cell)[:12]}"

    def _row(self, label: str) -> Row:
        return next(row for row in self.rows if row.label == label)

    def _cell(self, unit: Unit, seed: int) -> Cell:
        return Cell(unit.label, self._row(unit.label).fingerprint, unit.scene, unit.fit, seed)


def _unit(row: Row, scene: str, fit: int, seeds: tuple[str, ...]) -> Unit:
    card = row.card
    word = f"{row.label} {row.fingerprint}"
    return Unit("fill", word, scene, seeds, row.label, fit, fits=card.fits, torch=card.torch, needs=tuple(card.needs))


def fill_request(
    row: Row,
    scene: Scene,
    unit: Unit,
    state: Mapping[str, bytes] | None,
    work: Path | None,
    *,
    feather: float,
    device: str,
    dtype: str,
) -> Message:
    """What a worker needs to fill one scene: the scene as the method may see it, settings, and the fitted state or a place to fit in."""
    head = {
        "stage": "fill",
        "items": unit.items,
        "method": row.method,
        "settings": row.settings,
        "oracle": row.card.oracle,
        "fit": unit.fit,
        "feather": feather,
        "device": device,
        "dtype": dtype,
        "work": None if work is None else str(work),
        "state": None if state is None else list(state),
        **scene_head(scene),
    }
    arrays = scene_arrays(scene, blanked=True, truth=row.card.oracle)
    return Message(head, arrays | {f"state/{name}": blob(data) for name, data in (state or {}).items()})


class StopRun(Exception):
    """A failure ended a run that was asked to fail fast."""


def scene_head(scene: Scene) -> dict[str, Any]:
    """The plain part of a scene in a request."""
    return {"scene_id": scene.id, "prompt": scene.prompt, "references": len(scene.references)}


def scene_arrays(scene: Scene, *, blanked: bool, truth: bool) -> dict[str, Array]:
    """The images of a scene in a request: the target blanked for methods, the truth only where it is due."""
    arrays: dict[str, Array] = {f"reference/{index}": image for index, image in enumerate(scene.references)}
    arrays |= {"target": scene.task().target if blanked else scene.target, "mask": scene.mask}
    if truth and scene.truth is not None:
        arrays["truth"] = scene.truth
    return arrays


def _words(outcome: Outcome) -> dict[str, Any]:
    """What every stage's record takes from an outcome."""
    kept = {name: outcome.data[name] for name in KEPT if name in outcome.data}
    return {"state": outcome.state, "reason": outcome.reason, "detail": outcome.detail, **kept}
