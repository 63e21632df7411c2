"""Isolated methods made by hand: a folder with a method.toml, a lock without packages and a script of the standard library alone."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import tomli_w

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

HEAD = """
import json, os, struct, subprocess, sys, time, zlib
from pathlib import Path

ask = json.loads(Path(sys.argv[1]).read_text())

def png(path, width, height, colour):
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = (b"\\0" + bytes(colour) * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    Path(path).write_bytes(b"\\x89PNG\\r\\n\\x1a\\n" + data)

def answer(colour, **words):
    fills = []
    for seed in ask["seeds"]:
        png(f"output/{seed}.png", ask["width"], ask["height"], colour(seed))
        fills.append({"seed": seed, "image": f"output/{seed}.png", **words})
    Path("result.json").write_text(json.dumps({"fills": fills}))

"""
"""What every script may use: the request, a PNG of one colour, a whole result."""

FLAT = "answer(lambda seed: (seed, 20, 30))"
"""A fill of one colour, its red the seed."""


def write_method(folder: Path, script: str = FLAT, **keys: Any) -> Path:
    """A method's folder; `script` follows HEAD, `keys` are method.toml's beside the needed ones (None leaves one out)."""
    folder.mkdir(parents=True, exist_ok=True)
    standard: dict[str, Any] = {
        "title": "Made",
        "summary": "Fills.",
        "python": PYTHON,
        "lock": "requirements.txt",
        "fill": ["python", "run.py", "{request}"],
    }
    data = {key: value for key, value in (standard | keys).items() if value is not None}
    (folder / "method.toml").write_bytes(tomli_w.dumps(data).encode())
    (folder / "requirements.txt").write_text("# Python alone\n")
    (folder / "run.py").write_text(HEAD + textwrap.dedent(script))
    return folder
