"""Processes that start in milliseconds: forked from one that has imported everything. They are as real, and as mortal, as any other.

`python -m tests.faults.nursery SOCKET` is the parent; `Nursery` talks to it; `Forked` stands in for the Popen of workers.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("numpy", "psutil", "PIL.PngImagePlugin", "filelock")
IMPORTED = (*HEAVY, "realbench.worker", "realbench.bench", "realbench.cli.app", "realbench.cli.screen")


class Child:
    """A forked process, as far as Popen's users look."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self._connection, self.pid = connection, pid
        self.returncode: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        return self._await(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._await(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("a forked process", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _await(self, timeout: float | None) -> int | None:
        """The exit code as soon as it is known; several threads may ask, as they may with Popen."""
        until = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left = 0.05 if until is None else min(0.05, until - time.monotonic())
            with self._lock:
                if self.returncode is None and select.select([self._connection], [], [], max(0.0, left))[0]:
                    said = self._connection.recv(64)
                    self.returncode = int(said) if said else -signal.SIGKILL
                    self._connection.close()
            if left <= 0:
                break
        return self.returncode


class Nursery:
    """The client's side."""

    def __init__(self, path: str) -> None:
        self.path = path

    def fork(self, what: str, argv: list[str], environment: dict[str, str], descriptors: list[int]) -> Child:
        """Start `worker` or `driver` with these as its stdin, stdout and stderr."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(self.path)
        request = json.dumps({"what": what, "argv": argv, "environment": environment}).encode()
        socket.send_fds(connection, [request], descriptors)
        return Child(connection, int(connection.recv(64)))

    def run(self, argv: list[str], environment: dict[str, str], errors: Path) -> int:
        """`realbench …` in a process of its own; its stderr goes to a file."""
        with Path(os.devnull).open("r+b") as nothing, errors.open("wb") as file:
            child = self.fork("driver", ["realbench", *argv], environment, [nothing.fileno(), nothing.fileno(), file.fileno()])
        return child.wait(120)


def start(path: str) -> subprocess.Popen[bytes]:
    """The parent process; it ends when its stdin does."""
    parent = subprocess.Popen([sys.executable, "-m", "tests.faults.nursery", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout is not None and parent.stdout.readline() == b"ready\n"
    return parent


class Forked(Child):
    """What realbench.process gets instead of a Popen."""

    def __init__(self, *, bufsize: int, stderr: Any, env: dict[str, str]) -> None:
        (requests, ours), (theirs, replies) = os.pipe(), os.pipe()
        descriptor = 2 if stderr is None else stderr.fileno()
        child = Nursery(os.environ["NURSERY"]).fork("worker", ["worker"], env, [requests, replies, descriptor])
        super().__init__(child._connection, child.pid)
        os.close(requests)
        os.close(replies)
        self.stdin: IO[bytes] = os.fdopen(ours, "wb", bufsize)
        self.stdout: IO[bytes] = os.fdopen(theirs, "rb", bufsize)


Popen = subprocess.Popen


def popen(args: list[str], **words: Any) -> Any:
    """subprocess.Popen, but workers are forked."""
    if args[-1:] != ["realbench.worker"]:
        return Popen(args, **words)
    assert words["start_new_session"] and words["stdin"] == words["stdout"] == subprocess.PIPE
    return Forked(bufsize=words["bufsize"], stderr=words["stderr"], env=words["env"])


def main(path: str) -> None:
    """Fork on request, report ends, until stdin closes."""
    for module in IMPORTED:
        importlib.import_module(module)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen(64)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    print("ready", flush=True)
    children: dict[int, socket.socket] = {}
    while True:
        ready = select.select([listener, woken, 0], [], [])[0]
        if 0 in ready:
            for pid in children:
                os.kill(pid, signal.SIGKILL)
            return
        if woken in ready:
            os.read(woken, 4096)
            _reap(children)
        if listener in ready:
            _bear(listener, children, [woken, wake])


def _reap(children: dict[int, socket.socket]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with children.pop(pid) as connection, contextlib.suppress(OSError):  # nobody may be left to hear it
            connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def _bear(listener: socket.socket, children: dict[int, socket.socket], own: list[int]) -> None:
    connection, _ = listener.accept()
    message, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    if not message:
        return
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        for held in (listener, connection, *children.values()):
            held.close()
        for descriptor in own:
            os.close(descriptor)
        _live(json.loads(message), descriptors)
    with contextlib.suppress(OSError):
        os.setpgid(pid, pid)  # here and in the child: whoever kills the group must find it
    for descriptor in descriptors:
        os.close(descriptor)
    children[pid] = connection
    with contextlib.suppress(OSError):  # who asked may be gone already
        connection.send(str(pid).encode())


def _live(request: dict[str, Any], descriptors: list[int]) -> None:
    """The child's life; never returns."""
    code = 1
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for target, descriptor in enumerate(descriptors):
            os.dup2(descriptor, target)
            os.close(descriptor)
        _adopt(request["environment"])
        code = _work(request["what"], request["argv"])
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _adopt(environment: dict[str, str]) -> None:
    from realbench import registry

    os.environ.clear()
    os.environ.update(environment)
    entries = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [entry for entry in entries if entry and entry not in sys.path]
    registry._points.cache_clear()
    importlib.invalidate_caches()


def _work(what: str, argv: list[str]) -> int:
    if what == "worker":
        from realbench import worker

        worker.main()
        return 0
    from tests.faults import launch

    sys.argv = argv
    launch.main()
    return 0


if __name__ == "__main__":
    main(sys.argv[1])
