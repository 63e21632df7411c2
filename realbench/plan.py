"""What is asked for: rows (a method with its settings) and metrics, parsed from the words of the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from realbench import fingerprint, registry
from realbench.composite import Feather
from realbench.errors import RealbenchError, UsageError
from realbench.method import MethodCard, Weights
from realbench.metric import MetricCard
from realbench.specs import Spec, needed, settings_class, specs


@dataclass(frozen=True)
class Row:
    """One row of the table: a method with settings under a label."""

    label: str
    method: str
    preset: str | None
    settings: Mapping[str, Any]
    card: MethodCard
    fingerprint: str
    """Twelve digits over settings, weights and the source of the method's modules."""
    fitting: str = ""
    """The same without the settings that only filling reads; empty: all of them count for the fit."""
    source: str = ""
    """Twelve digits over the method's code alone."""

    def seeds(self, asked: Sequence[int]) -> tuple[int, ...]:
        """The seeds this row needs: one serves a method that ignores it."""
        return tuple(asked) if self.card.stochastic else (0,)

    def fits(self, asked: int) -> tuple[int, ...]:
        """The fits this row needs: one serves a method that does not adapt."""
        return tuple(range(asked if self.card.fits else 1))


@dataclass(frozen=True)
class Column:
    """One column of the table: a metric with its configuration."""

    metric: str
    config: Mapping[str, Any]
    card: MetricCard
    signature: str
    source: str
    """Hash of the metric's source and its pinned weights, so that a changed formula never serves old numbers."""

    @property
    def key(self) -> str:
        """The signature's hash, which names score files."""
        return fingerprint.of_bytes(self.signature.encode())[:16]


def plan_rows(methods: Sequence[str], settings: Sequence[str] = ()) -> list[Row]:
    """Rows from `NAME[:PRESET][=LABEL]`, `all` and `[NAME.]key=value` texts. Raises UsageError that lists what is known.

    A setting for a label goes before one for a method, and that before one for all.
    """
    asked = specs(methods)
    changes = [_parse_setting(text) for text in settings]
    rows: dict[str, Row] = {}
    used: set[int] = set()
    for spec in asked:
        row = _row(spec, changes, used)
        if row.label in rows and rows[row.label].fingerprint != row.fingerprint:
            raise UsageError(f"label {row.label!r} stands for two different settings; name one of them with --method {spec.name}=OTHER")
        rows[row.label] = row
    for index, (target, key, _) in enumerate(changes):
        if index not in used:
            raise UsageError(_unknown_setting(target, key, rows.values()))
    return list(rows.values())


def unheeded(rows: Sequence[Row], seeds: Sequence[int], fits: int) -> list[str]:
    """What to tell before a run: rows for which a repeat that is asked for changes nothing, and so is not made."""
    fixed = [row.label for row in rows if fits > 1 and not row.card.fits]
    same = [row.label for row in rows if tuple(seeds) != row.seeds(seeds)]
    lines = [f"note: one fit, not {fits}, for {', '.join(fixed)}: nothing is fitted to a scene there"] if fixed else []
    words = f"{len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}"
    return lines + ([f"note: seed 0 alone, not {words}, for {', '.join(same)}: fills there do not depend on the seed"] if same else [])


def plan_columns(metrics: Sequence[str] | None, feather: Feather) -> list[Column]:
    """Columns from `NAME[:key=value,…]` texts; None means every metric that needs no weights. Raises UsageError."""
    if metrics is None:
        metrics = [name for name in registry.names("metrics") if not needed(registry.load("metrics", name), None)]
    columns = {column.signature: column for column in (_column(text, feather) for text in metrics)}
    return list(columns.values())


def _parse_setting(text: str) -> tuple[str | None, str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--set {text!r}: expected key=value or NAME.key=value")
    target, dot, name = key.rpartition(".")
    return (target if dot else None), name, value


def _row(spec: Spec, changes: list[tuple[str | None, str, str]], used: set[int]) -> Row:
    name = spec.name
    method = registry.load("methods", name)
    card: MethodCard = method.card
    preset = spec.preset or card.default_preset
    if preset is not None and preset not in card.presets:
        raise UsageError(f"method {name} has no preset {preset!r}; known: {', '.join(card.presets) or 'none'}")
    label = spec.label or (f"{name}:{preset}" if preset else name)
    values: dict[str, Any] = dict(card.presets[preset]) if preset else {}
    method = registry.method(name, values | _changed(settings_class(method), changes, (None, name, label), used))
    values |= _changed(settings_class(method), changes, (None, name, label), used)
    settings = validate(settings_class(method), values, f"method {name}")
    plain: dict[str, Any] = json.loads(json.dumps(asdict(settings), default=str))
    return Row(label, name, preset, plain, method.card, *_row_fingerprints(name, method, settings))


def _changed(kind: type, changes: list[tuple[str | None, str, str]], targets: Sequence[str | None], used: set[int]) -> dict[str, str]:
    """The values asked for of settings that exist, those of later targets first; `used` learns which changes these are."""
    known = {field.name for field in fields(kind)}
    found = {}
    for wanted in targets:
        for index, (target, key, value) in enumerate(changes):
            if target == wanted and key in known:
                found[key] = value
                used.add(index)
    return found


def _identity(item: Weights) -> list[str]:
    """Which weights these are: the pin, or what this machine has in its place (a folder's content, the commit that `main` stands for)."""
    from realbench import weights

    return [item.name, item.id, weights.revision_here(item) or item.revision]


def _row_fingerprints(name: str, method: Any, settings: Any) -> tuple[str, str, str]:
    """Of the row, of what its fits depend on, and of its code. Of settings that name a file or folder, the content counts, not the name."""
    named = {item.name: _content(item, getattr(settings, item.name)) for item in fields(settings)}
    fitting = {item.name: named[item.name] for item in fields(settings) if item.metadata.get("stage") != "fill"}
    weights = [[item.id, item.revision] for item in needed(method, settings)]
    parts = {"method": name, "weights": weights, "source": fingerprint.of_source(method), "package": registry.third_party("methods", name)}
    if hasattr(method, "content"):
        parts["content"] = method.content(settings)
    code = {key: part for key, part in parts.items() if key in ("source", "package", "content")}
    return fingerprint.short(parts | {"settings": named}), fingerprint.short(parts | {"settings": fitting}), fingerprint.short(code)


def _content(item: Field[Any], value: Any) -> Any:
    """A setting's value; the content's hash for `path=True`, and for `path="or name"` (a model's folder or its id) where it exists.

    Nothing for `path="content"`: the method's own `content` says what of it counts.
    """
    kind = item.metadata.get("path")
    if kind == "content":
        return None
    if kind and value and Path(value).exists():
        return {"content": fingerprint.of_path(Path(value))}
    return None if kind is True else value


def _column(text: str, feather: Feather) -> Column:
    name, _, options = text.partition(":")
    metric = registry.load("metrics", name)
    known = [field.name for field in fields(metric.Config)]
    values = {}
    for option in filter(None, options.split(",")):
        key, equals, value = option.partition("=")
        if not equals or key not in known:
            raise UsageError(f"--metric {text!r}: expected {name}:key=value,… with keys among: {', '.join(known) or 'none'}")
        values[key] = value
    return column_of(name, values, feather)


def column_of(name: str, values: Mapping[str, Any], feather: Feather) -> Column:
    """A metric with its configuration, texts or values. Raises UsageError."""
    metric = registry.load("metrics", name)
    config = validate(metric.Config, values, f"metric {name}")
    weights = [_identity(item) for item in needed(metric, config)]
    source = fingerprint.of_data([fingerprint.of_source(metric), registry.third_party("metrics", name), weights])
    return Column(name, asdict(config), metric.card, metric(config).signature(feather), source)


def prepare(rows: Iterable[Row], say: Callable[[str], None]) -> None:
    """Let methods do what is to be done once on this machine before any cell; where that fails, the cells will say so too."""
    for row in rows:
        try:
            prepare_method(row.method, row.settings, say)
        except RealbenchError as error:
            say(f"{row.label} cannot be prepared: {error}")


def prepare_method(name: str, settings: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Let one method do so. Raises RealbenchError."""
    method = registry.method(name, settings)
    if hasattr(method, "prepare"):
        method.prepare(validate(settings_class(method), settings, f"method {name}"), say)


def validate(kind: type, values: Mapping[str, Any], owner: str) -> Any:
    """A settings dataclass from texts or values. Raises UsageError that says which key, what was expected and what was found."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{owner}, setting {key}: {first['msg']}, found {first['input']!r}") from error
    except UsageError as error:
        raise UsageError(f"{owner}: {error}") from error


def _unknown_setting(target: str | None, key: str, rows: Iterable[Row]) -> str:
    known = {row.method: list(row.settings) for row in rows}
    listing = "; ".join(f"{name}: {', '.join(keys) or 'no settings'}" for name, keys in known.items())
    return f"--set {f'{target}.' if target else ''}{key}: no method of this run has it; known: {listing}"


def parse_seeds(text: str) -> tuple[int, ...]:
    """`8` means seeds 0…7, `100-107` means 100…107. Raises UsageError."""
    match = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", text.strip())
    if match is None:
        raise UsageError(f"--seeds {text!r}: expected a count (8) or a range (100-107)")
    first, last = (0, int(match[1]) - 1) if match[2] is None else (int(match[1]), int(match[2]))
    if last < first or last - first >= 100_000:
        raise UsageError(f"--seeds {text!r}: expected between 1 and 100,000 seeds")
    return tuple(range(first, last + 1))
