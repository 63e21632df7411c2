"""The guard of the browser tests notices what it is there for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.browser.conftest import Open, beside, heard


def test_errors_and_requests_are_heard(open_page: Open, browser: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<!DOCTYPE html><title>t</title><img src="http://127.0.0.1:9/x.png" alt=""><script>throw new Error("heard")</script>')
    open_page(page)
    browser.execute_async_script("setTimeout(arguments[0], 300)")
    errors, fetched = heard(browser)
    assert any("heard" in line for line in errors) and "http://127.0.0.1:9/x.png" in fetched


def test_what_lies_beside_a_page(tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    assert beside((folder / "images" / "x.webp").as_uri(), [folder]) and beside("data:,", [folder])
    assert not beside("file:///etc/passwd", [folder]) and not beside("https://example.org/x", [folder])
