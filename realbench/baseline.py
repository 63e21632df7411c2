"""The accepted state that later runs are held against: scores, and all that they depend on, as text that diffs well (docs/ci.md)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from realbench import __version__, checkout, fingerprint, registry
from realbench.errors import Exit, NothingMeasured, RealbenchError, UsageError
from realbench.metric import Direction
from realbench.records import SCHEMA, Environment, Number, Record, RowHash, RowInfo, now
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

_BY_ROW = ("rows", "scores", "noise")
Count = Annotated[int, Field(ge=0)]
Varies: TypeAlias = Literal["nothing", "seeds", "fits"]
Cells: TypeAlias = dict[str, dict[str, Number]]
"""Scores by fit and seed, both as texts, since JSON has no other keys; None where there is none by the method's or metric's nature."""


class BaselineError(RealbenchError):
    """There is no baseline to compare with."""

    exit_code = Exit.NO_BASELINE


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class BaselineRow(_Part):
    """A row as it was accepted."""

    method: str
    preset: str | None
    settings: dict[str, Any]
    fingerprint: RowHash
    """Over settings, weights and the source of the method's modules."""
    oracle: bool
    varies: Varies
    """What differs between repeats of a scene: its fits (and their seeds), its seeds alone, or nothing."""
    fits: list[Count]
    seeds: list[Count]
    weights: dict[str, str] = Field(default_factory=dict)
    """What the worker had loaded: by name, where from and which commit or content hash."""
    devices: list[str] = Field(default_factory=list)
    """Torch devices of all fills, such as `cpu` or `cuda:0`."""
    environment: Environment | None = None
    """Of the first finished fill."""


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
    once(results)
    _whole(results)
    labels = [label for label, row in results.rows.items() if not row.oracle]
    lines = results.scores()
    lines = lines[lines["label"].isin(labels)]
    if not (lines["state"] == "ok").any():
        raise NothingMeasured("no score to accept: the runs hold none but of rows that read the ground truth")
    scenes = {name: info.digests for name, info in results.scenes.items() if info.digests}
    metrics = {
        signature: BaselineMetric(**{name: getattr(info, name) for name in BaselineMetric.model_fields})
        for signature, info in results.columns.items()
    }
    rows = {label: row(results, label) for label in labels}
    feather = results.runs[0][2].feather
    last = results.runs[-1][2].invocations[-1:]
    made = Accepted(when=now(), version=__version__, commit=checkout.state(), project=last[0].project if last else "")
    suite = results.runs[0][2].suite
    return Baseline(suite=suite, feather=feather, scenes=scenes, rows=rows, metrics=metrics, scores=cells_of(lines), accepted=made)


def cells_of(lines: pd.DataFrame) -> dict[str, dict[str, dict[str, Cells]]]:
    """Score lines (as `Results.scores` gives them) by label, signature, scene, fit and seed; None where the state is not ok."""
    found: dict[str, dict[str, dict[str, Cells]]] = {}
    keys = ["label", "signature", "scene", "fit", "seed", "value", "state"]
    for label, signature, scene, fit, seed, value, state in lines[keys].itertuples(index=False, name=None):
        cells = found.setdefault(label, {}).setdefault(signature, {}).setdefault(scene, {})
        cells.setdefault(str(fit), {})[str(seed)] = _rounded(value) if state == "ok" else None
    return found


def once(results: Results) -> None:
    """Raises UsageError where two runs hold one cell: results show the first one's, so that a good run would hide a bad one."""
    seen: dict[tuple[str, str, int, int], str] = {}
    for name, _, manifest in results.runs:
        for cell in asked(manifest):
            other = seen.setdefault((cell.label, cell.scene, cell.fit, cell.seed), name)
            if other != name:
                where = f"{cell.label}, scene {cell.scene}, fit {cell.fit}, seed {cell.seed}"
                raise UsageError(f"the runs {other} and {name} both hold {where}: give one of them")


def dropped(old: Baseline, new: Baseline) -> list[str]:
    """What an older baseline has and a newer one would not, in words; see `merged` for the rows that can be kept."""
    lacking = [f"scene {name}" for name in old.scenes if name not in new.scenes]
    shared = {signature for label in old.rows if label in new.rows for signature in old.scores.get(label, ())}
    lacking += [f"metric {signature}" for signature in sorted(shared - {*new.metrics})]
    gone = [label for label in old.rows if label not in new.rows]
    if gone and old.scenes != new.scenes:
        lacking += [f"row {label} (the scenes are others)" for label in gone]
    elif gone and old.feather != new.feather:
        lacking += [f"row {label} (its fills have another feather)" for label in gone]
    elif gone and any(old.metrics[name].source != metric.source for name, metric in new.metrics.items() if name in old.metrics):
        lacking += [f"row {label} (it was scored by other code of the metrics)" for label in gone]
    return lacking


def merged(old: Baseline, new: Baseline) -> tuple[Baseline, list[str]]:
    """The new baseline with the rows of the old one that it lacks, and their labels; none where `dropped` names any."""
    kept = [label for label in old.rows if label not in new.rows]
    if not kept or dropped(old, new):
        return new, []
    parts = {
        name: {**{label: part for label, part in getattr(old, name).items() if label in kept}, **getattr(new, name)} for name in _BY_ROW
    }
    return new.model_copy(update={**parts, "metrics": {**old.metrics, **new.metrics}}), kept


def kept_noise(old: Baseline, new: Baseline) -> dict[str, dict[str, dict[str, Noise]]]:
    """The noise of an older baseline that a newer one may keep: of rows (by fingerprint), metrics and scenes that are the same."""
    same = {scene for scene, digests in new.scenes.items() if old.scenes.get(scene) == digests}
    found = {
        label: {
            signature: {scene: noise for scene, noise in scenes.items() if scene in same}
            for signature, scenes in metrics.items()
            if signature in new.scores[label]
        }
        for label, metrics in old.noise.items()
        if label in new.rows and _same(old.rows[label], new.rows[label])
    }
    return {label: metrics for label, metrics in found.items() if any(metrics.values())}


def _same(old: BaselineRow, new: BaselineRow) -> bool:
    return old.fingerprint == new.fingerprint and old.varies == new.varies


def repeats(baseline: Baseline, labels: Iterable[str]) -> tuple[int, str]:
    """The number of fits, and the seeds as `--seeds` takes them, that these rows were accepted with; of all rows where none is known.

    Raises UsageError where the seeds are no range.
    """
    rows = [baseline.rows[label] for label in labels if label in baseline.rows] or [*baseline.rows.values()]
    seeds = sorted({seed for row in rows for seed in row.seeds})
    if not seeds:
        raise UsageError("the baseline has no row: accept a run")
    if len(seeds) != seeds[-1] - seeds[0] + 1:
        raise UsageError(f"the baseline has the seeds {', '.join(map(str, seeds))}, which are no range: give --seeds")
    return max(len(row.fits) for row in rows), f"{seeds[0]}-{seeds[-1]}"


def read(path: Path) -> Baseline:
    """A baseline file. Raises BaselineError where there is none, UsageError where it is none or broken."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path}: larger than {MOST_BYTES >> 20} MiB; expected a file that `realbench accept` wrote")
        data = path.read_bytes()
        found = Baseline.model_validate_json(data)
    except FileNotFoundError:
        raise BaselineError(f"{path}: no baseline there; `realbench accept RUN -o {path}` makes one") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        say = f"{path}: not a baseline of schema {SCHEMA} ({where}: {first['msg']})"
        raise UsageError(f"{say}; restore it from version control, or accept a run anew") from error
    if found.schema_version != SCHEMA:
        raise UsageError(f"{path}: of schema {found.schema_version}, expected {SCHEMA}; accept a run anew")
    if found.content != content(json.loads(data)):
        raise UsageError(f"{path}: not as it was written, edited or merged by hand; restore one version, or accept a run anew")
    return found


def write(baseline: Baseline, path: Path) -> None:
    """Write a baseline: one line a fit, keys in order, so that a diff in version control shows the scores that changed."""
    data = baseline.model_dump(mode="json")
    write_atomic({path: f"{_text(data | {'content': content(data)})}\n".encode()})


def content(data: Mapping[str, Any]) -> str:
    """The hash that a file of these data must carry: of what stands in the file, so that fields of later versions do not change it."""
    return fingerprint.of_data({name: value for name, value in data.items() if name != "content"})


def _whole(results: Results) -> None:
    for what, lines in (("cells", results.cells()), ("scores", results.scores())):
        broken = lines[lines["state"].isin(BROKEN)]
        if len(broken):
            first = broken.iloc[0]
            where = f"{first['label']}, scene {first['scene']}, fit {first['fit']}, seed {first['seed']}"
            say = f"{len(broken)} {what} failed or missing, the first of them {where}: {first['reason'] or first['state']}"
            raise RealbenchError(f"{say}; a baseline holds whole runs only: run again, then accept")
    refused = [name for name, info in results.scenes.items() if info.refused]
    if refused:
        raise RealbenchError(f"scene {refused[0]} was refused ({results.scenes[refused[0]].refused}); mend it, run again, then accept")


def row(results: Results, label: str) -> BaselineRow:
    """A row as these runs have it."""
    info = results.rows[label]
    cells = results.fills()
    done = cells[(cells["label"] == label) & (cells["state"] == "ok")]
    environment, weights = None, {}
    if len(done):
        first = done.iloc[0]
        folder = next(folder for name, folder, _ in results.runs if name == first["run"])
        record = folder.read_fill(first["cell"])
        if record is not None:
            environment, weights = record.environment, record.weights
    return BaselineRow(
        method=info.method, preset=info.preset, settings=info.settings, fingerprint=info.fingerprint, oracle=info.oracle,
        varies=varies(info), fits=info.fits, seeds=info.seeds, weights=weights,
        devices=sorted({*done["device"].dropna()}), environment=environment,
    )  # fmt: skip


def varies(info: RowInfo) -> Varies:
    """What differs between repeats, by the method's card; what the run shows where the method is not installed."""
    try:
        card = registry.load("methods", info.method).card
    except RealbenchError:
        return "fits" if len(info.fits) > 1 else "seeds" if len(info.seeds) > 1 else "nothing"
    return "nothing" if not card.stochastic else "fits" if card.fits else "seeds"


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
