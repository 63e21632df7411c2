"""Runner `ray` on a small cluster of this machine: the same bytes as `local`, and nothing lost with a machine that goes away."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from realbench import bench, registry
from realbench.errors import RealbenchError, UsageError
from realbench.execution import Machine
from realbench.results import load_run
from realbench.store import RunFolder, asked
from tests.conftest import write_scene

pytest.importorskip("ray", reason="ray is not installed (pip install 'realbench[ray]')")

PATIENT = """
import os, time
from dataclasses import dataclass, field
from pathlib import Path
import numpy as np
from realbench.method import BaseMethod, MethodCard

HERE = Path(__file__).parent

def note(*words):
    with (HERE / "journal").open("a") as file:
        file.write(" ".join(map(str, [os.getppid(), os.getpid(), *words])) + "\\n")

class Patient(BaseMethod):
    card = MethodCard("patient", "Patient", "Waits where a file says so.", fits=True, stochastic=True)

    @dataclass(frozen=True)
    class Settings:
        hang: int = -1
        exit: int = -1
        picture: str = field(default="", metadata={"path": True})

    def fit(self, task, *, seed, context):
        note("fit", task.id)
        while (HERE / f"hold-{task.id}").exists():
            time.sleep(0.02)
        self.level = int(task.references[0].mean()) // 2

    def complete(self, task, seed, context):
        note("fill", seed)
        print("a word of seed", seed, flush=True)
        while (HERE / "hold-fill").exists() and seed == 3:
            time.sleep(0.02)
        if seed == self.settings.hang:
            time.sleep(3600)
        if seed == self.settings.exit:
            os._exit(7)
        extra = len(Path(self.settings.picture).read_bytes()) if self.settings.picture else 0
        image = task.target.copy()
        image[task.mask] = np.random.default_rng(seed).integers(0, 100, (int(task.mask.sum()), 3)) + self.level + extra
        return image, (f"CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', '')}",)

    def save(self, folder):
        (folder / "level").write_text(str(self.level))

    def load(self, folder):
        note("load")
        self.level = int((folder / "level").read_text())
"""


GRAPHIC = """
from patient import Patient
from realbench.method import MethodCard

class Graphic(Patient):
    card = MethodCard("graphic", "Graphic", "Would run on a GPU.", needs=("gpu", "8 GB"), fits=True, stochastic=True, torch=True)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A method that waits, visible here and on every node; it keeps a journal."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "patient.py").write_text(PATIENT)
    (folder / "graphic.py").write_text(GRAPHIC)
    info = folder / "patient-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: patient\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[realbench.methods]\npatient = patient:Patient\ngraphic = graphic:Graphic\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        registry._points.cache_clear()
        yield folder
    registry._points.cache_clear()
    sys.modules.pop("patient", None)


@pytest.fixture(scope="module")
def cluster(site: Path) -> Iterator[Any]:
    """A head with two cores; the tests' own process is connected to it."""
    import ray

    made = started()
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()


def started() -> Any:
    """A head node of two cores."""
    from ray.cluster_utils import Cluster

    return Cluster(initialize_head=True, head_node_args={**node_of(2), "_system_config": {"worker_niceness": 0}})


def node_of(cores: int) -> dict[str, Any]:
    """A small node. Its agents are told their ports: else Ray gives them 15 seconds to find some, which a busy machine may not have."""
    names = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in names]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = {name: one.getsockname()[1] for name, one in zip(names, sockets, strict=True)}
    return {"num_cpus": cores, "object_store_memory": 80 << 20, "include_dashboard": False, **ports}


def added(cluster: Any, attempts: int = 3, **more: Any) -> Any:
    """One more node, of one core. Ray gives it 30 seconds to start, however busy the machine."""
    try:
        return cluster.add_node(**node_of(1), **more)
    except Exception:
        if attempts == 1:
            raise
        return added(cluster, attempts - 1, **more)


@pytest.fixture
def journal(site: Path) -> Iterator[Path]:
    """What the patient method did, a line each: the actor's process, its own, and what it was at."""
    path = site / "journal"
    path.write_text("")
    yield path
    for hold in site.glob("hold-*"):
        hold.unlink()


def lines(journal: Path, word: str) -> list[list[str]]:
    return [words for words in map(str.split, journal.read_text().splitlines()) if words[2] == word]


def until(what: Callable[[], Any], seconds: float = 120) -> Any:
    """Wait for something to come true; its value."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.05)
    return found


def images(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.png"))}


def scores(root: Path) -> str:
    """Every score, to the last digit."""
    return load_run(root).scores().drop(columns="run").to_csv()  # type: ignore[no-any-return]


def records(root: Path) -> dict[tuple[str, int], Any]:
    folder = RunFolder(root)
    return {(cell.scene, cell.seed): folder.read_fill(cell) for cell in asked(folder.read_manifest())}


def both(tmp_path: Path, methods: list[str], on: Machine, **words: Any) -> tuple[Path, Path]:
    """The same cells by `local` and by `ray`."""
    local, far = tmp_path / "local", tmp_path / "ray"
    bench.run(methods, out=local, on=Machine(threads=1, device="cpu", timeout=on.timeout), **words)
    bench.run(methods, out=far, on=on, **words)
    return local, far


def ray(**words: Any) -> Machine:
    return Machine(runner="ray", threads=1, **words)


def test_cells_are_those_of_the_local_runner(cluster: Any, suite: Path, tmp_path: Path) -> None:
    methods = ["telea", "patchmatch", "mean-color"]
    local, far = both(tmp_path, methods, ray(fills_per_task=2), scenes=suite, metrics=["psnr", "drift"], seeds=3)
    assert images(local) == images(far) and len(images(far)) == 2 * 3 * (1 + 3 + 1)
    assert scores(local) == scores(far)
    threads = {record.environment.threads for record in records(far).values()}
    assert threads == {1} and all(not record.retried for record in records(far).values())


def test_realfill_is_that_of_the_local_runner(cluster: Any, tmp_path: Path) -> None:
    """Its chunks are filled by the actor that fitted, and by another that was sent the fitted state."""
    settings = ["realfill.steps=2", "realfill.batch=2", "realfill.pool=4", "inference_steps=2"]
    words: dict[str, Any] = {"scene": ["coffee"], "settings": settings, "metrics": ["psnr"], "seeds": 3}
    local, far = both(tmp_path, ["realfill:tiny"], ray(workers=2, fills_per_task=1, device="cpu"), **words)
    assert images(local) == images(far) and len(images(far)) == 6
    assert scores(local) == scores(far)
    states = [{path.name: path.read_bytes() for path in sorted(root.rglob("state/*"))} for root in (local, far)]
    assert states[0] == states[1] != {}


def test_chunks_of_a_fit_stay_with_their_actor_and_load_nothing(cluster: Any, suite: Path, tmp_path: Path, journal: Path) -> None:
    on = ray(workers=1, fills_per_task=2)
    bench.run(["patient"], scenes=suite, scene=["a"], metrics=["drift"], seeds=5, out=tmp_path / "run", on=on)
    done = [words[2:] for words in map(str.split, journal.read_text().splitlines())]
    assert done == [
        ["fit", "a"],
        *(["fill", str(seed)] for seed in range(5)),
    ]
    assert len({words[1] for words in map(str.split, journal.read_text().splitlines())}) == 1


def test_another_actor_is_sent_the_state(cluster: Any, suite: Path, tmp_path: Path, journal: Path, site: Path) -> None:
    """While one is busy with a chunk, the other takes the next."""
    (site / "hold-fill").touch()
    words: dict[str, Any] = {"scenes": suite, "scene": ["a"], "metrics": ["drift"], "seeds": 5}
    thread = threading.Thread(target=lambda: bench.run(["patient"], out=tmp_path / "ray", on=ray(fills_per_task=2), **words))
    thread.start()
    until(lambda: any(line[3] == "4" for line in lines(journal, "fill")))
    (site / "hold-fill").unlink()
    thread.join(60)
    assert len(lines(journal, "fit")) == 1 and len(lines(journal, "load")) == 1
    bench.run(["patient"], out=tmp_path / "local", on=Machine(threads=1), **words)
    assert images(tmp_path / "ray") == images(tmp_path / "local")


def test_a_hung_fill_times_out_and_a_dead_worker_fails_as_in_local(cluster: Any, suite: Path, tmp_path: Path, journal: Path) -> None:
    words: dict[str, Any] = {"scenes": suite, "scene": ["a"], "metrics": ["drift"], "seeds": 5}
    on = ray(workers=1, timeout=4.0)
    local, far = both(tmp_path, ["patient"], on, settings=["hang=1", "exit=3"], **words)
    assert images(local) == images(far) and len(images(far)) == 6
    for run in (local, far):
        found = records(run)
        assert [found["a", seed].state for seed in range(5)] == ["ok", "timeout", "ok", "failed", "ok"]
        assert found["a", 1].reason == "took longer than 4 s; its worker was killed"
        assert found["a", 3].reason == "the worker ended by itself (exit code 7)" and "a word of seed 3" in found["a", 3].detail
    assert len(lines(journal, "fit")) == 2  # one in each run


def test_an_actor_that_dies_amid_a_fit_costs_nothing(cluster: Any, suite: Path, tmp_path: Path, journal: Path, site: Path) -> None:
    (site / "hold-a").touch()
    words: dict[str, Any] = {"scenes": suite, "scene": ["a", "b"], "metrics": ["drift"], "seeds": 3}
    thread = threading.Thread(target=lambda: bench.run(["patient"], out=tmp_path / "ray", on=ray(fills_per_task=2), **words))
    thread.start()
    first = until(lambda: [line for line in lines(journal, "fit") if line[3] == "a"])[0]
    folder = Path(psutil.Process(int(first[1])).environ()["TMPDIR"])
    assert (folder / "log").exists()
    os.kill(int(first[0]), signal.SIGKILL)
    until(lambda: not psutil.pid_exists(int(first[1])))  # its worker ends with it
    assert not folder.exists(), "what the actor had on its node is gone"
    (site / "hold-a").unlink()
    thread.join(120)
    found = records(tmp_path / "ray")
    assert {record.state for record in found.values()} == {"ok"} and len(found) == 6
    assert found["a", 0].retried == found["a", 1].retried == ["its Ray actor died, or its node was lost"]
    assert all(not found["b", seed].retried for seed in range(3))
    bench.run(["patient"], out=tmp_path / "local", on=Machine(threads=1), **words)
    assert images(tmp_path / "ray") == images(tmp_path / "local") and scores(tmp_path / "ray") == scores(tmp_path / "local")


def test_a_node_that_is_lost_amid_a_fit_costs_nothing(cluster: Any, suite: Path, tmp_path: Path, journal: Path, site: Path) -> None:
    node = added(cluster)
    cluster.wait_for_nodes()
    raylet = node.all_processes["raylet"][0].process.pid
    for scene in "abc":
        (site / f"hold-{scene}").touch()
    words: dict[str, Any] = {"scenes": suite, "metrics": ["drift"], "seeds": 2}
    thread = threading.Thread(target=lambda: bench.run(["patient"], out=tmp_path / "ray", on=ray(fills_per_task=1), **words))
    thread.start()
    until(lambda: len(lines(journal, "fit")) == 3)
    there = [line for line in lines(journal, "fit") if raylet in {parent.pid for parent in psutil.Process(int(line[0])).parents()}]
    assert len(there) == 1, "one of three workers runs on the small node"
    cluster.remove_node(node, allow_graceful=False)
    until(lambda: not psutil.pid_exists(int(there[0][0])))  # its actors notice a little later
    for scene in "abc":
        (site / f"hold-{scene}").unlink()
    thread.join(180)
    found = records(tmp_path / "ray")
    assert {record.state for record in found.values()} == {"ok"} and len(found) == 6
    lost = {scene for (scene, _), record in found.items() if record.retried}
    assert lost == {there[0][3]}
    assert found[there[0][3], 0].retried in (["the node it ran on was lost"], ["its Ray actor died, or its node was lost"])
    bench.run(["patient"], out=tmp_path / "local", on=Machine(threads=1), **words)
    assert images(tmp_path / "ray") == images(tmp_path / "local") and scores(tmp_path / "ray") == scores(tmp_path / "local")


def test_a_node_that_joins_later_takes_part(cluster: Any, suite: Path, tmp_path: Path, journal: Path, site: Path) -> None:
    """The two places that were there are held until a third worker, on the new node, has begun."""
    for scene in "abc":
        (site / f"hold-{scene}").touch()
    words: dict[str, Any] = {"scenes": suite, "metrics": ["drift"], "seeds": 1}
    thread = threading.Thread(target=lambda: bench.run(["patient"], out=tmp_path / "ray", on=ray(), **words))
    thread.start()
    until(lambda: len(lines(journal, "fit")) == 2)
    node = added(cluster)
    try:
        until(lambda: len(lines(journal, "fit")) == 3)
        for scene in "abc":
            (site / f"hold-{scene}").unlink()
        thread.join(120)
        assert {record.state for record in records(tmp_path / "ray").values()} == {"ok"}
        assert not any(record.retried for record in records(tmp_path / "ray").values())
    finally:
        cluster.remove_node(node, allow_graceful=False)
        until(lambda: len([one for one in cluster_nodes() if one["Alive"]]) == 1)


def test_a_node_with_another_realbench_is_refused(cluster: Any, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from realbench.runners import ray as runner

    here = runner.installed()
    monkeypatch.setattr(runner, "installed", lambda: {**here, "realbench": "9.9.9"})
    expected = rf"has realbench {here['realbench']} \(expected 9\.9\.9\); install the same realbench on every node"
    with pytest.raises(RealbenchError, match=expected):
        bench.run(["mean-color"], scenes=suite, metrics=["drift"], out=tmp_path / "run", on=ray())
    assert not images(tmp_path / "run")


def test_a_node_with_another_edition_of_a_method_is_refused(
    cluster: Any, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from realbench.runners import ray as runner

    monkeypatch.setattr(runner, "plugins", lambda head: {"method mean-color": "another"})
    with pytest.raises(RealbenchError, match="method mean-color is another edition than the driver's"):
        bench.run(["mean-color"], scenes=suite, metrics=["drift"], out=tmp_path / "run", on=ray())


def test_hostile_names_stay_text(cluster: Any, tmp_path: Path) -> None:
    ugly = "<img src=x onerror=alert(1)>|`[red]$(id)"
    write_scene(tmp_path / "suite" / ugly, seed=1)
    local, far = both(tmp_path, ["telea"], ray(), scenes=tmp_path / "suite", metrics=["drift"])
    assert images(local) == images(far) and len(images(far)) == 2
    assert set(records(far)) == {(ugly, 0)}


def test_files_that_settings_name_reach_the_node(cluster: Any, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named relative to the driver's folder, where no worker of a cluster is."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "picture").write_bytes(b"x" * 11)
    monkeypatch.chdir(tmp_path / "here")
    words: dict[str, Any] = {"scenes": suite, "scene": ["a"], "metrics": ["drift"], "settings": ["picture=picture"]}
    local, far = both(tmp_path, ["patient"], ray(), **words)
    assert images(local) == images(far) and len(images(far)) == 2


def test_what_workers_print_is_in_the_runs_logs(cluster: Any, suite: Path, tmp_path: Path, journal: Path) -> None:
    bench.run(["patient"], scenes=suite, scene=["a"], metrics=["drift"], out=tmp_path / "run", on=ray(workers=1))
    assert "a word of seed 0" in "".join(path.read_text() for path in (tmp_path / "run" / "logs").glob("ray-*.log"))


def test_workers_without_a_gpu_see_none(cluster: Any, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: Path) -> None:
    bench.run(["patient"], scenes=suite, scene=["a"], metrics=["drift"], out=tmp_path / "run", on=ray())
    assert records(tmp_path / "run")["a", 0].notes == ["CUDA_VISIBLE_DEVICES="]


def test_a_worker_that_runs_on_torch_sees_the_gpu_that_ray_gave_it(cluster: Any, suite: Path, tmp_path: Path, journal: Path) -> None:
    """A node that says it has a GPU: no more than the environment can be told without one."""
    node = added(cluster, num_gpus=1)
    try:
        cluster.wait_for_nodes()
        words: dict[str, Any] = {"scenes": suite, "scene": ["a"], "metrics": ["drift"]}
        bench.run(["graphic", "patient"], out=tmp_path / "run", on=ray(gpus_per_fit=0.5), **words)
        folder = RunFolder(tmp_path / "run")
        notes = {cell.label: folder.read_fill(cell).notes for cell in asked(folder.read_manifest())}  # type: ignore[union-attr]
        assert notes == {"graphic": ["CUDA_VISIBLE_DEVICES=0"], "patient": ["CUDA_VISIBLE_DEVICES="]}
    finally:
        cluster.remove_node(node, allow_graceful=False)
        until(lambda: len([one for one in cluster_nodes() if one["Alive"]]) == 1)


def cluster_nodes() -> list[dict[str, Any]]:
    import ray

    return ray.nodes()  # type: ignore[no-any-return]


def test_a_device_that_no_node_has_is_refused(cluster: Any, tmp_path: Path) -> None:
    words: dict[str, Any] = {"scene": ["coffee"], "settings": ["realfill.steps=2"], "metrics": ["drift"], "out": tmp_path / "run"}
    with pytest.raises(RealbenchError, match="no node has room for a worker that needs 1 CPU, 1 GPU"):
        bench.run(["realfill:tiny"], on=ray(device="cuda"), **words)


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "127.0.0.1:1"])
def test_an_address_that_this_process_is_not_connected_to_is_refused(cluster: Any, suite: Path, tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError, match=f"--address {address}"):
        bench.run(["mean-color"], scenes=suite, metrics=["drift"], out=tmp_path / "run", on=ray(address=address))


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "realbench", *map(str, words)]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_driver_that_ends_leaves_a_run_to_go_on_with(
    cluster: Any, suite: Path, tmp_path: Path, journal: Path, site: Path, how: signal.Signals
) -> None:
    (site / "hold-fill").touch()
    words = ["run", "-m", "patient", "--scenes", suite, "--seeds", 5, "--metric", "drift", "--threads", 1, "--out", tmp_path / "run"]
    far = ["--runner", "ray", "--address", cluster.address, "--fills-per-task", 2]
    driver = subprocess.Popen(command(*words, *far), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until(lambda: len(list((tmp_path / "run").rglob("seed-*/record.json"))) >= 2)
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("seed-*/record.json")}
    driver.send_signal(how)
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == (-9 if how == signal.SIGKILL else 130), errors
    assert how == signal.SIGKILL or "the same command goes on from here" in errors
    processes = {int(number) for line in map(str.split, journal.read_text().splitlines()) for number in line[:2]}
    until(lambda: not any(psutil.pid_exists(number) for number in processes), 60)
    (site / "hold-fill").unlink()
    subprocess.run(command(*words), check=True, capture_output=True)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, "a finished cell was redone"
    bench.run(["patient"], scenes=suite, seeds=5, metrics=["drift"], out=tmp_path / "calm", on=Machine(threads=1))
    assert images(tmp_path / "run") == images(tmp_path / "calm") and scores(tmp_path / "run") == scores(tmp_path / "calm")


def raylets() -> set[int]:
    return {process.pid for process in psutil.process_iter(["name"]) if process.info["name"] == "raylet"}


def test_a_cluster_that_is_started_here_ends_with_the_run(cluster: Any, suite: Path, tmp_path: Path, journal: Path, site: Path) -> None:
    """The method is visible to the driver through its import path alone."""
    before = raylets()
    words = ["run", "-m", "patient", "--scenes", suite, "--metric", "drift", "--runner", "ray", "--workers", 1, "--out", tmp_path / "run"]
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "fills: 3 ok" in done.stdout
    assert re.search(r"ray: dashboard at http://127\.0\.0\.1:[0-9]+", done.stderr)
    assert raylets() <= before
