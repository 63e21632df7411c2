"""Plug-ins with rough manners: forked children, readers of stdin, threads, odd answers. None of them hangs or harms a run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from realbench import bench
from realbench.bench import Machine
from realbench.errors import Exit
from realbench.results import load_run
from realbench.watch import Silent
from tests.conftest import Plugins

SOURCE = """
import os, subprocess, sys, threading, time
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from realbench.method import BaseMethod, Fill, MethodCard

class Rough(BaseMethod):
    card = MethodCard("rough", "Rough", "Misbehaves.", stochastic=True)
    @dataclass(frozen=True)
    class Settings:
        how: str = ""
        folder: Path = Path("x")
    def fill(self, task, seeds, *, context):
        how = self.settings.how
        if how == "orphan":
            if 1 in seeds and len(seeds) == 1:
                subprocess.Popen(["sleep", "60"], start_new_session=True)
                os.kill(os.getpid(), 9)
            if 1 in seeds: raise RuntimeError("one by one, please")
        if how == "hang": subprocess.Popen(["sleep", "60"], start_new_session=True); time.sleep(60)
        if how == "stdin" and sys.stdin.read() + subprocess.run(["cat"], capture_output=True).stdout.decode(): raise RuntimeError("data")
        if how == "together" and len(seeds) > 1: raise MemoryError("too much at once")
        if how == "text": raise ValueError("in \\udcff.png: \\ud83d")
        if how == "threads":
            def chat():
                for step in range(20000): context.progress(step, 20000, "x" * 2000)
            for _ in range(4): threading.Thread(target=chat, daemon=True).start()
        order = reversed(seeds) if how == "order" else seeds
        for seed in order:
            if how == "order" and seed == 1: raise ValueError("not seed 1")
            notes = None if how == "notes" and seed == 1 else ()
            yield Fill(seed, task.target, notes, {"nan": float("nan"), "fine": 1.0})

class Bare:
    card = MethodCard("bare", "Bare", "Implements the protocol and nothing else.")
    def fit(self, task, *, seed, context): ...
    def fill(self, task, seeds, *, context):
        for seed in seeds:
            yield Fill(seed, task.target, (str(context.work),))
    def save(self, folder): ...
    def load(self, folder): ...
    def close(self): ...
"""


@pytest.fixture(autouse=True)
def rough(plugins: Plugins) -> None:
    plugins("methods", {"rough": "Rough", "bare": "Bare"}, SOURCE)


def states(suite: Path, out: Path, how: str, timeout: float | None = 60) -> dict[int, str]:
    bench.run(
        ["rough"], scenes=suite, scene=["a"], metrics=["drift"], seeds=3, settings=[f"how={how}"], out=out, on=Machine(timeout=timeout)
    )
    cells = load_run(out).cells()
    return dict(zip(cells["seed"], cells["state"], strict=True))


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("stdin", ["ok", "ok", "ok"]),
        ("threads", ["ok", "ok", "ok"]),
        ("order", ["ok", "failed", "ok"]),
        ("notes", ["ok", "failed", "ok"]),
        ("", ["ok", "ok", "ok"]),
    ],
)
def test_blame_falls_where_it_belongs(suite: Path, tmp_path: Path, how: str, expected: list[str]) -> None:
    assert list(states(suite, tmp_path / "run", how).values()) == expected


def test_a_fill_made_alone_says_why(suite: Path, tmp_path: Path) -> None:
    assert list(states(suite, tmp_path / "run", "together").values()) == ["ok", "ok", "ok"]
    notes = load_run(tmp_path / "run").cells()["notes"].tolist()
    assert notes == ["asked for alone: with other seeds, out of memory: MemoryError: too much at once"] * 3


def test_words_that_no_file_can_hold_are_kept_escaped(suite: Path, tmp_path: Path) -> None:
    assert set(states(suite, tmp_path / "run", "text").values()) == {"failed"}
    assert set(load_run(tmp_path / "run").cells()["reason"]) == {r"ValueError: in \udcff.png: \ud83d"}


def test_a_dead_worker_is_noticed_though_its_child_holds_the_pipe(suite: Path, tmp_path: Path) -> None:
    start = time.monotonic()
    assert states(suite, tmp_path / "run", "orphan", timeout=None) == {0: "ok", 1: "failed", 2: "ok"}
    assert time.monotonic() - start < 45  # the child lives for 60 s


def test_a_timeout_is_kept_though_a_child_outlives_its_worker(suite: Path, tmp_path: Path) -> None:
    start = time.monotonic()
    assert set(states(suite, tmp_path / "run", "hang", timeout=1).values()) == {"timeout"}
    assert time.monotonic() - start < 45


def test_the_published_protocol_is_enough(suite: Path, tmp_path: Path) -> None:
    bench.run(["bare"], scenes=suite, metrics=["drift"], out=tmp_path / "run")
    cells = load_run(tmp_path / "run").cells()
    assert set(cells["state"]) == {"ok"}
    assert len(set(cells["notes"])) == 3 and not any(Path(note).exists() for note in cells["notes"])  # a scratch folder for each


def test_numpy_values_in_artefacts_are_plain_data(suite: Path, tmp_path: Path, plugins: Plugins) -> None:
    source = """
    import numpy as np
    from realbench.metric import BaseMetric, MetricCard, Score
    class Lines(BaseMetric):
        card = MetricCard("lines", "Lines", "Draws.", "higher", "full", "raw")
        def prepare(self, scene, *, context):
            return None
        def score(self, prepared, batch):
            return [Score(np.float32(2), artefacts={"lines": np.eye(2), "count": np.int64(3)})] * len(batch)
    """
    plugins("metrics", {"lines": "Lines"}, source, module="drawing")
    bench.run(["telea"], scenes=suite, scene=["a"], metrics=["lines"], out=tmp_path / "run")
    results = load_run(tmp_path / "run")
    assert results.scores()["value"].tolist() == [2.0]
    text = next((tmp_path / "run").rglob("scores/*.json")).read_text()
    assert '"count": 3' in text.replace('"count":3', '"count": 3')


def test_a_state_that_no_record_holds_fails_the_metric_alone(suite: Path, tmp_path: Path, plugins: Plugins) -> None:
    source = """
    from realbench.metric import BaseMetric, MetricCard, Score
    class Odd(BaseMetric):
        card = MetricCard("odd", "Odd", "Says strange things.", "higher", "full", "raw")
        def prepare(self, scene, *, context):
            return None
        def score(self, prepared, batch):
            return [Score(None, "stale", 5)] * len(batch)
    """
    plugins("metrics", {"odd": "Odd"}, source, module="oddly")
    summary = bench.run(["telea"], scenes=suite, scene=["a"], metrics=["odd", "drift"], out=tmp_path / "run")
    assert (summary.scores["failed"], summary.scores["ok"]) == (1, 1)
    reasons = load_run(tmp_path / "run").scores().set_index("metric")["reason"]
    assert reasons["odd"] == "the metric returned the state 'stale', expected one of ok, failed, timeout, unsupported"


def test_an_escape_sequence_in_a_reason_reaches_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from realbench.cli.screen import Screen
    from realbench.text import printable

    with Screen() as screen:
        screen.say("failed: \x1b[31mred\x1b]0;title\x07 \u202egnp.exe [bold]x[/bold]")
    shown = capsys.readouterr().err
    assert "\x1b" not in shown and "\u202e" not in shown and "[bold]x[/bold]" in shown
    assert printable("a\tb\nc ä 語 \x1b") == "a\tb\nc ä 語 \\x1b"


def test_what_a_metric_lacks_is_said_once_and_not_for_every_scene(suite: Path, tmp_path: Path, plugins: Plugins) -> None:
    source = """
from realbench.errors import WeightsMissing
from realbench.metric import BaseMetric, MetricCard

class Hungry(BaseMetric):
    card = MetricCard("hungry", "Hungry", "Has no weights.", "higher", "full", "composite")
    def prepare(self, scene, *, context):
        raise WeightsMissing("weights w are not on this machine")
    def score(self, prepared, batch): ...
"""
    plugins("metrics", {"hungry": "Hungry"}, source, module="hungry")
    said: list[str] = []

    class Listener(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    summary = bench.run(["telea"], scenes=suite, metrics=["hungry"], out=tmp_path / "run", watch=Listener())
    assert summary.scores["unsupported"] == 3 and summary.exit_code == Exit.WEIGHTS_MISSING
    assert [text for text in said if "weights w" in text] == ["unsupported: metric hungry on a: weights w are not on this machine"]
