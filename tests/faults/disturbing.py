"""Carrying out a fault plan: rounds of one run, each disturbed, then an undisturbed one; and what must hold after each of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from realbench import bench
from realbench.bench import Machine
from realbench.errors import Exit, RealbenchError, UsageError
from tests.faults import observing
from tests.faults.nursery import ROOT, Nursery, popen
from tests.faults.planning import FITS, METRICS, SEEDS, Round
from tests.faults.wrapping import Wrapped, steady

ENDS = {
    None: {Exit.DONE, Exit.FAILED_CELLS}, "full": {Exit.DONE, Exit.FAILED_CELLS, Exit.USAGE},
    "interrupt": {Exit.DONE, Exit.FAILED_CELLS, Exit.INTERRUPTED}, "kill": {Exit.DONE, Exit.FAILED_CELLS, -signal.SIGKILL},
}  # fmt: skip
ENDS |= {"read-only": ENDS["full"], "broken": ENDS["full"], "terminate": ENDS["interrupt"], "clock": ENDS[None], "second": ENDS[None]}
"""The exit codes a command may end with, by what befell its driver (the fault may come too late to strike)."""


@dataclass(frozen=True)
class Ground:
    """Where plans are carried out."""

    root: Path
    calm: dict[str, Any]
    """What an undisturbed run makes."""

    def words(self, out: Path, workers: int = 1, timeout: float | None = None) -> list[str]:
        """The command line."""
        metrics = [word for name in METRICS for word in ("--metric", name)]
        words = ["run", "--method", "faulty", "--scenes", str(self.root / "suite"), "--fits", str(FITS), "--seeds", str(SEEDS), *metrics]
        limit = ["--timeout", f"{timeout:g}"] if timeout else []
        return [*words, "--workers", str(workers), "--threads", "1", *limit, "--out", str(out)]

    def run(self, out: Path, workers: int = 1, timeout: float | None = None, *, real: bool = False) -> bench.Summary:
        """The same in this process; its workers are forked, unless they are to be started from nothing."""
        with nullcontext() if real else mock.patch("realbench.process.subprocess.Popen", popen):
            return bench.run(
                ["faulty"], scenes=self.root / "suite", metrics=METRICS, seeds=SEEDS, fits=FITS, out=out,
                on=Machine(workers=workers, threads=1, timeout=timeout),
            )  # fmt: skip


def calm_run(root: Path) -> Ground:
    """The ground, with what an undisturbed run makes on it; its workers are real ones."""
    out = root / "calm"
    assert Ground(root, {}).run(out, real=True).exit_code == Exit.DONE
    return Ground(root, observing.meaning(out))


@dataclass
class Disturbed:
    """A run that goes through a plan."""

    ground: Ground
    folder: Path
    real: bool = False
    """Workers are started from nothing."""
    missed: set[Path] = field(default_factory=set)
    """Cells' folders in which something was damaged: an earlier attempt must be kept there."""
    fits: set[str] = field(default_factory=set)
    """Damaged files of fits: where all fills are there, nobody reads them."""

    def __post_init__(self) -> None:
        self.out = self.folder / "run"
        self.folder.mkdir(parents=True)

    def carry_out(self, rounds: list[Round]) -> None:
        """All rounds, then the faultless one."""
        for number, one in enumerate(rounds):
            self.round(one, self.folder / f"plan-{number}.json")
        self.resume()
        shutil.rmtree(self.folder)

    def round(self, one: Round, plan: Path) -> None:
        """One disturbed call, and what must hold after it."""
        before = observing.finished(self.out, self.ground.calm)
        for kind, target, which in one.damage:
            self.damage(kind, target, which, before)
        broke_off, commands = (self.out / ".working").exists(), self.commands()
        plan.write_text(json.dumps({"faults": one.faults, "driver": one.driver}))
        alone = self.asked_alone()
        code = self.here(one, plan) if one.command == "here" else self.command(one, plan)
        struck = plan.with_suffix(".struck")
        do = one.driver["do"] if one.driver and (struck / "driver").exists() else None
        assert code in ENDS[do], f"ended with {code}"
        self.kept(before)
        if code in (Exit.DONE, Exit.FAILED_CELLS) and do not in ("full", "read-only", "broken"):
            self.told(broke_off)
        if code == -signal.SIGKILL and self.commands() > commands:
            assert (self.out / ".working").exists(), "the next command will not know that this one was killed"
        self.recorded(one, struck, alone, ended=code in (Exit.DONE, Exit.FAILED_CELLS) and do not in ("full", "read-only", "broken"))
        if do == "second" and (struck / "second").exists():
            assert (struck / "second").read_text() == str(int(Exit.USAGE))
            assert "another command is working on this run" in plan.with_suffix(".second").read_text()
        self.shown()

    def damage(self, kind: str, target: str, which: int, before: dict[str, Any]) -> None:
        """Damage a file; what depends on it may be written anew."""
        found = observing.damaged(self.out, kind, target, which)
        if found is None:
            return
        path, noticed = found
        for undone in observing.undone_by(path):
            before.pop(str(undone.relative_to(self.out)), None)
        if noticed and path.parent.name.startswith("seed-") and (path.parent / "record.json").exists():
            self.missed.add(path.parent)
        elif path.name == "record.json":  # deleted: also where it was damaged before
            self.missed.discard(path.parent)
        if path.parent.name.startswith("fit-") or path.parent.name == "state":
            self.fits.add(str(path.relative_to(self.out)))
        if path.name == "run.json" and noticed:
            try:
                self.ground.run(self.out)
            except UsageError as error:
                assert re.search(r"run\.json: broken, or written by another version .* move it aside and run again", str(error))
            else:
                raise AssertionError("a broken run.json was taken")
            path.unlink()

    def asked_alone(self) -> set[tuple[str, int]]:
        """(scene, fit) of which no more than one seed is left, so that it is asked for alone."""
        left: dict[tuple[str, int], int] = {}
        for name in self.ground.calm:
            match = re.search(r"/(\w+)/fit-(\d+)/seed-\d+/record.json$", name)
            if match:
                record = observing.loaded(self.out / name)
                left.setdefault((match[1], int(match[2])), 0)
                left[match[1], int(match[2])] += record is None or record.get("state") != "ok"
        return {unit for unit, count in left.items() if count <= 1}

    def here(self, one: Round, plan: Path) -> int:
        """In this process, faults of the file system included."""
        wrapped = Wrapped(self.out, one.driver, plan.with_suffix(".struck"))() if one.driver else nullcontext()
        with mock.patch.dict(os.environ, FAULT_PLAN=str(plan)), steady(), wrapped:
            try:
                return self.ground.run(self.out, one.workers, one.timeout, real=self.real).exit_code
            except RealbenchError as error:
                assert str(self.out) in str(error) and one.driver, error
                return error.exit_code

    def command(self, one: Round, plan: Path) -> int:
        """As a process of its own, which may be killed."""
        environment = {**os.environ, "FAULT_PLAN": str(plan)}
        words, errors = self.ground.words(self.out, one.workers, one.timeout), plan.with_suffix(".err")
        if one.command == "forked":
            code = Nursery(os.environ["NURSERY"]).run(words, environment, errors)
        else:
            del environment["NURSERY"]
            with errors.open("wb") as file:
                program = [sys.executable, "-m", "tests.faults.launch", *words]
                code = subprocess.run(program, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=file, timeout=120).returncode
        said = errors.read_text(errors="replace")
        assert "fault of realbench" not in said and "Traceback" not in said, said
        if code == Exit.USAGE:
            assert str(self.out) in said.replace("\n", ""), said
        return code

    def kept(self, before: dict[str, Any]) -> None:
        """No finished cell or score was lost, or written again."""
        now = {name: observing._stamp(self.out / name) if (self.out / name).exists() else None for name in before}
        assert {name for name in before if now[name] != before[name]} == set()

    def recorded(self, one: Round, struck: Path, alone: set[tuple[str, int]], *, ended: bool) -> None:
        """Every fault that struck a cell is in a record; where the driver ended early, but for what its workers were at."""
        order = observing.strikes(struck)
        units = list(dict.fromkeys(observing.unit_of(one.faults[strike.index]) for strike in reversed(order)))
        lost = set() if ended else set(units[: one.workers])
        for strike in order:
            fault = one.faults[strike.index]
            lone = fault["stage"] == "fill" and (fault["at"]["scene"], fault["at"]["fit"]) in alone
            if observing.unit_of(fault) not in lost and not self.hidden(one, order, strike):
                assert observing.is_recorded(self.out, fault, strike.index, alone=lone), f"no record of fault {strike.index}: {fault}"

    def commands(self) -> int:
        """How many commands run.json tells of."""
        return len((observing.loaded(self.out / "run.json") or {}).get("invocations", []))

    def told(self, broke_off: bool) -> None:
        """The command's entry in run.json says whether the one before it broke off, and nothing tells that this one did."""
        assert json.loads((self.out / "run.json").read_text())["invocations"][-1]["broke_off"] == broke_off
        assert not (self.out / ".working").exists()

    def hidden(self, one: Round, order: list[observing.Strike], strike: observing.Strike) -> bool:
        """Whether another fault struck at the very same place later in the round, and is what its record tells of."""
        fault = one.faults[strike.index]
        return any(later.time > strike.time and one.faults[later.index]["at"] == fault["at"] for later in order)

    def shown(self) -> None:
        """A disturbed run can be read at any time."""
        from realbench.results import load_run

        if (self.out / "run.json").exists():
            results = load_run(self.out)
            assert len(results.cells()) == 2 * FITS * SEEDS and len(results.scores()) == 2 * FITS * SEEDS * len(METRICS)

    def resume(self) -> None:
        """The faultless run ends like the undisturbed one, redoes nothing and leaves nothing behind."""
        before, broke_off = observing.finished(self.out, self.ground.calm), (self.out / ".working").exists()
        assert self.ground.run(self.out).exit_code == Exit.DONE
        self.kept(before)
        self.told(broke_off)
        found, calm = observing.meaning(self.out), self.ground.calm
        assert found.keys() - self.fits == calm.keys() - self.fits
        assert {name for name in found.keys() - self.fits if _plain(found[name]) != _plain(calm[name])} == set()
        assert {folder for folder in self.missed if not list(folder.glob("attempts/*.json"))} == set()


def _plain(value: Any) -> Any:
    """Notes of a second try are no difference."""
    return {key: part for key, part in value.items() if key != "notes"} if isinstance(value, dict) else value
