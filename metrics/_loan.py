"""A model that a metric holds between scenes, shared with metrics that ask for the same. Torch comes only with the model."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any


class Loan:
    """At most one borrowed model: another key gives the last one back."""

    def __init__(self) -> None:
        self._held: tuple[Hashable, Any] | None = None

    def take(self, key: Hashable, load: Callable[[], Any]) -> Any:
        """The model of a key, loaded if nobody holds it."""
        from ._torch import borrow

        if self._held is not None and self._held[0] != key:
            self.close()
        if self._held is None:
            self._held = key, borrow(key, load)
        return self._held[1]

    def close(self) -> None:
        """Give it back; the last holder frees its memory."""
        from ._torch import give_back

        held, self._held = self._held, None
        if held is not None:
            give_back(held[0])
