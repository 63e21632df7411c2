"""Where a step's encoded samples come from: fresh ones, or a pool of them that is slowly renewed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

import torch

from realbench.errors import RealbenchError

from .data import Batch, Entry, Photos

Encode = Callable[[Sequence[Entry]], Batch]
T = TypeVar("T")


class Source(Protocol):
    """Encoded samples by step; the same for a step whatever was asked for before."""

    def batch(self, step: int, picks: Sequence[int]) -> Batch:
        """The samples of a step; `picks` are random numbers, one a sample."""

    def __enter__(self) -> Self:
        """Begin to work in the background."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop."""


ALONE = "crops are encoded between steps, since there is no memory for it beside a step"


class Ahead(Generic[T]):
    """Work for step n + 1 is done in the background while step n is trained."""

    def __init__(self, work: Callable[[int], T], say: Callable[[str], None] = lambda text: None) -> None:
        """`say` is told if the background has to be given up."""
        self._work = work
        self._say = say
        self._executor = ThreadPoolExecutor(1)
        self._waiting: dict[int, Future[T]] = {}
        self._alone = False

    def get(self, step: int, last: int) -> T:
        """This step's result, once it is there; the next one is begun, up to the step `last`.

        Where the memory does not suffice for both, this and all further ones are made here, while nothing is trained.
        """
        future = self._waiting.pop(step, None)
        try:
            result = self._work(step) if future is None else future.result()
        except RealbenchError:
            if future is None:
                raise
            result = self._work(step)
            self._alone = True
            self._say(ALONE)
        if step < last and not self._alone:
            self._waiting[step + 1] = self._executor.submit(self._work, step + 1)
        return result

    def close(self) -> None:
        """Finish what is running, forget the rest."""
        self._executor.shutdown(cancel_futures=True)


class Fresh:
    """Each sample is cropped, masked and encoded for itself, as the paper's training does; the crops are made in the background."""

    def __init__(self, photos: Photos, encode: Encode) -> None:
        self._encode = encode
        self._settings = photos.settings
        self._ahead = Ahead(lambda step: [photos.entry(step * self._settings.batch + index) for index in range(self._settings.batch)])

    def batch(self, step: int, picks: Sequence[int]) -> Batch:
        return self._encode(self._ahead.get(step, self._settings.steps - 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self._ahead.close()


class Pool:
    """A fixed number of encoded samples, each used again and again with new noise; some are replaced at each step.

    Slot j holds the newest sample whose number leaves the remainder j, so the pool's content follows from the step alone.
    """

    def __init__(self, photos: Photos, encode: Encode, device: str, say: Callable[[str], None] = lambda text: None) -> None:
        self._photos = photos
        self._encode = encode
        self._slots, self._fresh, self._last = photos.settings.pool, photos.settings.refresh, photos.settings.steps - 1
        self._stream: Any = torch.cuda.Stream(device) if device.startswith("cuda") else None  # type: ignore[no-untyped-call]
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(device))  # what the model's preparation has still to do
        self._ahead = Ahead(self._renewal, say)
        self._held: Batch | None = None
        self._at = -1

    def batch(self, step: int, picks: Sequence[int]) -> Batch:
        if self._held is None or step != self._at + 1:
            self._held = self._encode([self._photos.entry(number) for number in self._numbers(step)])
        elif self._fresh:
            self._replace(self._held, step)
        self._at = step
        return self._held[torch.tensor([pick % self._slots for pick in picks], device=self._held.latents.device)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self._ahead.close()

    def _numbers(self, step: int) -> list[int]:
        """The sample in each slot at a step."""
        end = self._slots + step * self._fresh
        return [slot + (end - 1 - slot) // self._slots * self._slots for slot in range(self._slots)]

    def _new(self, step: int) -> range:
        return range(self._slots + (step - 1) * self._fresh, self._slots + step * self._fresh)

    def _renewal(self, step: int) -> Batch:
        """In the background, on a GPU beside the training's own work."""
        entries = [self._photos.entry(number) for number in self._new(step)]
        if self._stream is None:
            return self._encode(entries)
        with torch.cuda.stream(self._stream):
            batch = self._encode(entries)
            self._stream.synchronize()
        return batch

    def _replace(self, held: Batch, step: int) -> None:
        new = self._ahead.get(step, self._last)
        slots = torch.tensor([number % self._slots for number in self._new(step)], device=held.latents.device)
        for name in ("latents", "masked", "mask", "weight"):
            values = getattr(new, name)
            if self._stream is not None:
                values.record_stream(torch.cuda.current_stream(values.device))
            getattr(held, name)[slots] = values
