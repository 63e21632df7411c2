"""What is checked of a method without running it: its import, its card, its settings."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from typing import Any

from realbench import plan
from realbench.errors import RealbenchError, UsageError
from realbench.method import BaseMethod, MethodCard, Published, Weights

HEAVY = (
    *("torch", "torchvision", "diffusers", "transformers", "tensorflow", "jax", "onnxruntime"),
    *("cv2", "skimage", "scipy", "pandas", "matplotlib", "sklearn"),
)
"""Modules that take long to import: a card never does."""
LONGEST = 120.0
"""Seconds that the import may take."""
STEPS = ("fit", "fill", "save", "load", "close")
_PROGRAM = """
import json, sys
from realbench import registry
from realbench.errors import RealbenchError
before = set(sys.modules)
try:
    registry.load("methods", sys.argv[1])
except RealbenchError as error:
    sys.exit(str(error))
print()
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def heavy_imports(name: str) -> list[str]:
    """Which of HEAVY a fresh interpreter imports with a method's card. Raises RealbenchError where the import fails."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    command = [sys.executable, "-P", "-c", _PROGRAM, name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LONGEST)
    except subprocess.TimeoutExpired as error:
        raise RealbenchError(f"importing the card takes more than {LONGEST:g} s; import nothing but the card with it") from error
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it ends Python with the exit code {done.returncode}"]
        raise RealbenchError(f"importing the card fails: {said[-1]}")
    modules = json.loads(done.stdout.splitlines()[-1])
    return [module for module in HEAVY if module in modules]


def card_faults(method: Any) -> Iterator[str]:
    """What is wrong with a card, and where it contradicts the class, each with what to do."""
    card = method.card
    if not isinstance(card, MethodCard):
        yield f"card is a {type(card).__name__}; make it a realbench.method.MethodCard"
        return
    yield from _text_faults(card)
    yield from (f"{name} is {getattr(card, name)!r}; write True or False" for name in _flags() if not isinstance(getattr(card, name), bool))
    for name, kind in (("needs", str), ("weights", Weights), ("published", Published)):
        value = getattr(card, name)
        if not isinstance(value, tuple | list) or not all(isinstance(item, kind) for item in value):
            yield f"{name} is {value!r:.80}; write a tuple of {kind.__name__} (a tuple of one ends with a comma)"
        elif name == "published":
            yield from (f"published {item.metric} is {item.value}; write a number" for item in value if not math.isfinite(item.value))
    presets: Any = card.presets
    if not isinstance(presets, Mapping):
        yield f"presets is a {type(presets).__name__}; write settings by preset name"
        return
    for name in ("default_preset", "paper_preset"):
        preset = getattr(card, name)
        if preset is not None and preset not in card.presets:
            yield f"{name} is {preset!r}, which is none of the presets ({', '.join(card.presets) or 'there are none'})"
    yield from _step_faults(method, card)


def _text_faults(card: MethodCard) -> Iterator[str]:
    for name in ("title", "summary", "licence"):
        value = getattr(card, name)
        if not isinstance(value, str) or not value.strip() or "\n" in value:
            yield f"{name} is {value!r:.80}; write one line (the licence of the code: its SPDX name, or `own`)"
    if isinstance(card.summary, str) and card.summary.strip() and not card.summary.rstrip().endswith((".", "!", "?")):
        yield f"summary {card.summary!r:.80} is no sentence: end it with a full stop"
    paper: Any = card.paper
    if not isinstance(paper, str):
        yield f"paper is {paper!r:.80}; write a text"


def _flags() -> tuple[str, ...]:
    return ("oracle", "fits", "stochastic", "torch")


def _step_faults(method: Any, card: MethodCard) -> Iterator[str]:
    """Steps of the interface that are missing, and ones that the card makes the harness leave out."""
    yield from (f"the class has no method {name}; derive it from realbench.method.BaseMethod" for name in STEPS if not _own(method, name))
    if not (isinstance(method, type) and issubclass(method, BaseMethod)):
        return
    own = {name: _own(method, name) is not getattr(BaseMethod, name) for name in (*STEPS, "complete")}
    if not own["fill"] and not own["complete"]:
        yield "neither complete nor fill is implemented; write complete(self, task, seed, context), which returns an image and notes"
    if card.fits:
        lacking = [name for name in ("fit", "save", "load") if not own[name]]
        if lacking:
            yield f"fits=True, but {', '.join(lacking)} is not implemented: a run stores each fit and loads it again"
    elif "fit" in vars(next(base for base in method.__mro__ if "card" in vars(base))):
        yield "fit is implemented, but the card says fits=False, so a run never calls it; set fits=True"


def _own(method: Any, name: str) -> Any:
    found = getattr(method, name, None)
    return found if callable(found) else None


def settings_faults(method: Any, name: str) -> Iterator[str]:
    """What is wrong with a method's Settings, their defaults and the settings of its presets."""
    kind = getattr(method, "Settings", None)
    if kind is None:
        return
    if not (isinstance(kind, type) and is_dataclass(kind)):
        yield "Settings is no dataclass; write @dataclass(frozen=True) class Settings"
        return
    if not kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        yield "Settings is not frozen; write @dataclass(frozen=True): settings identify a row, so they never change"
    required = [item.name for item in fields(kind) if item.init and item.default is MISSING and item.default_factory is MISSING]
    if required:
        yield f"settings without a default: {', '.join(required)}; give each one (where a value must be named, say so in __post_init__)"
        return
    yield from value_faults(kind, {}, "the defaults", name)
    for preset, values in method.card.presets.items():
        yield from value_faults(kind, values, f"preset {preset}", name)


def value_faults(kind: type, values: Mapping[str, Any], words: str, name: str) -> Iterator[str]:
    """Whether values make settings, and the same ones once they were written as JSON, as a run writes them."""
    unknown = sorted(set(values) - {item.name for item in fields(kind)})
    if unknown:
        yield f"{words}: {', '.join(unknown)} is no setting; known: {', '.join(item.name for item in fields(kind)) or 'none'}"
        return
    try:
        settings = plan.validate(kind, values, f"method {name}")
        plain = json.loads(json.dumps(asdict(settings), default=str))
        again = plan.validate(kind, plain, f"method {name}")
    except UsageError as error:
        if "--set " not in str(error):  # an error that says what to set is an answer, not a fault
            yield f"{words}: {error}"
        return
    except Exception as error:
        yield f"{words}: {type(error).__name__}: {error}; use fields of plain types (int, float, str, bool, Literal, Path, tuples of these)"
        return
    if again != settings:
        changed = [item.name for item in fields(settings) if getattr(settings, item.name) != getattr(again, item.name)]
        yield f"{words}: {', '.join(changed)} is another value after it was written as JSON; use plain types, and no NaN"
