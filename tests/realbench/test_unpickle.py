"""The numpy-only unpickler: what numpy writes is read exactly, anything else is refused and nothing is run."""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from realbench import unpickle
from realbench.errors import RealbenchError


def dumped(content: object, protocol: int = 4) -> bytes:
    return pickle.dumps(content, protocol=protocol)


def read(folder: Path, data: bytes) -> dict[str, Any]:
    path = folder / "a.ckpt"
    path.write_bytes(data)
    return unpickle.arrays(path)


@pytest.mark.parametrize("protocol", [3, 4])
def test_nested_arrays_get_dotted_names(tmp_path: Path, protocol: int) -> None:
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    content = {"Conv_0": {"kernel": kernel, "bias": np.arange(5, dtype=np.float64)}, "step": np.array(7, np.int64)}
    found = read(tmp_path, dumped(content, protocol))
    assert list(found) == ["Conv_0.kernel", "Conv_0.bias", "step"]
    assert [array.dtype for array in found.values()] == [np.float32, np.float64, np.int64]
    assert np.array_equal(found["Conv_0.kernel"], kernel) and found["step"] == 7 and found["step"].shape == ()


def test_column_order_is_kept_in_mind(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4))
    assert np.array_equal(read(tmp_path, dumped({"w": array}))["w"], array)


def test_numpy_1_wrote_another_module_name(tmp_path: Path) -> None:
    data = dumped({"w": np.ones(3, np.float32)}, 3)
    new, old = b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"
    data = data.replace(old, new) if old in data else data.replace(new, old)
    assert np.array_equal(read(tmp_path, data)["w"], np.ones(3))


_KINDS = st.sampled_from([np.float32, np.float64, np.float16, np.int64, np.int32, np.uint8])


@given(arrays_of.arrays(_KINDS, arrays_of.array_shapes(max_dims=4, max_side=4)))
def test_any_numbers_come_back(array: np.ndarray) -> None:
    class Held(type(Path())):  # type: ignore[misc]
        def open(self, mode: str = "r", *_: Any, **__: Any) -> io.BytesIO:
            return io.BytesIO(dumped({"w": array}))

    found = unpickle.arrays(Held("x"))["w"]
    assert found.dtype == array.dtype and found.shape == array.shape and found.tobytes("C") == np.ascontiguousarray(array).tobytes()


class Calls:
    """Pickles to a call of anything."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def crafted(*lines: bytes) -> bytes:
    return b"".join(lines)


HOSTILE = {
    "a shell command": (dumped({"w": Calls(os.system, "touch pwned")}), "system, which is no array"),
    "eval": (dumped(Calls(eval, "open('pwned', 'w')")), "eval, which is no array"),
    "a file": (dumped({"w": Calls(open, "pwned", "w")}), "open, which is no array"),
    "an import": (dumped({"w": Calls(__import__, "antigravity")}), "__import__, which is no array"),
    "numpy's own loader": (dumped({"w": Calls(np.load, "x.npy")}), "load, which is no array"),
    "memory from numpy.ndarray": (crafted(b"\x80\x03cnumpy\nndarray\n(K\x08K\x08tq\x00\x85R."), "_ArrayType"),
    "a large array to start from": (
        crafted(b"\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nJ\x00\x00\x00\x7f\x85C\x01f\x87R."),
        "not made as numpy does it",
    ),
    "another class to start from": (
        crafted(b"\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\ndtype\nK\x00\x85C\x01b\x87R."),
        "not made as numpy does it",
    ),
    "a name with dots": (crafted(b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93."), "ndarray.__class__, which is no array"),
    "an extension code": (crafted(b"\x80\x02\x82\x01."), "unregistered extension code"),
    "a persistent id": (crafted(b"\x80\x03X\x01\x00\x00\x00xQ."), "outside of it"),
    "objects": (dumped({"w": np.array([1, "a"], object)}), "type 'O8'"),
    "records": (dumped({"w": np.zeros(2, [("x", "f4")])}), "type 'V4'"),
    "big-endian numbers": (dumped({"w": np.zeros(2, ">f4")}), "big-endian"),
    "text": (dumped({"w": "text"}), "a str at w"),
    "a list": (dumped({"w": [np.zeros(2)]}), "a list at w"),
    "one array": (dumped(np.zeros(2)), ""),
    "a number as name": (dumped({1: np.zeros(2)}), "no text at its top"),
    "a mapping of another class": (dumped(collections.OrderedDict(w=np.zeros(2))), "OrderedDict, which is no array"),
    "the same name twice": (dumped({"a": {"b": np.zeros(1)}, "a.b": np.zeros(1)}), "two arrays called a.b"),
    "half a file": (dumped({"w": np.zeros(100)})[:-60], ""),
    "no pickle": (b"\x89PNG\r\n", ""),
    "nothing": (b"", ""),
    "a promise of terabytes": (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 42) + b"x.", ""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_anything_else_is_refused_and_nothing_is_run(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    data, message = HOSTILE[name]
    if name == "one array":
        assert list(read(tmp_path, data)) == [""]
        return
    with pytest.raises(RealbenchError, match="expected a pickle of numpy arrays alone, found") as caught:
        read(tmp_path, data)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"] and "antigravity" not in set(sys.modules) - before


def test_a_container_in_itself_is_refused(tmp_path: Path) -> None:
    loop: dict[str, Any] = {}
    loop["x"] = loop
    with pytest.raises(RealbenchError, match=r"a dict at x\.x\.x"):
        read(tmp_path, dumped(loop))


def test_a_few_bytes_cannot_become_a_million_arrays(tmp_path: Path) -> None:
    level: Any = np.zeros(1)
    for _ in range(15):
        level = {str(side): level for side in range(8)}
    with pytest.raises(RealbenchError, match="more than 10000 arrays"):
        read(tmp_path, dumped(level))


@pytest.mark.parametrize("shape", [(1 << 60,), (-1,), (3, 3), (2.0,)])
def test_bytes_must_fit_the_shape(tmp_path: Path, shape: tuple[Any, ...]) -> None:
    class Lying:
        def __reduce__(self) -> tuple[Any, ...]:
            make, first, state = np.zeros(8, np.float32).__reduce__()
            return make, first, (state[0], shape, *state[2:])  # type: ignore[index]

    with pytest.raises(RealbenchError, match="do not fit its shape"):
        read(tmp_path, dumped({"w": Lying()}))
