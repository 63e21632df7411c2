"""Weights that no source has in a form that is safe to load: the user makes a folder of them once and puts it below REALBENCH_WEIGHTS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from realbench.huggingface import Unavailable
from realbench.method import Weights
from realbench.packages import Handmade

PLACE = "own folder"
KEPT = "own folder cache"


def check(wanted: Weights) -> None:
    """Any name will do."""


def described(wanted: Weights) -> str:
    """That they are made by hand."""
    return "a folder you make"


def cached(wanted: Weights, pickles: tuple[str, ...] = ()) -> Path | None:
    """They are never cached: the folder below REALBENCH_WEIGHTS is where they are."""
    return None


def download(wanted: Weights, pickles: tuple[str, ...] = (), *, asked: bool = False) -> Path:
    """Raises Unavailable with the recipe."""
    recipe = wanted.recipe if isinstance(wanted, Handmade) else ""
    raise Unavailable("neither the hub nor a package index has them in a form that is safe to load", recipe, elsewhere=False)


def verify(wanted: Weights, folder: Path, files: Sequence[str]) -> None:
    """Nothing is known of their content."""


def commit(wanted: Weights, folder: Path) -> str:
    """A folder made by hand says no commit."""
    return ""


def elsewhere(wanted: Weights, pickles: tuple[str, ...], shared: str) -> str:
    """The recipe itself says where to work."""
    return ""


def others(wanted: Weights) -> str:
    """There are no versions."""
    return ""
