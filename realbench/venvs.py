"""Virtual environments for methods: built once from a lock, kept in the cache folder, shared by all runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from realbench import fingerprint
from realbench.errors import RealbenchError, UsageError
from realbench.locks import Lock
from realbench.process import FAMILY
from realbench.records import now

if TYPE_CHECKING:
    from filelock import FileLock

RECORD = "environment.json"
"""Written last: a folder without it is half-made and built anew."""
SHORT = 2.0
"""Seconds to wait for another process's build without a word."""
LONG = 7200.0
"""Seconds that one step of a build may take."""
TAIL = 1500
"""Characters of a failed build's log that its message shows."""
PASSED = re.compile(
    r"PATH|HOME|USER|LANG|LC_.*|TMPDIR|TEMP|TMP|SYSTEMROOT|COMSPEC|PATHEXT|APPDATA|LOCALAPPDATA|USERPROFILE|XDG_.*|UV_.*|PIP_.*|NETRC|"
    r"SSL_.*|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|(HTTP|HTTPS|ALL|NO|http|https|all|no)_(PROXY|proxy)|CC|CXX|CFLAGS|CUDA_HOME|LD_LIBRARY_PATH"
)
"""What a build sees of the environment: packages may run code of theirs while they are built, so that is little. A private package
index is reached with what its address, or a netrc file, holds."""
SECRET = re.compile(r".*(TOKEN|PASSWORD|SECRET|PUBLISH).*", re.IGNORECASE)
"""Never, whatever PASSED says."""
PACKAGES = "import importlib.metadata as m, json; print(json.dumps(sorted(f'{d.name}=={d.version}' for d in m.distributions())))"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Environment:
    """A finished virtual environment."""

    folder: Path
    version: str
    """Python's full version."""
    builder: str
    """What built it, for example `uv 0.9.2`."""
    packages: tuple[str, ...]
    """What is installed, `name==version`."""
    notes: tuple[str, ...]
    """What a reader of its results should know."""

    @property
    def programs(self) -> Path:
        """The folder of its python and of its packages' commands."""
        return self.folder / ("Scripts" if os.name == "nt" else "bin")

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.programs / ("python.exe" if os.name == "nt" else "python")


def root() -> Path:
    """The folder of all environments: `environments` in REALBENCH_CACHE, else in the user's cache folder."""
    from realbench.demo import default_cache

    return default_cache().expanduser().absolute() / "environments"


def key(lock: Lock, python: str) -> str:
    """What an environment is named after: the lock's content, Python's version, and the platform."""
    return fingerprint.short([lock.digest, python, sysconfig.get_platform()])


def ensure(lock: Lock, python: str, say: Say = lambda text: None) -> Environment:
    """The environment of a lock and a version of Python, built first where it is missing. Several processes may call this at once.

    Raises UsageError where that Python or a tool is missing, and RealbenchError, with the end of the log, where the build fails.
    """
    from filelock import FileLock

    folder = root() / key(lock, python)
    found = _read(folder)
    if found is not None:
        return found
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(FileLock(f"{folder}.lock"), say):
            return _read(folder) or _build(folder, lock, python, say)
    except OSError as error:
        reason = error.strerror or error
        raise RealbenchError(f"{folder}: cannot be written ({reason}); set REALBENCH_CACHE to a writable folder with room") from error


@contextmanager
def _alone(lock: FileLock, say: Say) -> Iterator[None]:
    """Hold a lock; where another process has it, say what is waited for."""
    from filelock import Timeout

    try:
        lock.acquire(timeout=SHORT)
    except Timeout:
        say(f"waiting for another process that builds the environment {Path(lock.lock_file).stem}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _read(folder: Path) -> Environment | None:
    """The finished environment in a folder; None where it is none, or where the Python it was made of is gone."""
    try:
        data = json.loads((folder / RECORD).read_bytes())
        found = Environment(folder / data["folder"], data["python"], data["builder"], tuple(data["packages"]), tuple(data["notes"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.python.exists() else None


def _build(folder: Path, lock: Lock, python: str, say: Say) -> Environment:
    """Build in place, since an environment cannot be moved: only the record that names it makes it one. The lock is held.

    Each build has a folder of its own: what a killed one left behind may be at work still.
    """
    shutil.rmtree(folder, ignore_errors=True)
    uv = find_uv()
    interpreter = find_python(python, uv)
    builder = _version(uv) if uv else f"pip of Python {python}"
    notes = _notes(lock, uv)
    for text in (f"building the environment {folder.name} with {builder} from {lock.path} (once)", *notes):
        say(text)
    log = Path(f"{folder}.log")
    log.write_bytes(b"")
    new = Environment(folder / uuid.uuid4().hex[:8], "", builder, (), notes)
    folder.mkdir(exist_ok=True)
    for command in _with_uv(uv, new, lock, interpreter) if uv else _with_pip(new, lock, interpreter):
        _perform(command, new, log, lock)
    data = {
        "folder": new.folder.name,
        "python": _asked(new.python, "import platform; print(platform.python_version())"),
        "builder": builder,
        "packages": json.loads(_asked(new.python, PACKAGES)),
        "notes": list(notes),
        "lock": lock.digest,
        "built": now(),
    }
    record = folder / f".{RECORD}"
    record.write_text(json.dumps(data, indent=1), encoding="utf-8")
    record.replace(folder / RECORD)
    return Environment(new.folder, data["python"], builder, tuple(data["packages"]), notes)


def _notes(lock: Lock, uv: str | None) -> tuple[str, ...]:
    notes = []
    if not uv:
        notes.append("environment built with pip, because uv is not installed")
    if not lock.hashed:
        notes.append(f"{lock.path.name} has no hashes: the package index decided on {now()[:10]} what is installed")
    return tuple(notes)


def _with_uv(uv: str, new: Environment, lock: Lock, interpreter: str) -> list[list[str]]:
    commands = [[uv, "venv", "--quiet", "--no-project", "--no-python-downloads", "--python", interpreter, str(new.folder)]]
    target = ["--python", str(new.python), "--no-python-downloads"]
    if lock.kind == "uv":
        project = ["--project", str(lock.path.parent), "--frozen", "--no-dev", "--no-install-project"]
        commands.append([uv, "sync", *project, *target])
    elif lock.kind == "pylock" or (lock.hashed and not lock.empty):
        commands.append([uv, "pip", "sync", *target, *(["--require-hashes"] if lock.kind == "requirements" else []), str(lock.path)])
    elif not lock.empty:
        commands.append([uv, "pip", "install", *target, "--requirements", str(lock.path)])
    return commands


def _with_pip(new: Environment, lock: Lock, interpreter: str) -> list[list[str]]:
    """The slower way. Raises UsageError for a lock that pip cannot install."""
    if lock.kind != "requirements":
        raise UsageError(f"{lock.path}: installing it takes uv, which is not on this machine; pip install uv, or use a requirements file")
    if lock.empty:
        return [[interpreter, "-m", "venv", "--without-pip", str(new.folder)]]
    install = [str(new.python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    hashes = ["--require-hashes", "--no-deps"] if lock.hashed else []
    return [[interpreter, "-m", "venv", str(new.folder)], [*install, *hashes, "--requirement", str(lock.path)]]


def _perform(command: Sequence[str], new: Environment, log: Path, lock: Lock) -> None:
    with log.open("ab") as file:
        file.write(f"$ {' '.join(command)}\n".encode())
        file.flush()
        family = {FAMILY: os.environ[FAMILY]} if FAMILY in os.environ else {}  # it ends with the worker that asked for it
        variables = {**outer(os.environ), **family, "UV_PROJECT_ENVIRONMENT": str(new.folder)}
        try:
            code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=variables, timeout=LONG).returncode
        except subprocess.TimeoutExpired:
            took = f"building the environment took longer than {LONG / 3600:g} h and was given up"
            raise RealbenchError(f"{lock.path}: {took}; see {log}, mend what it hangs at (a package index?) and run again") from None
    if code:
        words = log.read_text(errors="replace")[-TAIL:].strip()
        raise RealbenchError(f"{lock.path}: the environment cannot be built (exit code {code}); all of it is in {log}, its end:\n{words}")


def outer(variables: Mapping[str, str]) -> dict[str, str]:
    """What of the environment a build sees."""
    return {name: value for name, value in variables.items() if PASSED.fullmatch(name) and not SECRET.fullmatch(name)}


def find_uv() -> str | None:
    """The command uv: beside this Python, or on the PATH."""
    beside = shutil.which("uv", path=str(Path(sys.executable).parent))
    return beside or shutil.which("uv")


def find_python(version: str, uv: str | None) -> str:
    """An interpreter of a version on this machine. Raises UsageError, with how to get one, where there is none."""
    tried = dict.fromkeys(filter(None, [sys.executable, *_on_path(version)]))
    for candidate in (*tried, *_of_uv(version, uv)):
        if _is(candidate, version):
            return candidate
    minor = ".".join(version.split(".")[:2])
    ways = f"`uv python install {version}`" + ("" if uv else " (pip install uv first)")
    raise UsageError(f"Python {version} is not on this machine; get it with {ways}, or put its python{minor} on the PATH")


def _on_path(version: str) -> list[str]:
    name = f"python{'.'.join(version.split('.')[:2])}"
    found = (shutil.which(name, path=entry) for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry)
    return [path for path in found if path]


def _of_uv(version: str, uv: str | None) -> list[str]:
    """Where uv keeps interpreters of its own."""
    if uv is None:
        return []
    words = [uv, "python", "find", "--no-project", "--no-python-downloads", "--managed-python", version]
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return [done.stdout.strip()] if done.returncode == 0 else []


def _is(python: str, version: str) -> bool:
    try:
        return f"{_asked(Path(python), 'import platform; print(platform.python_version())')}.".startswith(f"{version}.")
    except (RealbenchError, OSError, subprocess.TimeoutExpired):
        return False


def _asked(python: Path, program: str) -> str:
    """What an interpreter prints, isolated from this one's settings."""
    done = subprocess.run([str(python), "-I", "-c", program], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
    if done.returncode:
        raise RealbenchError(f"{python}: cannot be used ({done.stderr.strip()[-300:]}); remove {python.parent.parent} and run again")
    return done.stdout.strip()


def _version(uv: str) -> str:
    done = subprocess.run([uv, "--version"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return " ".join(done.stdout.split()[:2]) or "uv"
