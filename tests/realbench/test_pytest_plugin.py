"""The pytest plugin as another project sees it: silent until asked, then a test for each row, metric and scene."""

from __future__ import annotations

import importlib.metadata
import math
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd  # noqa: F401  # what is first imported inside pytester is forgotten again, which numpy does not survive
import pytest
import scipy.stats  # noqa: F401

import realbench
from realbench import baseline as baselines
from realbench import (
    bench,
    pytest_gate,  # noqa: F401
)
from realbench.results import load_run
from tests.conftest import Plugins
from tests.making import DRIFT, Made

pytest_plugins = ["pytester"]
PLAIN = ("-p", "no:xdist", "-p", "no:hypothesispytest", "-p", "no:anyio")
"""Without other plug-ins of ours, which take their time in each session."""

HOSTILE = "<img src=x onerror=alert(1)>|\x1b[31m\nb"


@pytest.fixture(autouse=True)
def _installed() -> None:
    points = importlib.metadata.entry_points(group="pytest11")
    assert any(point.value == "realbench.pytest_plugin" for point in points), "install the project anew: pip install -e . --no-deps"


def made(root: Path, better: float = 0.0, *, row: str = "row", lost: bool = False, scenes: tuple[str, ...] = ("a", "b")) -> Path:
    """A run of two fits that differ by 0.2 dB; `better` is added to scene a."""
    run = Made(root)
    run.column(DRIFT, direction="lower", digits=3)
    for scene in scenes:
        run.scene(scene)
    run.row(row, fits=[0, 1])
    for at, scene in enumerate(scenes):
        for fit in (0, 1):
            if lost and at == 1:
                run.fill(row, scene, fit=fit, state="failed", reason="no <luck>")
                continue
            run.score(row, scene, 20 + at + 0.2 * fit + (better if at == 0 else 0), fit=fit)
            run.score(row, scene, 0.0, signature=DRIFT, fit=fit)
    return run.write()


@pytest.fixture
def baseline(pytester: pytest.Pytester) -> Path:
    """An accepted run, in the folder that pytester works in."""
    path = pytester.path / "baseline.json"
    baselines.write(baselines.accept(load_run(made(pytester.path / "accepted"))), path)
    return path


def check(pytester: pytest.Pytester, *words: str | Path) -> pytest.RunResult:
    return pytester.runpytest_inprocess("--realbench", "baseline.json", *PLAIN, "-p", "no:cacheprovider", *map(str, words))


def test_nothing_is_imported_until_it_is_used() -> None:
    program = (
        "import sys, pytest; before = {*sys.modules}; import realbench.pytest_plugin; print(sorted({*sys.modules} - before - {'typing'}))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "['realbench', 'realbench.pytest_plugin']"


def test_it_is_silent_until_it_is_used(pytester: pytest.Pytester) -> None:
    """Byte for byte what pytest prints without the plugin, and nothing of realbench or numpy loaded."""
    pytester.makepyfile(
        "import sys\n\ndef test_modules():\n    loaded = [n for n in sys.modules if n.startswith('realbench.') or n == 'numpy']\n"
        "    assert loaded in (['realbench.pytest_plugin'], [])"
    )
    outputs = []
    for more in ([], ["-p", "no:realbench"]):
        done = pytester.runpytest_subprocess("-p", "no:cacheprovider", *PLAIN[2:], *more)
        done.assert_outcomes(passed=1)
        outputs.append([line.rpartition(" in ")[0] or line for line in done.outlines if not line.startswith("plugins:")])
    assert outputs[0] == outputs[1]
    assert "realbench" not in "".join(outputs[0])


def test_a_run_that_holds_passes_a_test_for_each_place(pytester: pytest.Pytester, baseline: Path) -> None:
    made(pytester.path / "run")
    done = check(pytester, "--realbench-run", "run", "-v", "--junitxml", "out.xml")
    done.assert_outcomes(passed=7)
    names = [line.partition(" ")[0] for line in done.outlines if "PASSED" in line]
    assert names == [
        "realbench::run",
        "realbench::row::drift", "realbench::row::drift::a", "realbench::row::drift::b",
        "realbench::row::psnr", "realbench::row::psnr::a", "realbench::row::psnr::b",
    ]  # fmt: skip
    done.stdout.fnmatch_lines(["realbench: *baseline.json, accepted 20* (1 row)", "fill quality holds"])
    cases = ElementTree.parse(pytester.path / "out.xml").getroot().iter("testcase")
    found = {
        (case.get("classname"), case.get("name")): {item.get("name"): item.get("value") for item in case.iter("property")} for case in cases
    }
    assert found["realbench.row.psnr", "b"] == {"baseline": "21.1", "now": "21.1", "verdict": "same"}


def test_a_drop_fails_where_it_is_with_its_numbers(pytester: pytest.Pytester, baseline: Path) -> None:
    made(pytester.path / "run", -9)
    pytester.makepyfile("def test_other():\n    pass")
    done = check(pytester, "--realbench-run", "run", "-v")
    assert done.ret == 1
    failed = [line.partition(" ")[0] for line in done.outlines if line.startswith("realbench::") and "FAILED" in line]
    assert failed == ["realbench::row::psnr", "realbench::row::psnr::a"]
    done.assert_outcomes(passed=6, failed=2)
    done.stdout.fnmatch_lines(
        [
            "row, PSNR (higher is better) over all scenes: worse, a drop beyond tolerance and noise",
            "  baseline 20.60 dB, now 16.10 dB; change −4.50, tolerance 0.01, noise ±0.10, p * (level 0.05)",
            "row, PSNR (higher is better) on scene a: worse, *",
            "  baseline 20.10 dB, now 11.10 dB; change −9.00, tolerance 0.01, noise ±0.14, p * (level 0.05)",
            "regression: *",
            "if the drop is meant: realbench accept *run -o *baseline.json",
        ]
    )
    assert "Traceback" not in done.stdout.str() and "pytest_check.py" not in done.stdout.str()


def test_a_gain_passes_and_is_named(pytester: pytest.Pytester, baseline: Path) -> None:
    made(pytester.path / "run", 9)
    done = check(pytester, "--realbench-run", "run")
    assert done.ret == 0
    done.stdout.fnmatch_lines(
        ["row, PSNR * over all scenes: better, *", "fill quality holds*", "to keep the gain: realbench accept *run -o *"]
    )


def test_lost_scores_fail(pytester: pytest.Pytester, baseline: Path) -> None:
    made(pytester.path / "run", lost=True)
    done = check(pytester, "--realbench-run", "run", "-v")
    failed = [line.partition(" ")[0] for line in done.outlines if line.startswith("realbench::") and "FAILED" in line]
    assert failed == ["realbench::row::drift::b", "realbench::row::psnr::b"]
    done.stdout.fnmatch_lines(["row, PSNR * on scene b: lost, the baseline has scores that the run lacks: failed: fill: no <luck>"])


def test_what_is_not_comparable_fails_everywhere(pytester: pytest.Pytester, baseline: Path) -> None:
    """Also where only some tests are chosen: a gate that compared nothing never passes."""
    made(pytester.path / "run", scenes=("a", "c"))
    done = check(pytester, "--realbench-run", "run")
    done.assert_outcomes(failed=7)
    done.stdout.fnmatch_lines(
        ["not comparable: scene b is in the baseline and not in the run", "scene c is in the run and not in the baseline*"]
    )
    check(pytester, "--realbench-run", "run", "-k", "drift").assert_outcomes(failed=3, deselected=4)


@pytest.fixture
def three(pytester: pytest.Pytester) -> Path:
    """A baseline of three rows, of which the run has one."""
    runs = [made(pytester.path / name, row=name) for name in ("one", "two", "three 3")]
    baselines.write(baselines.accept(load_run(*runs)), pytester.path / "baseline.json")
    return made(pytester.path / "run", row="two")


def test_rows_that_the_run_lacks_fail_once(pytester: pytest.Pytester, three: Path) -> None:
    """One clear failure, and skips that say where to look; the row that is there is judged all the same."""
    done = check(pytester, "--realbench-run", "run", "-v", "-rs")
    done.assert_outcomes(failed=1, skipped=12, passed=6)
    done.stdout.fnmatch_lines(
        [
            "realbench::run FAILED*",
            "not whole: the run lacks 2 of 3 rows to compare: one, three 3",
            "name the rows to compare: --realbench-row=two",
            "*row one is not in the run: see realbench::run",
        ]
    )
    assert "accept" not in done.stdout.str().partition("= realbench =")[2]
    # Where the one that would fail was not chosen, each of them does: what compared nothing never passes.
    check(pytester, "--realbench-run", "run", "-k", "one and psnr").assert_outcomes(failed=3, deselected=16)
    check(pytester, "--realbench-run", "run", "--deselect", "realbench::run").assert_outcomes(failed=12, passed=6, deselected=1)


def test_no_row_of_the_baseline_in_the_run(pytester: pytest.Pytester, three: Path) -> None:
    made(pytester.path / "other", row="other")
    check(pytester, "--realbench-run", "other").assert_outcomes(failed=1, skipped=18)


def test_rows_are_chosen(pytester: pytest.Pytester, three: Path) -> None:
    check(pytester, "--realbench-run", "run", "--realbench-row", "two").assert_outcomes(passed=7)
    made(pytester.path / "other", row="three 3")
    both = ("--realbench-run", "run", "--realbench-run", "other", "--realbench-row", "two", "--realbench-row", "three 3")
    check(pytester, *both).assert_outcomes(passed=13)


def test_a_gain_beside_a_lost_score_is_not_advised_to_be_accepted(pytester: pytest.Pytester, baseline: Path) -> None:
    made(pytester.path / "run", 9, lost=True)
    done = check(pytester, "--realbench-run", "run")
    assert done.ret == 1 and "realbench accept" not in done.stdout.str()


def test_the_line_that_accepts_is_quoted(pytester: pytest.Pytester, baseline: Path) -> None:
    made(pytester.path / "my run", 9)
    done = check(pytester, "--realbench-run", "my run")
    # pytester's folder is the user's home.
    done.stdout.fnmatch_lines(["to keep the gain: realbench accept ~/'my run' -o ~/baseline.json"])


def test_a_mean_that_is_none_fails_nothing_that_its_scenes_do_not(pytester: pytest.Pytester) -> None:
    """One scene falls from 20 to −∞ and another rises to +∞: between them there is no mean, and each has a test of its own."""
    for name, values in (("accepted", (20.0, 21.0)), ("run", (-math.inf, math.inf)), ("better", (20.0, math.inf))):
        run = Made(pytester.path / name)
        run.scene("a"), run.scene("b"), run.row("row", method="telea")
        run.scores("row", dict(zip("ab", values, strict=True)))
        run.write()
    baselines.write(baselines.accept(load_run(pytester.path / "accepted")), pytester.path / "baseline.json")
    done = check(pytester, "--realbench-run", "run", "-v")
    ended = {line.split()[0].removeprefix("realbench::"): line.split()[1] for line in done.outlines if line.startswith("realbench::")}
    assert ended == {"run": "PASSED", "row::psnr": "PASSED", "row::psnr::a": "FAILED", "row::psnr::b": "PASSED"}


def test_seeds_and_fits_are_asked_for(pytester: pytest.Pytester, plugins: Plugins, suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where those of the baseline are no range."""
    site = plugins("methods", {"counting": "Counting"}, COUNTING).parent
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    monkeypatch.setenv("COUNTED", str(pytester.path / "before"))
    for seeds in ("1", "5-5"):
        realbench.run(["counting"], scenes=suite, metrics=["psnr"], seeds=seeds, out=pytester.path / "accepted")
    held = baselines.accept(load_run(pytester.path / "accepted"))
    held.rows["counting"].seeds[:] = [0, 5]
    baselines.write(held, pytester.path / "baseline.json")
    words = ["--realbench-method=counting", f"--realbench-scenes={suite}", "-k", "realbench and run"]
    check(pytester, *words).stdout.fnmatch_lines(["*the seeds 0, 5, which are no range: give --seeds"])
    found: list[dict[str, object]] = []
    monkeypatch.setattr(bench, "run", lambda *_, **given: found.append(given) or pytest.fail("enough"))
    check(pytester, *words, "--realbench-seeds=7-9", "--realbench-fits=3")
    assert [(one["seeds"], one["fits"]) for one in found] == [("7-9", 3)]


def test_a_run_that_cannot_be_read_fails_everywhere(pytester: pytest.Pytester, baseline: Path) -> None:
    done = check(pytester, "--realbench-run", "nowhere")
    done.assert_outcomes(failed=7)
    done.stdout.fnmatch_lines(["*nowhere: no run here*"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--realbench", "none.json"], "none.json: no baseline there; `realbench accept RUN -o *none.json` makes one"),
        (["--realbench", "broken.json"], "broken.json: not a baseline of schema"),
        (["--realbench", "baseline.json", "--realbench-config", "none.toml"], "none.toml: cannot be read"),
        (["--realbench", "baseline.json", "--realbench-method", "tela"], "did you mean telea"),
        (["--realbench", "baseline.json", "--realbench-method", "telea", "--realbench-run", "run"], "not both"),
        (["--realbench", "baseline.json", "--realbench-row", "other"], "-row other: not among the rows to compare, which are row"),
        (["--realbench", "baseline.json", "--realbench-method", "telea"], "row telea is not in the baseline, which has row; *"),
        (["--realbench-run", "run"], "--realbench FILE says against which baseline"),
        (["--realbench-strict"], "--realbench-strict says how to check"),
    ],
)  # fmt: skip
def test_mistakes_end_pytest_with_a_line(pytester: pytest.Pytester, baseline: Path, words: list[str], message: str) -> None:
    (pytester.path / "broken.json").write_text("{}")
    done = pytester.runpytest_inprocess(*PLAIN, *words)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"ERROR: *{message}*"])


def test_rules_and_strictness_are_read(pytester: pytest.Pytester, baseline: Path) -> None:
    made(pytester.path / "run", -9)
    (pytester.path / "loose.toml").write_text("[check.tolerance]\npsnr = 10\n")
    check(pytester, "--realbench-run", "run", "--realbench-config", "loose.toml").assert_outcomes(passed=7)
    (pytester.path / "realbench.toml").write_text('[check]\nmetrics = ["drift"]\n')
    check(pytester, "--realbench-run", "run").assert_outcomes(passed=7)


def test_hostile_names_stay_text(pytester: pytest.Pytester) -> None:
    scenes = (HOSTILE, "b")
    baselines.write(baselines.accept(load_run(made(pytester.path / "accepted", scenes=scenes))), pytester.path / "baseline.json")
    made(pytester.path / "run", -9, scenes=scenes)
    done = check(pytester, "--realbench-run", "run", "-v", "--junitxml", "out.xml", "--color", "no")
    done.assert_outcomes(passed=5, failed=2)
    assert "\x1b" not in done.stdout.str()
    shown = "<img src=x onerror=alert(1)>|\\x1b[31m\\nb"
    assert any(line.startswith(f"realbench::row::psnr::{shown} FAILED") for line in done.outlines)
    assert any(f"on scene {shown}: worse" in line for line in done.outlines)
    names = [case.get("name") for case in ElementTree.parse(pytester.path / "out.xml").getroot().iter("testcase")]
    assert any(str(name).startswith(shown) for name in names)


COUNTING = """
import os
from dataclasses import replace
from realbench.methods.mean_color import MeanColor

class Counting(MeanColor):
    card = replace(MeanColor.card, id="counting")

    def fill(self, task, seeds, *, context):
        with open(os.environ["COUNTED"], "a") as file:
            file.write(f"{task.id}\\n")
        if os.environ.get("BROKEN") == task.id:
            raise ValueError("no luck")
        return super().fill(task, seeds, context=context)
"""


@pytest.mark.parametrize("processes", ["0", "2"])
def test_methods_run_first_and_once(
    pytester: pytest.Pytester, plugins: Plugins, suite: Path, monkeypatch: pytest.MonkeyPatch, processes: str
) -> None:
    """Also under pytest-xdist, whose processes share the run."""
    site = plugins("methods", {"counting": "Counting"}, COUNTING).parent
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    monkeypatch.setenv("COUNTED", str(pytester.path / "before"))
    realbench.run(["counting"], scenes=suite, metrics=["psnr"], out=pytester.path / "accepted")
    baselines.write(baselines.accept(load_run(pytester.path / "accepted")), pytester.path / "baseline.json")
    monkeypatch.setenv("COUNTED", str(pytester.path / "counted"))
    words = ["--realbench=baseline.json", "--realbench-method=counting", f"--realbench-scenes={suite}"]
    done = pytester.runpytest_subprocess(*words, "-n", processes, *PLAIN[2:], "-p", "no:cacheprovider")
    done.assert_outcomes(passed=4)  # the run, the mean, and the two scenes that have a truth
    done.stdout.fnmatch_lines(["fill quality holds"])
    assert sorted((pytester.path / "counted").read_text().split()) == ["a", "b", "c"]
    (run,) = (pytester.path / "runs").iterdir()
    if processes == "0":
        monkeypatch.setenv("BROKEN", "c")  # which has no truth: no score of the baseline is lost
        run.rename(pytester.path / "first")
        done = check(pytester, *words[1:], "-v")
        done.assert_outcomes(passed=3, failed=1)
        done.stdout.fnmatch_lines(["realbench::run FAILED*", "some cells of *check-* failed: realbench status *"])


def test_tests_are_chosen_as_any_others(pytester: pytest.Pytester, baseline: Path) -> None:
    made(pytester.path / "run", -9)
    pytester.makepyfile("def test_other():\n    pass")
    words = ("--realbench", "baseline.json", "--realbench-run", "run", "--strict-markers", *PLAIN)
    pytester.runpytest_inprocess(*words, "-m", "realbench").assert_outcomes(passed=5, failed=2, deselected=1)
    pytester.runpytest_inprocess(*words, "--lf").assert_outcomes(failed=2, deselected=6)
    pytester.runpytest_inprocess(*words, "--deselect", "realbench::row::psnr").assert_outcomes(passed=5, deselected=3)


def test_collecting_runs_nothing(pytester: pytest.Pytester, baseline: Path) -> None:
    done = check(pytester, "--realbench-method", "telea=row", "--collect-only", "-q")
    done.stdout.fnmatch_lines(["realbench::run"])
    assert not (pytester.path / "runs").exists()


FIXTURE = """
    import realbench

    def test_path(realbench_check):
        judgement = realbench_check("run", baseline="baseline.json")
        assert judgement.headline.startswith("fill quality holds")

    def test_results_and_the_usual_baseline(realbench_check):
        realbench_check(realbench.load_run("run"))

    def test_strict_rows_and_rules(realbench_check):
        realbench_check(["run"], rows=["row"], strict=True, config="loose.toml")

    def test_no_baseline(realbench_check):
        realbench_check("run", "none.json")

    def test_no_row(realbench_check):
        realbench_check("run", rows=["other"])
"""


@pytest.mark.parametrize(("better", "passed"), [(0.0, 3), (-9.0, 1)])
def test_the_fixture_returns_a_judgement_or_fails(pytester: pytest.Pytester, baseline: Path, better: float, passed: int) -> None:
    made(pytester.path / "run", better)
    (pytester.path / "loose.toml").write_text("[check.tolerance]\npsnr = 10\n")
    pytester.makepyfile(FIXTURE)
    done = pytester.runpytest_inprocess(*PLAIN, "-p", "no:cacheprovider")
    done.assert_outcomes(passed=passed, failed=5 - passed)
    text = done.stdout.str()
    assert "none.json: no baseline there" in text and "not comparable: row other is not in the baseline" in text
    assert ("baseline 20.10 dB, now 11.10 dB; change −9.00" in text) == (better < 0)
    assert "Traceback" not in text and "pytest_check.py" not in text


def test_the_fixture_is_strict_about_devices(pytester: pytest.Pytester, baseline: Path) -> None:
    run = Made(pytester.path / "run")
    run.column(DRIFT, direction="lower", digits=3)
    run.scene("a"), run.scene("b"), run.row("row", fits=[0, 1])
    for at, scene in enumerate("ab"):
        for fit in (0, 1):
            run.fill("row", scene, fit=fit, device="cuda:0")
            run.score("row", scene, 20 + at + 0.2 * fit, fit=fit)
            run.score("row", scene, 0.0, signature=DRIFT, fit=fit)
    run.write()
    pytester.makepyfile(
        "def test_loose(realbench_check):\n    assert len(realbench_check('run').warnings) == 1\n\n"
        "def test_strict(realbench_check):\n    realbench_check('run', strict=True)"
    )
    done = pytester.runpytest_inprocess(*PLAIN, "-p", "no:cacheprovider")
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["*not comparable: row ran on cuda, its baseline on cpu*"])
    check(pytester, "--realbench-run", "run", "-k", "realbench").assert_outcomes(passed=7, deselected=2)
    assert check(pytester, "--realbench-run", "run", "-k", "realbench", "--realbench-strict").ret == 1
