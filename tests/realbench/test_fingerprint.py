"""Hashes of content: equal content, equal hash; anything else, another one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from realbench import fingerprint


def test_arrays_differ_by_type_shape_and_values() -> None:
    base = np.arange(6, dtype=np.uint8).reshape(2, 3)
    same = np.asfortranarray(base)
    others = [base.T, base.reshape(3, 2), base.astype(np.int8), base + 1, base[:1]]
    assert fingerprint.of_array(same) == fingerprint.of_array(base)
    assert len({fingerprint.of_array(array) for array in [base, *others]}) == 1 + len(others)


def test_data_ignores_key_order_only() -> None:
    assert fingerprint.of_data({"a": 1, "b": [2, 3]}) == fingerprint.of_data({"b": [2, 3], "a": 1})
    assert fingerprint.of_data([1, 2]) != fingerprint.of_data([2, 1])
    assert fingerprint.of_data("1") != fingerprint.of_data(1)


def test_a_file_is_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert fingerprint.of_file(tmp_path / "x") == fingerprint.of_bytes(b"abc")
    assert fingerprint.of_bytes(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "sourced"
    (folder / "inner").mkdir(parents=True)
    for name, text in {
        "__init__.py": "",
        "adapter.py": "import json\nfrom . import helper\nfrom .inner.deep import thing\nclass Adapter: pass\n",
        "helper.py": "import sourced.second\n",
        "second.py": "",
        "inner/__init__.py": "",
        "inner/deep.py": "from .. import third\nthing = 1\n",
        "third.py": "",
        "unrelated.py": "",
    }.items():
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield folder  # type: ignore[misc]
    for name in [name for name in sys.modules if name.startswith("sourced")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("file", "matters"),
    [
        ("adapter.py", True), ("helper.py", True), ("second.py", True), ("inner/deep.py", True), ("third.py", True),
        ("unrelated.py", False),
    ],
)  # fmt: skip
def test_source_covers_what_the_module_imports_of_its_package(package: Path, file: str, matters: bool) -> None:
    from sourced.adapter import Adapter  # type: ignore[import-not-found]

    before = fingerprint.of_source(Adapter)
    path = package / file
    path.write_text(path.read_text() + "changed = True\n")
    assert (fingerprint.of_source(Adapter) != before) == matters
