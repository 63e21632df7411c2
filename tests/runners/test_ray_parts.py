"""What runner `ray` does without Ray: what travels, what is kept, what fits where."""

from __future__ import annotations

import gc
import os
import re
import socket
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from realbench import machine
from realbench.errors import RealbenchError, UsageError
from realbench.execution import Machine
from realbench.runner import RunnerOptions, Unit
from realbench.runners import _raycluster, _rayfiles, _rayhost, ray
from realbench.runners._raycluster import Cluster, Connection, listed
from realbench.runners._rayfiles import pack, unpack
from realbench.runners._rayhost import _is_rays, _problem, installed, plugins
from realbench.runners._rayobjects import SMALL, Objects
from realbench.wire import Array, Message
from realbench.worker import Session
from tests.isolating import FLAT, write_method


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "[::1]:{}", "auto"])
def test_an_address_where_nobody_listens_is_refused_at_once(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray would try for ever."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and not listening
        where = address.format(taken.getsockname()[1])
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(
            UsageError, match=r"--address .*: no Ray cluster can be joined there .* `ray start --head`, or leave --address out"
        ):
            _raycluster._knock(where)


def test_an_address_where_somebody_listens_is_left_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        for address in (f"127.0.0.1:{server.getsockname()[1]}", "auto", "local"):
            _raycluster._knock(address)


def node(name: str = "n", *, alive: bool = True, **resources: float) -> dict[str, Any]:
    return {"NodeID": name, "Alive": alive, "Resources": resources}


def cluster(*nodes: dict[str, Any], threads: int = 1, gpus: float = 1.0, device: str = "auto") -> Cluster:
    return Cluster(lambda: nodes, threads=threads, gpus=gpus, device=device)


def unit(*needs: str, torch: bool = False) -> Unit:
    return Unit("fill", f"{needs} {torch}", "a", ("0",), torch=torch, needs=needs)


CPU, GPU = node(CPU=4), node(CPU=8, GPU=2)


@pytest.mark.parametrize(
    ("nodes", "given", "asked", "expected"),
    [
        ([CPU], {}, unit(), {"CPU": 1}),
        ([CPU], {"threads": 3}, unit(), {"CPU": 3}),
        ([CPU], {}, unit("gpu", "8 GB", torch=True), {"CPU": 1}),
        ([GPU], {}, unit("gpu", "8 GB", torch=True), {"CPU": 1, "GPU": 1}),
        ([GPU], {"gpus": 0.5}, unit("gpu (but for tiny)"), {"CPU": 1, "GPU": 0.5}),
        ([GPU], {"gpus": 0}, unit("gpu"), {"CPU": 1}),
        ([GPU], {"device": "cpu"}, unit("gpu", torch=True), {"CPU": 1}),
        ([GPU], {"device": "mps"}, unit(torch=True), {"CPU": 1}),
        ([CPU], {"device": "cuda"}, unit(torch=True), {"CPU": 1, "GPU": 1}),
        ([GPU], {}, unit(), {"CPU": 1}),
        ([CPU], {}, unit("6 GB", "2 GB"), {"CPU": 1, "memory": 6 << 30}),
        ([CPU], {}, unit("40 GB, less with memory=low"), {"CPU": 1}),
        ([node(CPU=1, GPU=1, alive=False), CPU], {}, unit(torch=True), {"CPU": 1}),
    ],
)
def test_what_a_worker_needs(nodes: list[dict[str, Any]], given: dict[str, Any], asked: Unit, expected: dict[str, float]) -> None:
    assert cluster(*nodes, **given).demand(asked) == expected


def test_a_run_that_began_without_a_gpu_goes_on_without() -> None:
    """Workers of one run are alike, so what those that run take, and what is free, is known."""
    nodes = [node(CPU=2)]
    found = Cluster(lambda: nodes, threads=1, gpus=1.0, device="auto")
    first = unit(torch=True)
    assert found.demand(first) == {"CPU": 1} and found.without_gpu([unit(), first])
    assert not found.without_gpu([unit()]) and not cluster(CPU, device="cpu").without_gpu([first])
    nodes.append(node("later", CPU=2, GPU=2))
    found._seen = (float("-inf"), [])
    assert found.demand(first) == {"CPU": 1} and found.capacity({"CPU": 1}) == 4
    assert found.room(unit(torch=True), [first, first, first]) and not found.room(unit(torch=True), [first] * 4)
    assert not cluster(GPU).without_gpu([first])


def test_when_the_last_gpu_is_lost_its_work_waits_for_another() -> None:
    nodes = [CPU, GPU]
    found = Cluster(lambda: nodes, threads=1, gpus=1.0, device="auto")
    assert found.demand(unit(torch=True)) == {"CPU": 1, "GPU": 1}
    nodes.remove(GPU)
    assert found.demand(unit(torch=True)) == {"CPU": 1, "GPU": 1}


@pytest.mark.parametrize(
    ("nodes", "demand", "expected"),
    [
        ([CPU], {"CPU": 1}, 4),
        ([CPU, GPU], {"CPU": 3}, 3),
        ([CPU, GPU], {"CPU": 1, "GPU": 0.5}, 4),
        ([CPU, GPU], {"CPU": 5, "GPU": 1}, 1),
        ([CPU], {"CPU": 1, "GPU": 1}, 0),
        ([node(CPU=4, alive=False)], {"CPU": 1}, 0),
        ([node(CPU=1, GPU=1)], {"CPU": 0.1, "GPU": 0.1}, 10),
    ],
)
def test_how_many_fit(nodes: list[dict[str, Any]], demand: dict[str, float], expected: int) -> None:
    assert cluster(*nodes).capacity(demand) == expected


@pytest.mark.parametrize(
    ("nodes", "others", "expected"),
    [
        ([CPU], [unit()] * 3, True),
        ([CPU], [unit()] * 4, False),
        ([node(CPU=1), node(CPU=1)], [unit()], True),
        ([node(CPU=2, GPU=1)], [unit(torch=True)], True),
        ([node(CPU=2, GPU=1)], [unit(torch=True), unit()], False),
    ],
)
def test_room_beside_others(nodes: list[dict[str, Any]], others: list[Unit], expected: bool) -> None:
    assert cluster(*nodes).room(unit(), others) is expected


def test_two_that_need_the_one_gpu_do_not_fit_together() -> None:
    assert not cluster(node(CPU=8, GPU=1)).room(unit(torch=True), [unit(torch=True)])


def test_a_worker_that_fits_nowhere_is_refused_with_what_there_is() -> None:
    with pytest.raises(RealbenchError, match=r"needs 1 CPU, 1 GPU \(nodes: 4 CPU, 0 GPU\)"):
        cluster(CPU, device="cuda").check([unit(), unit(torch=True)])
    cluster(CPU).check([unit(), unit(torch=True)])


@pytest.mark.parametrize(("device", "gpus", "message"), [("cuda:1", 1, "Ray decides which GPU"), ("cuda", 0, "leave one of them out")])
def test_devices_that_ray_cannot_give_are_refused(device: str, gpus: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        cluster(CPU, device=device, gpus=gpus)


def test_resources_in_words() -> None:
    assert listed({"CPU": 2.0, "GPU": 0.5, "memory": float(6 << 30)}) == "2 CPU, 0.5 GPU, 6 GB"


class FakeRay:
    """What Connection uses of Ray."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.ended = 0

    def is_initialized(self) -> bool:
        return len(self.calls) > self.ended

    def init(self, **words: Any) -> Any:
        if words["address"] == "nowhere:1":
            raise ConnectionError("nobody answers\nand more")
        self.calls.append(words)
        return SimpleNamespace(dashboard_url="127.0.0.1:8265")

    def shutdown(self) -> None:
        self.ended = len(self.calls)

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(gcs_address="10.0.0.1:6379")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    made = FakeRay()
    monkeypatch.setattr(_raycluster, "load_ray", lambda: made)
    monkeypatch.setattr(_raycluster, "_knock", lambda address: None)  # its addresses are as made up as it is
    return made


def test_a_connection_serves_all_stages_and_ends_once(fake: FakeRay) -> None:
    """Also where the address is another name for the one that Ray gives."""
    said: list[str] = []
    for _ in range(2):
        assert Connection.open("head:6379", said.append) is fake
    assert [call["address"] for call in fake.calls] == ["head:6379"] and not Connection.started
    assert said == ["ray: dashboard at http://127.0.0.1:8265"]
    Connection.close()
    assert not fake.is_initialized()


def test_without_an_address_ray_is_started_here(fake: FakeRay) -> None:
    Connection.open(None, print)
    assert Connection.started and fake.calls[0]["address"] == "local" and fake.calls[0]["num_cpus"] == machine.cores()
    assert fake.calls[0]["log_to_driver"] is False
    Connection.close()
    assert not Connection.started


def test_somebody_elses_connection_is_used_and_left_alone(fake: FakeRay) -> None:
    fake.init(address="theirs")
    for address in (None, "auto", "10.0.0.1:6379"):
        Connection.open(address, print)
    with pytest.raises(UsageError, match=r"connected to 10\.0\.0\.1:6379"):
        Connection.open("10.0.0.2:6379", print)
    Connection.close()
    assert fake.is_initialized() and len(fake.calls) == 1


@pytest.mark.parametrize(
    ("address", "message"),
    [("nowhere:1", r"can be joined there \(nobody answers\)"), ("ray://a:1", "cannot stream replies")],
)
def test_an_address_that_is_none_is_refused(fake: FakeRay, address: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Connection.open(address, print)
    assert not Connection.opened


def test_rays_telemetry_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    monkeypatch.setattr(_raycluster.importlib, "import_module", lambda name: name)
    assert _raycluster.load_ray() == "ray" and os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED")


def picture(level: int, size: int = SMALL + 1) -> Array:
    return np.full(size, level, np.uint8)


def test_equal_arrays_are_put_once_and_small_ones_not_at_all() -> None:
    put: list[Array] = []
    objects = Objects(lambda array: put.append(array) or f"ref{len(put)}")  # type: ignore[func-returns-value]
    small = picture(1, SMALL)
    found = objects.references("a", {"target": picture(1), "truth": picture(1), "mask": small, "reference/0": picture(2)})
    assert found == {"target": "ref1", "truth": "ref1", "mask": small, "reference/0": "ref2"}
    assert objects.references("a", {"target": picture(1)}) == {"target": "ref1"}
    objects.forget("b")
    assert objects.references("a", {"target": picture(1)}) == {"target": "ref1"}
    objects.forget("a")
    assert objects.references("a", {"target": picture(1)}) == {"target": "ref3"}


def test_what_is_kept_is_bounded_and_the_oldest_goes_first() -> None:
    put: list[int] = []
    objects = Objects(lambda array: put.append(int(array[0])) or int(array[0]), keep=2 * (SMALL + 1))  # type: ignore[func-returns-value]
    for level in (1, 2, 1, 3, 1, 2):
        objects.references("a", {"x": picture(level)})
    assert put == [1, 2, 3, 2]


FILES = """
from dataclasses import dataclass, field
from realbench.method import BaseMethod, MethodCard

@dataclass(frozen=True)
class Settings:
    folder: str = field(default="", metadata={"path": True})
    model: str = field(default="tiny", metadata={"path": "or name"})
    note: str = ""

class Reads(BaseMethod):
    card = MethodCard("reads", "Reads", "Reads files.")
    Settings = Settings
"""


@pytest.fixture
def named(plugins: Any, tmp_path: Path) -> dict[str, Any]:
    """A request whose settings name a folder of two files and one file; one more text is only called like a file."""
    plugins("methods", {"reads": "Reads"}, FILES)
    (tmp_path / "own" / "<img onerror=x>").mkdir(parents=True)
    (tmp_path / "own" / "<img onerror=x>" / "0.png").write_bytes(b"inner")
    (tmp_path / "own" / "a\nb").write_bytes(b"outer")
    (tmp_path / "weights.bin").write_bytes(b"model")
    settings = {"folder": str(tmp_path / "own"), "model": str(tmp_path / "weights.bin"), "note": str(tmp_path / "weights.bin")}
    return {"stage": "fill", "method": "reads", "settings": settings, "work": str(tmp_path / "run" / "work")}


def test_files_that_settings_name_travel_and_paths_of_the_driver_do_not(named: dict[str, Any], tmp_path: Path) -> None:
    sent = pack(Message(named, {"target": picture(1)}))
    assert sent.head["work"] is None
    arrived = unpack(sent, tmp_path / "node")
    settings = arrived.head["settings"]
    assert Path(settings["folder"]).is_relative_to(tmp_path / "node") and settings["note"] == named["settings"]["note"]
    assert (Path(settings["folder"]) / "<img onerror=x>" / "0.png").read_bytes() == b"inner"
    assert (Path(settings["folder"]) / "a\nb").read_bytes() == b"outer"
    assert Path(settings["model"]).read_bytes() == b"model" and Path(settings["model"]).name == "weights.bin"
    assert list(arrived.arrays) == ["target"] and "files" not in arrived.head


def test_an_isolated_methods_folder_travels_with_what_may_be_run_and_without_what_is_no_part_of_it(tmp_path: Path) -> None:
    folder = write_method(tmp_path / "mine")
    (folder / "tool.sh").write_text("#!/bin/sh\n")
    (folder / "tool.sh").chmod(0o755)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("a token")
    (folder / ".venv").mkdir()
    (folder / ".venv" / "pyvenv.cfg").write_text("home = /usr")
    sent = pack(Message({"stage": "fill", "method": "isolated", "settings": {"method": str(folder)}}))
    place = Path(unpack(sent, tmp_path / "node").head["settings"]["method"])
    assert os.access(place / "tool.sh", os.X_OK) and not os.access(place / "method.toml", os.X_OK)
    assert sorted(path.name for path in place.iterdir()) == sorted(path.name for path in folder.iterdir() if path.name[0] != ".")
    (folder / "tool.sh").chmod(0o644)
    assert pack(Message({**sent.head, "files": None})).head["files"]["method"]["key"] != sent.head["files"]["method"]["key"]


def asking(method: str, settings: dict[str, Any]) -> dict[str, Any]:
    """A request for one fill of a scene without references."""
    head = {"stage": "fill", "items": ("0",), "method": method, "settings": settings, "oracle": False, "fit": 0, "feather": 4.0}
    more = {"device": "cpu", "dtype": "float32", "work": None, "state": None, "scene_id": "a", "prompt": None, "references": 0}
    return head | more


PREPARES = """
import time
from pathlib import Path
from realbench.method import BaseMethod, MethodCard

MARK = Path(__file__).with_name("prepared")

class Prepares(BaseMethod):
    card = MethodCard("prepares", "Prepares", "Takes longer to prepare than a fill may take.")

    @classmethod
    def prepare(cls, settings, say):
        say("this takes a while")
        time.sleep(6)
        MARK.write_text(MARK.read_text() + "x" if MARK.exists() else "x")

    def complete(self, task, seed, context):
        if not MARK.exists():
            time.sleep(3600)
        return task.target, ()
"""


def test_what_a_method_prepares_on_a_node_is_done_once_and_while_the_clock_stands_still(
    plugins: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = plugins("methods", {"prepares": "Prepares"}, PREPARES)
    monkeypatch.setattr(_rayhost, "_fetched", lambda inputs: inputs)
    head = {**asking("prepares", {}), "prepare": True}
    arrays = {"target": np.zeros((12, 16, 3), np.uint8), "mask": np.ones((12, 16), np.bool_)}
    host = _rayhost.Host(1, 1, list(sys.path))
    try:
        replies = [list(host.ask(dict(head), arrays, {}, 5.0)) for _ in range(2)]
    finally:
        host.close()
    assert [[reply[0]["event"] for reply in one] for one in replies] == [
        ["preparing", "progress", "prepared", "item", "log"],
        ["item", "log"],
    ]
    assert replies[0][1][0]["data"]["text"] == "this takes a while" and replies[0][3][0].get("state", "ok") == "ok"
    assert module.with_name("prepared").read_text() == "x"


def test_a_folder_below_the_users_home_travels_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_method(tmp_path / "mine")
    sent = pack(Message({"stage": "fill", "method": "isolated", "settings": {"method": "~/mine"}}))
    place = Path(unpack(sent, tmp_path / "node").head["settings"]["method"])
    assert place.is_relative_to(tmp_path / "node") and (place / "method.toml").is_file()


def test_a_node_must_have_the_same_content_of_a_method_that_is_files(tmp_path: Path) -> None:
    """Wherever the folder lies."""
    folders = [write_method(tmp_path / "here" / "m"), write_method(tmp_path / "there" / "m")]
    here, there = ({"stage": "fill", "method": "isolated", "settings": {"method": str(folder)}} for folder in folders)
    assert _problem(there, plugins(here)) == ""
    (folders[1] / "run.py").write_text("# another")
    assert _problem(there, plugins(here)) == "what method isolated reads is another edition than the driver's"


UNPREPARED = """
from realbench.method import BaseMethod, MethodCard

class Unprepared(BaseMethod):
    card = MethodCard("unprepared", "Unprepared", "Cannot be prepared.")

    @classmethod
    def prepare(cls, settings, say):
        raise ValueError("no index")

    def complete(self, task, seed, context):
        return task.target, ()
"""


def test_what_could_not_be_prepared_is_not_asked_and_keeps_no_request(plugins: Any) -> None:
    plugins("methods", {"unprepared": "Unprepared"}, UNPREPARED)
    session, kept = Session(), []
    for _ in range(3):
        arrays = {"target": np.zeros((12, 16, 3), np.uint8), "mask": np.ones((12, 16), np.bool_)}
        kept.append(weakref.ref(arrays["target"]))
        replies = list(session.handle(Message({**asking("unprepared", {}), "prepare": True}, arrays)))
        (item,) = [reply.head for reply in replies if reply.head["event"] == "item"]
        assert item["state"] == "failed" and item["reason"] == "ValueError: no index"
        del arrays
    gc.collect()
    assert [one() is None for one in kept][:2] == [True, True]


def test_a_method_that_writes_beside_itself_is_the_same_at_its_second_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "Path(sys.argv[0]).with_name('cache.bin').write_bytes(b'x')\n" + FLAT
    monkeypatch.setenv("REALBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_rayhost, "_fetched", lambda inputs: inputs)
    arrays = {"target": np.zeros((12, 16, 3), np.uint8), "mask": np.ones((12, 16), np.bool_)}
    sent = pack(Message(asking("isolated", {"method": str(write_method(tmp_path / "m", script))}), arrays))
    expected = plugins(sent.head)
    host = _rayhost.Host(1, 1, list(sys.path))
    try:
        for _ in range(2):
            events = [reply[0]["event"] for reply in host.ask(dict(sent.head), sent.arrays, expected, 60.0)]
            assert "item" in events and "differs" not in events
    finally:
        host.close()


def runner(
    nodes: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, said: list[str], device: str = "auto", address: str = "auto"
) -> Any:
    """The runner on nodes that are made up."""
    stub = SimpleNamespace(nodes=lambda: nodes, put=lambda array: array)
    monkeypatch.setattr(_raycluster.Connection, "open", classmethod(lambda cls, address, say: stub))
    monkeypatch.setattr(_raycluster, "FRESH", -1.0)
    monkeypatch.setattr(ray, "FRESH", 0.01)
    options = RunnerOptions(lambda unit: Message({}), device=device, say=said.append, special={"address": address})
    return ray.RayRunner(options)


@pytest.fixture
def undecided() -> Iterator[None]:
    yield
    Connection.close()


def test_nodes_that_the_work_needs_are_waited_for(monkeypatch: pytest.MonkeyPatch, undecided: None) -> None:
    """A head without cores; the node with a GPU joins while it is waited for, and is used."""
    nodes, said = [node(CPU=0)], list[str]()
    made = runner(nodes, monkeypatch, said)
    monkeypatch.setattr("time.sleep", lambda _: nodes.append(node("later", CPU=4, GPU=2)))
    made.arrange([unit(torch=True)])
    assert made._cluster.demand(unit(torch=True)) == {"CPU": 1, "GPU": 1} and made.slots() == 2
    assert len(said) == 1 and said[0].startswith("ray: waiting up to 120 s for nodes to join (--runner ray: no node has room for a worker")


@pytest.mark.parametrize("address", ["local", "auto"])
def test_a_cluster_that_nobody_joins_is_waited_for_no_longer_than_that(
    monkeypatch: pytest.MonkeyPatch, undecided: None, address: str
) -> None:
    said: list[str] = []
    made = runner([node(CPU=4)], monkeypatch, said, device="cuda", address=address)
    monkeypatch.setattr(ray, "JOINING", 0.05)
    with pytest.raises(RealbenchError, match="no node has room for a worker that needs 1 CPU, 1 GPU"):
        made.arrange([unit(torch=True)])
    assert len(said) == (address == "auto")


@pytest.mark.parametrize("first", [True, False])
def test_both_stages_of_a_run_are_on_the_same_device(monkeypatch: pytest.MonkeyPatch, undecided: None, first: bool) -> None:
    nodes, said = [node(CPU=4), *([node("gpu", CPU=4, GPU=1)] if first else [])], list[str]()
    made = runner(nodes, monkeypatch, said)
    made.arrange([unit(torch=True)])
    assert [text.startswith("ray: no node has a GPU, so this goes on on CPUs") for text in said] == ([] if first else [True])
    if not first:
        nodes.append(node("gpu", CPU=4, GPU=1))
    again = runner(nodes, monkeypatch, said)
    again.arrange([unit(torch=True)])
    assert ("GPU" in again._cluster.demand(unit(torch=True))) == first == ("GPU" in made._cluster.demand(unit(torch=True)))
    Connection.close()
    third = runner(nodes, monkeypatch, said)
    third.arrange([unit(torch=True)])
    assert "GPU" in third._cluster.demand(unit(torch=True)), "another run decides anew"


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("The actor died in its creation task, x\n  File y\nOSError: [Errno 28] No space left on device\n", "WorkerGone", "No space left"),
        ("The actor died unexpectedly before finishing this task.", "WorkerGone", "never started"),
        ("creation task\nModuleNotFoundError: No module named 'realbench'", "RealbenchError", "install realbench .* on every node"),
    ],
)
def test_why_an_actor_never_ran_is_said(said: str, kind: str, words: str) -> None:
    from realbench.runners.ray import _failed

    error = _failed(Exception(said))
    assert type(error).__name__ == kind and re.search(words, str(error)) and "File y" not in str(error)


def test_files_that_a_node_has_travel_once_and_lie_at_the_same_place(named: dict[str, Any], tmp_path: Path) -> None:
    first = pack(Message(named))
    again = pack(Message(named), {entry["key"] for entry in first.head["files"].values()})
    assert first.arrays and not again.arrays
    places = [unpack(sent, tmp_path / "node").head["settings"] for sent in (first, again)]
    assert places[0] == places[1]


def test_another_content_under_the_same_name_lies_elsewhere(named: dict[str, Any], tmp_path: Path) -> None:
    before = unpack(pack(Message(named)), tmp_path / "node").head["settings"]["model"]
    Path(named["settings"]["model"]).write_bytes(b"other one")
    after = unpack(pack(Message(named)), tmp_path / "node").head["settings"]["model"]
    assert Path(before).read_bytes() == b"model" and Path(after).read_bytes() == b"other one"


def test_a_setting_that_names_no_file_here_is_left_to_the_node(named: dict[str, Any], tmp_path: Path) -> None:
    named["settings"] = {"folder": "", "model": "owner/name", "note": ""}
    assert unpack(pack(Message(named)), tmp_path / "node").head["settings"] == named["settings"]


def test_too_much_is_refused_with_what_to_do(named: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_rayfiles, "MOST", 4)
    with pytest.raises(UsageError, match=r"setting folder: .* install it on each node under a name"):
        pack(Message(named))


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out"])
def test_files_are_written_below_their_folder_only(name: str, tmp_path: Path) -> None:
    head = {"settings": {}, "files": {"folder": {"key": "k", "names": [name], "runs": [False], "single": False}}}
    with pytest.raises(RealbenchError, match="would be written elsewhere"):
        unpack(Message(head, {"file/folder/0": picture(1)}), tmp_path / "node")
    assert not (tmp_path / "out").exists()


def test_requests_to_score_go_as_they_are() -> None:
    request = Message({"stage": "score"})
    assert pack(request) is request


def test_plugins_are_known_by_their_source(plugins: Any) -> None:
    path = plugins("methods", {"reads": "Reads"}, FILES)
    head = {"stage": "fill", "method": "reads", "settings": {}}
    here = _asked(head)
    assert _problem(head, here) == ""
    path.write_text(path.read_text() + "\nCHANGED = 1\n")
    assert _asked(head) != here
    assert _problem(head, here) == "method reads is another edition than the driver's"
    assert "unknown method 'none-such'" in _problem({"stage": "fill", "method": "none-such"}, {})


def _asked(head: dict[str, Any]) -> dict[str, str]:
    from realbench.runners import _rayhost

    _rayhost._identity.cache_clear()
    return plugins(head)


def test_metrics_are_known_once_each() -> None:
    spec = {"metric": "psnr", "config": {}}
    assert list(plugins({"stage": "score", "metrics": {"k1": spec, "k2": spec}})) == ["metric psnr"]


def test_what_is_installed_names_version_source_and_python() -> None:
    import realbench

    here = installed()
    assert here["realbench"] == realbench.__version__ and here["python"] == f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert len(here["its source"]) == 12


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("/env/lib/python3.11/site-packages/ray/thirdparty_files", True),
        ("/env/lib/python3.11/site-packages/ray/_private/workers", True),
        ("/env/lib/python3.11/site-packages", False),
        ("/home/ray/project", False),
    ],
)
def test_rays_own_import_path_is_told_from_the_nodes(entry: str, expected: bool) -> None:
    assert _is_rays(entry) is expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"address": "auto"}, "--address: the runner local does not know it; it knows none of its own"),
        ({"gpus_per_fit": 0.5}, "--gpus-per-fit: the runner local"),
        ({"fills_per_task": 4}, "--fills-per-task: the runner local"),
        ({"gpus_per_fit": 1.5}, "expected a share of one GPU"),
        ({"gpus_per_fit": float("nan")}, "expected a share of one GPU"),
        ({"fills_per_task": 0}, "expected at least 1"),
    ],
)
def test_options_that_a_runner_does_not_know_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Machine(**given).kind()


def test_without_ray_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from realbench import execution

    monkeypatch.setattr(execution.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"ray is not installed; pip install 'realbench\[ray\]'"):
        Machine(runner="ray").kind()


def test_ray_is_not_imported_for_its_card() -> None:
    program = "import sys\nfrom realbench import registry\nprint(registry.load('runners', 'ray').card.options, 'ray' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "('address', 'gpus_per_fit', 'fills_per_task') False"
