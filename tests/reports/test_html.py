from __future__ import annotations

import base64
import hashlib
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from realbench.reports.html import HTML
from realbench.results import load_run
from tests.conftest import write_scene
from tests.making import DRIFT, Made
from tests.reports.conftest import EVIL, MARKUP

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """The elements, attributes and text of a page; fails where tags do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def write(made: Made, folder: Path) -> tuple[str, Page]:
    folder.mkdir(exist_ok=True)
    (path,) = HTML().write(load_run(made.root), folder)
    assert path == folder / "leaderboard.html"
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


@pytest.fixture
def page(made: Made, tmp_path: Path) -> Page:
    return write(made, tmp_path / "out")[1]


def test_nothing_on_the_page_runs(page: Page) -> None:
    tags = {tag for tag, _ in page.elements}
    assert tags.isdisjoint({"script", "iframe", "object", "embed", "form", "base", "link", "b onclick"})
    names = {name for _, attributes in page.elements for name in attributes}
    assert not [name for name in names if name.startswith("on") or name == "style"]
    assert all(re.fullmatch(r"#[\w-]+|images/[0-9a-f]{32}\.webp", item["href"]) for item in page.all("a"))


def test_hostile_texts_are_shown_as_texts(page: Page) -> None:
    assert EVIL in page.text
    assert " ".join(MARKUP.split()) in page.text
    assert '"><b onclick=alert(3)>' in page.text
    assert "&lt;" not in page.text


def test_the_policy_allows_the_page_s_own_style_and_images_alone(made: Made, tmp_path: Path) -> None:
    text, page = write(made, tmp_path / "out")
    policy = next(item["content"] for item in page.all("meta") if item.get("http-equiv") == "Content-Security-Policy")
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src 'self' file:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert "url(" not in style[1] and "@import" not in style[1] and "://" not in text.replace("http://evil.example", "")


def test_the_table_says_numbers_coverage_and_ranks(page: Page) -> None:
    assert "PSNR (dB) ↑" in page.text and "DRIFT ↓" in page.text
    row = page.text[page.text.index("good:fast") : page.text.index("truth oracle")]
    assert re.search(r"1\.00 14\.36 3 of 3 scenes rank 1 ", row)
    assert "10.50 m" in row and "2 of 3 scenes unranked" in row
    assert "∞ 3 of 3 scenes" in page.text
    assert "1 × unsupported: the scene has no ground truth" in page.text
    assert "scores on 2 of 3 scenes, 80 % needed" in page.text
    assert [item["scope"] for item in page.all("th")].count("row") == 3 + 2 * 4
    assert len([tag for tag, _ in page.elements if tag == "caption"]) == 3


def test_the_gallery_shows_every_scene_and_fill(page: Page, tmp_path: Path) -> None:
    pictures = page.all("img")
    # References 1 + 2 + 2 + 2, targets 4, truths 3; fills 4 + 3 + 3.
    assert len(pictures) == 7 + 4 + 3 + 10
    for item in pictures:
        assert item["alt"] and item["loading"] == "lazy"
        with Image.open(tmp_path / "out" / item["src"]) as image:
            assert image.format == "WEBP" and max(image.size) <= 320
            assert image.size == (int(item["width"]), int(item["height"]))
    assert "failed fill" not in page.text and "RuntimeError: a|b" in page.text
    assert "2 of 4 references matched" in page.text
    assert "refused : suite/refused/mask.png:" in page.text
    assert "PSNR (dB) ↑ 22.25" in page.text


def test_copies_keep_shape_and_the_hole_is_outlined(made: Made, tmp_path: Path) -> None:
    import numpy as np

    _, page = write(made, tmp_path / "out")
    target = next(item for item in page.all("img") if item["alt"] == "Target of scene wide")
    assert (target["width"], target["height"]) == ("320", "80")
    pixels = np.asarray(Image.open(tmp_path / "out" / target["src"]).convert("RGB")).astype(int)
    # The hole is the left 150 of 400 columns, so 120 of 320: yellow at its border, the image's own included, grey inside.
    yellow = (pixels[..., 0] > 180) & (pixels[..., 2] < 120) & (pixels[..., 1] > 120)
    assert yellow[40, 117:121].any() and yellow[40, :3].any() and not yellow[40, 10:110].any()
    assert np.abs(pixels[20:60, 20:100] - 127).max() < 6
    large = next(item["href"] for item in page.all("a") if item["href"].startswith("images/"))
    with Image.open(tmp_path / "out" / large) as image:
        assert max(image.size) <= 1024


def test_a_second_report_writes_no_image_again(made: Made, tmp_path: Path) -> None:
    write(made, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "images").iterdir()}
    write(made, tmp_path / "out")
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "images").iterdir()}


def test_a_broken_copy_is_made_anew(made: Made, tmp_path: Path) -> None:
    _, page = write(made, tmp_path / "out")
    path = tmp_path / "out" / page.all("img")[0]["src"]
    good = path.read_bytes()
    path.write_bytes(b"cut short")
    write(made, tmp_path / "out")
    assert path.read_bytes() == good


def test_without_the_suite_fills_are_shown_all_the_same(made: Made, tmp_path: Path) -> None:
    assert made.suite is not None
    shutil.rmtree(made.suite)
    _, page = write(made, tmp_path / "out")
    assert len(page.all("img")) == 10
    assert "not shown suite: expected a folder of scenes, found nothing there" in page.text


def test_a_changed_scene_is_told_and_not_shown(made: Made, tmp_path: Path) -> None:
    assert made.suite is not None
    shutil.rmtree(made.suite / "tall")
    write_scene(made.suite / "tall", seed=9, size=(40, 56), references=1)
    _, page = write(made, tmp_path / "out")
    assert "the scene's files have changed since the run" in page.text
    assert not [item for item in page.all("img") if item["alt"] == "Target of scene tall"]


def test_a_corrupt_fill_is_told(made: Made, tmp_path: Path) -> None:
    path = made.folder.cell(made.cell("good:fast", "tall")) / "fill.png"
    path.write_bytes(b"\0" * path.stat().st_size)
    _, page = write(made, tmp_path / "out")
    assert "fill.png cannot be read" in page.text
    assert len(page.all("img")) == 23


def test_no_folder_of_this_machine_is_told(made: Made, tmp_path: Path) -> None:
    text, _ = write(made, tmp_path / "out")
    assert str(tmp_path) not in text and str(Path.home()) + "/" not in text


def test_names_of_image_files_come_from_content(made: Made, tmp_path: Path) -> None:
    write(made, tmp_path / "out")
    assert all(re.fullmatch(r"[0-9a-f]{32}\.webp", path.name) for path in (tmp_path / "out" / "images").iterdir())
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"images", "leaderboard.html"}


def test_mixed_devices_and_several_fills(made: Made, tmp_path: Path) -> None:
    made.manifest.rows["good:fast"].seeds = [0, 1]
    made.write()
    made.fill("good:fast", "tall", seed=1, device="cuda")
    made.score("good:fast", "tall", 4.0, seed=1, signature=DRIFT)
    _, page = write(made, tmp_path / "out")
    assert "mixed devices" in page.text and "cpu (Some), float32; cuda (Some), float32" in page.text
    assert "fit 0, seed 0; 2 of 2 fills finished" in page.text


def test_the_first_finished_fill_is_shown(made: Made, tmp_path: Path) -> None:
    made.manifest.rows[EVIL].seeds = [0, 1]
    made.write()
    made.score(EVIL, "wide", 12.5, seed=1)
    _, page = write(made, tmp_path / "out")
    assert f"Fill of scene wide by {EVIL}" in [item["alt"] for item in page.all("img")]
    assert "PSNR (dB) ↑ 12.50 fit 0, seed 1; 1 of 2 fills finished" in page.text


def test_every_note_leads_to_its_text(page: Page) -> None:
    targets = [item["href"].removeprefix("#") for item in page.all("a") if item["href"].startswith("#")]
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) and set(targets) <= set(ids)
    assert {name for name in ids if name.startswith("missing-")} == {name for name in targets if name.startswith("missing-")}


def test_runs_of_different_suites_share_a_page(made: Made, tmp_path: Path) -> None:
    other = Made(tmp_path / "other")
    other.scene("tall")
    other.row("good:fast", fingerprint="c" * 12)
    other.scores("good:fast", {"tall": 7})
    folder = tmp_path / "out"
    folder.mkdir()
    HTML().write(load_run(made.root, other.write()), folder)
    page = Page((folder / "leaderboard.html").read_text())
    assert "tall @run" in page.text and "tall @other" in page.text and "good:fast @other" in page.text
    assert "Target of scene tall @run" in [item["alt"] for item in page.all("img")]
