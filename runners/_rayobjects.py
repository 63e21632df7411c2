"""Inputs in Ray's object store: each array once, by the hash of its content, for as long as a unit may need it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from realbench import fingerprint
from realbench.wire import Array

SMALL = 64_000
"""Bytes up to which an array travels with the request itself."""
KEEP = 512 << 20
"""Most bytes kept for later requests."""


@dataclass
class _Held:
    reference: Any
    size: int
    scene: str


class Objects:
    """References to arrays that were put into the store; what is not kept any more is given back by Ray once nobody holds a reference."""

    def __init__(self, put: Callable[[Array], Any], keep: int = KEEP) -> None:
        self._put = put
        self._keep = keep
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._lock = threading.Lock()

    def references(self, scene: str, arrays: Mapping[str, Array]) -> dict[str, Any]:
        """A reference for each large array, and the small ones as they are."""
        return {name: array if array.nbytes <= SMALL else self._reference(scene, array) for name, array in arrays.items()}

    def forget(self, scene: str) -> None:
        """Give back what was put for a scene of which nothing is left to do."""
        with self._lock:
            for key in [key for key, held in self._held.items() if held.scene == scene]:
                del self._held[key]

    def _reference(self, scene: str, array: Array) -> Any:
        key = fingerprint.of_array(array)
        with self._lock:
            if key not in self._held:
                self._held[key] = _Held(self._put(array), array.nbytes, scene)
            held = self._held[key]
            held.scene = scene
            self._held.move_to_end(key)
            while len(self._held) > 1 and sum(other.size for other in self._held.values()) > self._keep:
                self._held.popitem(last=False)
            return held.reference
