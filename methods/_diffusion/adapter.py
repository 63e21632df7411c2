"""What all methods on a diffusers pipeline share: weights, a pipeline that stays loaded, batches of seeds. Import-free, for cards."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from realbench.errors import UsageError
from realbench.method import BaseMethod, Context, Fill, Weights

from .backbones import DIFFUSERS, backbone

if TYPE_CHECKING:
    from PIL.Image import Image

    from realbench.image import UInt8Image
    from realbench.scene import Task

Painted: TypeAlias = "tuple[UInt8Image, tuple[str, ...]]"
"""A whole image of the target's size, and notes for its reader."""


class DiffusionMethod(BaseMethod):
    """A method without fit that paints seeds in batches. The pipeline stays loaded from scene to scene."""

    known: ClassVar[Mapping[str, Weights]] = {}
    """Weights by the names that its settings may use."""
    parts: ClassVar[Mapping[str, Sequence[str]]] = {"backbone": DIFFUSERS}
    """Settings that name weights (one of `known`, a folder or a hub id; an empty one names none), and what their folders consist of."""

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        self._loaded: tuple[tuple[str, str], Any] | None = None

    @classmethod
    def weights(cls, settings: Any) -> Sequence[Weights]:
        """The weights these settings load, in the order of `parts`."""
        return [backbone(text, cls.known, files) for text, files in cls._named(settings)]

    @classmethod
    def _named(cls, settings: Any) -> list[tuple[str, Sequence[str]]]:
        return [(text, files) for part, files in cls.parts.items() if (text := getattr(settings, part))]

    def fill(self, task: Task, seeds: Sequence[int], *, context: Context) -> Iterator[Fill]:
        """One Fill a seed, `batch` seeds a call of the pipeline. Raises WeightsMissing where there are no weights."""
        pipeline = self._pipeline(context)
        size = getattr(self.settings, "batch", 1)
        for first in range(0, len(seeds), size):
            chunk = tuple(seeds[first : first + size])
            start = time.perf_counter()
            painted = self.paint(pipeline, task, chunk, Steps(context, first, len(seeds), len(chunk)))
            seconds = (time.perf_counter() - start) / len(chunk)
            for seed, (image, notes) in zip(chunk, painted, strict=True):
                yield Fill(seed, image, notes, {"paint": seconds})

    def complete(self, task: Task, seed: int, context: Context) -> Painted:
        """One fill alone."""
        return self.paint(self._pipeline(context), task, (seed,), Steps(context, 0, 1, 1))[0]

    @abstractmethod
    def open(self, folders: Sequence[Path], device: str, dtype: Any) -> Any:
        """The pipeline, from the folders of the weights in the order of `parts`."""

    @abstractmethod
    def paint(self, pipeline: Any, task: Task, seeds: Sequence[int], steps: Steps) -> Sequence[Painted]:
        """One painted image a seed, from one call of the pipeline."""

    def _pipeline(self, context: Context) -> Any:
        from realbench.weights import resolve

        from .loading import dtype_for

        key = (context.device, context.dtype)
        if self._loaded is None or self._loaded[0] != key:
            self.close()
            folders = [resolve(wanted).path for wanted in self.weights(self.settings)]
            self._loaded = (key, self.open(folders, context.device, dtype_for(*key)))
        return self._loaded[1]

    def close(self) -> None:
        """Give the pipeline's memory back, on a GPU too."""
        if self._loaded is not None:
            from .loading import free

            self._loaded = None
            free()


class Steps:
    """Progress over the denoising steps of several calls, in seeds; called by a pipeline at the end of each step."""

    def __init__(self, context: Context, done: int, total: int, count: int) -> None:
        self._context, self._done, self._total, self._count = context, done, total, count

    def __call__(self, pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        """diffusers' callback_on_step_end; changes nothing."""
        self.at(step + 1, pipeline.num_timesteps)
        return {}

    def at(self, step: int, steps: int) -> None:
        """After this many steps of a call."""
        self._context.progress(self._done + self._count * step / steps, self._total, f"step {step} of {steps}")


def pil(image: Any) -> Image:
    """An RGB image (uint8) or a mask (bool, white = hole) as pipelines take it."""
    from PIL import Image

    return Image.fromarray(image.astype("uint8") * 255 if image.dtype == bool else image)


def at_least(settings: Any, **least: float) -> None:
    """Raises UsageError for the first setting below its least value."""
    for name, value in least.items():
        if not getattr(settings, name) >= value:
            raise UsageError(f"{name}: expected at least {value}, found {getattr(settings, name)}")
