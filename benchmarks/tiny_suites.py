"""Suites that tiny_quality.py measures on: copies of real scenes, with other references."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path


def with_truth(scenes: Path) -> list[str]:
    """Names of the scenes that have a ground truth."""
    return sorted(path.parent.parent.name for path in scenes.glob("*/target/gt.*"))


def copied(scenes: Path, names: Sequence[str], out: Path, references: Callable[[int, list[Path]], Sequence[Path]]) -> Path:
    """A suite of these scenes; `references` says, from a scene's number and all scenes' folders, which files its references are."""
    folders = [scenes / name for name in names]
    for number, folder in enumerate(folders):
        target = out / folder.name
        if target.is_dir():
            continue
        new = out / f".{folder.name}"
        shutil.rmtree(new, ignore_errors=True)
        shutil.copytree(folder / "target", new / "target")
        (new / "ref").mkdir()
        for index, source in enumerate(references(number, folders)):
            shutil.copyfile(source, new / "ref" / f"{index}{source.suffix}")
        new.rename(target)
    return out


def own(most: int | None = None) -> Callable[[int, list[Path]], Sequence[Path]]:
    """A scene's own references, at most so many."""
    return lambda number, folders: references_of(folders[number])[:most]


def anothers(number: int, folders: list[Path]) -> Sequence[Path]:
    """The references of the next scene."""
    return references_of(folders[(number + 1) % len(folders)])


def references_of(folder: Path) -> list[Path]:
    """Files of a scene's references, in order."""
    return sorted((folder / "ref").iterdir())
