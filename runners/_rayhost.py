"""The far side of runner `ray`: an actor that hosts a worker process on its node. It imports no Ray until it runs there."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import realbench
from realbench import fingerprint, plan, registry
from realbench.errors import RealbenchError
from realbench.process import WorkerLost, WorkerProcess
from realbench.specs import settings_class
from realbench.wire import Array, Message

from ._rayfiles import unpack

Reply = tuple[dict[str, Any], dict[str, Array]]
"""A message's head and arrays, as it travels."""
LOG = 64_000
"""Most bytes of the log that travel after a request."""


@cache
def installed() -> dict[str, str]:
    """What must be the same on every node: this package's version and source, and Python's version to the minor."""
    root = Path(realbench.__file__).parent
    files = {path.relative_to(root).as_posix(): path.read_bytes().replace(b"\r\n", b"\n") for path in sorted(root.rglob("*.py"))}
    source = fingerprint.short({name: fingerprint.of_bytes(data) for name, data in files.items()})
    return {"realbench": realbench.__version__, "its source": source, "python": ".".join(platform.python_version_tuple()[:2])}


def plugins(head: Mapping[str, Any]) -> dict[str, str]:
    """The methods and metrics that a request names, each with a hash of its source; a method that is files, with one of their content.

    Raises RealbenchError for one that is not installed.
    """
    if head["stage"] != "fill":
        return {f"metric {name}": _identity("metrics", name) for name in sorted({spec["metric"] for spec in head["metrics"].values()})}
    name = head["method"]
    found = {f"method {name}": _identity("methods", name)}
    method = registry.method(name, head["settings"])
    if hasattr(method, "content"):
        values = plan.validate(settings_class(method), head["settings"], f"method {name}")
        found[f"what method {name} reads"] = fingerprint.short([method.content(values)])
    return found


@cache
def _identity(kind: registry.Kind, name: str) -> str:
    return fingerprint.short([fingerprint.of_source(registry.load(kind, name)), registry.third_party(kind, name)])


class Host:
    """One worker process and what it needs on its node; `close` may be called while `ask` is under way."""

    def __init__(self, threads: int, gpus: float, path: Sequence[str] | None) -> None:
        """`path` is the driver's import path where it is on this machine; else the node's own counts."""
        if not gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # `auto` must not take a GPU that Ray gave to somebody else
        own = [entry for entry in sys.path if not _is_rays(entry)]
        self._path = own if path is None else list(path)
        if path is not None:
            sys.path[:] = [*path, *(entry for entry in sys.path if entry not in path)]
        self._folder = Path(tempfile.mkdtemp(prefix="realbench-"))  # the worker's: it is removed with it, even where this actor was killed
        (self._folder / "log").touch()
        self._log = (self._folder / "log").open("rb")
        self._shown = 0
        self._compared: dict[str, str] = {}  # once is enough, and a method may leave files beside its own while it runs
        self._worker = WorkerProcess(threads=threads, log=self._folder / "log", path=self._path, scratch=self._folder)

    def hello(self) -> dict[str, Any]:
        """What is installed here, and where this is."""
        import ray

        return {"installed": installed(), "node": ray.get_runtime_context().get_node_id(), "pid": os.getpid()}

    def ask(self, head: dict[str, Any], inputs: dict[str, Any], expected: dict[str, str], timeout: float | None) -> Iterator[Reply]:
        """Replies of the worker; then what it logged. A lost worker and a plug-in that differs are replies as well (`lost`, `differs`)."""
        try:
            request = unpack(Message(head, _fetched(inputs)), self._folder / "files")
            new = {name: value for name, value in expected.items() if self._compared.get(name) != value}
            if problem := _problem(request.head, new) if new else "":
                yield {"event": "differs", "reason": problem}, {}
                return
            self._compared |= new
            for reply in self._worker.ask(request, timeout):
                yield dict(reply.head), dict(reply.arrays)
        except WorkerLost as error:
            yield {"event": "log", "text": self._printed()}, {}  # first, since nobody listens after a loss
            yield {"event": "lost", "reason": str(error), "timed_out": error.timed_out, "log": error.log}, {}
            return
        yield {"event": "log", "text": self._printed()}, {}

    def close(self) -> None:
        """End the worker and leave nothing on the node."""
        self._worker.kill()

    def _printed(self) -> str:
        """The end of what was logged since it was last asked for."""
        end = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(self._shown, end - LOG))
        self._shown = end
        return self._log.read(LOG).decode(errors="replace")


def _problem(head: Mapping[str, Any], expected: Mapping[str, str]) -> str:
    """What this node has not, or has another edition of, of what a request names; empty: nothing."""
    try:
        here = plugins(head)
    except RealbenchError as error:
        return str(error)
    return "; ".join(f"{name} is another edition than the driver's" for name in expected if here.get(name) != expected[name])


def _fetched(inputs: Mapping[str, Any]) -> dict[str, Array]:
    """Arrays, those behind references brought to this node."""
    import ray

    far = [name for name, value in inputs.items() if isinstance(value, ray.ObjectRef)]
    return {**inputs, **dict(zip(far, ray.get([inputs[name] for name in far]), strict=True))}


def _is_rays(entry: str) -> bool:
    """Whether an entry of the import path is there for Ray's own sake."""
    parts = Path(entry).parts
    return "ray" in parts and ("thirdparty_files" in parts or "workers" in parts)
