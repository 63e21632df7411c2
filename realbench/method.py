"""What a method is: its card, its settings, its fills. Adapters live in the folder methods/, one file each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from realbench.image import UInt8Image
    from realbench.scene import Task


@dataclass(frozen=True)
class Weights:
    """A trained model that a method or metric loads; realbench.weights finds it on this machine or says how to get it."""

    name: str
    """Short name, as typed after `realbench weights pull`."""
    id: str
    """Hub id, `owner/name`."""
    revision: str = "main"
    """Commit, tag or branch; the commit that was loaded is in every record."""
    size: str = ""
    """Download size, for example `5.2 GB`."""
    licence: str = ""
    gated: bool = False
    """The owner must grant access before it can be downloaded."""
    files: tuple[str, ...] = ()
    """Glob patterns of the files that are needed; empty means all."""


@dataclass(frozen=True)
class Published:
    """One score printed in a paper; shown in a table of its own, never beside measured ones."""

    metric: str
    value: float
    source: str
    """Paper, table and row."""


@dataclass(frozen=True)
class MethodCard:
    """What a reader and the harness must know of a method; importing a card never imports torch."""

    id: str
    """Registry name, as typed after --method."""
    title: str
    summary: str
    """One sentence: what it does."""
    paper: str = ""
    licence: str = ""
    weights: tuple[Weights, ...] = ()
    needs: tuple[str, ...] = ()
    """Resources, for example `gpu`, `12 GB`."""
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Settings by preset name; a method with presets may name one of them `default_preset`."""
    default_preset: str | None = None
    paper_preset: str | None = None
    """The paper's own model and settings; a run says so where the default is another."""
    published: tuple[Published, ...] = ()
    oracle: bool = False
    """Reads the ground truth: shown as a ceiling, never ranked."""
    fits: bool = False
    """Adapts to each scene in `fit`; without, --fits has no effect."""
    stochastic: bool = False
    """Its fill depends on the seed; without, one fill serves for all seeds."""
    torch: bool = False
    """Runs on torch, so `--device` applies."""


def _ignore_progress(done: float, total: float, text: str = "") -> None:
    """Progress nobody watches."""


def _ignore_log(text: str) -> None:
    """Words nobody keeps."""


@dataclass(frozen=True)
class Context:
    """The machine as one stage sees it."""

    device: str = "cpu"
    """A torch device: `cpu`, `cuda`, `cuda:1`, `mps`."""
    dtype: str = "float32"
    threads: int = 1
    """CPU threads this process may use; pinned before any library starts."""
    work: Path = Path()
    """A folder of this (scene, fit) alone; checkpoints left here survive a crash and are gone after a finished fit."""
    progress: Callable[..., None] = _ignore_progress
    """progress(done, total, text): how far the stage is, in any unit."""
    log: Callable[[str], None] = _ignore_log
    """log(text): what the stage has printed so far; the end of it is kept in the record of each fit or fill that is reported after it."""


@dataclass(frozen=True)
class Fill:
    """One output of a method."""

    seed: int
    image: UInt8Image | npt.NDArray[np.floating[Any]]
    """Raw, target's size, H×W×3 RGB: uint8 0–255 or floating 0–1. What it shows in the known region is kept, and measured by `drift`."""
    notes: tuple[str, ...] = ()
    """What a reader should know, for example `2 of 4 references matched`."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds by step; the harness adds `fill`."""


@runtime_checkable
class Method(Protocol):
    """The interface of every method; BaseMethod gives defaults for most of it."""

    card: ClassVar[MethodCard]

    def fit(self, task: Task, *, seed: int, context: Context) -> None:
        """Adapt to one scene. Called again for the next scene, it forgets the last one."""

    def fill(self, task: Task, seeds: Sequence[int], *, context: Context) -> Iterator[Fill]:
        """Yield one Fill a seed, each as soon as it is ready; a fill depends on (scene, fit, seed) alone."""

    def save(self, folder: Path) -> None:
        """Write the fitted state into an empty folder (files only, no subfolders)."""

    def load(self, folder: Path) -> None:
        """Read the state that `save` wrote."""

    def close(self) -> None:
        """Give the memory back."""


@dataclass(frozen=True)
class NoSettings:
    """A method without settings."""


class BaseMethod:
    """Defaults for a method without fit: an adapter states its card and settings, and fills one seed in `complete`.

    `Settings` is a frozen dataclass with a default for each field: its fields are what --set knows. A field whose metadata has
    `path=True` names a file or folder whose content, not its name, enters the row's fingerprint; `path="or name"` does so where such a path
    exists. `stage="fill"` marks a field that `fit` does not read: rows that differ in such fields only share their fits.
    A method whose card and settings depend on a file has two class methods more: `variant(settings)` is the class that a row's settings
    stand for, and `content(settings)`, plain data, says what else than settings, weights and source its fingerprint covers. One that has
    work to do once on this machine, before any cell, does it in `prepare(settings, say)`;
    several processes may call it at once (with Ray, each worker does), and what is done already is not done again.
    A plug-in without `Settings` is constructed without arguments, one with it from an instance of it.
    """

    card: ClassVar[MethodCard]
    Settings: ClassVar[type] = NoSettings

    def __init__(self, settings: Any = None) -> None:
        self.settings = self.Settings() if settings is None else settings

    @classmethod
    def weights(cls, settings: Any) -> Sequence[Weights]:
        """The weights these settings load, a part of the row's fingerprint."""
        return cls.card.weights

    def fit(self, task: Task, *, seed: int, context: Context) -> None:
        """Nothing to adapt."""

    def fill(self, task: Task, seeds: Sequence[int], *, context: Context) -> Iterator[Fill]:
        """One call of `complete` a seed."""
        for seed in seeds:
            start = time.perf_counter()
            answer = self.complete(task, seed, context)
            if not isinstance(answer, tuple):
                raise TypeError(f"{type(self).__name__}.complete returned a {type(answer).__name__}, expected a pair (image, notes)")
            image, notes = answer
            yield Fill(seed, image, tuple(notes), {"complete": time.perf_counter() - start})

    def complete(self, task: Task, seed: int, context: Context) -> tuple[UInt8Image, Sequence[str]]:
        """Fill the hole: the whole image (H×W×3 RGB, 0–255, target's size) and notes. Raises Unsupported with the reason if it can't."""
        raise NotImplementedError(f"{type(self).__name__} overrides neither complete nor fill")

    def save(self, folder: Path) -> None:
        """Nothing was fitted."""

    def load(self, folder: Path) -> None:
        """Nothing was fitted."""

    def close(self) -> None:
        """Nothing is held."""
