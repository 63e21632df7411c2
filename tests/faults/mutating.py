"""Inputs that were right once: bytes and documents with something changed, cut, doubled or swapped."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

TEXTS = [
    *("", "0", "..", "../../etc/passwd", "/", "a/b", "<img src=x onerror=alert(1)>", "\x00", "\n|\x1b[31m", "x" * 5000),
    *("\u202e", "inf", "nan", "-inf"),
]  # fmt: skip
NUMBERS: list[Any] = [None, True, False, 0, -1, 1, 2**31, -(2**63), 10**400, 0.5, -0.0, 1e308]
JUNK: list[Any] = [*TEXTS, *NUMBERS, [], {}, [[]], {"": {}}, [1, 2], ["a", "b"], [[0, 0]], {"a": "b"}, {"task": "x"}]


@st.composite
def bytes_like(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with some of them overwritten, then perhaps cut short, lengthened, or with a part of them repeated."""
    found = bytearray(data)
    for at, value in draw(st.lists(st.tuples(st.integers(0, max(0, len(data) - 1)), st.integers(0, 255)), max_size=8)):
        found[at] = value
    how = draw(st.sampled_from(["whole", "whole", "cut", "longer", "repeated", "none"]))
    if how == "cut":
        return bytes(found[: draw(st.integers(0, len(found)))])
    if how == "longer":
        return bytes(found) + draw(st.binary(max_size=40))
    if how == "repeated":
        start, end = sorted(draw(st.tuples(st.integers(0, len(found)), st.integers(0, len(found)))))
        return bytes(found[:end] + found[start:])
    return draw(st.binary(max_size=60)) if how == "none" else bytes(found)


@st.composite
def documents_like(draw: st.DrawFn, document: Any, most: int = 3) -> Any:
    """Plain data with up to `most` values or keys replaced by junk, dropped, or put elsewhere."""
    found = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, most))):
        places = list(_places(found))
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        how = draw(st.sampled_from(["junk", "junk", "junk", "drop", "rename", "swap", "wrap"]))
        if how == "junk":
            holder[key] = copy.deepcopy(draw(st.sampled_from(JUNK)))
        elif how == "wrap":
            holder[key] = [holder[key]]
        elif how == "swap":
            other, at = draw(st.sampled_from(places))
            holder[key] = copy.deepcopy(other[at])
        elif isinstance(holder, dict):
            value = holder.pop(key)
            if how == "rename":
                holder[draw(st.sampled_from(TEXTS))] = value
    return found


def _places(document: Any) -> Any:
    """(holder, key) of every value; at most a thousand of them."""
    waiting, count = [document], 0
    while waiting and count < 1000:
        holder = waiting.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            yield holder, key
            count += 1
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])


deep = st.integers(100, 200_000).map(lambda depth: b"[" * depth) | st.integers(100, 50_000).map(lambda depth: b'{"a":' * depth)
"""JSON that is nested too deeply."""
