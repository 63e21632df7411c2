"""Where the numbers come from: versions, suites, runs and devices, without paths."""

from __future__ import annotations

from dataclasses import dataclass

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
    libraries: tuple[str, ...]
    """Name and version of each library that a finished fill was made with."""


def provenance(results: Results) -> Provenance:
    """Gather it from the manifests and the records of the finished fills."""
    runs = []
    versions, devices, libraries = set(), set(), set()
    for name, folder, manifest in results.runs:
        last = manifest.invocations[-1].started if manifest.invocations else "an unknown time"
        runs.append(f"{name}: suite {manifest.suite}, feather {manifest.feather:g}/512, last worked on {last}")
        versions |= {item.version for item in manifest.invocations}
        for _, record in finished(folder, manifest):
            if record.environment is not None:
                made = record.environment
                threads = f"{made.threads} thread{'' if made.threads == 1 else 's'}"
                devices.add(f"{made.device} ({made.device_name}), {made.dtype}, {threads}, Python {made.python} on {made.platform}")
                libraries |= {f"{library} {version}" for library, version in made.versions.items()}
    return Provenance(tuple(runs), tuple(sorted(versions)), tuple(sorted(devices)), tuple(sorted(libraries)))
