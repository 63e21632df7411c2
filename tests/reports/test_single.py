"""The report in one file: nothing beside it is needed, and what is left out is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from realbench.reports import single
from realbench.reports.single import SingleFile
from realbench.results import load_run
from tests.making import Made
from tests.pages import Page
from tests.reports.conftest import EVIL


def write(made: Made, folder: Path) -> Page:
    folder.mkdir(exist_ok=True)
    (path,) = SingleFile().write(load_run(made.root), folder)
    assert path == folder / "single.html"
    return Page.read(path)


def test_nothing_beside_the_file_is_needed(made: Made, tmp_path: Path) -> None:
    page = write(made, tmp_path / "out")
    pictures = [item["src"] for item in page.all("img")]
    assert pictures and all(address.startswith(("data:image/webp;base64,", "data:image/svg+xml")) for address in pictures)
    targets = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    links = [item["href"] for item in page.all("a")]
    assert all(link.startswith("#") and link[1:] in targets for link in links), links
    assert page.policy()["img-src"] == ["data:"] and page.policy()["default-src"] == ["'none'"]
    assert set(page.policy()["script-src"]) == page.hashes("script")


def test_every_scene_and_row_is_there(made: Made, tmp_path: Path) -> None:
    page = write(made, tmp_path / "out")
    alts = [item["alt"] for item in page.all("img")]
    # References 1 + 2 + 2 + 2, targets 4, truths 3; fills 4 + 3 + 3.
    assert len([text for text in alts if " of scene " in text]) == 7 + 4 + 3 + 10
    assert f"Fill of scene tall by {EVIL}" in alts and EVIL in page.text
    assert "there was no room for" not in page.text and "Left out against the full report" in page.text


def test_what_there_is_no_room_for_is_told(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = len(write(made, tmp_path / "out").source)
    monkeypatch.setattr(single, "BUDGET", 3_000)
    page = write(made, tmp_path / "out")
    assert len(page.source) < whole
    assert "pictures that there was no room for" in page.text and "left out of this file" in page.text
