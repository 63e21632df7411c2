"""Where the numbers come from: versions, suites, runs and devices, without paths."""

from __future__ import annotations

from dataclasses import dataclass

from realbench.records import Environment
from realbench.results import Results
from realbench.store import finished


@dataclass(frozen=True)
class Provenance:
    """What a reader needs to find the numbers again."""

    runs: tuple[str, ...]
    """Name, suite and time of the last command of each run."""
    versions: tuple[str, ...]
    """Versions of realbench that worked on the runs."""
    devices: tuple[str, ...]
    """What the finished fills, then what the scores, were made on."""
    libraries: tuple[str, ...]
    """Name and version of each library that a finished fill or a score was made with."""


def provenance(results: Results) -> Provenance:
    """Gather it from the manifests, and the records of the finished fills and of the scores that count."""
    runs, versions, fills = [], set(), []
    for name, folder, manifest in results.runs:
        last = manifest.invocations[-1].started if manifest.invocations else "an unknown time"
        runs.append(f"{name}: suite {manifest.suite}, feather {manifest.feather:g}/512, last worked on {last}")
        versions |= {item.version for item in manifest.invocations}
        fills += [record.environment for _, record in finished(folder, manifest) if record.environment is not None]
    scores = [made for group in results.environments.values() for made in group]
    libraries = {f"{library} {version}" for made in (*fills, *scores) for library, version in made.versions.items()}
    devices = sorted({f"fills: {_device(made, f', {made.dtype}')}" for made in fills})
    devices += sorted({f"scores: {_device(made)}" for made in scores})
    return Provenance(tuple(runs), tuple(sorted(versions)), tuple(devices), tuple(sorted(libraries)))


def _device(made: Environment, dtype: str = "") -> str:
    """An environment in one phrase; a metric computes in float32, so that the type is told of fills alone."""
    threads = f"{made.threads} thread{'' if made.threads == 1 else 's'}"
    return f"{made.device} ({made.device_name}){dtype}, {threads}, Python {made.python} on {made.platform}"
