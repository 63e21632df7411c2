"""check.xml: JUnit's format as Jenkins, GitLab and GitHub's reporters read it, one test case a scene and metric.

A case's name and suite hold no number that changes from run to run, since readers match cases by them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from xml.etree import ElementTree

from realbench.errors import Exit

from ._check_words import Check, Line
from ._text import plain

TOOL = "realbench check"
COMPARABLE = "comparable with the baseline"
_TIME = {"time": "0"}
"""Nothing here was timed; a reader that finds none shows NaN."""


def junit(check: Check) -> bytes:
    """The file, as UTF-8."""
    root = ElementTree.Element("testsuites", {"name": TOOL})
    _comparable(root, check)
    lines = check.lines(check.judgement.changes)
    names = _Names()
    for (label, title), group in groupby(lines, key=lambda line: (line.label, line.title)):
        _suite(root, names(f"{label} {title}"), list(group))
    for kind in ("tests", "failures", "errors"):
        root.set(kind, str(sum(int(suite.get(kind, "0")) for suite in root)))
    root.attrib |= _TIME
    ElementTree.indent(root)
    data: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return data + b"\n"


def _comparable(root: ElementTree.Element, check: Check) -> None:
    """Always there: an error where nothing could be judged, so that an empty file never passes for a gate that held."""
    judgement = check.judgement
    suite = ElementTree.SubElement(root, "testsuite", {"name": TOOL})
    case = ElementTree.SubElement(suite, "testcase", {"name": COMPARABLE, "classname": TOOL, **_TIME})
    if judgement.exit_code is Exit.NOTHING_MEASURED:
        _outcome(case, "error", judgement.headline, "incomparable", judgement.mismatches)
    told = [f"warning: {text}" for text in judgement.warnings]
    told += [f"changed: {one.label or 'all rows'}: {one.what}: {one.before} → {one.after}" for one in judgement.differences]
    if told:
        ElementTree.SubElement(case, "system-out").text = _text(told)
    _count(suite)


def _suite(root: ElementTree.Element, name: str, lines: list[Line]) -> None:
    """A row under a metric."""
    suite = ElementTree.SubElement(root, "testsuite", {"name": name})
    properties = ElementTree.SubElement(suite, "properties")
    for key, value in (("row", lines[0].label), ("signature", lines[0].signature)):
        ElementTree.SubElement(properties, "property", {"name": key, "value": plain(value)})
    names = _Names()
    for line in lines:
        case = ElementTree.SubElement(suite, "testcase", {"name": names(line.scene), "classname": name, **_TIME})
        if line.verdict == "worse":
            _outcome(case, "failure", line.sentence, "regression", _detail(line))
        elif line.verdict == "lost":
            _outcome(case, "error", line.sentence, "lost", _detail(line))
        else:
            ElementTree.SubElement(case, "system-out").text = _text([line.sentence, *_detail(line)])
    _count(suite)


def _detail(line: Line) -> list[str]:
    return [f"noise: {line.noise_tip}", f"p: {line.p_tip}", f"signature: {line.signature}"]


def _outcome(case: ElementTree.Element, kind: str, message: str, word: str, more: Iterable[str]) -> None:
    found = ElementTree.SubElement(case, kind, {"message": plain(message), "type": word})
    found.text = _text([message, *more])


def _count(suite: ElementTree.Element) -> None:
    cases = suite.findall("testcase")
    failures, errors = (sum(case.find(kind) is not None for case in cases) for kind in ("failure", "error"))
    suite.attrib |= {"tests": str(len(cases)), "failures": str(failures), "errors": str(errors), "skipped": "0"} | _TIME


def _text(lines: Iterable[str]) -> str:
    """Lines without a character that XML forbids."""
    return "\n".join(map(plain, lines))


class _Names:
    """Names that XML allows; one that another has already taken gets a number."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()

    def __call__(self, text: str) -> str:
        name = plain(text) or "unnamed"
        while name in self.taken:
            self.taken[name] += 1
            name = f"{name} ({self.taken[name]})"
        self.taken[name] = 1
        return name
