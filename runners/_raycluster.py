"""A Ray cluster: joined or started, what it has room for, and given back in the end."""

from __future__ import annotations

import importlib
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from realbench import machine
from realbench.errors import RealbenchError, UsageError
from realbench.runner import Unit

STORE = 1 << 30
"""Bytes of the object store of a Ray that is started here: inputs and replies under way, never a whole run."""
KNOCK = 20.0
"""Seconds that a cluster's address has to answer."""
FRESH = 1.0
"""Seconds for which the list of nodes is taken as it was."""


def load_ray() -> Any:
    """Ray, which reports nothing home."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # the actor sees to it, whatever Ray's default becomes
    return importlib.import_module("ray")


class Connection:
    """The process's one connection to Ray, kept from stage to stage; somebody else's is used and left alone."""

    opened = False
    """This module connected, so it disconnects."""
    started = False
    """The cluster was started here, on this machine."""
    gpu: bool | None = None
    """Whether a run with `--device auto` uses GPUs; None until its first stage begins."""

    @classmethod
    def open(cls, address: str | None, say: Callable[[str], None]) -> Any:
        """Join the cluster at an address, or start one of this machine's cores. Raises UsageError where that cannot be."""
        ray = load_ray()
        if ray.is_initialized():
            return ray if cls.opened else _joined(ray, address)
        if address and address.startswith("ray://"):
            raise UsageError(
                f"--address {address}: Ray's client protocol cannot stream replies; work on a node of the cluster "
                "(`ray job submit`, or log in) with --address auto"
            )
        if address:
            _knock(address)
        before = signal.getsignal(signal.SIGTERM)
        context = _connect(ray, address)
        cls.opened, cls.started = True, address is None
        if callable(before) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray's own would end the program without a word
        if context.dashboard_url:
            say(f"ray: dashboard at http://{context.dashboard_url}")
        return ray

    @classmethod
    def close(cls) -> None:
        """Disconnect; a cluster that was started here ends."""
        cls.gpu = None
        if cls.opened:
            cls.opened = cls.started = False
            load_ray().shutdown()


def _joined(ray: Any, address: str | None) -> Any:
    """The connection this process has. Raises UsageError where another cluster is asked for."""
    present = ray.get_runtime_context().gcs_address
    if address not in (None, "auto", "local", present):
        raise UsageError(f"--address {address}: this process is connected to {present}; ray.shutdown() first, or leave --address out")
    return ray


def _knock(address: str) -> None:
    """Raises UsageError where nobody listens at an address: Ray itself would try for ever, without a word."""
    where = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    host, colon, port = where.rpartition(":")
    if not colon or not port.isdecimal():
        return  # a word of Ray's, such as auto
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(where, getattr(error, "strerror", None) or error) from error


def _unreachable(address: str, reason: object) -> UsageError:
    where = f"--address {address}: no Ray cluster can be joined there ({reason})"
    return UsageError(f"{where}; start one with `ray start --head`, or leave --address out")


def _connect(ray: Any, address: str | None) -> Any:
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "namespace": "realbench"}
    even = {"worker_niceness": 0}  # as the workers of `local`; Ray's are polite by default
    started = {"address": "local", "num_cpus": machine.cores(), "object_store_memory": STORE, "_system_config": even}
    try:
        return ray.init(**({"address": address} if address else started), **quiet)
    except Exception as error:
        ray.shutdown()
        said = str(error).strip().splitlines() or [type(error).__name__]
        if address is None:
            raise RealbenchError(f"--runner ray: Ray could not be started here ({said[0]}); try again, or use --runner local") from error
        raise _unreachable(address, said[0]) from error


Demand = Mapping[str, float]
"""Resources of one worker, as Ray names them."""


class Cluster:
    """What the nodes have, and which workers fit on them."""

    def __init__(
        self, nodes: Callable[[], Sequence[Mapping[str, Any]]], *, threads: int, gpus: float, device: str, gpu: bool | None = None
    ) -> None:
        """`nodes` as ray.nodes(), `gpu` as decided before. Raises UsageError for a device that Ray cannot give."""
        self._nodes = nodes
        self._threads = threads
        self._gpus = gpus
        self._device = device
        self._seen: tuple[float, list[Demand]] = (float("-inf"), [])
        self._gpu = self._decided = gpu
        if re.fullmatch(r"cuda:[0-9]+", device):
            raise UsageError(f"--device {device}: Ray decides which GPU a worker gets; use --device cuda")
        if device == "cuda" and not gpus:
            raise UsageError("--gpus-per-fit 0 with --device cuda: a worker without a GPU cannot work on one; leave one of them out")

    def demand(self, unit: Unit) -> dict[str, float]:
        """The resources of a worker for a unit.

        A GPU for what runs on torch, unless the device is the CPU or (with `auto`) no node had one when the run began: it does not
        go from one device to the other. When the last GPU is lost, what needs one waits for another. Memory only for a card that
        names some and no GPU: beside one, the gigabytes are the GPU's, of which Ray keeps no account.
        """
        demand: dict[str, float] = {"CPU": self._threads}
        wanted = self._device == "cuda" or (self._device == "auto" and self.gpu)
        if _wants_gpu(unit) and wanted and self._gpus:
            demand["GPU"] = self._gpus
        sizes = [int(size[1]) for need in unit.needs if (size := re.fullmatch(r"([0-9]+) GB", need))]
        if sizes and not _names_gpu(unit):
            demand["memory"] = float(max(sizes) << 30)
        return demand

    @property
    def gpu(self) -> bool:
        """Whether `auto` means a GPU: whether a node had one when this was first asked, or last checked."""
        if self._gpu is None:
            self._gpu = any(node.get("GPU") for node in self._alive())
        return self._gpu

    def capacity(self, demand: Demand) -> int:
        """How many workers with a demand the nodes have room for, were they empty."""
        return sum(_times(node, demand) for node in self._alive())

    def room(self, unit: Unit, others: Sequence[Unit]) -> bool:
        """Whether a worker for a unit fits beside those for others; an estimate over all nodes, Ray has the last word."""
        demand = self.demand(unit)
        demands = [self.demand(other) for other in others]
        if sum(other == demand for other in demands) >= self.capacity(demand):
            return False
        nodes = self._alive()
        return all(
            sum(other.get(name, 0) for other in demands) + amount <= sum(node.get(name, 0) for node in nodes)
            for name, amount in demand.items()
        )

    def without_gpu(self, units: Sequence[Unit]) -> bool:
        """Whether units that would run on a GPU go without, since no node has one and nobody said so."""
        return self._device == "auto" and bool(self._gpus) and any(_wants_gpu(unit) and "GPU" not in self.demand(unit) for unit in units)

    def check(self, units: Sequence[Unit]) -> None:
        """Raises RealbenchError for a worker that no node will ever have room for; until it does not, `auto` is not decided."""
        self._gpu = self._decided
        for demand in self.kinds(units):
            if not self.capacity(demand):
                found = "; ".join(listed({name: node.get(name, 0) for name in demand}) for node in self._alive())
                raise RealbenchError(
                    f"--runner ray: no node has room for a worker that needs {listed(demand)} (nodes: {found or 'none'}); "
                    "give fewer --threads, another --device or --gpus-per-fit, or start such a node first"
                )

    def kinds(self, units: Sequence[Unit]) -> list[dict[str, float]]:
        """The different demands of some units."""
        found: list[dict[str, float]] = []
        for torch, needs in dict.fromkeys((unit.torch, unit.needs) for unit in units):
            demand = self.demand(Unit("fill", "", "", (), torch=torch, needs=needs))
            found += [demand] if demand not in found else []
        return found

    def is_alive(self, node: str) -> bool:
        """Whether a node, by its id, is there now."""
        return any(one["NodeID"] == node and one["Alive"] for one in self._nodes())

    def _alive(self) -> list[Demand]:
        """The resources of the nodes that are there."""
        when, found = self._seen
        if time.monotonic() - when > FRESH:
            found = [node["Resources"] for node in self._nodes() if node["Alive"]]
            self._seen = time.monotonic(), found
        return found


def _wants_gpu(unit: Unit) -> bool:
    return unit.torch or _names_gpu(unit)


def _names_gpu(unit: Unit) -> bool:
    return any(need.startswith("gpu") for need in unit.needs)


def _times(node: Demand, demand: Demand) -> int:
    """How often a demand fits on a node."""
    return int(min(node.get(name, 0.0) / amount + 1e-9 for name, amount in demand.items()))


def listed(demand: Demand) -> str:
    """Resources in words."""
    return ", ".join(f"{amount / (1 << 30):.0f} GB" if name == "memory" else f"{amount:g} {name}" for name, amount in demand.items())
