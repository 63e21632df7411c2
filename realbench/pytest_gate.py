"""What `pytest --realbench` collects, and the check behind it; imported once it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import pytest

from realbench import baseline as baselines
from realbench import tolerance
from realbench.baseline import Baseline
from realbench.errors import Exit, RealbenchError, UsageError
from realbench.gate import Change, Judgement, Place, judge
from realbench.pytest_check import FAILING, describe, one_line
from realbench.rerun import Rerun
from realbench.results import latest_run, load_run
from realbench.text import listed, printable, typed
from realbench.tolerance import Rules
from realbench.watch import Silent

PROPERTY = "realbench"
"""Under this name the first test carries the outcome, from where it runs to where it is printed, and into pytest's JUnit XML."""
_FOLDER = "realbench_folder"
_ADVICE = {"gain": "to keep the gain", "drop": "if the drop is meant"}


class Dropped(Exception):
    """Fill quality does not hold, in words; no traceback helps."""


@dataclass(eq=False)
class Gate:
    """The hooks of `pytest --realbench`: what to collect, and the one judgement that all its tests read."""

    path: Path
    baseline: Baseline
    rules: Rules
    runs: Sequence[Path]
    first: Rerun
    """What is run where methods are named."""
    rows: Sequence[str]
    """The rows to compare; empty: all that were run, or all of the baseline's."""
    strict: bool
    folder: Path
    """Where the methods run first; one for all processes of pytest-xdist."""
    lacking: tuple[str, ...] = ()
    """Rows to compare that the run has not; known with the outcome."""
    _outcome: Judgement | RealbenchError | None = field(default=None, init=False)

    @classmethod
    def of(cls, config: pytest.Config) -> Gate:
        """What the options ask for. Raises pytest.UsageError for what cannot be asked, such as a baseline that is not there."""
        here = config.invocation_params.dir

        def option(name: str) -> Any:
            return config.getoption(f"realbench_{name}")

        path, runs = here / config.getoption("realbench"), [here / name for name in option("run") or []]
        told_by_xdist = getattr(config, "workerinput", {}).get(_FOLDER)
        folder = here / "runs" / f"check-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        try:
            first = Rerun(
                option("method") or (), option("set") or (), option("scenes") or "demo", fits=option("fits"), seeds=option("seeds")
            )
            gate = cls(
                path, baselines.read(path), tolerance.rules(here / option("config") if option("config") else None), runs, first,
                option("row") or (), bool(option("strict")), Path(told_by_xdist) if told_by_xdist else folder,
            )  # fmt: skip
            gate.refuse()
        except RealbenchError as error:
            raise pytest.UsageError(printable(str(error))) from error
        return gate

    def refuse(self) -> None:
        """Raises RealbenchError for what cannot be asked of this baseline, before anything is run."""
        if self.runs and self.first.methods:
            raise UsageError("give --realbench-run to look at a run, or --realbench-method to run first, not both")
        self.first.refuse(self.baseline)
        known = self.first.labels or tuple(self.baseline.rows)
        for label in self.rows:
            if label not in known:
                raise UsageError(f"--realbench-row {label}: not among the rows to compare, which are {listed(known)}")

    @cached_property
    def labels(self) -> list[str]:
        """The rows to compare."""
        return [label for label in self.first.labels or self.baseline.rows if not self.rows or label in self.rows]

    def places(self) -> Iterator[Place]:
        """Label, signature and scene of all tests, from the baseline alone; the scene is empty for the mean over all scenes."""
        for label in self.labels:
            for signature, scenes in sorted(self.baseline.scores.get(label, {}).items()):
                scored = [
                    scene for scene, fits in sorted(scenes.items()) if any(v is not None for cells in fits.values() for v in cells.values())
                ]
                yield from ((label, signature, scene) for scene in (["", *scored] if scored else ()))

    def outcome(self) -> Judgement:
        """The judgement, made at the first call. Raises RealbenchError, the same one each time."""
        if self._outcome is None:
            try:
                self._outcome = self._check()
            except RealbenchError as error:
                self._outcome = error
        if isinstance(self._outcome, RealbenchError):
            raise self._outcome
        return self._outcome

    @cached_property
    def changes(self) -> dict[Place, Change]:
        """What the judgement says, by place."""
        return {(one.label, one.signature, one.scene): one for one in self.outcome().changes}

    @cached_property
    def compared(self) -> set[tuple[str, str]]:
        """Rows and metrics of which a scene was compared."""
        return {(one.label, one.signature) for one in self.outcome().changes if one.scene and one.difference is not None}

    def _check(self) -> Judgement:
        ended = self._run_once() if self.first.methods else Exit.DONE
        results = load_run(*([self.folder] if self.first.methods else self.runs or [latest_run()]))
        there = [label for label in self.labels if label in results.rows]
        self.lacking = tuple(label for label in self.labels if label not in there)
        failed = ended is Exit.FAILED_CELLS
        return judge(self.baseline, results, self.rules, labels=there or self.labels, strict=self.strict, failed=failed, path=self.path)

    def _run_once(self) -> Exit:
        """Run the methods; with pytest-xdist the first process does, and the others wait and read how it ended."""
        from filelock import FileLock

        ended = self.folder / ".pytest-ended"
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(ended.with_suffix(".lock")):
            if not ended.exists():
                ended.write_text(str(int(self._run())))
            return Exit(int(ended.read_text()))

    def _run(self) -> Exit:
        return self.first.run(self.baseline, self.folder, _Lines()).exit_code

    # Hooks of pytest.

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Beside what pytest finds, the tests of this gate."""
        report = yield
        if isinstance(collector, pytest.Session) and report.passed:
            report.result.append(GateCollector.from_parent(collector, name=PROPERTY, nodeid=PROPERTY, gate=self))
        return report

    def pytest_report_header(self) -> str:
        accepted, rows = self.baseline.accepted, len(self.baseline.rows)
        return printable(f"realbench: {self.path}, accepted {accepted.when} ({rows} {'row' if rows == 1 else 'rows'})")

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a process of pytest-xdist which folder all of them share."""
        node.workerinput[_FOLDER] = str(self.folder)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The outcome in a few lines, also where all tests passed: what changed, what improved, what to type next."""
        reports = [report for found in terminalreporter.stats.values() for report in found]
        texts = [text for report in reports for name, text in getattr(report, "user_properties", ()) if name == PROPERTY]
        if texts:
            terminalreporter.ensure_newline()
            terminalreporter.section("realbench")
            terminalreporter.write_line(texts[0])


class GateCollector(pytest.Collector):
    """All tests of a baseline."""

    def __init__(self, *, gate: Gate, **given: Any) -> None:
        super().__init__(**given)
        self.gate = gate
        self.add_marker(PROPERTY)

    def collect(self) -> Iterator[pytest.Item]:
        """First the run as a whole, then each row's metrics: the mean, then the scenes."""
        yield WholeTest.from_parent(self, **self._named("run"))
        metrics = self.gate.baseline.metrics
        names = [metric.metric for metric in metrics.values()]
        for label, signature, scene in self.gate.places():
            name = metrics[signature].metric
            words = [label, name if names.count(name) == 1 else signature, *filter(None, [scene])]
            yield PlaceTest.from_parent(self, **self._named(one_line("::".join(words))), place=(label, signature, scene))

    def _named(self, name: str) -> dict[str, Any]:
        """With the whole id as text, since pytest must find it again in what it kept of an earlier session (`--lf`)."""
        return {"name": name, "nodeid": f"{self.nodeid}::{name}", "gate": self.gate}


class _GateTest(pytest.Item):
    def __init__(self, *, gate: Gate, **given: Any) -> None:
        super().__init__(**given)
        self.gate = gate

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The words alone."""
        expected = isinstance(excinfo.value, Dropped | RealbenchError)
        return printable(str(excinfo.value)) if expected else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.gate.path, None, self.name


class WholeTest(_GateTest):
    """Whether there is anything to judge: the run is whole and comparable."""

    def runtest(self) -> None:
        judged = self.gate.outcome()
        self.user_properties.append((PROPERTY, printable("\n".join(_outcome(judged, self.gate)))))
        if self.gate.lacking:
            raise Dropped(f"{_lacking(self.gate)}\nname the rows to compare: {_chosen(self.gate)}")
        if judged.exit_code is Exit.NOTHING_MEASURED:
            raise Dropped("\n".join([judged.headline, *judged.mismatches[1:]]))
        if judged.failed:
            raise Dropped(f"some cells of {self.gate.folder} failed: realbench status {self.gate.folder}")


class PlaceTest(_GateTest):
    """One row under one metric, on one scene or over all of them."""

    def __init__(self, *, place: Place, **given: Any) -> None:
        super().__init__(**given)
        self.place = place

    def runtest(self) -> None:
        judged = self.gate.outcome()
        if self.place[0] in self.gate.lacking:
            self._lacking()
        if judged.mismatches:
            raise Dropped(judged.headline)
        change = self.gate.changes.get(self.place)
        if change is None and (self.place[2] or self.place[:2] not in self.gate.compared):
            raise Dropped("no score in the run")
        if change is None:
            return  # Some scenes are infinitely better and others infinitely worse: there is no mean, and their tests speak.
        self.user_properties += [("baseline", str(change.before)), ("now", str(change.after)), ("verdict", change.verdict)]
        if change.verdict in FAILING:
            raise Dropped(describe(change, judged.rules.level))

    def _lacking(self) -> NoReturn:
        """Of a row that the run has not, one test fails: that of the run as a whole. Where it was not chosen, every one does."""
        say = f"row {self.place[0]} is not in the run"
        if any(isinstance(item, WholeTest) for item in self.session.items):
            pytest.skip(printable(f"{say}: see realbench::run"))
        raise Dropped(say)


class _Lines(Silent):
    """What a run says goes to stderr, which pytest shows with a test that fails."""

    def say(self, text: str) -> None:
        print(printable(text), file=sys.stderr)


def _outcome(judged: Judgement, gate: Gate) -> Iterator[str]:
    yield from (f"warning: {text}" for text in judged.warnings)
    for item in judged.differences:
        yield one_line(f"changed: {f'{item.label}: ' if item.label else ''}{item.what}: {item.before} → {item.after}")
    yield from (describe(change, judged.rules.level) for change in judged.having("better"))
    yield one_line(_lacking(gate) if gate.lacking else judged.headline)
    if judged.advice and not gate.lacking:
        yield f"{_ADVICE[judged.advice]}: {judged.accepting}"


def _lacking(gate: Gate) -> str:
    count = len(gate.lacking)
    return f"not whole: the run lacks {count} of {len(gate.labels)} rows to compare: {listed(gate.lacking)}"


def _chosen(gate: Gate) -> str:
    """The options that leave out what the run lacks."""
    there = [label for label in gate.labels if label not in gate.lacking]
    return " ".join(f"--realbench-row={typed(label)}" for label in there) or "--realbench-row=LABEL, of the run's own"
