"""Merging runs: the valid cells of several run folders in one, as if one command had made them all."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from realbench.carrying import F, Held, attempts_to_write, carry, earlier, held, intact, pick, plain
from realbench.errors import Exit, UsageError
from realbench.records import IMAGE_FILES, FillRecord, FitRecord, Manifest, ScoreRecord
from realbench.store import MANIFEST, RECORD, Cell, RunFolder, asked, stands, write_atomic
from realbench.union import absent, refuse, union
from realbench.watch import Silent, Watcher

STATE = "state"


@dataclass(frozen=True)
class Merged:
    """What a merge did."""

    folder: Path
    cells: Mapping[str, int]
    """Cells of the merged run by state; `missing` are those that no run has."""
    carried: int
    """Cells that were not in the folder before, or not like this."""
    corrupt: tuple[str, ...] = ()
    """Folders whose files are not what their record vouches for: they were left where they are."""
    absent: tuple[str, ...] = ()
    """Shards whose cells are not here, one sentence a plan."""

    @property
    def exit_code(self) -> Exit:
        """Done, unless something that should have been carried could not be."""
        return Exit.FAILED_CELLS if self.corrupt else Exit.DONE


def merge_runs(runs: Sequence[str | Path], out: str | Path, *, mixed_fits: bool = False, watch: Watcher | None = None) -> Merged:
    """Bring the valid cells of runs, with their scores and fits, into a new or existing run folder.

    Nothing is computed, and the runs are left as they are; files are hard links where the disk has them. The order of the runs does not
    count. A cell that several runs have stays the earliest; a failure never replaces a finished cell, and is kept under attempts/. A merge
    that was interrupted is run again.

    Args:
        runs: run folders. out: the folder to merge into; what it holds already counts as one of the runs.
        mixed_fits: take one of two different fits of the same number, with the seeds of both; without, that is a contradiction.

    Raises:
        UsageError: there is no run, or another command works on it, or two runs contradict each other: then nothing is merged.
        RealbenchError: a symlink stands in a run folder, or the disk refuses.
    """
    watch = watch or Silent()
    if isinstance(runs, str) or not runs:
        raise UsageError(f"runs: expected a list of run folders, found {runs!r}")
    target = RunFolder(Path(out))
    sources = {path.resolve(): RunFolder(path) for path in map(Path, runs)}
    sources.pop(target.root.resolve(), None)
    if not sources:
        raise UsageError(f"{target.root}: expected a run beside the one to merge into")
    folders = [sources[path] for path in sorted(sources)]
    for folder in folders:  # before the target is made
        plain(folder.root, folder.root / MANIFEST)
        folder.read_manifest()
    with ExitStack() as held_locks:
        held_locks.enter_context(target.lock())
        for folder in folders:
            if os.access(folder.root, os.W_OK):
                held_locks.enter_context(folder.lock())
            else:
                watch.say(f"{folder.root} cannot be written, so it is read without holding it")
        return _Merge(target, folders, mixed_fits, watch).run()


@dataclass
class _Merge:
    target: RunFolder
    sources: Sequence[RunFolder]
    mixed_fits: bool
    watch: Watcher
    manifest: Manifest = field(init=False)
    """What the merged run is asked for."""
    _holders: dict[Cell, list[RunFolder]] = field(default_factory=dict)
    """Runs that were asked for a cell; the target, which may hold what it was not asked for, always."""
    _fits: dict[Cell, list[RunFolder]] = field(default_factory=dict)
    """The same of fits, each as its cell of seed 0."""
    _corrupt: list[str] = field(default_factory=list)

    def run(self) -> Merged:
        """Check everything, then write."""
        before = self.target.read_manifest() if (self.target.root / MANIFEST).exists() else None
        named = [(str(folder.root), folder.read_manifest()) for folder in self.sources]
        self.manifest = union([*named, *([(str(self.target.root), before)] if before else [])])
        self._index([manifest for _, manifest in named])
        refuse(list(self._contradictions()))
        if self.manifest != before:
            self.target.write_manifest(self.manifest)
        self.watch.begin("merging", len(self._holders))
        carried, states = 0, Counter[str]()
        for fit in self._fits:
            self._carry_fit(fit)
        for cell in self._holders:
            state, new = self._carry_cell(cell)
            states[state] += 1
            carried += new
            self.watch.step(f"{cell.label}  {cell.scene}  seed {cell.seed}")
        self.watch.end()
        return Merged(self.target.root, dict(states), carried, tuple(self._corrupt), tuple(absent(self.manifest)))

    def _index(self, manifests: Sequence[Manifest]) -> None:
        self._holders = {cell: [self.target] for cell in asked(self.manifest)}
        for folder, manifest in zip(self.sources, manifests, strict=True):
            for cell in asked(manifest):
                self._holders[cell].append(folder)
        for cell, folders in self._holders.items():
            one = self._fits.setdefault(replace(cell, seed=0), [])
            one += [folder for folder in folders if folder not in one]

    def _contradictions(self) -> Iterator[str]:
        """Where two runs have different things of one name, one sentence each. What one run alone has cannot contradict anything."""
        for fit, folders in self._fits.items():
            if len(folders) > 2 or self.target.fit(fit).is_dir():
                yield from self._of_fit(fit)
        for cell, folders in self._holders.items():
            if len(folders) > 2 or self.target.has_record(cell):
                yield from self._of_cell(cell)

    def _of_fit(self, fit: Cell) -> Iterator[str]:
        ones = [one for one in self._held_fits(fit) if one.record.state == "ok"]
        if len({_made(one) for one in ones}) > 1 and not self.mixed_fits:
            ones = [one for one in ones if intact(one, STATE)]
            for one in ones[1:]:
                if _made(one) != _made(ones[0]):
                    yield (
                        f"fit {fit.fit} of row {fit.label} on scene {fit.scene} is another one in {ones[0].root} and {one.root} "
                        "(--mixed-fits takes the seeds of both)"
                    )
                    return

    def _of_cell(self, cell: Cell) -> Iterator[str]:
        name = f"row {cell.label}, scene {cell.scene}, fit {cell.fit}, seed {cell.seed}"
        ones = [one for one in self._held_fills(cell) if one.record.state == "ok"]
        if any(one.record.files != ones[0].record.files for one in ones):
            ones = [one for one in ones if intact(one)]
        for one in ones[1:]:
            if one.record.files != ones[0].record.files:
                yield f"{name}: its images differ between {ones[0].root} and {one.root}"
                return
        for key, column in self.manifest.columns.items() if ones else ():
            scores = [score for score in self._held_scores(cell, ones[0].record, key) if score.record.state == "ok"]
            for score in scores[1:]:
                if repr(score.record.value) != repr(scores[0].record.value):
                    values = f"{scores[0].record.value!r} in {scores[0].path} and {score.record.value!r} in {score.path}"
                    yield f"{name}: {column.metric} is {values}; move one of them away and `realbench score` its run"
                    break

    def _held_fits(self, fit: Cell) -> list[Held[FitRecord]]:
        """The records of a fit; one that is ok has all its files."""
        found = []
        for folder in self._fits[fit]:
            one = held(folder.root, folder.fit(fit) / RECORD, FitRecord)
            if one is not None and all((one.path.parent / STATE / name).is_file() for name in one.record.files):
                found.append(one)
        return found

    def _held_fills(self, cell: Cell) -> list[Held[FillRecord]]:
        """The records of a cell that are of its scene as it is; one that is ok has all its files."""
        seen = self.manifest.scenes[cell.scene].seen(self.manifest.rows[cell.label].oracle)
        found = []
        for folder in self._holders[cell]:
            one = held(folder.root, folder.cell(cell) / RECORD, FillRecord)
            if one is None or not _is_of(one, cell) or one.record.task != seen:
                continue
            if folder is not self.target or stands(one.path.parent, one.record):  # those of the others are looked at when they are carried
                found.append(one)
        return found

    def _held_scores(self, cell: Cell, fill: FillRecord, key: str) -> list[Held[ScoreRecord]]:
        """The scores of a cell in one column that are of this fill, its scene and the column's metric as they are."""
        column = self.manifest.columns[key]
        scene = self.manifest.scenes[cell.scene].read(column.reads)
        wanted = (fill.files[IMAGE_FILES[column.image]], scene, column.source)
        found = []
        for folder in self._holders[cell]:
            one = held(folder.root, folder.cell(cell) / "scores" / f"{key}.json", ScoreRecord)
            if one is None or (one.record.image, one.record.scene, one.record.source) != wanted:
                continue
            if one.record.state != "ok" or one.record.value is not None:
                found.append(one)
        return found

    def _carry_fit(self, fit: Cell) -> None:
        self._carry(self._held_fits(fit), [(folder.root, folder.fit(fit)) for folder in self._fits[fit]], FitRecord, STATE)

    def _carry_cell(self, cell: Cell) -> tuple[str, bool]:
        """The cell's state in the merged run, and whether it is new there."""
        one, new = self._carry(self._held_fills(cell), [(folder.root, folder.cell(cell)) for folder in self._holders[cell]], FillRecord)
        if one is None:
            return ("stale" if self.target.has_record(cell) else "missing"), False
        if one.record.state == "ok":
            self._carry_scores(cell, one.record)
        return one.record.state, new

    def _carry(self, ones: list[Held[F]], places: list[tuple[Path, Path]], kind: type[F], inner: str = "") -> tuple[Held[F] | None, bool]:
        """Bring the record that stands into the target, the first of the places; returns it and whether it is new there."""
        root, folder = places[0]
        before: Held[F] | None = held(root, folder / RECORD, kind)
        # Another run's finished cell of other images can only be damaged (else it was refused); of its fit, that was asked for.
        worth = [one for one in ones if one.record.state != "ok" or inner]
        every: list[Held[F]] = [*worth, *([before] if before else [])]
        corrupt: list[str] = []
        while (one := pick(ones)) is not None:
            attempts = earlier(places, [other for other in every if not _same(one, other)], kind)
            there = one.path == folder / RECORD and not attempts_to_write(folder, attempts)
            if there or carry(one, root, folder, attempts, inner):
                if one.record.state != "ok":
                    self._corrupt += corrupt
                return one, not there
            corrupt.append(str(one.path.parent))
            ones.remove(one)
        self._corrupt += corrupt
        return None, False

    def _carry_scores(self, cell: Cell, fill: FillRecord) -> None:
        files = {}
        for key in self.manifest.columns:
            best = pick(self._held_scores(cell, fill, key))
            if best is not None and best.root != self.target.root:
                files[self.target.cell(cell) / "scores" / f"{key}.json"] = best.data
        write_atomic(files, durable=False)


def _same(one: Held[F], other: Held[F]) -> bool:
    """Whether nothing is lost where one stands for both."""
    return one.data == other.data or (other.record.state == "ok" and one.record.files == other.record.files)


def _made(one: Held[FitRecord]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """What a fit was made of and what it made."""
    return one.record.inputs, tuple(sorted(one.record.files.items()))


def _is_of(one: Held[FillRecord], cell: Cell) -> bool:
    """Whether a record is of this cell, and its images are there in full."""
    record = one.record
    if (record.label, record.scene, record.fit, record.seed) != (cell.label, cell.scene, cell.fit, cell.seed):
        return False
    if record.state != "ok":
        return True
    try:
        whole = all((one.path.parent / name).stat().st_size == record.sizes.get(name) for name in record.files)
    except OSError:
        return False
    return whole and {*IMAGE_FILES.values()} <= record.files.keys()
