"""Running a benchmark: scenes in, cells and scores out. The command line and the Python API both come through here."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from realbench import __version__, checkout
from realbench.composite import FEATHER, Feather
from realbench.errors import Exit, RealbenchError, UsageError
from realbench.execution import Machine
from realbench.fills import FillStage, StopRun
from realbench.plan import Column, Row, column_of, parse_seeds, plan_columns, plan_rows, prepare, unheeded
from realbench.records import ColumnInfo, Images, Invocation, Manifest, RowInfo, SceneInfo, now
from realbench.scoring import ScoreStage
from realbench.shard import Asked, Shard, plan_of, shard_of, share
from realbench.specs import said
from realbench.store import MANIFEST, Cell, Hold, RunFolder, cells, check_labels
from realbench.suite import Suite, open_suite
from realbench.survey import Scenes
from realbench.watch import Silent, Watcher


@dataclass(frozen=True)
class Summary:
    """How a command ended."""

    folder: Path
    fills: Mapping[str, int]
    """Cells by state, finished ones of earlier commands counted as ok."""
    scores: Mapping[str, int]
    refused: tuple[str, ...] = ()
    """Scenes that were not run because they are broken."""
    weights_missing: bool = False
    stopped: bool = False
    """Ended early because of --fail-fast."""
    idle: bool = False
    """A shard to which no cell fell: there are more shards than cells."""

    @property
    def exit_code(self) -> Exit:
        """What the command ends with: failed cells before missing weights before nothing measured."""
        bad = sum(counts.get(state, 0) for counts in (self.fills, self.scores) for state in ("failed", "timeout"))
        if bad or self.refused or self.stopped:
            return Exit.FAILED_CELLS
        if self.weights_missing:
            return Exit.WEIGHTS_MISSING
        return Exit.DONE if self.idle or (self.fills.get("ok", 0) and self.scores.get("ok", 0)) else Exit.NOTHING_MEASURED


def run(
    methods: Sequence[str],
    *,
    scenes: str | Path = "demo",
    scene: Sequence[str] = (),
    metrics: Sequence[str] | None = None,
    settings: Sequence[str] = (),
    seeds: str | int = 1,
    fits: int = 1,
    out: str | Path | None = None,
    feather: float | None = None,
    strict: bool = False,
    shard: str | tuple[int, int] | None = None,
    on: Machine | None = None,
    watch: Watcher | None = None,
) -> Summary:
    """Run methods over a suite and score their fills; what an earlier call finished in the same folder is kept.

    Args:
        methods: rows, each `NAME[:PRESET][=LABEL]`, or `all`: every method that this machine has the weights for.
        scenes: a suite's folder, or `demo` for the embedded suite.
        scene: ids to restrict the suite to; empty means all.
        metrics: columns, each `NAME[:key=value,…]`; None means every metric that needs no weights.
        settings: `NAME.key=value`, or `key=value` for every method that has the key.
        seeds: a count (seeds 0 … n−1) or a range such as `100-107`.
        fits: repeats of the fit, for methods that adapt to a scene.
        out: the run folder; None means runs/<suite's name>.
        feather: width of the composite's blend, in pixels for a shorter side of 512; None means 4, or what the run folder has.
        strict: refuse scenes the doctor warns about.
        shard: `(1, 8)` or `"1/8"`: the first of eight shares of all this, in the run folder `<out>-shard-1-of-8`, for `merge_runs`.

    Raises:
        UsageError: something asked for does not exist. SceneError: there is no suite at `scenes`.
    """
    watch = watch or Silent()
    on = on or Machine()
    _check_asked(fits, methods=methods, scene=scene, metrics=metrics or (), settings=settings)
    on.kind()
    rows = plan_rows(methods, settings)
    suite = open_suite(scenes)
    ids = _restrict(suite, scene)
    wanted = parse_seeds(str(seeds))
    for line in (*said(methods), *unheeded(rows, wanted, fits)):
        watch.say(line)
    part = shard_of(shard)
    folder = _folder(out, suite, part)
    asked = share(rows, ids, fits, wanted, part)
    with folder.lock(mark=True) as hold, on.held():
        manifest = _open(folder, suite, feather)
        columns = plan_columns(metrics, Feather(manifest.feather))
        held = Scenes(suite)
        infos = held.survey([name for name in ids if any(name in own for own in asked.values())], watch, strict=strict)
        _check_moved(folder, manifest, suite, infos)
        _remember(manifest, infos, rows, columns, asked, f"{part} of {plan_of(suite.name, rows, ids, fits, wanted)}" if part else "")
        _commit(folder, manifest, hold, watch)
        fills = FillStage(folder, held, infos, rows, asked, manifest.feather, on.device, on.dtype, watch, on.fail_fast)
        stopped = _fill(fills, on, watch)
        summary = _score(folder, held, infos, columns, fills.kept, on, watch, fills, stopped=stopped)
        return replace(summary, idle=part is not None and not any(asked.values()))


def score(run: str | Path, *, metrics: Sequence[str] | None = None, on: Machine | None = None, watch: Watcher | None = None) -> Summary:
    """Score the finished cells of a run again, or with further metrics (None: those the run has); fills are left alone."""
    watch = watch or Silent()
    on = on or Machine()
    folder = RunFolder(Path(run))
    manifest = folder.read_manifest()
    suite = open_suite("demo" if manifest.suite == "demo" else manifest.suite_path)
    with folder.lock(mark=True) as hold, on.held():
        manifest = folder.read_manifest()  # again: another command may have worked on the run since
        feather = Feather(manifest.feather)
        wanted = plan_columns(metrics, feather) if metrics else _planned_again(manifest, feather, watch)
        known = list(dict.fromkeys(name for row in manifest.rows.values() for name in row.scenes))
        held = Scenes(suite)
        infos = held.survey([name for name in suite.ids if name in known], watch, strict=False)
        gone = {name: SceneInfo(refused=f"it is no longer in {suite.root}") for name in known if name not in suite.ids}
        for name, info in gone.items():
            watch.say(f"refused: scene {name}: {info.refused}")
        _remember(manifest, infos | gone, [], wanted, {})
        _commit(folder, manifest, hold, watch)
        kept, stale, damaged = {}, 0, 0
        for cell, record, state in cells(folder, manifest):
            stale += state == "stale"
            damaged += record is None and folder.has_record(cell)
            if record is not None and state == "ok":
                kept[cell] = record.images
        if damaged:
            watch.say(f"corrupt: {damaged} fills are not what their records vouch for; run again to refill them")
        if stale:
            watch.say(f"stale: {stale} fills of scenes that changed since are not scored; run again to refill them")
        return _score(folder, held, infos | gone, wanted, kept, on, watch)


def _check_asked(fits: int, **lists: object) -> None:
    """Raises UsageError for what is no list of texts, no method, and less than one fit."""
    for name, texts in lists.items():
        if isinstance(texts, str) or not isinstance(texts, Sequence):
            raise UsageError(f"{name}: expected a list of texts, found {texts!r}")
    if not lists["methods"]:
        raise UsageError("no method is named; `realbench methods` lists them")
    if fits < 1:
        raise UsageError(f"--fits {fits}: expected at least 1")


def _folder(out: str | Path | None, suite: Suite, part: Shard | None) -> RunFolder:
    """Where the run lives; each shard in a folder of its own."""
    whole = Path(out) if out else Path("runs") / suite.name
    return RunFolder(part.folder(whole) if part else whole)


def _fill(fills: FillStage, on: Machine, watch: Watcher) -> bool:
    """Run what is missing; True when the stage was stopped by a failure."""
    counts = fills.survey()
    for label, counter in counts.items():
        watch.say(f"plan: {label}: {_listing(counter)}")
    units = fills.units()
    if not units:
        return False
    labels = {unit.label for unit in units}
    if not on.kind().card.elsewhere:
        prepare([row for row in fills.rows if row.label in labels], watch.say)
    watch.begin("filling", sum(len(unit.items) for unit in units))
    try:
        on.execute(units, fills.supply, fills.take, fills.folder.root / "logs", watch.say)
    except StopRun:
        return True
    finally:
        watch.end()
    return False


def _score(
    folder: RunFolder,
    held: Scenes,
    infos: Mapping[str, SceneInfo],
    columns: Sequence[Column],
    kept: Mapping[Cell, Images],
    on: Machine,
    watch: Watcher,
    fills: FillStage | None = None,
    *,
    stopped: bool = False,
) -> Summary:
    scores = ScoreStage(folder, held, infos, columns, kept, on.device, on.dtype, watch, on.fail_fast)
    if not stopped:
        watch.say(f"plan: scores: {_listing(scores.survey())}")
    if scores.left:
        watch.begin("scoring", scores.left)
        try:
            on.execute(scores.units(), scores.supply, scores.take, folder.root / "logs", watch.say)
        except StopRun:
            stopped = True
        finally:
            watch.end()
    states = Counter(fills.states if fills else {})
    states["ok"] = len(kept) - len(scores.corrupt)
    states["failed"] += len(scores.corrupt)
    missing = scores.weights_missing or (fills.weights_missing if fills else False)
    refused = tuple(name for name, info in infos.items() if info.refused)
    return Summary(folder.root, dict(states), dict(scores.states), refused, missing, stopped)


def _restrict(suite: Suite, wanted: Sequence[str]) -> list[str]:
    unknown = [name for name in wanted if name not in suite.ids]
    if unknown:
        raise UsageError(f"--scene {unknown[0]}: not in {suite.root}; known: {', '.join(suite.ids)}")
    return [name for name in suite.ids if not wanted or name in wanted]


def _planned_again(manifest: Manifest, feather: Feather, watch: Watcher) -> list[Column]:
    """The run's columns; one that cannot be planned any more (a file it names has moved) keeps the scores it has."""
    columns = []
    for info in manifest.columns.values():
        try:
            columns.append(column_of(info.metric, info.config, feather))
        except RealbenchError as error:
            watch.say(f"left as it is: {info.signature}: {error}")
    if manifest.columns and not columns:
        raise UsageError("none of the run's metrics can be computed here; see above")
    return columns


def _open(folder: RunFolder, suite: Suite, feather: float | None) -> Manifest:
    """The run's manifest, old or new. Raises UsageError when the folder belongs to another suite or another feather."""
    if not (folder.root / MANIFEST).exists():
        if feather is not None and not 0 <= feather <= 64:
            raise UsageError(f"--feather {feather:g}: expected 0 to 64 pixels per 512")
        return Manifest(suite=suite.name, suite_path=str(suite.root), feather=FEATHER if feather is None else feather)
    manifest = folder.read_manifest()
    if manifest.suite != suite.name:
        raise UsageError(f"{folder.root} holds a run on {manifest.suite} ({manifest.suite_path}); give another --out for {suite.name}")
    if feather is not None and feather != manifest.feather:
        raise UsageError(f"{folder.root} was composited with --feather {manifest.feather:g}; give another --out for {feather:g}")
    return manifest


def _check_moved(folder: RunFolder, manifest: Manifest, suite: Suite, infos: Mapping[str, SceneInfo]) -> None:
    """A suite at another path than the run's must be a copy of it. Raises UsageError where two suites share a folder's name only."""
    if manifest.suite_path != str(suite.root):
        for name, old in manifest.scenes.items():
            new = infos.get(name, old)
            if name not in suite.ids or (not new.refused and old.digests and new.digests != old.digests):
                where = f"{folder.root} holds a run on {manifest.suite_path}"
                raise UsageError(f"{where}, and scene {name} of {suite.root} is another one; give another --out")
    manifest.suite_path = str(suite.root)


def _remember(
    manifest: Manifest, infos: Mapping[str, SceneInfo], rows: Sequence[Row], columns: Sequence[Column], asked: Asked, shard: str = ""
) -> None:
    """Add what is asked for now to what was asked for before; a row whose settings changed is asked for anew."""
    for name, info in infos.items():
        before = manifest.scenes.get(name)
        # A scene that is refused now keeps its hashes: what was finished of it is stale, not forgotten.
        manifest.scenes[name] = before.model_copy(update={"refused": info.refused}) if info.refused and before else info
    for row in rows:
        old = manifest.rows.get(row.label)
        same = old if old is not None and old.fingerprint == row.fingerprint else None
        manifest.rows[row.label] = _row_info(row, asked[row.label], same)
    check_labels(manifest)
    for column in columns:
        card = column.card
        manifest.columns[column.key] = ColumnInfo(
            metric=column.metric,
            config=dict(column.config),
            signature=column.signature,
            source=column.source,
            reads=list(card.reads),
            **{name: getattr(card, name) for name in ("title", "summary", "direction", "region", "image", "unit", "digits")},
        )
    command = [shlex.quote(word) for word in sys.argv]
    commit, project = checkout.state(), checkout.project()
    made = Invocation(started=now(), command=command, version=__version__, shard=shard, commit=commit, project=project)
    manifest.invocations.append(made)


def _commit(folder: RunFolder, manifest: Manifest, hold: Hold, watch: Watcher) -> None:
    """Write what is asked for now, and that the command before this one broke off, where it did."""
    if hold.broke_off:
        manifest.invocations[-1].broke_off = True
        watch.say(f"{folder.root}: the command before this one was killed, or the machine went down; going on from what it finished")
    folder.write_manifest(manifest)
    hold.noted = True


def _row_info(row: Row, asked: Mapping[str, Sequence[tuple[int, int]]], old: RowInfo | None) -> RowInfo:
    card = row.card
    cells = dict(old.cells) if old else {}
    for scene, pairs in asked.items():
        cells[scene] = sorted({*cells.get(scene, ()), *pairs})
    every = [pair for pairs in cells.values() for pair in pairs]
    return RowInfo(
        method=row.method,
        preset=row.preset,
        settings=dict(row.settings),
        fingerprint=row.fingerprint,
        source=row.source,
        title=card.title,
        summary=card.summary,
        licence=card.licence,
        paper=card.paper,
        oracle=card.oracle,
        scenes=list(cells),
        fits=sorted({fit for fit, _ in every}),
        seeds=sorted({seed for _, seed in every}),
        cells=cells,
    )


def _listing(counts: Counter[str]) -> str:
    words = {"ok": "done", "missing": "to do", "failed": "failed, to retry", "timeout": "timed out, to retry"}
    words |= {"unsupported": "unsupported", "stale": "stale, to redo"}
    return ", ".join(f"{counts[state]} {words[state]}" for state in words if counts[state]) or "nothing to do"


__all__ = ["Machine", "Summary", "run", "score"]
