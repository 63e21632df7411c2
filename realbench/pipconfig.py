"""What pip was told about package indexes on this machine: asked of pip itself, else read from its environment variables."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import dataclass

from realbench.errors import UsageError

DEFAULT_INDEX = "https://pypi.org/simple"
_CREDENTIALS = re.compile(r"(?<=//)[^/\s'\"]*@")
_ORDER = ("global", "install", "download", ":env:")
"""Sections of pip's configuration, a later one before an earlier one."""
_YES = ("y", "yes", "t", "true", "on", "1")


@dataclass(frozen=True)
class Indexes:
    """Where packages come from, and how to get there."""

    urls: tuple[str, ...]
    """Simple indexes, the main one first; none with pip's `no-index`."""
    links: tuple[str, ...] = ()
    """pip's `find-links`: folders, and pages with links."""
    trusted: tuple[str, ...] = ()
    """Hosts whose certificate is not checked, or that have none."""
    certificates: str = ""
    """A file of certificate authorities; empty means the system's."""
    client: str = ""
    """A file with the client's certificate and key."""
    proxy: str = ""
    timeout: float = 15.0


def without_credentials(text: str) -> str:
    """A text whose URLs do not tell user and password."""
    return _CREDENTIALS.sub("***@", text)


def indexes() -> Indexes:
    """The indexes that `pip download` would use in this environment. Raises UsageError where pip cannot read its configuration."""
    values = _values()
    main = values.get("index-url") or values.get("pypi-url") or DEFAULT_INDEX
    urls = () if values.get("no-index", "").lower() in _YES else (main.strip(), *values.get("extra-index-url", "").split())
    timeout = values.get("timeout") or values.get("default-timeout", "")
    return Indexes(
        urls=tuple(dict.fromkeys(urls)),
        links=tuple(dict.fromkeys(values.get("find-links", "").split())),
        trusted=tuple(values.get("trusted-host", "").split()),
        certificates=values.get("cert", ""),
        client=values.get("client-cert", ""),
        proxy=values.get("proxy", ""),
        timeout=float(timeout) if re.fullmatch(r"\d+(\.\d*)?", timeout) else 15.0,
    )


def _values() -> dict[str, str]:
    """Options by name, the value that counts."""
    if importlib.util.find_spec("pip") is None:  # an environment made by another tool
        return {name[4:].lower().replace("_", "-"): value for name, value in os.environ.items() if name.startswith("PIP_") and value}
    return _counting(_listed())


def _listed() -> str:
    """What `pip config list` prints; -P, so that no folder called pip in the current one is run."""
    command = [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", "--no-color", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    if done.returncode:
        words = without_credentials(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no reason given")
        raise UsageError(f"`pip config list` failed ({words}); mend pip's configuration, see `pip config debug`")
    return done.stdout


def _counting(listing: str) -> dict[str, str]:
    """From lines like `global.index-url='https://…'` to options."""
    sections: dict[str, dict[str, str]] = {name: {} for name in _ORDER}
    for line in listing.splitlines():
        key, _, text = line.partition("=")
        section, _, option = key.rpartition(".") if not key.startswith(":env:.") else (":env:", ".", key[6:])
        if section in sections:
            try:
                sections[section][option.lower().replace("_", "-")] = str(ast.literal_eval(text))
            except (ValueError, SyntaxError):
                continue
    return {option: value for name in _ORDER for option, value in sections[name].items() if value}
