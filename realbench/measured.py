"""Where and with what the scores of a set of runs were made. Never imports torch."""

from __future__ import annotations

from collections.abc import Container, Iterator

from realbench.records import Environment, Manifest
from realbench.results import Results
from realbench.store import Cell


def environments(results: Results) -> dict[str, tuple[Environment, ...]]:
    """The different environments of the scores that count (those whose state is ok), by signature as in `results.columns`."""
    return results.once("environments of scores", lambda: _environments(results))


def devices(results: Results, signature: str) -> tuple[str, ...]:
    """Device and its name of a column's scores; more than one is worth a warning. A metric computes in float32 whatever --dtype is."""
    return tuple(sorted({f"{made.device} ({made.device_name})" for made in environments(results).get(signature, ())}))


def _environments(results: Results) -> dict[str, tuple[Environment, ...]]:
    found: dict[str, dict[str, Environment]] = {signature: {} for signature in results.columns}
    for signature, made in _made(results):
        found[signature][made.model_dump_json()] = made
    return {signature: tuple(group[text] for text in sorted(group)) for signature, group in found.items()}


def _made(results: Results) -> Iterator[tuple[str, Environment]]:
    """Signature and environment of each score that counts, read from its record."""
    runs = {name: (folder, manifest) for name, folder, manifest in results.runs}
    scores = results.scores()
    lines = scores.loc[scores["state"] == "ok", ["run", "label", "fingerprint", "scene", "fit", "seed", "signature"]]
    for run, label, row, scene, fit, seed, signature in lines.itertuples(index=False, name=None):
        folder, manifest = runs[run]
        cell = Cell(_own(label, manifest.rows, run), row, _own(scene, manifest.scenes, run), fit, seed)
        record = folder.read_score(cell, _key(manifest, results.columns[signature].signature))
        if record is not None and record.environment is not None:
            yield signature, record.environment


def _own(shown: str, names: Container[str], run: str) -> str:
    """A name as its run has it: results add the run's name to one that means different things in two runs."""
    return shown if shown in names else shown.removesuffix(f" @{run}")


def _key(manifest: Manifest, signature: str) -> str:
    return next(key for key, info in manifest.columns.items() if info.signature == signature)
