"""The accepted state that later runs are held against: scores, and all that they depend on, as text that diffs well (docs/ci.md)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from realbench import __version__, checkout, fingerprint, registry
from realbench.errors import Exit, NothingMeasured, RealbenchError, UsageError
from realbench.metric import Direction
from realbench.records import SCHEMA, ColumnInfo, Environment, Number, Record, RowHash, RowInfo, now
from realbench.store import asked, write_atomic

if TYPE_CHECKING:
    import pandas as pd

    from realbench.results import Results

MOST_BYTES = 64 * 2**20
"""A larger file is refused unread."""
DIGITS = 10
"""Significant digits kept of a score: more than a metric's float32 has."""

_WORDS = ("inf", "-inf")
"""What a number that JSON lacks is written as."""

BROKEN = ("failed", "timeout", "missing", "stale")
"""States of cells and scores that could have been there."""

MEND = "restore it from version control, or accept a run anew"

Count = Annotated[int, Field(ge=0)]
Varies: TypeAlias = Literal["nothing", "seeds", "fits"]
Cells: TypeAlias = dict[str, dict[str, Number]]
"""Scores by fit and seed, both as texts, since JSON has no other keys; None where there is none by the method's or metric's nature."""


class BaselineError(RealbenchError):
    """There is no baseline to compare with."""

    exit_code = Exit.NO_BASELINE


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Tested(_Part):
    """A row as a run has it: all that a check holds against the baseline's."""

    method: str
    preset: str | None
    settings: dict[str, Any]
    fingerprint: RowHash
    """Over settings, weights and the source of the method's modules."""
    source: str = ""
    """Of the method's code alone; empty in files of earlier versions."""
    fits: list[Count]
    seeds: list[Count]
    weights: dict[str, str] = Field(default_factory=dict)
    """What the worker had loaded: by name, where from and which commit or content hash."""
    devices: list[str] = Field(default_factory=list)
    """Torch devices of all fills, such as `cpu` or `cuda:0`."""
    environment: Environment | None = None
    """Of the first finished fill."""


class BaselineRow(Tested):
    """A row as it was accepted."""

    varies: Varies
    """What differs between repeats of a scene: its fits (and their seeds), its seeds alone, or nothing."""
    oracle: Literal[False] = Field(default=False, exclude=True)
    """Stood in files of earlier versions: rows that read the truth are never accepted."""


class BaselineMetric(_Part):
    """A metric as it was accepted."""

    metric: str
    config: dict[str, Any]
    title: str
    direction: Direction
    unit: str
    digits: int
    source: str
    """Hash of the metric's source and pinned weights; other code under one signature is under test too."""
    devices: list[str] = Field(default_factory=list)
    """Torch devices of all scores; empty in files of earlier versions."""
    environment: Environment | None = None
    """Where and with what scores were made, the first of them where they differ."""

    @classmethod
    def of(cls, info: ColumnInfo, made: Sequence[Environment] = ()) -> Self:
        """A metric as a run has it, its scores made in these environments."""
        shared = {name: getattr(info, name) for name in cls.model_fields if name in ColumnInfo.model_fields}
        return cls(**shared, devices=sorted({one.device for one in made}), environment=made[0] if made else None)

    @property
    def mean_digits(self) -> int:
        """Decimals of a mean: one where single scores are whole numbers."""
        return max(self.digits, 1)

    @property
    def spec(self) -> str:
        """As `--metric` takes it, which has no word for None: what is None was not given."""
        given = ",".join(f"{key}={value}" for key, value in self.config.items() if value is not None)
        return f"{self.metric}:{given}" if given else self.metric


class Noise(_Part):
    """How one scene's scores vary between repeats of unchanged code, as `realbench calibrate` found it."""

    fit: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Variance between the means of fits that have `seeds` seeds each; 0 where there is one fit."""
    fit_freedom: Count
    """Its degrees of freedom."""
    seed: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Variance between the seeds of a fit."""
    seed_freedom: Count
    seeds: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1
    """Seeds of a fit; the harmonic mean where fits have different numbers."""


class Accepted(_Part):
    """When and from what a baseline was made."""

    when: str
    version: str
    commit: str = ""
    """Of realbench, where it ran from a clone."""
    project: str = ""
    """Of the repository that was worked in when the runs were made; see Invocation."""

    @property
    def code(self) -> str:
        """The project's commit, else realbench's own."""
        return self.project or self.commit


class Baseline(Record):
    """baseline.json."""

    suite: str
    feather: float
    scenes: dict[str, dict[str, str]]
    """Content hashes by scene and part."""
    rows: dict[str, BaselineRow]
    """By label."""
    metrics: dict[str, BaselineMetric]
    """By signature."""
    scores: dict[str, dict[str, dict[str, Cells]]]
    """By label, signature and scene."""
    noise: dict[str, dict[str, dict[str, Noise]]] = Field(default_factory=dict)
    """By label, signature and scene; empty until `realbench calibrate` measured it."""
    accepted: Accepted
    content: str = ""
    """Hash of the rest: a file that was edited, or merged by hand, is none that was accepted."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Scores and noise are of rows and metrics that are described, and of scenes as they were."""
        for what, found in (("scores", self.scores), ("noise", self.noise)):
            for label, metrics in found.items():
                if label not in self.rows:
                    raise ValueError(f"{what} of a row that is not described: {label!r}")
                for signature in metrics:
                    if signature not in self.metrics:
                        raise ValueError(f"{what} of a metric that is not described: {signature!r}")
        if any(math.isnan(value) for value in _numbers(self.scores)):
            raise ValueError("a score that is no number")
        return self


def accept(results: Results) -> Baseline:
    """A baseline of everything that these runs measured, oracles left out.

    Raises RealbenchError where a cell or score is failed, missing or stale, NothingMeasured where there is no score, and UsageError
    where two runs hold one cell.
    """
    refuse_shared_cells(results)
    labels = [label for label, row in results.rows.items() if not row.oracle]
    lines = results.scores()
    lines = lines[lines["label"].isin(labels)]
    _refuse_broken(results, labels, lines)
    if not (lines["state"] == "ok").any():
        raise NothingMeasured("no score to accept: the runs hold none but of rows that read the ground truth")
    metrics = {name: BaselineMetric.of(info, results.environments.get(name, ())) for name, info in results.columns.items()}
    rows = {label: BaselineRow(**dict(row), varies=varies(results.rows[label])) for label, row in tested(results, labels).items()}
    first, last = results.runs[0][2], results.runs[-1][2]
    made = Accepted(when=now(), version=__version__, commit=checkout.state(), project=project(results))
    return Baseline(
        suite=first.suite, feather=last.feather, scenes=digests(results), rows=rows, metrics=metrics, scores=cells_of(lines), accepted=made
    )


def cells_of(lines: pd.DataFrame) -> dict[str, dict[str, dict[str, Cells]]]:
    """Score lines (as `Results.scores` gives them) by label, signature, scene, fit and seed; None where the state is not ok."""
    found: dict[str, dict[str, dict[str, Cells]]] = {}
    keys = ["label", "signature", "scene", "fit", "seed", "value", "state"]
    for label, signature, scene, fit, seed, value, state in lines[keys].itertuples(index=False, name=None):
        cells = found.setdefault(label, {}).setdefault(signature, {}).setdefault(scene, {})
        cells.setdefault(str(fit), {})[str(seed)] = _rounded(value) if state == "ok" else None
    return found


def tested(results: Results, labels: Sequence[str]) -> dict[str, Tested]:
    """These rows, by label, as the runs have them."""
    cells = results.fills()
    done = cells[cells["state"] == "ok"]
    folders = {name: folder for name, folder, _ in results.runs}
    devices = done.dropna(subset="device").groupby("label")["device"].unique()
    records = {
        label: folders[run].read_fill(cell)
        for label, run, cell in done.drop_duplicates("label")[["label", "run", "cell"]].itertuples(index=False, name=None)
        if label in labels
    }
    found = {}
    for label in labels:
        info, record = results.rows[label], records.get(label)
        found[label] = Tested(
            method=info.method, preset=info.preset, settings=info.settings, fingerprint=info.fingerprint, source=info.source,
            fits=info.fits, seeds=info.seeds, weights=record.weights if record else {}, devices=sorted(devices.get(label, ())),
            environment=record.environment if record else None,
        )  # fmt: skip
    return found


def digests(results: Results) -> dict[str, dict[str, str]]:
    """Content hashes by scene and part; a scene that was never in order has none."""
    return {name: info.digests for name, info in results.scenes.items() if info.digests}


def project(results: Results) -> str:
    """The commit of the repository that was worked in when the last of these runs was worked on; empty where nobody knows."""
    last = results.runs[-1][2].invocations[-1:]
    return last[0].project if last else ""


def classes(devices: Iterable[object]) -> tuple[str, ...]:
    """Classes of devices (cpu, cuda, mps)."""
    return tuple(sorted({str(device).partition(":")[0] for device in devices}))


def refuse_shared_cells(results: Results) -> None:
    """Raises UsageError where two runs hold one cell: results show the first one's, so that a good run would hide a bad one."""
    seen: dict[tuple[str, str, int, int], str] = {}
    for name, _, manifest in results.runs:
        for cell in asked(manifest):
            other = seen.setdefault((cell.label, cell.scene, cell.fit, cell.seed), name)
            if other != name and not manifest.rows[cell.label].oracle:
                where = f"{cell.label}, scene {cell.scene}, fit {cell.fit}, seed {cell.seed}"
                raise UsageError(f"the runs {other} and {name} both hold {where}: give one of them")


def read(path: Path) -> Baseline:
    """A baseline file. Raises BaselineError where there is none, UsageError where it is none or broken."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path}: larger than {MOST_BYTES >> 20} MiB; expected a file that `realbench accept` wrote")
        data = path.read_bytes()
    except FileNotFoundError:
        raise BaselineError(f"{path}: no baseline there; `realbench accept RUN -o {path}` makes one") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        return parse(data, path)
    except UsageError as error:
        raise UsageError(f"{error}; {MEND}") from error


def parse(data: bytes, name: object) -> Baseline:
    """A baseline from its file's bytes. Raises UsageError, which begins with `name`, where they are none or not as they were written."""
    try:
        found = Baseline.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise UsageError(f"{name}: not a baseline of schema {SCHEMA} ({where}: {first['msg']})") from error
    if found.schema_version != SCHEMA:
        raise UsageError(f"{name}: of schema {found.schema_version}, expected {SCHEMA}")
    if found.content != content(json.loads(data)):
        raise UsageError(f"{name}: not as it was written, edited or merged by hand")
    return found


def write(baseline: Baseline, path: Path) -> None:
    """Write a baseline: one line a fit, keys in order, so that a diff in version control shows the scores that changed."""
    data = baseline.model_dump(mode="json")
    write_atomic({path: f"{_text(data | {'content': content(data)})}\n".encode()})


def content(data: Mapping[str, Any]) -> str:
    """The hash that a file of these data must carry: of what stands in the file, so that fields of later versions do not change it."""
    return fingerprint.of_data({name: value for name, value in data.items() if name != "content"})


def varies(info: RowInfo) -> Varies:
    """What differs between repeats, by the method's card; what the run shows where the method is not installed."""
    try:
        card = registry.method(info.method, info.settings).card
    except RealbenchError:
        return "fits" if len(info.fits) > 1 else "seeds" if len(info.seeds) > 1 else "nothing"
    return "nothing" if not card.stochastic else "fits" if card.fits else "seeds"


def _refuse_broken(results: Results, labels: Sequence[str], scores: pd.DataFrame) -> None:
    cells = results.cells()
    for what, lines in (("cells", cells[cells["label"].isin(labels)]), ("scores", scores)):
        broken = lines[lines["state"].isin(BROKEN)]
        if len(broken):
            first = broken.iloc[0]
            where = f"{first['label']}, scene {first['scene']}, fit {first['fit']}, seed {first['seed']}"
            say = f"{len(broken)} {what} failed or missing, the first of them {where}: {first['reason'] or first['state']}"
            raise RealbenchError(f"{say}; a baseline holds whole runs only: run again, then accept")
    refused = [name for name, info in results.scenes.items() if info.refused]
    if refused:
        raise RealbenchError(f"scene {refused[0]} was refused ({results.scenes[refused[0]].refused}); mend it, run again, then accept")


def _numbers(scores: Mapping[str, Mapping[str, Mapping[str, Cells]]]) -> Iterator[float]:
    for metrics in scores.values():
        for scenes in metrics.values():
            for cells in scenes.values():
                yield from (value for seeds in cells.values() for value in seeds.values() if value is not None)


def _rounded(value: float) -> float:
    return value if math.isinf(value) or value == 0 else float(f"{value:.{DIGITS}g}")


def _text(value: Any, depth: int = 0) -> str:
    """JSON with an object's members on lines of their own, but for objects of numbers alone: the seeds of a fit, a scene's noise."""
    if not isinstance(value, dict) or (
        value and all(item is None or isinstance(item, int | float) or item in _WORDS for item in value.values())
    ):
        return json.dumps(
            {key: value[key] for key in _ordered(value)} if isinstance(value, dict) else value, ensure_ascii=False, allow_nan=False
        )
    inner = " " * (depth + 1)
    members = (f"{inner}{json.dumps(key, ensure_ascii=False)}: {_text(value[key], depth + 1)}" for key in _ordered(value))
    return "{\n" + ",\n".join(members) + "\n" + " " * depth + "}" if value else "{}"


def _ordered(value: Mapping[str, Any]) -> Iterable[str]:
    return sorted(value, key=lambda key: (len(key) if key.isdigit() else 0, key))
