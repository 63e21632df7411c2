from __future__ import annotations

import re
from pathlib import Path

import pytest

from realbench.reports.html import HTML
from realbench.results import load_run
from tests.making import DRIFT, Made
from tests.pages import Page
from tests.reports.conftest import EVIL, MARKUP

LINK = r"#[\w-]+|(leaderboard|cards)\.html(#[\w-]+)?|scenes/[\w-]+\.html"
SOURCE = r"images/[0-9a-f]{32}\.webp|figures/[\w-]+\.svg"


def write(made: Made, folder: Path) -> tuple[str, Page]:
    folder.mkdir(exist_ok=True)
    path = HTML().write(load_run(made.root), folder)[0]
    assert path == folder / "leaderboard.html"
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


@pytest.fixture
def page(made: Made, tmp_path: Path) -> Page:
    return write(made, tmp_path / "out")[1]


def test_nothing_on_the_page_runs_or_leads_away(page: Page, tmp_path: Path) -> None:
    for one in (page, Page((tmp_path / "out" / "cards.html").read_text())):
        tags = {tag for tag, _ in one.elements}
        assert tags.isdisjoint({"iframe", "object", "embed", "form", "base", "link", "b onclick"})
        names = {name for _, attributes in one.elements for name in attributes}
        assert not [name for name in names if name.startswith("on") or name == "style"]
        assert all(re.fullmatch(LINK, item["href"]) for item in one.all("a"))
        assert all(re.fullmatch(SOURCE, item["src"]) for item in one.all("img"))
        assert all("src" not in item for item in one.all("script"))


def test_hostile_texts_are_shown_as_texts(page: Page, tmp_path: Path) -> None:
    cards = Page((tmp_path / "out" / "cards.html").read_text())
    for one in (page, cards):
        assert EVIL in one.text and "&lt;" not in one.text
        assert " ".join(MARKUP.split()) in one.text


def test_the_policy_allows_the_page_s_own_style_scripts_and_images_alone(made: Made, tmp_path: Path) -> None:
    text, page = write(made, tmp_path / "out")
    policy = page.policy()
    assert set(policy.pop("style-src")) == page.hashes("style") and set(policy.pop("script-src")) == page.hashes("script")
    assert policy == {
        "default-src": ["'none'"], "img-src": ["'self'", "file:"], "base-uri": ["'none'"], "form-action": ["'none'"],
        "require-trusted-types-for": ["'script'"], "trusted-types": ["'none'"],
    }  # fmt: skip
    assert "url(" not in text and "@import" not in text and "://" not in text.replace("http://evil.example", "")
    for script in re.findall(r"<script>(.*?)</script>", text, re.DOTALL):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|fetch\(|import\b", script)


def test_the_table_says_numbers_coverage_and_marks(page: Page) -> None:
    assert "PSNR (dB) ↑" in page.text and "DRIFT ↓" in page.text
    row = page.text[page.text.index("good:fast") : page.text.index("truth oracle")]
    assert "1.00 14.36" in row
    assert "10.50 m" in row and "2 of 3 scenes, 2 of 3 fills unranked" in row.replace("scenes unranked", "scenes, 2 of 3 fills unranked")
    assert "1 × unsupported: the scene has no ground truth" in page.text
    assert "scores on 2 of 3 scenes, 80 % needed" in page.text
    scopes = [item.get("scope") for item in page.all("th")]
    assert None not in scopes and scopes.count("row") >= 3 + 2 * 4 and scopes.count("colgroup") == 2
    tables = [tag for tag, _ in page.elements if tag in ("table", "caption")]
    assert tables.count("table") == tables.count("caption") >= 3


def test_an_oracle_s_infinity_is_shown_and_sorted(page: Page) -> None:
    assert "∞" in page.text[page.text.index("truth oracle") :]
    data = page.data("board")
    truth = next(row for row in data["views"]["0|mean"]["rows"] if row[5][0][0] == "∞")
    assert truth[5][0][1] == "Infinity"


def ids(page: Page) -> list[str]:
    return [attributes["id"] for _, attributes in page.elements if "id" in attributes]


def test_no_folder_of_this_machine_is_told(made: Made, tmp_path: Path) -> None:
    made.manifest.invocations[0].command = ["/opt/x/bin/realbench", "run", "--scenes", str(made.suite), "-o", "/home/alice/runs/secret"]
    made.write()
    text, page = write(made, tmp_path / "out")
    for path in (tmp_path / "out").rglob("*.html"):
        words = path.read_text()
        assert str(tmp_path) not in words and str(Path.home()) + "/" not in words and "/home/alice/runs" not in words
    assert "realbench run --scenes suite -o secret" in page.text
    assert "/opt/x" not in text


def test_the_same_run_gives_the_same_bytes(made: Made, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(made, tmp_path / name)
    files = [{path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")} for name in ("one", "two")]
    assert files[0] == files[1] and {path.suffix for path in files[0]} == {".html", ".svg", ".webp"}


def test_mixed_devices_are_told(made: Made, tmp_path: Path) -> None:
    made.manifest.rows["good:fast"].seeds = [0, 1]
    made.write()
    made.fill("good:fast", "tall", seed=1, device="cuda")
    made.score("good:fast", "tall", 4.0, seed=1, signature=DRIFT)
    _, page = write(made, tmp_path / "out")
    assert "mixed devices" in page.text and "cpu (Some), float32; cuda (Some), float32" in page.text


def test_every_note_leads_to_its_text(page: Page, tmp_path: Path) -> None:
    cards = Page((tmp_path / "out" / "cards.html").read_text())
    assert len(ids(page)) == len(set(ids(page))) and len(ids(cards)) == len(set(ids(cards)))
    targets = [item["href"] for one in (page, cards) for item in one.all("a")]
    for name, one in (("leaderboard.html", page), ("cards.html", cards)):
        own = {item["href"][1:] for item in one.all("a") if item["href"].startswith("#")}
        own |= {target.removeprefix(f"{name}#") for target in targets if target.startswith(f"{name}#")}
        assert own <= set(ids(one))
    for target in targets:
        assert target.startswith("#") or (tmp_path / "out" / target.split("#")[0]).is_file()
    listed = {name for name in ids(page) if re.fullmatch(r"missing-\d+", name)}
    assert listed == {item["href"][1:] for item in page.all("a") if item["href"].startswith("#missing-")}


def test_refused_scenes_are_told(page: Page) -> None:
    assert "refused : suite/refused/mask.png:" in page.text


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
