"""Keeping somebody's folders out of what is published."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from realbench.results import Results

LEAST_LENGTH = 4
"""Shorter paths, such as `/`, are never replaced."""


def redactions(results: Results) -> list[tuple[str, str]]:
    """Folders that no page needs to tell, each with what stands for it: the suite's and run's names, `~` for the user's home."""
    pairs = {(str(Path.home()), "~")}
    for name, folder, manifest in results.runs:
        pairs |= {(str(folder.root), name), (str(folder.root.absolute()), name), (str(folder.root.resolve()), name)}
        pairs.add((manifest.suite_path, Path(manifest.suite_path).name))
    return sorted((pair for pair in pairs if len(pair[0]) >= LEAST_LENGTH), key=lambda pair: (-len(pair[0]), pair))


def redact(text: str, pairs: Iterable[tuple[str, str]]) -> str:
    """Text with each of these folders replaced."""
    for folder, word in pairs:
        text = text.replace(folder, word)
    return text
