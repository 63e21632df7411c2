"""Coverage-guided fuzzing of what is parsed in Python: messages, archives of scenes, packages of weights, scene.toml.

    pip install atheris
    python tools/fuzz.py messages [libFuzzer's options, such as -max_total_time=60 -rss_limit_mb=1024]

Ends with a traceback and the input's file where anything but a documented error is raised. Records, baselines and votes are parsed by
pydantic, out of coverage's sight: tests/faults/test_fuzz.py tries those.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["realbench", "zipfile", "tarfile", "tomllib"]):
    import tarfile
    import tomllib  # noqa: F401 — to be instrumented
    import zipfile

    from realbench import archive, suite, unpack, wire
    from realbench.errors import RealbenchError

ROOT = Path(tempfile.gettempdir()) / "realbench-fuzz"
"""Emptied at each start: libFuzzer ends the process without a word."""


def messages(data: bytes) -> None:
    """A stream from a worker; its first length is right."""
    message = wire.receive(io.BytesIO(len(data).to_bytes(8, "little") + data + bytes(64)))
    if message is not None:
        wire.send(io.BytesIO(), message)


def archives(data: bytes) -> None:
    """A release's zip."""
    (ROOT / "x.zip").write_bytes(data)
    with contextlib.suppress(RealbenchError):
        archive.import_archive(ROOT / "x.zip", ROOT / "to", limits=archive.Limits(total_bytes=1_000_000, member_bytes=500_000))
    shutil.rmtree(ROOT / "to", ignore_errors=True)


def packages(data: bytes) -> None:
    """A wheel or an sdist, by its first byte."""
    path = ROOT / ("x.whl" if data[:1] < b"\x80" else "x.tar.gz")
    path.write_bytes(data[1:])
    with contextlib.suppress(RealbenchError):
        unpack.take(path, "w", 4, "0" * 64, ROOT / "w")


def details(data: bytes) -> None:
    """A scene.toml."""
    (ROOT / "s").mkdir(exist_ok=True)
    (ROOT / "s" / "scene.toml").write_bytes(data)
    with contextlib.suppress(RealbenchError):
        suite._Loader(ROOT, ROOT / "s").details()


TARGETS = {target.__name__: target for target in (messages, archives, packages, details)}


def seeds(name: str) -> list[bytes]:
    """Inputs to begin with."""
    if name == "messages":
        return [b'{"head": {"event": "item", "data": {"a": [1, null, "\\ud800"]}}, "arrays": {"x": ["<f4", [2, 3]], "y": ["|u1", [9]]}}']
    if name == "details":
        return [b'title = "t"\nprompt = "p"\ntags = ["a", "b"]\n[camera]\nfov = 3.5\nwhen = 2026-01-01T00:00:00Z\n']
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as file:
        for member in ("w", "s/ref/0.png", "s/target/target.png", "s/target/mask.png"):
            file.writestr(member, b"1234")
    if name == "archives":
        return [zipped.getvalue()]
    with tarfile.open(fileobj=tarred, mode="w:gz") as file:
        info = tarfile.TarInfo("w")
        info.size = 4
        file.addfile(info, io.BytesIO(b"1234"))
    return [b"\0" + zipped.getvalue(), b"\xff" + tarred.getvalue()]


def main() -> None:
    """Fuzz the target that is named first."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python tools/fuzz.py {'|'.join(TARGETS)} [options of libFuzzer]")
    name = sys.argv.pop(1)
    shutil.rmtree(ROOT, ignore_errors=True)
    (ROOT / "corpus").mkdir(parents=True)
    for at, data in enumerate(seeds(name)):
        (ROOT / "corpus" / f"{at}").write_bytes(data)
    atheris.Setup([*sys.argv, str(ROOT / "corpus")], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
