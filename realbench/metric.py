"""What a metric is: its card, its configuration, its signature. Metrics live in the folder metrics/, one file a family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from realbench.method import Context, Weights

if TYPE_CHECKING:
    from realbench.composite import Feather
    from realbench.image import UInt8Image
    from realbench.scene import Scene

Direction = Literal["higher", "lower"]
Region = Literal["hole", "known", "full", "border"]
Source = Literal["composite", "raw"]
State = Literal["ok", "failed", "timeout", "unsupported", "missing", "stale"]
WRITTEN: tuple[State, ...] = ("ok", "failed", "timeout", "unsupported")
"""The states that records hold; the others are found."""


@dataclass(frozen=True)
class MetricCard:
    """What a reader and the harness must know of a metric; importing a card never imports torch."""

    id: str
    """Registry name, as typed after --metric. One name means one region."""
    title: str
    summary: str
    """One sentence: the formula in words."""
    direction: Direction
    """Which way is better."""
    region: Region
    image: Source
    """Whether it scores the composite or the method's raw output."""
    reads: tuple[str, ...] = ()
    """Parts of the scene beside the mask: `truth`, `references`, `target`."""
    unit: str = ""
    digits: int = 3
    """Decimals shown in tables."""
    version: int = 1
    """Raised when the same inputs give another value."""
    weights: tuple[Weights, ...] = ()
    """All that some configuration of it loads."""
    paper: str = ""
    licence: str = ""
    torch: bool = False
    """Runs on torch, so `--device` applies."""


@dataclass(frozen=True)
class Score:
    """One value, or the reason why there is none."""

    value: float | None
    """In the card's unit; may be infinite (PSNR of a perfect fill), never NaN; None unless the state is `ok`."""
    state: State = "ok"
    reason: str = ""
    artefacts: Mapping[str, Any] = field(default_factory=dict)
    """Plain data that reports draw without torch, for example match lines."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Fills of one scene, decoded once and shared by all metrics."""

    seeds: tuple[int, ...]
    raw: tuple[UInt8Image, ...]
    """Each H×W×3 RGB, 0–255."""
    composite: tuple[UInt8Image, ...]

    def images(self, source: Source) -> tuple[UInt8Image, ...]:
        """The images a metric reads according to its card."""
        return self.raw if source == "raw" else self.composite

    def __len__(self) -> int:
        return len(self.seeds)


@runtime_checkable
class Metric(Protocol):
    """The interface of every metric; BaseMetric gives defaults for most of it."""

    card: ClassVar[MetricCard]

    def signature(self, feather: Feather) -> str:
        """Everything the value depends on beside the images, as `name|key:value|…`."""

    def prepare(self, scene: Scene, *, context: Context) -> Any:
        """What depends on the scene alone, computed once and handed to each `score`. Raises Unsupported with the reason if it can't."""

    def score(self, prepared: Any, batch: Batch) -> list[Score]:
        """One Score a fill, in the batch's order, each independent of the other fills."""

    def close(self) -> None:
        """Give the memory back."""


@dataclass(frozen=True)
class NoConfig:
    """A metric without configuration."""


class BaseMetric(ABC):
    """Defaults for a metric: a card, a configuration whose every field enters the signature, `prepare` and `score`."""

    card: ClassVar[MetricCard]
    Config: ClassVar[type] = NoConfig

    def __init__(self, config: Any = None) -> None:
        self.config = self.Config() if config is None else config

    @classmethod
    def weights(cls, config: Any) -> Sequence[Weights]:
        """The weights this configuration loads; a metric that loads none by default is among those that are run unasked."""
        return cls.card.weights

    def signature(self, feather: Feather) -> str:
        """`name|region:…|image:…|feather:…|each config field|v:version`; feather only where the composite is read."""
        parts: dict[str, str] = {"region": self.card.region, "image": self.card.image}
        if self.card.image == "composite":
            parts["feather"] = str(feather)
        parts |= {name: _plain(value) for name, value in asdict(self.config).items()}
        return "|".join([self.card.id, *(f"{key}:{value}" for key, value in parts.items()), f"v:{self.card.version}"])

    @abstractmethod
    def prepare(self, scene: Scene, *, context: Context) -> Any:
        """What depends on the scene alone."""

    @abstractmethod
    def score(self, prepared: Any, batch: Batch) -> list[Score]:
        """One Score a fill, in the batch's order."""

    def close(self) -> None:
        """Nothing is held."""


def _plain(value: object) -> str:
    """A configuration value without the signature's separators."""
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value).replace("|", "/").replace(":", ".")


__all__ = ["BaseMetric", "Batch", "Context", "Direction", "Metric", "MetricCard", "NoConfig", "Region", "Score", "Source", "State"]
