"""The command line. Each command is a thin layer over the Python API; none of them imports torch."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the `realbench` command."""
    try:
        from realbench.cli.app import app
    except KeyboardInterrupt:
        sys.exit(130)
    # Scene ids and paths may hold any character; a terminal that cannot show one gets an escape, not a crash.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    app()
