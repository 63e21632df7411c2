"""check.xml: what JUnit's readers count, and text that stays text."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from realbench.comparable import Difference
from realbench.gate import Change
from realbench.reports._junit import junit
from realbench.tolerance import Rules
from tests.making import DRIFT, PSNR
from tests.reports.checking import CONTROL, HOSTILE, change, checked

SHAPE = {
    "testsuites": ({"name", "tests", "failures", "errors", "time"}, {"testsuite"}),
    "testsuite": ({"name", "tests", "failures", "errors", "skipped", "time"}, {"properties", "testcase"}),
    "properties": (set(), {"property"}),
    "property": ({"name", "value"}, set()),
    "testcase": ({"name", "classname", "time"}, {"failure", "error", "system-out"}),
    "failure": ({"message", "type"}, set()),
    "error": ({"message", "type"}, set()),
    "system-out": (set(), set()),
}
"""By element: its attributes and children. Jenkins's schema (junit-10.xsd) refuses others, such as `skipped` on the root."""


def read(path: Path, *changes: Change, **fields: object) -> ElementTree.Element:
    """The file, read back; its shape is checked."""
    data = junit(checked(path / "run", *changes, **fields))
    root = ElementTree.fromstring(data)
    for element in root.iter():
        attributes, children = SHAPE[element.tag]
        assert set(element.attrib) == attributes and {child.tag for child in element} <= children
        if element.tag in ("testsuites", "testsuite"):
            assert int(element.get("tests", "")) == len([*element.iter("testcase")])
            assert int(element.get("failures", "")) == len([*element.iter("failure")])
            assert int(element.get("errors", "")) == len([*element.iter("error")])
        if element.tag == "testcase":
            assert len(element.findall("failure")) + len(element.findall("error")) <= 1
            assert element.get("time") == "0" and element.get("classname")
    return root


def outcomes(root: ElementTree.Element) -> dict[tuple[str, str], str]:
    """By class and name of a case: how it ended."""
    found = {}
    for case in root.iter("testcase"):
        bad = [child.tag for child in case if child.tag != "system-out"]
        found[case.get("classname", ""), case.get("name", "")] = bad[0] if bad else "passed"
    return found


FIRST = ("realbench check", "comparable with the baseline")


def test_one_case_a_scene_and_metric_and_one_for_the_mean(tmp_path: Path) -> None:
    verdicts = {"a": "worse", "b": "lost", "c": "better", "d": "unknown", "e": "within noise", "f": "shown", "g": "same"}
    scenes = [change(scene, 20, None if verdict == "lost" else 19, verdict, reason="why") for scene, verdict in verdicts.items()]
    root = read(
        tmp_path, change("", 20, 19, "worse"), *scenes, change("", 0.1, 0.1, signature=DRIFT), change("a", 0.1, 0.1, signature=DRIFT)
    )
    assert outcomes(root) == {
        FIRST: "passed", ("row PSNR", "all scenes"): "failure", ("row PSNR", "a"): "failure", ("row PSNR", "b"): "error",
        **{("row PSNR", scene): "passed" for scene in "cdefg"}, ("row DRIFT", "all scenes"): "passed", ("row DRIFT", "a"): "passed",
    }  # fmt: skip
    assert [suite.get("name") for suite in root] == ["realbench check", "row PSNR", "row DRIFT"]
    assert {item.get("name"): item.get("value") for item in root[1].iter("property")} == {"row": "row", "signature": PSNR}
    assert all(case.find("system-out") is not None for case in root.iter("testcase") if case.get("name") in "cdefg")


def test_the_message_holds_the_numbers(tmp_path: Path) -> None:
    one = change("a", 20, 17.5, "worse", deviation=0.5, p=0.001, adjusted=0.012, repeats=("1 × 2", "1 × 2"))
    (found,) = read(tmp_path, one).iter("failure")
    assert found.get("message") == ("PSNR 20.00 → 17.50, −2.50 (tolerance 0.01, noise ±0.50, p 0.012): a drop beyond tolerance and noise")
    assert found.get("type") == "regression" and PSNR in (found.text or "") and "1 × 2 in the run" in (found.text or "")
    (lost,) = read(tmp_path, change("a", 20, None, "lost", reason="failed: out of luck")).iter("error")
    assert "the baseline has scores that the run lacks (failed: out of luck)" in (lost.get("message") or "")


@pytest.mark.parametrize(
    "fields",
    [{"mismatches": ("scene a is not the one of the baseline", "another")}, {}, {"rules": Rules(metrics=("drift",))}],
    ids=["mismatch", "no score", "no gate"],
)
def test_where_nothing_is_judged_no_reader_sees_a_pass(tmp_path: Path, fields: dict[str, object]) -> None:
    changes = [change("a", 20, 10, "shown")] if "rules" in fields else []
    root = read(tmp_path, *changes, **fields)
    assert outcomes(root)[FIRST] == "error" and root.get("errors") == "1"
    (error,) = root.iter("error")
    assert error.get("message") and all(text in (error.text or "") for text in fields.get("mismatches", ()))


def test_warnings_and_differences_are_told(tmp_path: Path) -> None:
    root = read(tmp_path, change("a"), warnings=("beware",), differences=(Difference("", "version of torch", "1", "2"),))
    assert root[0][0].findtext("system-out") == "warning: beware\nchanged: all rows: version of torch: 1 → 2"


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    changes = [change(name, 20, 19, "worse", label=CONTROL, reason=CONTROL) for name in ("", CONTROL, HOSTILE, "]]>", "&amp;", "a\\x00b")]
    data = junit(checked(tmp_path / "run", *changes, warnings=(CONTROL,)))
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]", data) and "\u202e" not in data.decode() and "\uffff" not in data.decode()
    root = read(tmp_path / "again", *changes)
    names = [case.get("name") for case in root[1].iter("testcase")]
    assert names == ["all scenes", r"a\x00b\x1b[31m|c # d\u202e\uffff", HOSTILE, "]]>", "&amp;", r"a\x00b"]


def test_names_that_would_be_the_same_are_told_apart(tmp_path: Path) -> None:
    """Readers match cases by name: two of one name would hide each other."""
    changes = [change(name) for name in ("", "all scenes", "a\x00", "a\\x00", "all scenes (2)", "")]
    root = read(tmp_path, *changes[:-1], change("x", label="row\x00"), change("x", label="row\\x00"))
    names = [case.get("name") for case in root[1].iter("testcase")]
    assert names == ["all scenes", "all scenes (2)", r"a\x00", r"a\x00 (2)", "all scenes (2) (2)"]
    assert [suite.get("name") for suite in root][2:] == [r"row\x00 PSNR", r"row\x00 PSNR (2)"]
