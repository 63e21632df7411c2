"""Messages between the driver and its workers: a JSON head and named arrays, without pickle."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_LENGTH = struct.Struct("<Q")
MAX_HEAD = 256_000_000
"""Longest JSON head accepted, in bytes; more is a broken stream."""
MAX_ARRAY = 1 << 36
"""Largest array accepted, in bytes."""


@dataclass(frozen=True)
class Message:
    """Plain data and the arrays that go with it; bytes travel as one-dimensional uint8 arrays."""

    head: Mapping[str, Any]
    arrays: Mapping[str, Array] = field(default_factory=dict)

    def data(self, name: str) -> bytes:
        """A blob that was sent as bytes."""
        return self.arrays[name].tobytes()


def blob(data: bytes) -> Array:
    """Bytes as a message's array."""
    return np.frombuffer(data, dtype=np.uint8)


def send(stream: BinaryIO, message: Message) -> None:
    """Write one message. Raises OSError when the other side is gone."""
    arrays = {name: np.ascontiguousarray(array) for name, array in message.arrays.items()}
    shapes = {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()}
    head = json.dumps({"head": message.head, "arrays": shapes}).encode()
    _write(stream, memoryview(_LENGTH.pack(len(head)) + head))
    for array in arrays.values():
        _write(stream, array.reshape(-1).view(np.uint8).data)
    stream.flush()


def _write(stream: BinaryIO, data: memoryview) -> None:
    """All of it: an unbuffered pipe may take a part at a time."""
    while len(data):
        data = data[stream.write(data) :]


def receive(stream: BinaryIO) -> Message | None:
    """Read one message; None at the end of the stream, in the middle of a message (the other side died), and where it is none.

    What no file could hold comes escaped: lone surrogates in texts, which are in the names of badly encoded files.
    """
    prefix = stream.read(_LENGTH.size)
    if len(prefix) < _LENGTH.size:
        return None
    length = _LENGTH.unpack(prefix)[0]
    if length > MAX_HEAD:
        return None
    text = stream.read(length)
    try:
        outer = json.loads(text)
        head, shapes = outer["head"], outer["arrays"]
        if not isinstance(head, dict):
            return None
        arrays = {name: _array(stream, *shape) for name, shape in shapes.items()}
    # SyntaxError: numpy's own parser of types.
    except (ValueError, TypeError, KeyError, AttributeError, SyntaxError, OverflowError, RecursionError, MemoryError):
        return None
    return Message(_encodable(head) if b"\\ud" in text else head, arrays)


def _array(stream: BinaryIO, dtype: str, shape: list[int]) -> Array:
    """The next array of a message. Raises ValueError or TypeError where there is none."""
    kind = np.dtype(dtype)
    size = kind.itemsize * math.prod(shape)
    if kind.kind not in "biufc" or not 0 <= size <= MAX_ARRAY:
        raise ValueError(f"no array: {dtype} {shape}")
    data = stream.read(size)
    if len(data) < size:
        raise ValueError("cut short")
    return np.frombuffer(data, dtype=kind).reshape(shape)


def _encodable(value: Any) -> Any:
    """Plain data whose texts UTF-8 can hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list) else value
