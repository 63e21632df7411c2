"""Every page is valid HTML: html5lib's strict parser reads it without an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from realbench.reports.blind import Blind
from realbench.reports.html import HTML
from realbench.reports.single import SingleFile
from realbench.results import load_run
from tests.making import Made


def test_all_pages_are_read_without_an_error(made: Made, tmp_path: Path) -> None:
    html5lib = pytest.importorskip("html5lib", reason="no html5lib: `pip install html5lib` (or `pip install -e .[dev]`)")
    folder = tmp_path / "out"
    folder.mkdir()
    results = load_run(made.root)
    for report in (HTML, SingleFile, Blind):
        report().write(results, folder)
    pages = sorted(folder.rglob("*.html"))
    assert len(pages) == 2 + 4 + 2
    for page in pages:
        html5lib.HTMLParser(strict=True).parse(page.read_text(encoding="utf-8"))
    with pytest.raises(html5lib.html5parser.ParseError):
        html5lib.HTMLParser(strict=True).parse("<!DOCTYPE html><title>t</title><table><p>in a table</table>")
