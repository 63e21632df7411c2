"""Messages survive the pipe unchanged, and a broken pipe is the end, not a crash."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from realbench.wire import Message, blob, receive, send

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
arrays = hnp.arrays(st.sampled_from([np.uint8, np.bool_, np.float32, np.int64]), hnp.array_shapes(min_dims=0, min_side=0, max_side=4))


@given(st.dictionaries(st.text(), plain), st.dictionaries(st.text(), arrays, max_size=3))
def test_round_trip(head: dict[str, object], blobs: dict[str, np.ndarray]) -> None:
    stream = io.BytesIO()
    send(stream, Message(head, blobs))
    send(stream, Message({"second": 1}))
    stream.seek(0)
    first, second = receive(stream), receive(stream)
    assert first is not None and second is not None
    assert first.head == head and second.head == {"second": 1}
    assert first.arrays.keys() == blobs.keys()
    for name, array in blobs.items():
        assert first.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(first.arrays[name], array)


@pytest.mark.parametrize("cut", [0, 3, 8, 20, -1])
def test_a_message_cut_short_is_the_end(cut: int) -> None:
    stream = io.BytesIO()
    send(stream, Message({"a": "b" * 40}, {"x": np.arange(9)}))
    assert receive(io.BytesIO(stream.getvalue()[:cut])) is None


def test_bytes_travel_as_bytes() -> None:
    stream = io.BytesIO()
    send(stream, Message({}, {"x": blob(b"\x00\xff")}))
    stream.seek(0)
    message = receive(stream)
    assert message is not None and message.data("x") == b"\x00\xff"
