"""Finding plug-ins. Built-in and third-party ones come through the same entry points, with the same rights."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from realbench.errors import RealbenchError, UsageError

Kind = Literal["methods", "metrics", "runners", "reports"]


@cache
def _points(kind: Kind) -> dict[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=f"realbench.{kind}"), key=lambda point: point.name)}


def names(kind: Kind) -> list[str]:
    """Registered names, sorted."""
    return list(_points(kind))


def load(kind: Kind, name: str) -> Any:
    """The class registered under a name. Raises UsageError for an unknown name, RealbenchError for a plug-in that can't be imported."""
    points = _points(kind)
    if name not in points:
        close = get_close_matches(name, points, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UsageError(f"unknown {kind[:-1]} {name!r}: {hint}known: {', '.join(points) or 'none (is realbench installed?)'}")
    try:
        plugin = points[name].load()
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("realbench."):
            raise RealbenchError(
                f"{kind[:-1]} {name}: {error.name} is not importable, because a folder named realbench/ in the present folder hides the "
                "installed package; work in another folder, or install the clone with `pip install -e .`"
            ) from error
        owner = points[name].dist
        distribution = owner.name if owner else "an unknown package"
        raise RealbenchError(
            f"{kind[:-1]} {name} of {distribution} cannot be imported ({type(error).__name__}: {error}); reinstall that package"
        ) from error
    if getattr(plugin, "card", None) is None or plugin.card.id != name:
        raise RealbenchError(f"{kind[:-1]} {name}: {points[name].value} has no card with the id {name!r}; correct the plug-in")
    return plugin


def method(name: str, settings: Mapping[str, Any]) -> Any:
    """The class behind a row: the registered one, or what its `variant(settings)` makes of it where card and settings depend on a file.

    Raises what `load` raises, and RealbenchError for settings that no variant can be made of.
    """
    plugin = load("methods", name)
    return plugin.variant(settings) if hasattr(plugin, "variant") else plugin


def third_party(kind: Kind, name: str) -> str:
    """Name and version of the package a plug-in comes from; empty for a built-in, whose source alone identifies it."""
    owner = _points(kind)[name].dist
    return "" if owner is None or owner.name == "realbench" else f"{owner.name} {owner.version}"
