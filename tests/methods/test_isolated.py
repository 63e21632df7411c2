"""Isolated methods: what a script is shown, its own environment and limits, its fits, and its row in a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from realbench import bench, registry
from realbench.bench import Machine
from realbench.errors import RealbenchError, TimedOut, Unsupported, UsageError
from realbench.image import encode_png
from realbench.method import Context, Fill
from realbench.plan import Row, plan_rows
from realbench.process import FAMILY
from realbench.results import load_run
from realbench.scene import Scene
from realbench.settings import changed
from realbench.store import RunFolder, asked
from realbench.watch import Silent
from tests.conftest import Plugins, photograph
from tests.isolating import PYTHON, write_method

TRUTH = photograph(5)
RUN = ["python", "run.py", "{request}"]


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for the session: all methods here have the same lock, so one environment serves them."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(environments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALBENCH_CACHE", str(environments))


@pytest.fixture
def scene() -> Scene:
    mask = np.zeros(TRUTH.shape[:2], np.bool_)
    mask[8:20, 10:30] = True
    return Scene("garden", (photograph(6), photograph(7)), TRUTH.copy(), mask, TRUTH.copy())


def made(folder: Path, **settings: Any) -> Any:
    """An instance of the method in a folder, as a row has it."""
    row = plan_rows(["isolated=X"], [f"X.method={folder}", *(f"X.{name}={value}" for name, value in settings.items())])[0]
    kind = registry.method("isolated", row.settings)
    return kind(kind.Settings(**row.settings))


def fills(method: Any, scene: Scene, *seeds: int, work: Path) -> dict[int, Fill]:
    return {fill.seed: fill for fill in method.fill(scene.task(), seeds or (0,), context=Context(work=work))}


def row(folder: Path, *settings: str) -> Row:
    return plan_rows(["isolated=X"], [f"X.method={folder}", *settings])[0]


# --- what a script is shown


def test_the_truth_is_nowhere_near_a_script(tmp_path: Path, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folders and its environment hold neither the truth's pixels nor its file nor a secret of the user's."""
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    monkeypatch.setenv("SUITE", "/data/suite")
    script = """
    found = [path for folder in (".", os.environ["HOME"], os.environ["TMPDIR"]) for path in Path(folder).rglob("*") if path.is_file()]
    dump = {"variables": dict(os.environ), "cwd": os.getcwd(), "files": {str(path): path.read_bytes().hex() for path in found}}
    Path(ask["files"]["dump"], ask["stage"]).write_text(json.dumps(dump))
    if ask["stage"] == "fill": answer(lambda seed: (0, 0, 0))
    """
    (tmp_path / "dump").mkdir()
    method = made(write_method(tmp_path / "m", script, fit=RUN, files={"dump": str(tmp_path / "dump")}))
    method.fit(scene.task(), seed=0, context=Context(work=tmp_path / "work", threads=3))
    list(method.fill(scene.task(), [0], context=Context(threads=3)))
    for stage in ("fit", "fill"):
        dump = json.loads((tmp_path / "dump" / stage).read_text())
        names = {"PATH", "HOME", "TMPDIR", "LANG", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONHASHSEED", FAMILY}
        pools = {name for name, value in dump["variables"].items() if name.endswith(("_NUM_THREADS", "_THREADS_NUM")) and value == "3"}
        assert set(dump["variables"]) - {"LC_CTYPE"} - {"CUDA_VISIBLE_DEVICES"} == names | pools and len(pools) == 5
        assert Path(dump["variables"]["HOME"]).is_relative_to(dump["cwd"]) and os.environ["HOME"] != dump["variables"]["HOME"]
        assert set(dump["files"]) == {"request.json", "target.png", "mask.png", "references/0.png", "references/1.png"}
        everything = json.dumps(dump)
        assert "hf_very_secret" not in everything and "/data/suite" not in everything
        for forbidden in (encode_png(TRUTH), TRUTH.tobytes(), TRUTH[8:20, 10:30].tobytes()):
            assert forbidden.hex() not in everything
        assert encode_png(scene.task().target).hex() in everything  # the search itself finds what is there


def test_a_script_runs_on_its_own_python_and_packages(tmp_path: Path, scene: Scene, environments: Path) -> None:
    script = "import importlib.util as u\n" + "answer(lambda seed: (1, 2, 3), notes=[sys.prefix, str(u.find_spec('numpy'))])"
    note, numpy = fills(made(write_method(tmp_path / "m", script)), scene, work=tmp_path)[0].notes
    assert Path(note).is_relative_to(environments / "environments") and numpy == "None"
    assert not (tmp_path / "m" / "__pycache__").exists()


def test_variables_are_passed_where_method_toml_names_them(tmp_path: Path, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANTED", "1")
    monkeypatch.setenv("UNWANTED", "1")
    script = "answer(lambda seed: (1, 2, 3), notes=[str([os.environ.get(name) for name in ('WANTED', 'UNWANTED', 'SET')])])"
    method = made(write_method(tmp_path / "m", script, env=["WANTED", "SET=2"]))
    assert fills(method, scene, work=tmp_path)[0].notes == ("['1', None, '2']",)


# --- fills


def test_a_fill_is_what_the_script_draws_and_depends_on_the_seed_alone(tmp_path: Path, scene: Scene) -> None:
    script = "import random\nanswer(lambda seed: random.Random(seed).sample(range(256), 3), notes=[str(hash('x'))])"
    method = made(write_method(tmp_path / "m", script, stochastic=True))
    together, alone = fills(method, scene, 3, 4, work=tmp_path), fills(method, scene, 4, work=tmp_path)
    assert (together[4].image == alone[4].image).all() and (together[3].image != together[4].image).any()
    assert together[3].image.shape == TRUTH.shape and together[4].notes == alone[4].notes  # not even the hash of a text is random


def test_finished_fills_survive_what_happens_to_the_rest(tmp_path: Path, scene: Scene) -> None:
    script = """
    done = []
    for seed in ask["seeds"]:
        if seed == 2: raise SystemExit("no memory for seed 2")
        png(f"output/{seed}.png", ask["width"], ask["height"], (seed, 0, 0))
        done.append({"seed": seed, "image": f"output/{seed}.png"})
        Path("new").write_text(json.dumps({"fills": done}))
        Path("new").rename("result.json")
    """
    found = []
    with pytest.raises(RealbenchError, match="the fill of Made ended with exit code 1; its last line: no memory for seed 2"):
        for fill in made(write_method(tmp_path / "m", script)).fill(scene.task(), [0, 1, 2, 3], context=Context(work=tmp_path)):
            found.append(fill.seed)  # noqa: PERF401 (those before the error are wanted)
    assert found == [0, 1]


def test_fills_come_as_they_are_ready(tmp_path: Path, scene: Scene) -> None:
    script = """
    png("output/0.png", ask["width"], ask["height"], (9, 0, 0))
    Path("result.json").write_text(json.dumps({"fills": [{"seed": 0, "image": "output/0.png"}]}))
    time.sleep(100)
    """
    running = made(write_method(tmp_path / "m", script)).fill(scene.task(), [0, 1], context=Context(work=tmp_path))
    assert isinstance(running, Iterator) and next(running).seed == 0  # while the script goes on with seed 1
    running.close()


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        ('Path("result.json").write_text(json.dumps({"unsupported": "needs two <b>references</b>"}))', Unsupported, "needs two <b>"),
        ("pass", RealbenchError, r"the fill of Made ended without result\.json"),
        ("answer(lambda seed: (1, 2, 3)); sys.exit(4)", RealbenchError, "exit code 4"),
        ("ask['width'] += 1; answer(lambda seed: (1, 2, 3))", RealbenchError, "found 49×32"),
        ("raise ValueError('bad')", RealbenchError, "its last line: ValueError: bad"),
    ],
)
def test_what_goes_wrong_is_said(tmp_path: Path, scene: Scene, script: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        fills(made(write_method(tmp_path / "m", script)), scene, work=tmp_path)


def test_a_command_that_the_environment_lacks(tmp_path: Path, scene: Scene) -> None:
    with pytest.raises(RealbenchError, match="'accelerate' cannot be started"):
        fills(made(write_method(tmp_path / "m", fill=["accelerate", "launch", "run.py"])), scene, work=tmp_path)


def test_time_is_counted_by_seed(tmp_path: Path, scene: Scene) -> None:
    method = made(write_method(tmp_path / "m", "time.sleep(1.5)\n" + "answer(lambda seed: (1, 2, 3))", timeout_s=1.0))
    with pytest.raises(TimedOut, match="took longer than 1 s"):
        fills(method, scene, 0, work=tmp_path)
    assert len(fills(method, scene, 0, 1, 2, 3, 4, work=tmp_path)) == 5


def test_memory_is_limited_by_method_toml(tmp_path: Path, scene: Scene) -> None:
    method = made(write_method(tmp_path / "m", "held = b'x' * 300_000_000\ntime.sleep(100)", memory_gb=0.2))
    with pytest.raises(RealbenchError, match=r"out of memory: the fill of Made used 0\.[2-4][0-9] GB, limit 0\.2 GB \(memory_gb\)"):
        fills(method, scene, work=tmp_path)


# --- fits

FITTING = """
if ask["stage"] == "fit":
    Path("state/deep").mkdir()
    Path("state/deep/model").write_text(json.dumps([ask["fit"], ask["settings"]]))
    Path("state/junk").write_text("x")
else:
    fit, seen = json.loads(Path("state/deep/model").read_text())
    names = sorted(str(path) for path in Path("state").rglob("*"))
    answer(lambda seed: (seed, fit, ask["settings"]["steps"]), notes=[str(seen), str(names)])
"""
KEYS: dict[str, Any] = {
    "fit": RUN,
    "keep": ["deep/*"],
    "settings": {"rank": 4, "steps": 50},
    "fill_settings": ["steps"],
    "stochastic": True,
}


def test_a_fitted_state_is_kept_saved_and_loaded(tmp_path: Path, scene: Scene) -> None:
    method = made(write_method(tmp_path / "m", FITTING, **KEYS), steps=60)
    method.fit(scene.task(), seed=7, context=Context(work=tmp_path / "work"))
    first = fills(method, scene, 3, work=tmp_path)[3]
    assert tuple(first.image[0, 0]) == (3, 7, 60)
    assert first.notes == ("{'rank': 4}", "['state/deep', 'state/deep/model']")  # fit is not shown what only fill reads
    (tmp_path / "saved").mkdir()
    method.save(tmp_path / "saved")
    method.close()
    other = made(tmp_path / "m", steps=60)
    other.load(tmp_path / "saved")
    again = fills(other, scene, 3, work=tmp_path)[3]
    assert (again.image == first.image).all() and again.notes == first.notes
    method.fit(scene.task(), seed=8, context=Context(work=tmp_path / "work"))  # forgets the last one
    assert fills(method, scene, 3, work=tmp_path)[3].image[0, 0, 1] == 8


def test_a_fit_goes_on_from_its_checkpoints(tmp_path: Path, scene: Scene) -> None:
    script = """
    if ask["stage"] == "fit":
        path = Path(ask["checkpoints"], "step")
        step = int(path.read_text()) if path.exists() else 0
        path.write_text(str(step + 1))
        Path("state/step").write_text(str(step))
        if step == 0: sys.exit("out of luck")
    else:
        answer(lambda seed: (int(Path("state/step").read_text()), 0, 0))
    """
    method = made(write_method(tmp_path / "m", script, fit=RUN))
    with pytest.raises(RealbenchError, match="the fit of Made ended with exit code 1; its last line: out of luck"):
        method.fit(scene.task(), seed=0, context=Context(work=tmp_path / "work"))
    method.fit(scene.task(), seed=0, context=Context(work=tmp_path / "work"))
    assert fills(method, scene, work=tmp_path)[0].image[0, 0, 0] == 1


# --- rows


def test_settings_are_those_of_method_toml(tmp_path: Path) -> None:
    keys = {"settings": {"steps": 50, "strength": 0.8, "model": "a/b", "tiled": False}}
    folder = write_method(tmp_path / "m", **keys)
    one = row(folder, "X.steps=20", "isolated.strength=1", "tiled=true")
    assert one.settings == {"method": str(folder), "steps": 20, "strength": 1.0, "model": "a/b", "tiled": True}
    assert (one.card.title, one.card.fits, one.card.stochastic, one.method) == ("Made", False, False, "isolated")
    for setting, words in (("X.steps=many", "setting steps: "), ("X.guidance=1", "isolated: method, steps, strength, model, tiled")):
        with pytest.raises(UsageError, match=words):
            row(folder, setting)


def test_what_makes_another_row(tmp_path: Path) -> None:
    folder = write_method(tmp_path / "m", FITTING, **KEYS)
    first = row(folder)
    moved = write_method(tmp_path / "elsewhere", FITTING, **KEYS)
    assert row(moved).fingerprint == first.fingerprint and row(moved).settings != first.settings
    steps = row(folder, "X.steps=9")
    assert steps.fingerprint != first.fingerprint and steps.fitting == first.fitting
    assert row(folder, "X.rank=9").fitting != first.fitting
    (moved / "run.py").write_text("# changed")
    assert row(moved).fingerprint != first.fingerprint and row(moved).fitting != first.fitting
    (folder / "requirements.txt").write_text("# other lock")
    assert row(folder).fingerprint != first.fingerprint


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ([], "no method is named; add --set isolated.method=FOLDER"),
        (["isolated.method=/none/such"], r"/none/such/method\.toml: cannot be read"),
    ],
)
def test_a_method_that_is_not_there(settings: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        plan_rows(["isolated=X"], settings)


def cells(run: Path) -> dict[int, Any]:
    """Records of the cells of scene `a`, by seed."""
    found = (json.loads(path.read_text()) for path in run.glob("X-*/a/fit-0/seed-*/record.json"))
    return {record["seed"]: record for record in found}


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The stages that scripts wrote into $LOG since the last call."""
    folder = tmp_path / "log"
    folder.mkdir()
    monkeypatch.setenv("LOG", str(folder))

    def read() -> list[str]:
        found = [(path, path.read_text()) for path in folder.iterdir()]
        for path, _ in found:
            path.unlink()
        return sorted(text for _, text in found)

    return read


LOGGING = 'Path(os.environ["LOG"], str(time.time_ns())).write_text(ask["stage"])\n'


def test_a_row_of_a_run_and_its_resume(tmp_path: Path, suite: Path, calls: Callable[[], list[str]]) -> None:
    """A second call does nothing, a fill's setting refits nothing, a changed script does all anew."""
    folder = write_method(tmp_path / "m", LOGGING + FITTING, **KEYS, env=["LOG"])

    def run(*settings: str) -> list[str]:
        words: dict[str, Any] = {"scenes": suite, "scene": ["a", "b"], "metrics": ["psnr"], "seeds": 2, "out": tmp_path / "run"}
        summary = bench.run(["isolated=X"], settings=[f"isolated.method={folder}", *settings], **words)
        assert summary.exit_code == 0 and summary.fills == {"ok": 4, "failed": 0}
        return calls()

    assert run() == ["fill", "fill", "fit", "fit"]
    table = load_run(tmp_path / "run").scores()
    assert set(table["label"]) == {"X"} and set(table["method"]) == {"isolated"} and table["value"].notna().sum() == 4
    info = RunFolder(tmp_path / "run").read_manifest().rows["X"]
    assert (info.title, [str(one) for one in changed(info)]) == ("Made", ["method=m"])
    assert run() == []
    assert run("steps=9") == ["fill", "fill"]
    assert [str(one) for one in changed(RunFolder(tmp_path / "run").read_manifest().rows["X"])] == ["method=m", "steps=9"]
    (folder / "run.py").write_text((folder / "run.py").read_text() + "# changed")
    assert run() == ["fill", "fill", "fit", "fit"]


def test_repeats_follow_method_toml(tmp_path: Path, suite: Path) -> None:
    """One seed and one fit for a method that neither draws nor fits, though `isolated` in general may do both."""
    folder = write_method(tmp_path / "m")
    summary = bench.run(
        ["isolated=X"], settings=[f"method={folder}"], scenes=suite, scene=["a"], metrics=["psnr"], seeds=4, fits=3, out=tmp_path / "run"
    )
    assert summary.fills["ok"] == 1 and list(cells(tmp_path / "run")) == [0]


class Listener(Silent):
    """What a run says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.mark.parametrize(("python", "state"), [(PYTHON, "ok"), ("3.99", "failed")])
def test_the_environment_is_built_before_the_first_fill(
    tmp_path: Path, suite: Path, monkeypatch: pytest.MonkeyPatch, python: str, state: str
) -> None:
    """It is said; where it cannot be had, that is said too and is the cells' reason, while other rows go on."""
    monkeypatch.setenv("REALBENCH_CACHE", str(tmp_path / "cache"))
    folder, watch = write_method(tmp_path / "m", python=python), Listener()
    words: dict[str, Any] = {"scenes": suite, "scene": ["a"], "metrics": ["psnr"], "settings": [f"method={folder}"], "watch": watch}
    summary = bench.run(["isolated=X", "mean-color"], out=tmp_path / "run", **words)
    record = cells(tmp_path / "run")[0]
    assert record["state"] == state and summary.fills["ok"] == (2 if state == "ok" else 1)
    start = "building the environment " if state == "ok" else "X cannot be prepared: Python 3.99 is not on this machine"
    assert [text.startswith(start) for text in watch.said].count(True) == 1
    assert ("Python 3.99 is not on this machine" in record["reason"]) == (state == "failed")
    if state == "ok":
        assert bench.run(["isolated=X"], out=tmp_path / "again", **words).fills["ok"] == 1
        assert [text.startswith(start) for text in watch.said].count(True) == 1


def run_one(folder: Path, suite: Path, out: Path, *, seeds: int = 1, timeout: float | None = 60) -> dict[int, Any]:
    words: dict[str, Any] = {"scenes": suite, "scene": ["a"], "metrics": ["psnr"], "seeds": seeds, "on": Machine(timeout=timeout)}
    bench.run(["isolated=X"], settings=[f"method={folder}"], out=out, **words)
    return cells(out)


def test_a_failed_cell_keeps_the_end_of_the_log_and_a_slow_one_is_a_timeout(tmp_path: Path, suite: Path) -> None:
    script = """
    print("loading", "<b>weights</b>")
    if ask["seeds"] == [1]: time.sleep(60)
    if 1 in ask["seeds"]: sys.exit("one by one, please")
    if ask["seeds"] == [2]: raise ValueError("bad")
    answer(lambda seed: (1, 2, 3))
    """
    found = run_one(write_method(tmp_path / "m", script, timeout_s=2.0, stochastic=True), suite, tmp_path / "run", seeds=3)
    assert {seed: record["state"] for seed, record in found.items()} == {0: "ok", 1: "timeout", 2: "failed"}
    assert "took longer than 2 s (timeout_s)" in found[1]["reason"] and found[1]["detail"].startswith("loading <b>weights</b>")
    assert found[2]["reason"].endswith("its last line: ValueError: bad") and "Traceback" in found[2]["detail"]
    assert "--- the fill of Made on a:" in "".join(path.read_text() for path in (tmp_path / "run" / "logs").iterdir())


def test_a_finished_cell_and_a_fit_keep_the_end_of_the_log_too(tmp_path: Path, suite: Path) -> None:
    script = """
    print("x" * 5000, ask["stage"], "goes on")
    if ask["stage"] == "fill": answer(lambda seed: (1, 2, 3))
    """
    record = run_one(write_method(tmp_path / "m", script, fit=RUN), suite, tmp_path / "run")[0]
    assert record["state"] == "ok" and record["detail"].endswith("x fill goes on\n") and len(record["detail"]) == 4000
    folder = RunFolder(tmp_path / "run")
    fit = folder.read_fit(next(iter(asked(folder.read_manifest()))))
    assert fit is not None and fit.state == "ok" and fit.detail.endswith("x fit goes on\n")


def test_a_script_that_forgets_its_result_shows_what_it_printed(tmp_path: Path, suite: Path) -> None:
    record = run_one(write_method(tmp_path / "m", "print('nothing to see')"), suite, tmp_path / "run")[0]
    assert record["state"] == "failed" and "ended without result.json" in record["reason"] and record["detail"] == "nothing to see\n"


GRANDCHILD = """
started = [subprocess.Popen(["sleep", "100"], start_new_session=session) for session in (False, True)]
Path(os.environ["LOG"], "new").write_text(json.dumps([os.getpid(), *(one.pid for one in started)]))
Path(os.environ["LOG"], "new").rename(Path(os.environ["LOG"], "pids"))
time.sleep(100)
"""
DRIVER = """
import os, sys, threading, time
from pathlib import Path
from realbench.fills import fill_request
from realbench.plan import plan_rows
from realbench.process import WorkerLost, WorkerProcess
from realbench.runner import Unit
from realbench.suite import open_suite

suite, folder, pids, end = sys.argv[1:]
(row,) = plan_rows(["isolated=X"], [f"X.method={folder}"])
unit = Unit("fill", "X", "a", ("0",), "X", 0, fits=False)
request = fill_request(row, open_suite(suite).load("a"), unit, None, None, feather=4, device="cpu", dtype="float32")
worker = WorkerProcess(threads=1)
scratch = Path(worker._scratch)

def ask():
    try:
        list(worker.ask(request))
    except WorkerLost:
        pass

asking = threading.Thread(target=ask, daemon=True)
asking.start()
while not Path(pids).exists():
    assert asking.is_alive(), "the fill ended before it began"
    time.sleep(0.05)
print(scratch, flush=True)
if end == "driver killed": os.kill(os.getpid(), 9)
if end == "worker killed": os.kill(worker._process.pid, 9); asking.join()
if end == "worker ended": worker.kill()
assert not scratch.exists()
"""


@pytest.mark.parametrize("end", ["driver killed", "worker killed", "worker ended"])
def test_a_lost_worker_takes_everything_with_it(tmp_path: Path, suite: Path, calls: Callable[[], list[str]], end: str) -> None:
    """Child and grandchildren, one of them in a session of its own, and the folders for temporary files."""
    folder = write_method(tmp_path / "m", GRANDCHILD, env=["LOG"])
    words = [sys.executable, "-c", DRIVER, str(suite), str(folder), str(tmp_path / "log" / "pids"), end]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == (-9 if end == "driver killed" else 0), done.stderr
    pids = json.loads(calls()[0])
    assert len(pids) == 3
    deadline = time.monotonic() + 30
    while Path(done.stdout.strip()).exists() or any(map(alive, pids)):
        assert time.monotonic() < deadline, "something of a lost worker lives on"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


# --- packages

PACKAGE = """
from pathlib import Path
from realbench.methods.isolated import IsolatedMethod

class LaMa(IsolatedMethod):
    folder = Path(__file__).parent / "lama"
"""


def test_a_package_registers_an_isolated_method(tmp_path: Path, suite: Path, plugins: Plugins) -> None:
    folder = write_method(tmp_path / "site" / "lama", FITTING, **KEYS, id="lama", paper="arXiv:2109.07161")
    plugins("methods", {"lama": "LaMa"}, PACKAGE)
    card = registry.load("methods", "lama").card
    assert (card.id, card.title, card.paper, card.fits, card.stochastic) == ("lama", "Made", "arXiv:2109.07161", True, True)
    (one,) = plan_rows(["lama"], ["lama.steps=3"])
    assert one.settings == {"rank": 4, "steps": 3}
    summary = bench.run(["lama"], settings=["steps=3"], scenes=suite, scene=["a"], metrics=["psnr"], out=tmp_path / "run")
    assert summary.exit_code == 0
    (folder / "weights.bin").write_text("new")
    assert plan_rows(["lama"], ["lama.steps=3"])[0].fingerprint != one.fingerprint


def test_a_registered_method_has_an_id(tmp_path: Path, plugins: Plugins) -> None:
    write_method(tmp_path / "site" / "lama")
    plugins("methods", {"lama": "LaMa"}, PACKAGE)
    with pytest.raises(RealbenchError, match=r"method\.toml has no id; a registered method needs it"):
        registry.load("methods", "lama")


def test_the_adapter_is_imported_for_its_card_alone() -> None:
    program = (
        "import sys, realbench.methods.isolated; print([name for name in ('torch', 'numpy', 'pydantic', 'psutil') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
