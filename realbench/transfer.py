"""Filling an image that was not in the fit with a model fitted to a scene (RealFill, Figure 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from realbench import registry
from realbench.bench import Machine
from realbench.errors import RealbenchError, SceneError, UsageError, WeightsMissing
from realbench.fills import fill_request
from realbench.image import read_mask, read_rgb
from realbench.plan import Row
from realbench.records import Manifest
from realbench.runner import Outcome, Unit
from realbench.scene import Scene
from realbench.store import Cell, RunFolder, write_atomic
from realbench.suite import open_suite
from realbench.watch import Silent, Watcher
from realbench.wire import Message


def transfer(
    run: str | Path,
    label: str,
    scene: str,
    image: str | Path,
    mask: str | Path,
    out: str | Path,
    *,
    seeds: Sequence[int] = (0,),
    fit: int = 0,
    on: Machine | None = None,
    watch: Watcher | None = None,
) -> list[Path]:
    """Fill the hole of any image with the model that a row of a run fitted to a scene.

    Args:
        run: a run folder. label: a row of it whose method fits. scene: the scene it was fitted to; its references are used.
        image, mask: the photograph to fill and its mask (white = hole), of equal size.
        out: a folder; each seed writes `seed-N.png` (composite) and `seed-N-raw.png`.

    Returns the composites' paths. Raises UsageError when there is no such fit, SceneError for images that don't go together,
    WeightsMissing, RealbenchError when a fill fails.
    """
    on, watch = on or Machine(), watch or Silent()
    folder = RunFolder(Path(run))
    manifest = folder.read_manifest()
    row = _row(manifest, label)
    cell = Cell(label, row.fingerprint, scene, fit, 0)
    record = folder.read_fit(cell) if scene in manifest.scenes else None
    state = folder.read_state(cell, record) if record is not None and record.state == "ok" else None
    if state is None:
        raise UsageError(f"{folder.root}: row {label!r} has no finished fit {fit} on scene {scene!r}; run it first")
    other = _other(manifest, scene, Path(image), Path(mask))
    items = tuple(str(seed) for seed in seeds)
    failures: list[RealbenchError] = []
    written: list[Path] = []

    def supply(unit: Unit) -> Message:
        return fill_request(row, other, unit, state, None, feather=manifest.feather, device=on.device, dtype=on.dtype)

    def take(outcome: Outcome) -> None:
        if outcome.kind == "progress":
            watch.detail(outcome.data.get("text", ""), outcome.data.get("done", 0), outcome.data.get("total", 0))
        elif outcome.kind == "item" and outcome.state == "ok":
            written.append(_write(Path(out), outcome))
            watch.step(f"seed {outcome.item}")
        elif outcome.state != "ok":
            failures.append(_failure(outcome, image))

    watch.begin("filling", len(items))
    with on.held():
        unit = Unit("fill", label, scene, items, label, fit, fits=True, torch=row.card.torch, needs=row.card.needs)
        on.execute([unit], supply, take, folder.root / "logs", watch.say)
    watch.end()
    if failures:
        raise failures[0]
    return written


def _failure(outcome: Outcome, image: str | Path) -> RealbenchError:
    """What went wrong, with the exit code it stands for."""
    kind = WeightsMissing if outcome.data.get("weights_missing") else RealbenchError
    return kind(f"{image}: seed {outcome.item}: {outcome.reason}" if outcome.item else f"{image}: {outcome.reason}")


def _row(manifest: Manifest, label: str) -> Row:
    info = manifest.rows.get(label)
    if info is None:
        raise UsageError(f"row {label!r} is not in this run; known: {', '.join(manifest.rows) or 'none'}")
    card = registry.method(info.method, info.settings).card
    if not card.fits:
        raise UsageError(f"row {label!r}: {info.method} does not fit, there is nothing to transfer; run it on a scene of its own")
    return Row(label, info.method, info.preset, info.settings, card, info.fingerprint)


def _other(manifest: Manifest, scene: str, image: Path, mask: Path) -> Scene:
    """The scene with another target: its references stay, its truth has no meaning here."""
    fitted = open_suite("demo" if manifest.suite == "demo" else manifest.suite_path).load(scene)
    target, _ = read_rgb(image)
    hole, _ = read_mask(mask)
    if target.shape[:2] != hole.shape:
        sizes = f"{target.shape[1]} × {target.shape[0]} and {hole.shape[1]} × {hole.shape[0]}"
        raise SceneError(f"{image} and {mask}: expected equal sizes, found {sizes}; make the mask for this image")
    if not hole.any():
        raise SceneError(f"{mask}: the hole is empty; paint what is to be filled white")
    return replace(fitted, target=target, mask=hole, truth=None)


def _write(folder: Path, outcome: Outcome) -> Path:
    path = folder / f"seed-{outcome.item}.png"
    raw = folder / f"seed-{outcome.item}-raw.png"
    write_atomic({raw: outcome.arrays["raw.png"].tobytes(), path: outcome.arrays["fill.png"].tobytes()})
    return path
