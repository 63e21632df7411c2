"""The second stage of a run: which scores are missing, how they are asked for, and how their outcomes are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from realbench import fingerprint
from realbench.fills import KEPT, StopRun, scene_arrays, scene_head
from realbench.plan import Column
from realbench.records import IMAGE_FILES, Images, SceneInfo, ScoreRecord
from realbench.runner import Outcome, Unit
from realbench.store import Cell, RunFolder
from realbench.survey import Scenes
from realbench.watch import Watcher
from realbench.wire import Message, blob

CHUNK = 16
"""Most fills in one request: bounds a worker's memory (two 1024² images each)."""


@dataclass
class ScoreStage:
    """Scores of finished cells: planned scene by scene, so that what a scene's metrics prepare serves all rows."""

    folder: RunFolder
    scenes: Scenes
    infos: Mapping[str, SceneInfo]
    columns: Sequence[Column]
    fills: Mapping[Cell, Images]
    device: str
    dtype: str
    watch: Watcher
    fail_fast: bool = False
    states: Counter[str] = field(default_factory=Counter)
    """How many scores ended in which state, kept ones included."""
    weights_missing: bool = False
    corrupt: list[Cell] = field(default_factory=list)
    """Cells whose images are not what their record vouches for: withdrawn, to be filled again."""
    _todo: dict[tuple[Cell, str], dict[str, str]] = field(default_factory=dict)
    _said: set[tuple[str, str]] = field(default_factory=set)
    _index: dict[tuple[str, str, int, int], Cell] = field(default_factory=dict)

    def survey(self) -> Counter[str]:
        """Count scores by state before the run, and write at once those that can only be unsupported (a scene without truth)."""
        counts: Counter[str] = Counter()
        settled = []
        for cell in self.fills:
            for column in self.columns:
                inputs = self._inputs(column, cell)
                record = self.folder.read_score(cell, column.key)
                lacking = self._lacking(column, cell)
                current = record is not None and record.inputs == inputs["inputs"]
                if record is not None and current and (record.state == "ok" or lacking):
                    counts["ok" if record.state == "ok" else "unsupported"] += 1
                elif lacking:
                    counts["unsupported"] += 1
                    settled.append((cell, column.key, _record(column, inputs, state="unsupported", reason=lacking)))
                else:
                    counts["missing" if record is None else record.state if current else "stale"] += 1
                    self._todo[cell, column.key] = inputs
        self.folder.write_scores(settled)
        self.states.update({state: counts[state] for state in ("ok", "unsupported")})
        return counts

    @property
    def left(self) -> int:
        """Scores to compute."""
        return len(self._todo)

    def units(self) -> list[Unit]:
        """What is left to do: fills of one scene that lack the same metrics, in chunks."""
        lacks: dict[Cell, tuple[str, ...]] = {}
        for cell, key in self._todo:
            lacks[cell] = (*lacks.get(cell, ()), key)
        groups: dict[tuple[str, tuple[str, ...]], list[Cell]] = {}
        for scene in self.infos:  # in the suite's order, so that each scene is decoded once
            for cell, keys in lacks.items():
                if cell.scene == scene:
                    groups.setdefault((scene, keys), []).append(cell)
        # Whether a GPU is of use is said of all units alike: their workers are of one kind.
        unit = Unit("score", "score", "", (), torch=any(column.card.torch for column in self.columns))
        return [
            replace(unit, scene=scene, items=keys, cells=tuple((cell.label, cell.fit, cell.seed) for cell in cells[start : start + CHUNK]))
            for (scene, keys), cells in groups.items()
            for start in range(0, len(cells), CHUNK)
        ]

    def supply(self, unit: Unit) -> Message:
        """The request for a unit: the scene with its truth, the fills as they were written, the metrics left."""
        scene = self.scenes.load(unit.scene, self.infos[unit.scene].digests)
        arrays = scene_arrays(scene, blanked=False, truth=True)
        cells = self._whole(unit)
        for index, (_, images) in enumerate(cells):
            arrays |= {f"{name}/{index}": blob(data) for name, data in images.items()}
        columns = {column.key: column for column in self.columns}
        head = {
            "stage": "score",
            "items": unit.items,
            "scene": fingerprint.of_data(self.infos[unit.scene].digests),
            "fills": len(cells),
            "metrics": {key: {"metric": columns[key].metric, "config": columns[key].config} for key in unit.items},
            "device": self.device,
            "dtype": self.dtype,
            "state": [],
            **scene_head(scene),
        }
        return Message(head, arrays)

    def take(self, outcome: Outcome) -> None:
        """Write the outcome of one metric on the unit's fills and tell the watcher."""
        if outcome.kind == "progress":
            self.watch.detail(outcome.data.get("text", ""), outcome.data.get("done", 0), outcome.data.get("total", 0))
            return
        column = next(column for column in self.columns if column.key == outcome.item)
        cells = [cell for cell in self._cells(outcome.unit) if cell not in self.corrupt]
        scores = outcome.data.get("scores") or [{"state": outcome.state, "reason": outcome.reason, "value": None}] * len(cells)
        shared = {name: outcome.data[name] for name in KEPT if name in outcome.data}
        if "seconds" in shared:
            shared["seconds"] /= max(1, len(cells))
        records = [
            _record(column, self._todo[cell, column.key], detail=outcome.detail, **score, **shared)
            for cell, score in zip(cells, scores, strict=True)
        ]
        self.folder.write_scores((cell, column.key, record) for cell, record in zip(cells, records, strict=True))
        self.states.update(record.state for record in records)
        self.weights_missing |= bool(outcome.data.get("weights_missing"))
        if outcome.state != "ok" and (column.key, outcome.reason) not in self._said:
            self._said.add((column.key, outcome.reason))  # missing weights are missing for every scene
            self.watch.say(f"{outcome.state}: metric {column.metric} on {outcome.unit.scene}: {outcome.reason}")
        self.watch.step(f"{column.metric}  {outcome.unit.scene}", len(outcome.unit.cells))
        if self.fail_fast and outcome.state in ("failed", "timeout"):
            raise StopRun

    def _inputs(self, column: Column, cell: Cell) -> dict[str, str]:
        """Hashes of the content of everything a score depends on: image, the parts of the scene it reads, signature, formula."""
        image = self.fills[cell].files[IMAGE_FILES[column.card.image]]
        scene = self.infos[cell.scene].read(column.card.reads)
        inputs = fingerprint.of_data([column.signature, column.source, image, scene])
        return {"image": image, "scene": scene, "source": column.source, "inputs": inputs}

    def _lacking(self, column: Column, cell: Cell) -> str:
        """Why a metric cannot score this scene by nature; empty when it can."""
        without_truth = "truth" in column.card.reads and not self.infos[cell.scene].truth
        return "the scene has no ground truth" if without_truth else ""

    def _whole(self, unit: Unit) -> list[tuple[Cell, dict[str, bytes]]]:
        """The unit's cells with their images; a cell whose images are corrupt is withdrawn, and said aloud."""
        whole = []
        for cell in self._cells(unit):
            images = self.folder.read_images(cell, self.fills[cell]) if cell not in self.corrupt else None
            if images is not None:
                whole.append((cell, images))
            elif cell not in self.corrupt:
                self.corrupt.append(cell)
                self.folder.drop_fill(cell)
                self.watch.say(f"corrupt: {self.folder.cell(cell)}: its images are not what its record vouches for; run again to refill")
        return whole

    def _cells(self, unit: Unit) -> list[Cell]:
        if len(self._index) != len(self.fills):
            self._index = {(cell.scene, cell.label, cell.fit, cell.seed): cell for cell in self.fills}
        return [self._index[unit.scene, *words] for words in unit.cells]


def _record(column: Column, inputs: Mapping[str, Any], **words: Any) -> ScoreRecord:
    return ScoreRecord(metric=column.metric, signature=column.signature, **inputs, **words)
