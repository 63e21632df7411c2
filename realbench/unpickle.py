"""Reading pickles that hold nothing but numpy arrays in plain containers; nothing that such a file names is ever imported or called."""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from realbench.errors import RealbenchError

MOST_ARRAYS = 10_000
DEEPEST = 20
_TYPE = re.compile(r"[fiu][1248]")


class _Type:
    """What stands for numpy.dtype: a number's kind and size, little-endian."""

    def __init__(self, code: object, align: object = False, copy: object = False) -> None:
        if not isinstance(code, str) or not _TYPE.fullmatch(code):
            raise pickle.UnpicklingError(f"an array of type {code!r}")
        self.name = code

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 8 or state[1] not in ("<", "|") or any(state[2:5]):
            raise pickle.UnpicklingError("an array of a compound or big-endian type")


class _Array:
    """What stands for numpy.ndarray: filled from the bytes in the file, and only where they fit the shape."""

    value: npt.NDArray[Any] | None = None

    def __setstate__(self, state: object) -> None:
        match state:
            case (int(), tuple() as shape, _Type() as kind, bool() as fortran, bytes() as data):
                pass
            case _:
                raise pickle.UnpicklingError("an array whose content is not given as bytes")
        if not all(isinstance(side, int) and side >= 0 for side in shape) or math.prod(shape) * int(kind.name[1]) != len(data):
            raise pickle.UnpicklingError("an array whose bytes do not fit its shape")
        self.value = np.frombuffer(data, f"<{kind.name}").reshape(shape, order="F" if fortran else "C")


class _ArrayType:
    """The name numpy.ndarray in a file; a mere sign, it makes nothing."""


def _reconstruct(kind: object, shape: object, code: object) -> _Array:
    """The empty array that numpy's pickles start from."""
    if kind is not _ARRAY_TYPE or shape != (0,) or code not in (b"b", "b"):
        raise pickle.UnpicklingError("an array that is not made as numpy does it")
    return _Array()


_ARRAY_TYPE = _ArrayType()
_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _ARRAY_TYPE,
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Only numpy's names, each to a stand-in of this module."""
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name}, which is no array") from None

    def persistent_load(self, pid: Any) -> Any:
        """Nothing outside of the file."""
        raise pickle.UnpicklingError("a reference to something outside of it")


def arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a pickle, nested dictionaries' names joined by dots; read-only views of numbers, C order or Fortran's.

    Raises RealbenchError for a file that holds, names or refers to anything else.
    """
    try:
        with path.open("rb") as file:
            content = _Reader(file).load()
        found: dict[str, npt.NDArray[Any]] = {}
        for name, array in _flat(content):
            if name in found or len(found) == MOST_ARRAYS:
                raise pickle.UnpicklingError(f"two arrays called {name}" if name in found else f"more than {MOST_ARRAYS} arrays")
            found[name] = array
    except Exception as error:  # a hostile pickle can make the reader fail in any way
        words = str(error).split("\n")[0][:200]
        raise RealbenchError(f"{path}: expected a pickle of numpy arrays alone, found {words or type(error).__name__}; not read") from error
    return found


def _flat(content: object, before: tuple[str, ...] = ()) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    if isinstance(content, _Array) and content.value is not None:
        yield ".".join(before), content.value
        return
    if not isinstance(content, dict) or len(before) > DEEPEST:
        raise pickle.UnpicklingError(f"a {type(content).__name__.lstrip('_')} at {'.'.join(before)[:100] or 'its top'}")
    for key, value in content.items():
        if not isinstance(key, str):
            raise pickle.UnpicklingError(f"a name that is no text at {'.'.join(before)[:100] or 'its top'}")
        yield from _flat(value, (*before, key))
