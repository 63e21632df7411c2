"""Run folders made by hand, so that tables and reports can be tested on numbers that are known beforehand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from realbench import fingerprint
from realbench.image import encode_png
from realbench.records import ColumnInfo, Environment, FillRecord, Invocation, Manifest, RowInfo, SceneInfo, ScoreRecord
from realbench.store import Cell, RunFolder
from realbench.suite import open_suite
from realbench.survey import describe

PSNR = "psnr|region:hole|image:composite|feather:4/512|range:255|size:target|v:1"
DRIFT = "drift|region:known|image:raw|v:1"


@dataclass
class Made:
    """A run in the making: scenes, rows and columns first, then scores; `write` ends it."""

    root: Path
    suite: Path | None = None
    """With a suite, scenes are described from it; without, they have digests that fit no file."""
    manifest: Manifest = field(init=False)

    def __post_init__(self) -> None:
        self.folder = RunFolder(self.root)
        self.root.mkdir(parents=True, exist_ok=True)
        suite = str(self.suite) if self.suite else "/home/alice/suites/gone"
        self.manifest = Manifest(suite=Path(suite).name, suite_path=suite, feather=4)
        self.manifest.invocations = [Invocation(started="2030-01-02T03:04:05+00:00", command=["realbench"], version="9.9")]
        self.column(PSNR, digits=2, unit="dB", reads=["truth"])

    def column(self, signature: str, **fields: Any) -> None:
        """A metric; higher is better unless said otherwise."""
        name = signature.partition("|")[0]
        standard: dict[str, Any] = {
            "metric": name, "config": {}, "title": name.upper(), "summary": f"What {name} says", "direction": "higher", "region": "hole",
            "image": "composite", "reads": [], "unit": "", "digits": 3,
        }  # fmt: skip
        key = fingerprint.of_bytes(signature.encode())[:16]
        self.manifest.columns[key] = ColumnInfo(signature=signature, **(standard | fields))

    def scene(self, name: str, **fields: Any) -> None:
        """A scene with ground truth, unless said otherwise."""
        if self.suite and not fields.get("refused"):
            info = describe(open_suite(self.suite).load(name))
            self.manifest.scenes[name] = info.model_copy(update=fields)
            return
        truth = fields.get("truth", True)
        digests = {part: f"{part} of {name}" for part in ("task", "references", "target", "mask")} | {"truth": "truth" if truth else ""}
        digests = {} if fields.get("refused") else digests
        standard: dict[str, Any] = {"digests": digests, "truth": True, "size": (48, 32), "references": 1, "hole_kind": "inpainting"}
        self.manifest.scenes[name] = SceneInfo(**(standard | fields))

    def row(self, label: str, scenes: Iterable[str] | None = None, **fields: Any) -> None:
        """A row over all scenes so far, one fit and one seed, unless said otherwise."""
        standard: dict[str, Any] = {
            "method": "method", "preset": None, "settings": {}, "fingerprint": fingerprint.of_bytes(label.encode())[:12],
            "title": f"Method {label}", "summary": "Fills", "licence": "", "paper": "", "oracle": False,
            "scenes": list(self.manifest.scenes) if scenes is None else list(scenes), "fits": [0], "seeds": [0],
        }  # fmt: skip
        self.manifest.rows[label] = RowInfo(**(standard | fields))

    def cell(self, label: str, scene: str, fit: int = 0, seed: int = 0) -> Cell:
        return Cell(label, self.manifest.rows[label].fingerprint, scene, fit, seed)

    def fill(self, label: str, scene: str, *, fit: int = 0, seed: int = 0, state: str = "ok", device: str = "cpu", **fields: Any) -> None:
        """A fill of one grey, or its failure."""
        info, row = self.manifest.scenes[scene], self.manifest.rows[label]
        image = np.full((info.size[1], info.size[0], 3), (7 * len(label + scene) + 31 * seed) % 256, np.uint8)
        images = {name: encode_png(image) for name in ("raw.png", "fill.png")} if state == "ok" else {}
        record = FillRecord(
            state=state, inputs="", label=label, method=row.method, preset=row.preset, scene=scene, fit=fit, seed=seed,
            files={name: fingerprint.of_bytes(data) for name, data in images.items()},
            sizes={name: len(data) for name, data in images.items()},
            task=info.seen(row.oracle), environment=_environment(device), finished="2030-01-02T03:04:05+00:00", **fields,
        )  # fmt: skip
        self.folder.write_fill(self.cell(label, scene, fit, seed), record, images)

    def score(
        self,
        label: str,
        scene: str,
        value: float | None,
        *,
        signature: str = PSNR,
        fit: int = 0,
        seed: int = 0,
        state: str = "ok",
        reason: str = "",
        device: str = "cpu",
        versions: dict[str, str] | None = None,
    ) -> None:
        """A score of a fill, which is made first where it is missing."""
        cell = self.cell(label, scene, fit, seed)
        if self.folder.read_fill(cell) is None:
            self.fill(label, scene, fit=fit, seed=seed)
        fill = self.folder.read_fill(cell)
        key = fingerprint.of_bytes(signature.encode())[:16]
        column = self.manifest.columns[key]
        image = fill.files["raw.png" if column.image == "raw" else "fill.png"]
        record = ScoreRecord(
            state=state, reason=reason, inputs="", metric=column.metric, signature=signature, image=image, value=value,
            scene=self.manifest.scenes[scene].read(column.reads), finished="2030-01-02T03:04:05+00:00",
            environment=_environment(device, versions),
        )  # fmt: skip
        self.folder.write_scores([(cell, key, record)])

    def scores(self, label: str, values: dict[str, float], signature: str = PSNR) -> None:
        """One score a scene."""
        for scene, value in values.items():
            self.score(label, scene, value, signature=signature)

    def write(self) -> Path:
        self.folder.write_manifest(self.manifest)
        return self.root


def _environment(device: str, versions: dict[str, str] | None = None) -> Environment:
    versions = versions or {"realbench": "9.9", "numpy": "2.0"}
    return Environment(device=device, device_name="Some", dtype="float32", threads=1, python="3.11", platform="Linux", versions=versions)
