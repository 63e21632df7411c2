"""How many images fit into a GPU's memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from realbench.errors import RealbenchError

T = TypeVar("T")
ADVICE = "use memory=low where the method has it, a smaller size or a smaller model"


class Portion:
    """A number of images, halved whenever the GPU runs out of memory; what is computed stays the same."""

    def __init__(self, size: int, what: str, say: Callable[[str], None] = lambda text: None, advice: str = ADVICE) -> None:
        self.size = size
        self._what = what
        self._advice = advice
        self._say = say
        self.notes: list[str] = []

    def parts(self, count: int) -> Iterator[slice]:
        """`count` images in portions, the last one perhaps smaller."""
        yield from (slice(start, min(start + self.size, count)) for start in range(0, count, self.size))

    def attempt(self, work: Callable[[], T]) -> T:
        """The result of `work`, which is begun again after each halving. Raises RealbenchError when one image is too much."""
        import torch

        while True:
            try:
                return work()
            except torch.OutOfMemoryError as error:
                reason = str(error).partition("\n")[0]  # the error's traceback holds the memory that is to be freed
            self._halve(reason)

    def _halve(self, reason: str) -> None:
        import torch

        if self.size == 1:
            raise RealbenchError(f"{self._what}: out of memory with one image at a time ({reason}); {self._advice}")
        note = f"{self._what}: out of memory with {self.size} images at a time, went on with {self.size // 2}"
        self.size //= 2
        self.notes.append(note)
        self._say(note)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
