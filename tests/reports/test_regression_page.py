"""check.html: the fills that changed, those of the baseline's run beside them, and names that stay text."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from realbench.comparable import Difference
from realbench.gate import FILES
from realbench.report import write_reports
from realbench.reports import _check_page
from realbench.reports._check_words import Check
from realbench.reports._text import plain
from realbench.results import Results, load_run
from realbench.tolerance import Rules
from tests.making import DRIFT, PSNR
from tests.pages import Page
from tests.reports.checking import CONTROL, HOSTILE, NEW, OLD, change, empty_run, having, judgement, painted, pair


def write(results: Results, folder: Path) -> Page:
    write_reports(results, folder, ["regression"])
    return Page.read(folder / FILES[0])


def articles(page: Page) -> list[str]:
    """The source of each article."""
    return re.findall(r"<article.*?</article>", page.source, re.DOTALL)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Results]:
    return pair(tmp_path_factory.mktemp("check"))


@pytest.fixture(scope="module")
def out(runs: tuple[Results, Results], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report with the baseline's fills."""
    folder = tmp_path_factory.mktemp("out")
    write(replace(runs[1], before=runs[0]), folder)
    return folder


@pytest.fixture(scope="module")
def page(out: Path) -> Page:
    return Page.read(out / FILES[0])


def colour(out: Path, source: str) -> float:
    with Image.open(out / source) as image:
        return float(np.asarray(image).mean())


def test_the_scenes_that_changed_what_changed_most_on_top(page: Page, runs: tuple[Results, Results]) -> None:
    verdicts = having(Check(runs[1]), [*OLD, HOSTILE])
    assert verdicts == {"plain": "same", "down": "worse", "up": "better", "gone": "lost", HOSTILE: "worse"}
    names = [re.sub(r"<[^>]*>", "", re.findall(r"<h3[^>]*>(.*?)</h3>", one)[0]) for one in articles(page)]
    escaped = HOSTILE.replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#39;")
    assert names == ["down many", f"{escaped} {escaped}", "gone many", "up many"]
    links = [item["href"] for item in page.all("a") if item.get("href", "").startswith("#change-")]
    assert links == [f"#change-{at}" for at in (1, 2, 3, 4)]


def test_a_slider_lays_the_baseline_s_fill_over_the_run_s(page: Page, out: Path) -> None:
    first = articles(page)[0]
    now, before = re.findall(r'<div class="view layer[^>]*><img src="([^"]+)"', first)
    assert (colour(out, before), colour(out, now)) == (pytest.approx(40, abs=2), pytest.approx(200, abs=2))
    captions = re.findall(r'class="name">([^<]+)<', first)
    assert captions == ["Baseline", "Now", "Ground truth", "Target"]
    # The hole of `write_scene` lies in the columns 10 to 29 of 48: its middle is at 20 / 48.
    assert 'max="100" step="1" value="42"' in first


def test_the_fill_shown_is_the_one_nearest_to_the_mean(page: Page) -> None:
    first = articles(page)[0]
    assert first.count("fit 0, seed 1; one of 3 fills") == 2
    assert re.findall(r'class="scores">([^<]+)<', first) == ["PSNR ↑ 20.20", "PSNR ↑ 10.20"]


def test_what_is_lost_says_why_and_shows_what_there_is(page: Page, runs: tuple[Results, Results]) -> None:
    gone = articles(page)[2]
    assert "RuntimeError: suite/gone: &lt;img" in gone and ">lost</span>" in gone
    assert re.findall(r'class="scores">([^<]+)<', gone) == ["PSNR ↑ 20.00", "PSNR ↑ 20.00"], "seed 1 failed; its neighbour is shown"


def test_scenes_that_hold_are_folded_away(page: Page) -> None:
    folded = page.source.partition("<details>")[2].partition("</details>")[0]
    assert "<summary>1 score within tolerance</summary>" in folded and ">plain<" in folded and ">down<" not in folded
    assert not any(">plain<" in one for one in articles(page))


def test_without_the_baseline_s_run_the_page_says_how_to_get_it(runs: tuple[Results, Results], tmp_path: Path) -> None:
    page = write(runs[1], tmp_path)
    assert "realbench check RUN --baseline-run RUN" in page.text
    assert len(articles(page)) == 4 and 'class="stage"' not in page.source
    assert re.findall(r'class="name">([^<]+)<', articles(page)[0]) == ["Now", "Ground truth", "Target"]


def test_with_it_the_page_does_not(page: Page) -> None:
    assert "--baseline-run" not in page.text


def test_another_run_than_the_accepted_one_is_told(runs: tuple[Results, Results], tmp_path: Path) -> None:
    page = write(replace(runs[1], before=runs[1]), tmp_path)
    assert "is not the one that was accepted" in page.text and "in 3 of 5 cases, the first of them many on down" in page.text


def test_equal_fills_have_no_slider_and_say_so(tmp_path: Path) -> None:
    old, new = pair(tmp_path)
    same = load_run(painted(tmp_path / "same", tmp_path / "suite", NEW, 40, 29.0).root)
    page = write(replace(same, judgement=new.judgement, before=old), tmp_path / "out")
    assert "Both fills are the same, byte for byte" in articles(page)[0] and 'class="stage"' not in articles(page)[0]


def test_a_row_that_the_baseline_s_run_lacks(runs: tuple[Results, Results], tmp_path: Path) -> None:
    page = write(replace(runs[1], before=empty_run(tmp_path / "empty")), tmp_path / "out")
    assert "this run has no such cell" in articles(page)[0] and 'class="stage"' not in page.source


def test_a_suite_that_is_gone_costs_pictures_only(tmp_path: Path) -> None:
    old, new = pair(tmp_path)
    (tmp_path / "suite").rename(tmp_path / "elsewhere")
    page = write(replace(new, before=old), tmp_path / "out")
    first = articles(page)[0]
    assert first.count("not shown") == 2 and 'class="stage"' in first and 'value="50"' in first
    assert str(tmp_path) not in page.source


def test_nothing_changed(tmp_path: Path) -> None:
    results = empty_run(tmp_path / "run")
    page = write(replace(results, judgement=judgement(change(), change("a"))), tmp_path / "out")
    assert "Fill quality holds" in page.text and "Nothing changed: every score of every scene is within its tolerance." in page.text
    assert "check passed" in page.text and "settings, weights, code, versions and machine are the baseline's" in page.text
    assert 'id="zoom"' not in page.source and not articles(page)


def test_mismatches_take_the_place_of_tables(tmp_path: Path) -> None:
    found = judgement(mismatches=(f"row {HOSTILE} is not in the run",))
    page = write(replace(empty_run(tmp_path / "run"), judgement=found), tmp_path / "out")
    title_and_list = 2
    assert page.text.count(f"row {HOSTILE} is not in the run") == title_and_list and "not judged" in page.text
    assert "Not comparable with the baseline" in page.text and "under test" not in page.text
    assert "Scenes that" not in page.text and "Over all scenes" not in page.text


def test_why_a_verdict_fell_stands_beside_it(tmp_path: Path) -> None:
    one = change("a", 20, 17.5, "worse", deviation=0.5, p=0.001, adjusted=0.012, repeats=("1 × 2", "1 × 3"))
    other = change("a", 0.1, 0.2, "shown", signature=DRIFT)
    found = judgement(one, other, rules=Rules(metrics=("psnr",)), differences=(Difference("", "version of torch", "1", "2"),))
    page = write(replace(empty_run(tmp_path / "run"), judgement=found), tmp_path / "out")
    tips = [item["data-tip"] for item in page.all("span") if "data-tip" in item]
    for text in (
        PSNR,
        "0.5; fits × seeds: 1 × 2 in the baseline, 1 × 3 in the run",
        "adjusted for all rows, metrics and scenes: 0.012",
        "chance",
    ):
        assert any(text in tip for tip in tips), text
    assert "a drop beyond tolerance and noise" in tips and "does not gate" in page.text and "±0.50" in page.text
    assert "all version of torch 1 2" in page.text


def test_many_changes_have_few_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_check_page, "MOST", 2)
    changes = [change(name, 20, 19 - at, "worse") for at, name in enumerate("abc")]
    page = write(replace(empty_run(tmp_path / "run"), judgement=judgement(*changes)), tmp_path / "out")
    assert len(articles(page)) == 2 and "Pictures of the first 2 are shown" in page.text
    assert [item["href"] for item in page.all("a") if item.get("href", "").startswith("#change")] == ["#change-1", "#change-2"]


def named(name: str, folder: Path) -> Page:
    """The page of a check in which everything has this name."""
    changes = [
        change(name, 20, 19, "worse", label=name, reason=name), change(f"{name}2", 20, None, "lost", label=name, reason=name),
        change(f"{name}3", label=name), change("", 20, 19, "worse", label=name),
    ]  # fmt: skip
    differences = (Difference(name, name, name, name),)
    found = judgement(*changes, warnings=(name,), differences=differences, suite=name, runs=(name,), accepted=name)
    return write(replace(empty_run(folder / "run"), judgement=found), folder / "out")


@pytest.mark.parametrize("name", [HOSTILE, CONTROL, "</script><script>alert(1)</script>", '"><b onclick=x>', "{{ 7 * 7 }}"])
def test_hostile_names_stay_text(tmp_path: Path, name: str) -> None:
    page, harmless = named(name, tmp_path / "hostile"), named("harmless", tmp_path / "harmless")
    shape = [[(tag, sorted(attributes)) for tag, attributes in one.elements] for one in (page, harmless)]
    assert shape[0] == shape[1]
    assert plain(name) in page.text and "\x1b" not in page.source and "\u202e" not in page.source
    assert set(page.policy()["script-src"]) == page.hashes("script") and set(page.policy()["style-src"]) == page.hashes("style")


def test_the_page_is_valid_html(out: Path, tmp_path: Path) -> None:
    html5lib = pytest.importorskip("html5lib", reason="no html5lib: `pip install html5lib` (or `pip install -e .[dev]`)")
    write(replace(empty_run(tmp_path / "run"), judgement=judgement(mismatches=(HOSTILE,))), tmp_path / "out")
    for folder in (out, tmp_path / "out"):
        html5lib.HTMLParser(strict=True).parse((folder / FILES[0]).read_text(encoding="utf-8"))


def test_every_picture_is_there(page: Page, out: Path) -> None:
    sources = [item["src"] for item in page.all("img")]
    assert sources and all((out / source).is_file() for source in sources)
    assert all(item["alt"] for item in page.all("img"))


def test_a_mean_over_fewer_scenes_says_so(tmp_path: Path) -> None:
    found = judgement(change("", 20, 20), change("a"), change("b", 20, None, "lost", reason="failed: x"))
    page = write(replace(empty_run(tmp_path / "run"), judgement=found), tmp_path / "out")
    assert page.text.count("over 1 of 2 scenes") == 1
    assert (tmp_path / "out" / "check.md").read_text(encoding="utf-8").count("same over 1 of 2 scenes") == 1
