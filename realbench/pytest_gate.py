"""What `pytest --realbench` collects, and the check behind it; imported once it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from realbench import baseline as baselines
from realbench import tolerance
from realbench.baseline import Baseline
from realbench.errors import Exit, RealbenchError
from realbench.gate import Judgement, judge
from realbench.pytest_check import FAILING, describe, one_line
from realbench.results import latest_run, load_run
from realbench.text import printable
from realbench.tolerance import Rules
from realbench.watch import Silent

PROPERTY = "realbench"
"""Under this name the first test carries the outcome, from where it runs to where it is printed, and into pytest's JUnit XML."""
_FOLDER = "realbench_folder"


class Dropped(Exception):
    """Fill quality does not hold, in words; no traceback helps."""


@dataclass(eq=False)
class Gate:
    """The hooks of `pytest --realbench`: what to collect, and the one judgement that all its tests read."""

    path: Path
    baseline: Baseline
    rules: Rules
    runs: Sequence[Path]
    methods: Sequence[str]
    settings: Sequence[str]
    scenes: str
    strict: bool
    folder: Path
    """Where the methods run first; one for all processes of pytest-xdist."""
    _outcome: Judgement | RealbenchError | None = field(default=None, init=False)

    @classmethod
    def of(cls, config: pytest.Config) -> Gate:
        """What the options ask for. Raises pytest.UsageError for what cannot be asked, such as a baseline that is not there."""
        here = config.invocation_params.dir
        path, methods = here / config.getoption("realbench"), config.getoption("realbench_method") or []
        runs = [here / name for name in config.getoption("realbench_run") or []]
        if runs and methods:
            raise pytest.UsageError("give --realbench-run to look at a run, or --realbench-method to run first, not both")
        named = config.getoption("realbench_config")
        told_by_xdist = getattr(config, "workerinput", {}).get(_FOLDER)
        folder = here / "runs" / f"check-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        try:
            gate = cls(
                path, baselines.read(path), tolerance.rules(here / named if named else None), runs, methods,
                config.getoption("realbench_set") or [], config.getoption("realbench_scenes") or "demo",
                bool(config.getoption("realbench_strict")), Path(told_by_xdist) if told_by_xdist else folder,
            )  # fmt: skip
            gate.labels()
        except RealbenchError as error:
            raise pytest.UsageError(printable(str(error))) from error
        return gate

    def labels(self) -> list[str]:
        """The rows to compare."""
        from realbench.plan import plan_rows

        return [row.label for row in plan_rows(self.methods, self.settings)] if self.methods else [*self.baseline.rows]

    def places(self) -> Iterator[tuple[str, str, str]]:
        """Label, signature and scene of all tests, from the baseline alone; the scene is empty for the mean over all scenes."""
        for label in self.labels():
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

    def _check(self) -> Judgement:
        ended = self._run_once() if self.methods else Exit.DONE
        folders = [self.folder] if self.methods else self.runs or [latest_run()]
        self.runs = folders
        failed = ended is Exit.FAILED_CELLS
        return judge(self.baseline, load_run(*folders), self.rules, labels=self.labels(), strict=self.strict, failed=failed)

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
        from realbench import bench

        fits, seeds = baselines.repeats(self.baseline, self.labels())
        summary = bench.run(
            self.methods, scenes=self.scenes, settings=self.settings, metrics=[one.spec for one in self.baseline.metrics.values()],
            seeds=seeds, fits=fits, feather=self.baseline.feather, out=self.folder, watch=_Lines(),
        )  # fmt: skip
        return summary.exit_code

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
        if judged.exit_code is Exit.NOTHING_MEASURED:
            raise Dropped("\n".join([judged.headline, *judged.mismatches[1:]]))
        if judged.failed:
            raise Dropped(f"some cells of {self.gate.folder} failed: realbench status {self.gate.folder}")


class PlaceTest(_GateTest):
    """One row under one metric, on one scene or over all of them."""

    def __init__(self, *, place: tuple[str, str, str], **given: Any) -> None:
        super().__init__(**given)
        self.place = place

    def runtest(self) -> None:
        judged = self.gate.outcome()
        if judged.mismatches:
            raise Dropped(judged.headline)
        found = [change for change in judged.changes if (change.label, change.signature, change.scene) == self.place]
        if not found:
            raise Dropped("no score in the run")
        change = found[0]
        self.user_properties += [("baseline", str(change.before)), ("now", str(change.after)), ("verdict", change.verdict)]
        if change.verdict in FAILING:
            raise Dropped(describe(change, judged.rules.level))


class _Lines(Silent):
    """What a run says goes to stderr, which pytest shows with a test that fails."""

    def say(self, text: str) -> None:
        print(printable(text), file=sys.stderr)


def _outcome(judged: Judgement, gate: Gate) -> Iterator[str]:
    yield from (f"warning: {text}" for text in judged.warnings)
    for item in judged.differences:
        yield one_line(f"changed: {f'{item.label}: ' if item.label else ''}{item.what}: {item.before} → {item.after}")
    yield from (describe(change, judged.rules.level) for change in judged.having("better"))
    yield one_line(judged.headline)
    folders = " ".join(map(str, gate.runs))
    if judged.having("better") and not judged.having(*FAILING):
        yield f"to keep the gain: realbench accept {folders} -o {gate.path}"
    elif judged.having("worse"):
        yield f"if the drop is meant: realbench accept {folders} -o {gate.path}"
