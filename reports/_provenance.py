"""Where the numbers come from: versions, suites, runs, commands and devices, without paths and addresses."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PureWindowsPath

from realbench.records import Environment
from realbench.results import Results

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://.*", re.DOTALL)
_PATH = re.compile(r"(?:~|\.{0,2}|[A-Za-z]:)[\\/].")


@dataclass(frozen=True)
class Provenance:
    """What a reader needs to find the numbers again."""

    runs: tuple[str, ...]
    """Name, suite and time of the last command of each run."""
    versions: tuple[str, ...]
    """Versions of realbench that worked on the runs, with the commit where it was a clone."""
    commands: tuple[str, ...]
    """What was typed, the different ones in order; of a path its last part alone, of an address its scheme."""
    devices: tuple[str, ...]
    """What the finished fills, then what the scores, were made on."""
    libraries: tuple[str, ...]
    """Name and version of each library that a finished fill or a score was made with."""


def provenance(results: Results) -> Provenance:
    """What the manifests, the finished fills and the scores that count say, made once."""
    return results.once("provenance", lambda: _provenance(results))


def _provenance(results: Results) -> Provenance:
    runs, versions, fills = [], set(), results.filled_with
    commands: dict[str, None] = {}
    for name, _, manifest in results.runs:
        last = manifest.invocations[-1].started if manifest.invocations else "an unknown time"
        runs.append(f"{name}: suite {manifest.suite}, feather {manifest.feather:g}/512, last worked on {last}")
        versions |= {f"{item.version} (commit {item.commit})" if item.commit else item.version for item in manifest.invocations}
        commands |= dict.fromkeys(command(item.command) for item in manifest.invocations)
    scores = [made for group in results.environments.values() for made in group]
    libraries = {f"{library} {version}" for made in (*fills, *scores) for library, version in made.versions.items()}
    devices = sorted({f"fills: {_device(made, f', {made.dtype}')}" for made in fills})
    devices += sorted({f"scores: {_device(made)}" for made in scores})
    return Provenance(tuple(runs), tuple(sorted(versions)), tuple(commands), tuple(devices), tuple(sorted(libraries)))


def command(words: Iterable[str]) -> str:
    """A command line, of words quoted for a shell, that tells neither folders nor addresses: `realbench run --scenes …/scenes`."""
    plain = [part for word in words for part in _unquoted(word)]
    return " ".join("".join(map(hidden, re.split("([=,])", _ADDRESS.sub(r"\1:…", word)))) for word in plain)


def _unquoted(word: str) -> list[str]:
    """As a shell reads it; a word that no shell quoted stays whole."""
    try:
        return shlex.split(word)
    except ValueError:
        return [word]


def hidden(part: str) -> str:
    """Of an absolute path its last part; anything else as it is."""
    return PureWindowsPath(part).name if _PATH.match(part) else part


def _device(made: Environment, dtype: str = "") -> str:
    """An environment in one phrase; a metric computes in float32, so that the type is told of fills alone."""
    threads = f"{made.threads} thread{'' if made.threads == 1 else 's'}"
    return f"{made.device} ({made.device_name}){dtype}, {threads}, Python {made.python} on {made.platform}"
