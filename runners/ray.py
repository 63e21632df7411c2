"""Runs units on a Ray cluster: an actor a slot hosts the worker on its node; inputs go through the object store, replies stream back.

Scheduling is that of `_work`: a row's scene and fit is split into chunks of `--fills-per-task` seeds, of which the first brings the fit and
the others wait for it; they go to the slot whose actor made the fit, unless another has nothing else to do. One request a slot is under way
at a time. What was under way when an actor or its node was lost is taken again, an item at most three times.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from realbench import fingerprint
from realbench.errors import RealbenchError
from realbench.process import WorkerLost
from realbench.runner import RunnerCard, RunnerOptions, Unit
from realbench.store import refused
from realbench.wire import Message

from ._raycluster import FRESH, Cluster, Connection, listed
from ._rayfiles import pack
from ._rayhost import Host, installed, plugins
from ._rayobjects import Objects
from ._slots import Crowded, SlotRunner, WorkerGone
from ._work import Work

FILLS = 8
"""Seeds in a chunk: a multiple of what methods fill at a time, so that batches are those of the local runner."""
SLOTS = 256
"""Most actors of one run."""
AHEAD = 2
"""Replies that an actor may be ahead of the driver."""
GRACE = 5.0
"""Seconds that an actor has to end its worker before it is killed."""
LOG = 2000
"""Characters kept of what Ray says of a failure."""
LINE = 200
"""Characters kept of an error of Ray's where it is a reason."""
STARTING = 5.0
"""Seconds that a start may take before other workers are asked to make room."""
JOINING = 120.0
"""Seconds that a cluster's nodes have to join where none has room for the work."""
PATIENCE = 30.0
"""Seconds after which the user is told that an actor still waits for a place."""


class RayRunner(SlotRunner):
    """As many actors as the cluster has room for, at most `--workers`."""

    card: ClassVar[RunnerCard] = RunnerCard(
        "ray", "actors on a Ray cluster, or on one started here", ("address", "gpus_per_fit", "fills_per_task"), ("ray",), elsewhere=True
    )

    def __init__(self, options: RunnerOptions) -> None:
        super().__init__(options)
        self._ray = Connection.open(options.special.get("address"), options.say)
        self._threads = options.threads or 1
        gpus = options.special.get("gpus_per_fit")
        gpus = 1.0 if gpus is None else gpus
        self._cluster = Cluster(self._ray.nodes, threads=self._threads, gpus=gpus, device=options.device, gpu=Connection.gpu)
        log = Path(options.log) if options.log else None
        self._parts = Parts(self._ray, self._cluster, Objects(self._ray.put), log)
        self._kinds: list[dict[str, float]] = []
        self._saying = threading.Lock()
        self._said: set[str] = set()

    @classmethod
    def release(cls) -> None:
        """Leave the cluster; one that was started here ends."""
        Connection.close()

    def arrange(self, units: Iterable[Unit]) -> Work:
        """Chunks of units."""
        every = list(units)
        self._await_nodes(every)
        Connection.gpu = self._cluster.gpu
        if not Connection.started and self._cluster.without_gpu(every):
            self._say("ray: no node has a GPU, so this goes on on CPUs, even where GPUs join later; with --device cuda it waits for one")
        self._kinds = self._cluster.kinds(every)
        return Work(every, chunk=self.options.special.get("fills_per_task") or FILLS, room=self._room, returns=True)

    def slots(self) -> int:
        """One for each actor that the nodes have room for now, at most `--workers`."""
        room = sum(map(self._cluster.capacity, self._kinds))
        asked = self.options.workers or SLOTS
        if self.options.workers and self._kinds and room < asked:
            self._say(f"ray: room for {room} of the {asked} workers asked for; more start when nodes join")
        return max(1, min(asked, room, SLOTS))

    def start(self, unit: Unit) -> RayWorker:
        """An actor for units with this word, once Ray has a place for it. Raises RealbenchError for a node with another realbench."""
        demand = self._cluster.demand(unit)
        gpus = demand.get("GPU", 0)
        path = [entry for entry in sys.path if entry] if Connection.started else None
        options = {"num_cpus": demand["CPU"], "num_gpus": gpus, "max_concurrency": 2, "max_restarts": 0, "max_task_retries": 0}
        if "memory" in demand:
            options["memory"] = demand["memory"]
        actor = self._ray.remote(Host).options(**options).remote(self._threads, gpus, path)
        try:
            hello = self._placed(actor, unit)
        except self._ray.exceptions.RayActorError as error:
            raise _failed(error) from error
        except BaseException:
            self._ray.kill(actor)
            raise
        _check(hello, lambda: self._ray.kill(actor))
        return RayWorker(actor, hello["node"], self._parts)

    def spent(self, scene: str) -> None:
        """Nothing of this scene is left to do: its inputs leave the object store."""
        self._parts.objects.forget(scene)

    def _await_nodes(self, units: Sequence[Unit]) -> None:
        """Nodes of a cluster come up one by one: those that the work needs are waited for. Raises RealbenchError where they do not come."""
        joins = self.options.special.get("address") not in (None, "local")
        deadline = time.monotonic() + (JOINING if joins else 0)
        while True:
            try:
                self._cluster.check(units)
                return
            except RealbenchError as error:
                if time.monotonic() >= deadline:
                    raise
                self._say(f"ray: waiting up to {JOINING:.0f} s for nodes to join ({error})")
                time.sleep(FRESH)

    def _placed(self, actor: Any, unit: Unit) -> dict[str, Any]:
        """What an actor says once it runs; waiting for its place ends with the run."""
        hello = actor.hello.remote()
        since = time.monotonic()
        while not self._ray.wait([hello], timeout=0.5)[0]:
            if self.stopped:
                raise WorkerGone("the run was stopped")
            waited = time.monotonic() - since
            if waited > STARTING and self.crowded(unit):
                raise Crowded
            if waited > PATIENCE:
                needed = listed(self._cluster.demand(unit))
                self._say(f"ray: waiting for a place for a worker ({needed}); others use the cluster, or a node is missing")
        answer: dict[str, Any] = self._ray.get(hello)
        return answer

    def _room(self, unit: Unit, others: Sequence[Unit]) -> bool:
        room = self._cluster.room(unit, others)
        if not room and not others and not self._cluster.capacity(self._cluster.demand(unit)):
            self._say("ray: no node is left that has room for a worker; waiting for one (Ctrl-C keeps what is finished)")
        return room

    def _say(self, text: str) -> None:
        """Tell the user, once."""
        with self._saying:
            if text not in self._said:
                self._said.add(text)
                self.options.say(text)


@dataclass(frozen=True)
class Parts:
    """What the workers of a run share."""

    ray: Any
    cluster: Cluster
    objects: Objects
    log: Path | None


class RayWorker:
    """A worker on some node, asked through its actor."""

    def __init__(self, actor: Any, node: str, parts: Parts) -> None:
        self._actor = actor
        self._node = node
        self._parts = parts
        self._fitted = ""
        self._files: set[str] = set()

    def ask(self, request: Message, timeout: float | None = None) -> Iterator[Message]:
        """See realbench.process.WorkerProcess.ask; raises WorkerGone where the actor or its node is lost."""
        ray = self._parts.ray
        sent, fit = self._prepared(request)
        inputs = self._parts.objects.references(request.head["scene_id"], sent.arrays)
        stream = self._actor.ask.options(num_returns="streaming", _generator_backpressure_num_objects=AHEAD)
        try:
            for reference in stream.remote(dict(sent.head), inputs, plugins(sent.head), timeout):
                head, arrays = ray.get(reference)
                self._files |= {entry["key"] for entry in sent.head.get("files", {}).values()}
                if head["event"] == "fit":
                    self._fitted = fit if head["state"] == "ok" else ""
                if head["event"] in ("fit", "item", "progress"):
                    yield Message(head, arrays)
                else:
                    self._settle(head)
        except (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError) as error:
            raise WorkerGone(self._what_happened(error)) from error
        except ray.exceptions.RayError as error:
            what = str(getattr(error, "cause", None) or error).strip().splitlines() or [type(error).__name__]
            raise WorkerLost(f"its Ray actor failed: {what[0]}", timed_out=False, log=str(error)[-LOG:]) from error

    def kill(self) -> None:
        """End the worker, then the actor."""
        ray = self._parts.ray
        try:
            with suppress(Exception):  # it is gone already, or hangs
                ray.get(self._actor.close.remote(), timeout=GRACE)
        finally:
            ray.kill(self._actor)

    def _prepared(self, request: Message) -> tuple[Message, str]:
        """The request without paths of this machine and without a state that the actor holds; the name of its fit."""
        sent = pack(request, self._files)
        head = sent.head
        if head["stage"] != "fill":
            return sent, ""
        fit = fingerprint.of_data([head["method"], head["settings"], head["scene_id"], head["fit"]])
        arrays = sent.arrays
        if head["state"] is not None and fit == self._fitted:
            arrays = {name: array for name, array in arrays.items() if not name.startswith("state/")}
        return Message({**head, "fitted": fit, "prepare": True}, arrays), fit

    def _settle(self, head: dict[str, Any]) -> None:
        """What an actor says of itself."""
        if head["event"] == "differs":
            raise RealbenchError(f"Ray node {self._node[:12]}: {head['reason']}; every node needs the same packages and files")
        if head["event"] == "lost":
            raise WorkerLost(head["reason"], timed_out=head["timed_out"], log=head["log"])
        if head["event"] == "log" and head["text"] and self._parts.log:
            path = self._parts.log / f"ray-{self._node[:12]}-{threading.get_ident()}.log"
            with refused(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a", encoding="utf-8") as file:
                    file.write(head["text"])

    def _what_happened(self, error: Exception) -> str:
        """In words that name no machine; Ray's own say more, and go to its logs."""
        if not self._parts.cluster.is_alive(self._node):
            return "the node it ran on was lost"
        if "out-of-memory" in str(error) or "memory pressure" in str(error):
            return "Ray ended its actor because the node ran out of memory"
        return "its Ray actor died, or its node was lost"  # Ray notices a lost node some seconds after its actors


def _failed(error: Exception) -> Exception:
    """Why an actor never ran: its node lacks something (the run is refused), or went away (it is tried elsewhere)."""
    text = str(error).strip()
    if "ModuleNotFoundError" in text or "ImportError" in text:
        line = next((line.strip() for line in text.splitlines() if "ModuleNotFoundError" in line or "ImportError" in line), "")
        return RealbenchError(f"a Ray node cannot import realbench ({line}); install realbench {installed()['realbench']} on every node")
    why = f" ({text.splitlines()[-1].strip()[:LINE]})" if "creation task" in text else ""
    return WorkerGone(f"the Ray actor it was meant for never started{why}")


def _check(hello: dict[str, Any], kill: Callable[[], None]) -> None:
    """Raises RealbenchError where a node has another realbench than this machine; its actor is killed then."""
    here, there = installed(), hello["installed"]
    different = [f"{name} {there.get(name)} (expected {here[name]})" for name in here if there.get(name) != here[name]]
    if different:
        kill()
        raise RealbenchError(f"Ray node {hello['node'][:12]} has {', '.join(different)}; install the same realbench on every node")
