"""What counts as a drop, and at which level: realbench.toml (docs/ci.md)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from realbench.baseline import BaselineMetric
from realbench.errors import UsageError

FILE = "realbench.toml"
_MOST_BYTES = 2**20
_LARGEST = 1e9


@dataclass(frozen=True)
class Tolerance:
    """The largest change that counts as none."""

    amount: float
    relative: bool = False
    """`amount` is a share of the baseline's score, else in the metric's unit."""

    def at(self, before: float) -> float:
        """In the metric's unit, for a score of the baseline; no share of an infinite one is tolerated."""
        if not self.relative:
            return self.amount
        return self.amount * abs(before) if math.isfinite(before) else 0.0

    @classmethod
    def parse(cls, value: Any) -> Tolerance:
        """`0.1` is in the metric's unit, `"2%"` a share. Raises ValueError."""
        match = re.fullmatch(r"\s*([0-9]{0,9}\.?[0-9]{1,9})\s*(%?)\s*", value) if isinstance(value, str) else None
        if match:
            return cls(float(match[1]) / (100 if match[2] else 1), bool(match[2]))
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LARGEST:
            raise ValueError(f"expected a number of at least 0 in the metric's unit, or a share such as '2%', found {value!r}")
        return cls(float(value))


def usual(metric: BaselineMetric) -> Tolerance:
    """Where none is given: one unit of the last decimal that tables show."""
    return Tolerance(10.0**-metric.digits)


class _Check(BaseModel):
    model_config = ConfigDict(extra="forbid")

    level: Annotated[float, Field(gt=0, lt=1)] = 0.05
    metrics: list[str] | None = None
    tolerance: dict[str, Any] = Field(default_factory=dict)

    @field_validator("tolerance")
    @classmethod
    def _parsed(cls, value: dict[str, Any]) -> dict[str, Any]:
        return {name: Tolerance.parse(one) for name, one in value.items()}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    check: _Check = Field(default_factory=_Check)


@dataclass(frozen=True)
class Rules:
    """How a check judges."""

    level: float = 0.05
    """How often unchanged code may fail the check, over all rows, metrics and scenes together."""
    metrics: tuple[str, ...] | None = None
    """Names or signatures of the metrics that gate; None: all of the baseline's. The others are shown."""
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)
    """By a metric's name or signature."""
    file: str = field(default=FILE, compare=False)
    """Where they stand, for errors."""

    def gates(self, signature: str, metric: BaselineMetric) -> bool:
        """Whether a drop of this metric fails the check."""
        return self.metrics is None or bool({signature, metric.metric} & {*self.metrics})

    def tolerance(self, signature: str, metric: BaselineMetric) -> Tolerance:
        """The metric's own; one given for the signature goes before one for the name."""
        return self.tolerances.get(signature) or self.tolerances.get(metric.metric) or usual(metric)

    def unknown(self, metrics: Mapping[str, BaselineMetric]) -> list[str]:
        """Names in these rules that no metric of the baseline has."""
        known = {name for signature, metric in metrics.items() for name in (signature, metric.metric)}
        return [name for name in dict.fromkeys((*(self.metrics or ()), *self.tolerances)) if name not in known]


def rules(path: Path | None = None) -> Rules:
    """What `[check]` of a realbench.toml says; that of the current folder where none is named, and the usual ones where there is none.

    Raises UsageError for a named file that is missing, and for what no such file may hold.
    """
    import tomllib

    if path is None:
        if not Path(FILE).is_file():
            return Rules()
        path = Path(FILE)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{path}: larger than {_MOST_BYTES >> 20} MiB; expected settings")
        found = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).check
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: not TOML ({error})") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UsageError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}, found {first['input']!r}") from error
    return Rules(found.level, None if found.metrics is None else tuple(found.metrics), found.tolerance, str(path))
