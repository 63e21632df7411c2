"""What the words after --method stand for: names, presets nobody named, `all`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from realbench import registry
from realbench.errors import RealbenchError, UsageError
from realbench.method import MethodCard, NoSettings, Weights

ALL = "all"
"""Every method that this machine has all for."""
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+:()@-]{0,79}")


@dataclass(frozen=True)
class Spec:
    """One row as it was asked for."""

    name: str
    preset: str | None
    """None where none was named."""
    label: str | None


def specs(methods: Sequence[str]) -> list[Spec]:
    """Rows from `NAME[:PRESET][=LABEL]` texts and `all`, which stands for all methods that are not named beside it. Raises UsageError."""
    found: list[Spec] = []
    named = {text.partition("=")[0].partition(":")[0] for text in methods}
    for text in methods:
        spec = _parse(text)
        if spec.name != ALL:
            found.append(spec)
        elif spec != Spec(ALL, None, None):
            raise UsageError(f"--method {text!r}: expected {ALL} alone, which takes neither preset nor label")
        else:
            found += [Spec(name, None, None) for name in registry.names("methods") if name not in named and not lacking(name)]
    return found


def said(methods: Sequence[str]) -> list[str]:
    """What to tell before a run: presets that were not named, where they are not the paper's; what `all` leaves out and why."""
    lines = []
    for name in dict.fromkeys(spec.name for spec in specs(methods) if spec.preset is None):
        card = registry.load("methods", name).card
        if card.paper_preset and card.default_preset != card.paper_preset:
            given, paper = f"{name}:{card.default_preset}", f"{name}:{card.paper_preset}"
            lines.append(f"{name} without a preset is {given}, not the paper's model; for that type --method {paper}")
    if ALL in methods:
        reasons = {name: lacking(name) for name in registry.names("methods")}
        lines += [f"{ALL} leaves out {name}: {reason}" for name, reason in reasons.items() if reason]
    return lines


def lacking(name: str) -> str:
    """What keeps `all` from running a method with its default settings on this machine; empty: nothing. No source is asked."""
    from realbench import weights

    try:
        method = registry.load("methods", name)
        card: MethodCard = method.card
        settings = settings_class(method)(**(card.presets[card.default_preset] if card.default_preset else {}))
        absent = [item.name for item in needed(method, settings) if weights.status(item).state != "present"]
    except (RealbenchError, TypeError) as error:  # TypeError: settings that have no default
        return str(error)
    return f"this machine lacks its weights ({', '.join(absent)}): realbench weights pull {' '.join(absent)}" if absent else ""


def needed(plugin: Any, settings: Any) -> Sequence[Weights]:
    """The weights that a method with settings, or a metric with a configuration (None: its default), loads."""
    if not hasattr(plugin, "weights"):
        return tuple(plugin.card.weights)
    found: Sequence[Weights] = plugin.weights(plugin.Config() if settings is None else settings)
    return found


def settings_class(plugin: Any) -> type:
    """A method's Settings, or NoSettings for a plug-in that has none."""
    return getattr(plugin, "Settings", NoSettings)


def _parse(text: str) -> Spec:
    spec, _, label = text.partition("=")
    name, _, preset = spec.partition(":")
    if label and not LABEL.fullmatch(label):
        raise UsageError(f"label {label!r}: expected up to 80 letters, digits, spaces and ._+:()@-, starting with a letter or digit")
    if label != name and label in registry.names("methods"):
        raise UsageError(f"label {label!r} is the name of another method; choose another label")
    return Spec(name, preset or None, label or None)
