"""What a run folder remembers, as files: every field of every record, in one sentence each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints, model_validator

from realbench import fingerprint
from realbench.metric import Direction, Region, Source, State

SCHEMA = 1
PARTS = frozenset(("task", "references", "target", "mask", "truth"))
"""Of a scene, each with a hash."""
IMAGE_FILES: Mapping[Source, str] = {"raw": "raw.png", "composite": "fill.png"}
"""A cell's files, by what metrics call them."""

FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,119}$")]
"""A plain file name: what a record names never leads out of its folder."""
RowHash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}$")]
ColumnKey = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]


def now() -> str:
    """The present in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _finite(value: float | None) -> float | str | None:
    """JSON has no infinity: it is written as a word, which pydantic reads back."""
    return value if value is None or math.isfinite(value) else ("inf" if value > 0 else "-inf")


Number = Annotated[float | None, PlainSerializer(_finite)]


class Record(BaseModel):
    """Base of all records: unknown fields are refused, so that a foreign or broken file is noticed."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA
    """Version of the layout of this file."""


class Environment(BaseModel):
    """Where and with what a number was made."""

    model_config = ConfigDict(extra="forbid")

    device: str
    """Torch device, `cpu` for methods that use none."""
    device_name: str
    """Name of the processor or GPU."""
    dtype: str
    """Floating-point type asked for."""
    threads: int
    """CPU threads pinned."""
    python: str
    platform: str
    versions: dict[str, str]
    """Library versions: realbench, numpy, OpenCV, and torch where it is used."""


class StageRecord(Record):
    """What fit, fill and score records share."""

    state: State
    """ok, failed, timeout or unsupported; missing and stale are never written, they are found."""
    reason: str = ""
    """One sentence for a reader; empty when ok."""
    detail: str = ""
    """Traceback or log of a failure, or what an ok stage printed where its method tells; the end of it."""
    inputs: str
    """Hash of the content of everything this stage read."""
    seconds: float = 0.0
    """Wall-clock time of the stage itself."""
    peak_memory: dict[str, int] = Field(default_factory=dict)
    """Bytes by memory: `host` is the worker's peak so far, `device` the stage's."""
    weights: dict[str, str] = Field(default_factory=dict)
    """What the worker had loaded: by name, where from and which commit or content hash."""
    retried: list[str] = Field(default_factory=list)
    """Why earlier attempts were lost through no fault of their own (a machine that went away); empty: there was one."""
    environment: Environment | None = None
    """None when the stage never started."""
    finished: str = Field(default_factory=now)


class FitRecord(StageRecord):
    """A fit, stored as fit-K/record.json once its state files are complete."""

    files: dict[FileName, str] = Field(default_factory=dict)
    """SHA-256 by name of the files in fit-K/state."""


@dataclass(frozen=True, slots=True)
class Images:
    """What a finished cell vouches for: all that a run keeps of each of its cells in memory, which may be 200,000."""

    files: Mapping[str, str]
    """SHA-256 of raw.png and fill.png."""


class FillRecord(StageRecord):
    """A cell, stored as record.json after its images: with a valid record the cell is finished."""

    label: str
    method: str
    preset: str | None
    scene: str
    fit: int
    seed: int
    files: dict[FileName, str] = Field(default_factory=dict)
    """SHA-256 of raw.png and fill.png."""
    task: str = ""
    """Content hash of what the method saw of the scene."""
    sizes: dict[str, int] = Field(default_factory=dict)
    """Bytes of raw.png and fill.png, compared at each resume (a hash would read every image)."""
    notes: list[str] = Field(default_factory=list)
    """What the method says of this fill."""
    timings: dict[str, float] = Field(default_factory=dict)
    """Seconds by step, the method's own account."""

    @property
    def images(self) -> Images:
        """What scoring needs of this record."""
        return Images(self.files)


class ScoreRecord(StageRecord):
    """One value, stored as scores/<signature hash>.json."""

    metric: str
    signature: str
    image: str
    """SHA-256 of the PNG that was scored."""
    scene: str
    """Content hash of the parts of the scene that were read."""
    source: str = ""
    """Hash of the metric's source."""
    value: Number = None
    """None unless the state is ok; infinite values are the words inf and -inf."""
    artefacts: dict[str, Any] = Field(default_factory=dict)
    """Plain data for drawing, for example match lines."""


class SceneInfo(BaseModel):
    """A scene as the run saw it last."""

    model_config = ConfigDict(extra="forbid")

    digests: dict[str, str] = Field(default_factory=dict)
    """Content hashes by part; empty when the scene was refused."""
    title: str | None = None
    licence: str | None = None
    tags: list[str] = Field(default_factory=list)
    size: tuple[int, int] = (0, 0)
    """Width and height of the target."""
    references: int = 0
    truth: bool = False
    hole_kind: Literal["inpainting", "outpainting", ""] = ""
    hole_share: float = 0.0
    warnings: list[str] = Field(default_factory=list)
    """The doctor's findings that did not stop the run."""
    refused: str = ""
    """Why the scene was not run the last time it was asked for; empty when it was. What was finished before is stale then."""

    def seen(self, oracle: bool) -> str:
        """Content hash of what a method sees of this scene."""
        return fingerprint.of_data([self.digests["task"], self.digests["truth"] if oracle else ""])

    def read(self, parts: Iterable[str]) -> str:
        """Content hash of the mask and the parts of this scene that a metric reads."""
        return fingerprint.of_data([self.digests[part] for part in ("mask", *parts)])


class RowInfo(BaseModel):
    """A row as it was asked for last."""

    model_config = ConfigDict(extra="forbid")

    method: str
    preset: str | None
    settings: dict[str, Any]
    fingerprint: RowHash
    source: str = ""
    """Twelve digits over the method's code alone; empty in runs of earlier versions."""
    title: str
    summary: str
    licence: str
    paper: str
    oracle: bool
    scenes: list[str]
    """Scene ids asked for, over all invocations."""
    fits: list[int]
    seeds: list[int]
    """All that were asked for on any scene."""
    cells: dict[str, list[tuple[int, int]]] = Field(default_factory=dict)
    """(fit, seed) asked for by scene; a scene without an entry was asked for all fits and seeds."""


class ColumnInfo(BaseModel):
    """A metric as it was asked for."""

    model_config = ConfigDict(extra="forbid")

    metric: str
    config: dict[str, Any]
    signature: str
    source: str = ""
    """Hash of the metric's source: scores of another formula are stale."""
    title: str
    summary: str
    direction: Direction
    region: Region
    image: Source
    reads: list[str]
    unit: str
    digits: int
    """Decimals of a single score."""

    @property
    def mean_digits(self) -> int:
        """Decimals of a mean: one where single scores are whole numbers."""
        return max(self.digits, 1)


class Invocation(BaseModel):
    """One command that worked on this run folder."""

    model_config = ConfigDict(extra="forbid")

    started: str
    command: list[str]
    version: str
    commit: str = ""
    """Commit of the clone of realbench it ran from, and whether files were changed since; empty for an installed package."""
    project: str = ""
    """Commit of the repository it was run in, and whether files were changed since; empty outside of one."""
    shard: str = ""
    """Which share of which plan, as `3/8 of 0123456789ab`; empty for a whole one."""
    broke_off: bool = False
    """The command before this one never ended by itself: it was killed, or the machine went down."""

    @property
    def code(self) -> str:
        """The project's commit, else realbench's own."""
        return self.project or self.commit


class Adopted(BaseModel):
    """The protocol a run follows."""

    model_config = ConfigDict(extra="forbid")

    protocol: str
    source: str
    stated: dict[str, str]
    """What the paper says, by subject."""
    left_open: dict[str, str]
    """What it does not say, each with the choice made."""
    departures: list[str] = Field(default_factory=list)
    """How the run differs, over all commands that worked on it."""


class Manifest(Record):
    """run.json: what this run folder was asked to hold."""

    suite: str
    suite_path: str
    feather: float
    """Pixels per 512 of the composite's feather."""
    scenes: dict[str, SceneInfo] = Field(default_factory=dict)
    rows: dict[str, RowInfo] = Field(default_factory=dict)
    """By label."""
    columns: dict[ColumnKey, ColumnInfo] = Field(default_factory=dict)
    """By signature hash."""
    invocations: list[Invocation] = Field(default_factory=list)
    protocol: Adopted | None = None
    """None for a run that was made without `--protocol`."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Rows are of scenes that are described, and these by the hashes of all their parts."""
        for label, row in self.rows.items():
            unknown = [scene for scene in (*row.scenes, *row.cells) if scene not in self.scenes]
            if unknown:
                raise ValueError(f"row {label!r} is of a scene that is not described: {unknown[0]!r}")
        for scene, info in self.scenes.items():
            if info.digests and not info.digests.keys() >= PARTS:
                raise ValueError(f"scene {scene!r} lacks hashes of some of its parts")
        for column in self.columns.values():
            if not PARTS.issuperset(column.reads):
                raise ValueError(f"metric {column.metric!r} reads what no scene has")
        return self
