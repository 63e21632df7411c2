"""What a row's settings are beside its method's defaults, in words that tell no folder of anyone's machine."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import PureWindowsPath
from typing import Any

from realbench import registry
from realbench.errors import RealbenchError
from realbench.records import RowInfo
from realbench.specs import settings_class

LONGEST = 80
"""Characters of a value that are shown."""
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
"""A model's name or `owner/name`, as opposed to a path."""


@dataclass(frozen=True)
class Setting:
    """One setting that differs from the method's default."""

    name: str
    value: str
    """As a text; of a file or folder its name alone (the row's fingerprint covers the content)."""
    preset: bool
    """It is the row's preset that says so."""

    def __str__(self) -> str:
        return f"{self.name}={self.value}"


def changed(row: RowInfo) -> tuple[Setting, ...]:
    """The settings of a row that differ from its method's defaults; all of them where the method is not installed any more."""
    try:
        method = registry.method(row.method, row.settings)
    except RealbenchError:
        return tuple(Setting(name, _shown(value, "or name"), False) for name, value in row.settings.items())
    kind = settings_class(method)
    defaults, paths = _defaults(kind), {item.name: item.metadata.get("path") for item in fields(kind)}
    preset: Mapping[str, Any] = method.card.presets.get(row.preset, {}) if row.preset else {}
    return tuple(
        Setting(name, _shown(value, paths.get(name)), name in preset and _plain(preset[name]) == value)
        for name, value in row.settings.items()
        if name not in defaults or defaults[name] != value
    )


def shown(method: str, name: str, value: Any) -> str:
    """A setting's value as a text."""
    try:
        paths = {item.name: item.metadata.get("path") for item in fields(settings_class(registry.load("methods", method)))}
    except RealbenchError:
        paths = {name: "or name"}
    return _shown(value, paths.get(name))


def _defaults(kind: type) -> dict[str, Any]:
    """Defaults by name, as run.json writes them; settings that must be given have none."""
    found = {}
    for item in fields(kind):
        if item.default is not MISSING:
            found[item.name] = _plain(item.default)
        elif item.default_factory is not MISSING:
            found[item.name] = _plain(item.default_factory())
    return found


def _plain(value: Any) -> Any:
    data = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    return json.loads(json.dumps(data, default=str))


def _shown(value: Any, path: Any) -> str:
    if isinstance(value, float):
        text = f"{value:g}" if float(f"{value:g}") == value else repr(value)
    elif isinstance(value, str):
        text = _name(value) if path is True or (path and not HUB_ID.fullmatch(value)) else value
    else:
        text = json.dumps(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _name(path: str) -> str:
    """The last part of a path of any system."""
    return PureWindowsPath(path).name or ("…" if path else "")
