"""What is measured over time, point by point: run folders, accepted baselines, and all versions of one that git remembers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from realbench import baseline as baselines
from realbench.baseline import BROKEN, MOST_BYTES, Baseline, BaselineMetric, Cells, cells_of, classes, digests
from realbench.errors import UsageError
from realbench.results import load_run
from realbench.versions import Versions

SHORT = 7
"""Digits of a commit that are shown."""


@dataclass(frozen=True)
class Point:
    """One run, or one accepted baseline, in time."""

    name: str
    """The run folder's or the file's name."""
    commit: str
    """Of the clone that it was made with, or the commit that accepted it; empty where nobody knows."""
    changed: bool
    """Whether files of that clone differed from the commit."""
    when: datetime
    scenes: Mapping[str, Mapping[str, str]]
    """Content hashes by scene and part."""
    metrics: Mapping[str, BaselineMetric]
    """By signature."""
    scores: Mapping[str, Mapping[str, Mapping[str, Cells]]]
    """By label, signature and scene; of rows that read the truth there are none."""
    devices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Classes of devices (cpu, cuda, mps) by label."""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By label."""
    broken: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Scores that failed or are missing, by label and signature."""
    commits: int = 1
    """On how many the run was worked on."""
    made: str = ""
    """The commit that the scores were made at, as `checkout.state` writes it; `commit` may be the one that accepted them."""
    accepted: bool = False
    """A baseline; else a run."""

    def repeats(self, other: Point) -> bool:
        """Whether this is another one over again: a copy of it, or the baseline that was accepted from a run."""
        same = (self.made, self.scenes, self.scores) == (other.made, other.scenes, other.scores)
        return same and (self.accepted != other.accepted or self.when == other.when)

    def has(self, label: str, signature: str) -> bool:
        """Whether a row has a score under a metric."""
        scenes = self.scores.get(label, {}).get(signature, {}).values()
        return any(value is not None for fits in scenes for seeds in fits.values() for value in seeds.values())

    @property
    def title(self) -> str:
        """The commit in short, with a star where files differed from it; the name where there is none."""
        return f"{self.commit[:SHORT]}{'*' if self.changed else ''}" if self.commit else self.name

    @property
    def day(self) -> str:
        """The date, in UTC."""
        return f"{self.when:%Y-%m-%d}"


def of_path(path: Path) -> Point:
    """A run folder or a baseline file as a point. Raises UsageError where it is neither."""
    if not path.exists():
        raise UsageError(f"{path}: not there; give a folder that `realbench run` wrote, or a file that `realbench accept` did")
    return of_run(path) if path.is_dir() else of_file(path)


def of_run(path: Path) -> Point:
    """A run folder as a point. Raises UsageError where it is none, NothingMeasured where nothing was asked for."""
    results = load_run(path)
    name, _, manifest = results.runs[0]
    labels = [label for label, row in results.rows.items() if not row.oracle]
    lines, cells = results.scores(), results.cells()
    lines = lines[lines["label"].isin(labels)]
    done = cells[cells["state"] == "ok"]
    bad = lines[lines["state"].isin(BROKEN)].groupby(["label", "signature"]).size()
    last = manifest.invocations[-1] if manifest.invocations else None
    made = last.code if last else ""
    commit, changed = _commit(made)
    return Point(
        name=name,
        commit=commit,
        changed=changed,
        when=_time(last.started if last else "", path),
        scenes=digests(results),
        metrics={signature: BaselineMetric.of(info) for signature, info in results.columns.items()},
        scores=cells_of(lines),
        devices={label: classes(done.loc[done["label"] == label, "device"].dropna()) for label in labels},
        settings={label: results.rows[label].settings for label in labels},
        broken={(label, signature): int(count) for (label, signature), count in bad.items()},
        commits=len({_commit(command.code)[0] for command in manifest.invocations}),
        made=made,
    )


def of_file(path: Path) -> Point:
    """A baseline file as a point. Raises as `baseline.read`, and UsageError where nobody knows when it was made."""
    return of_baseline(baselines.read(path), path)


def of_baseline(baseline: Baseline, path: Path) -> Point:
    """An accepted baseline as a point; `path` is named in errors. Raises UsageError where nobody knows when it was made."""
    commit, changed = _commit(baseline.accepted.code)
    return Point(
        name=path.name,
        commit=commit,
        changed=changed,
        when=_time(baseline.accepted.when, path),
        scenes=baseline.scenes,
        metrics=baseline.metrics,
        scores=baseline.scores,
        devices={label: classes(row.devices) for label, row in baseline.rows.items()},
        settings={label: row.settings for label, row in baseline.rows.items()},
        made=baseline.accepted.code,
        accepted=True,
    )


def of_git(path: Path) -> tuple[list[Point], list[str]]:
    """Every version of a baseline file that git remembers as a point, named after the commit that accepted it, and what to tell the user.

    A version that cannot be read is left out and told. Raises UsageError where git has none.
    """
    commits = Versions(path)
    points, notes = [], []
    if commits.shallow:
        notes.append("the clone is shallow: older versions of the baseline are not in it (`git fetch --unshallow` brings them)")
    for version in commits.read(MOST_BYTES):
        where = Path(f"{version.commit[:SHORT]}:{commits.name}")
        try:
            if version.data is None:
                raise UsageError("no file there, or one that is too large")
            point = of_baseline(baselines.parse(version.data, where), where)
        except UsageError as error:
            notes.append(f"left out {where}: {str(error).removeprefix(f'{where}: ')}")
            continue
        points.append(replace(point, name=path.name, commit=version.commit, changed=False, when=version.when))
    return points, notes


def _commit(text: str) -> tuple[str, bool]:
    """What `checkout.state` wrote: the commit, and whether files differed from it."""
    commit, _, rest = text.partition(" ")
    return commit, bool(rest)


def _time(text: str, path: Path) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"{path}: it does not say when it was made (expected a time in ISO 8601, found {text!r})") from None
