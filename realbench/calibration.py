"""Measuring, once, how much unchanged code's scores vary, so that later checks need few repeats (docs/ci.md)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from realbench import noise
from realbench.baseline import Baseline, Cells, Noise, Varies, cells_of, refuse_shared_cells
from realbench.comparable import mismatches
from realbench.errors import NothingMeasured, UsageError
from realbench.noise import Sample
from realbench.rerun import repeats
from realbench.results import Results

FEW = 4
"""Fewer degrees of freedom than this are said aloud: such an estimate may be twice too small or large."""
REPEATS = 8
"""Fits, or seeds of a method that only draws, that are run for a calibration."""


def wanted(baseline: Baseline, labels: Sequence[str], seeds: str | None = None, fits: int | None = None) -> tuple[int, str]:
    """The fits, and the seeds as `--seeds` takes them, that show the noise of these rows; what is given goes before.

    Seeds are the baseline's, but new ones where a row only draws: there the accepted seeds would give the accepted scores again.
    Raises UsageError where no row varies.
    """
    rows = [baseline.rows[label] for label in _varying(baseline, labels) if label in baseline.rows]
    if seeds is None and any(row.varies == "seeds" for row in rows):
        last = max(seed for row in rows for seed in row.seeds)
        seeds = f"{last + 1}-{last + REPEATS}"
    return repeats(baseline, labels, seeds, fits or REPEATS)


def calibrate(baseline: Baseline, results: Results, labels: Sequence[str] = ()) -> tuple[Baseline, list[str]]:
    """The baseline with the noise that these runs' repeats show, and what to tell the user.

    The runs must be of the code that was accepted: their repeats stand for it. Raises NothingMeasured where runs and baseline are not
    comparable, UsageError where no row varies or has a repeat.
    """
    rows = _varying(baseline, labels)
    wrong = mismatches(baseline, results, rows)
    if wrong:
        raise NothingMeasured(f"not comparable: {wrong[0]}")
    refuse_shared_cells(results)
    for label in rows:
        if results.rows[label].fingerprint != baseline.rows[label].fingerprint:
            raise UsageError(
                f"{label}: its code, settings or weights are not those of the baseline; accept a run of it first, then calibrate"
            )
    scores = cells_of(results.scores())
    found = {label: dict(_metrics(baseline, scores.get(label, {}), label)) for label in rows}
    repeated = {label: noises for label, noises in found.items() if any(_freedom(baseline, label, one) for one in _each(noises))}
    if not repeated:
        raise UsageError(
            "no row has a repeat on any scene that was not accepted: give --fits 8, or further --seeds for a method that only draws"
        )
    told = [f"{label}: no repeat" for label in rows if label not in repeated]
    for label, noises in repeated.items():
        least = min(_freedom(baseline, label, one) for one in _each(noises))
        if least < FEW:
            told.append(f"{label}: a scene has {least + 1} repeats; with fewer than {FEW + 1} its noise is known badly")
    return baseline.model_copy(update={"noise": {**baseline.noise, **repeated}}), told


def _varying(baseline: Baseline, labels: Sequence[str]) -> list[str]:
    """These rows, or all, without those that never vary."""
    rows = list(labels) or list(baseline.rows)
    found = [label for label in rows if label not in baseline.rows or baseline.rows[label].varies != "nothing"]
    if not found:
        raise UsageError(f"{', '.join(rows)}: never vary, so there is no noise to measure; any change beyond the tolerance counts")
    return found


def _metrics(
    baseline: Baseline, scores: dict[str, dict[str, dict[str, dict[str, float | None]]]], label: str
) -> Iterator[tuple[str, dict[str, Noise]]]:
    for signature, accepted in baseline.scores.get(label, {}).items():
        found = {
            scene: _new(cells, accepted.get(scene, {}), baseline.rows[label].varies) for scene, cells in scores.get(signature, {}).items()
        }
        scenes = {scene: Sample.of(cells) for scene, cells in found.items()}
        yield signature, {scene: noise.measured(sample) for scene, sample in scenes.items() if sample.fits}


def _new(cells: Cells, accepted: Cells, varies: Varies) -> Cells:
    """The repeats that are not the accepted ones over again: those would count twice, in the baseline and in its noise."""
    old = {
        fit: {seed for seed, value in seeds.items() if value is not None and accepted.get(fit, {}).get(seed) == value}
        for fit, seeds in cells.items()
    }
    if varies == "fits":
        return {fit: seeds for fit, seeds in cells.items() if not old[fit]}
    return {fit: {seed: value for seed, value in seeds.items() if seed not in old[fit]} for fit, seeds in cells.items()}


def _each(noises: dict[str, dict[str, Noise]]) -> list[Noise]:
    return [one for scenes in noises.values() for one in scenes.values()]


def _freedom(baseline: Baseline, label: str, found: Noise) -> int:
    return found.fit_freedom if baseline.rows[label].varies == "fits" else found.seed_freedom
