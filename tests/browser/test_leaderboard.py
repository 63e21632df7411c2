"""The leaderboard in Chromium: it sorts, filters and changes colours, and shows nothing that was not computed before."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest

from realbench.composite import Feather
from realbench.plan import plan_columns
from realbench.reports.html import HTML
from realbench.results import Results, load_run
from realbench.strata import policies, strata, tables_for
from tests.browser.conftest import HOSTILE, MATCHES, Open, heard
from tests.making import Made

WIDTHS = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"


def labels(page: Any, rows: str = "[data-row]:not([hidden])") -> list[str]:
    """Rows from top to bottom."""
    return page.execute_script(f"return [...document.querySelectorAll('#board {rows} .label')].map((one) => one.textContent)")


def means(page: Any, rows: str = "[data-row]") -> dict[str, list[str]]:
    """The numbers of each row, the mean rank first."""
    script = """return Object.fromEntries([...document.querySelectorAll(`#board ${arguments[0]}`)].map(
        (row) => [row.querySelector('.label').textContent, [...row.querySelectorAll('.mean')].map((one) => one.textContent)]))"""
    return page.execute_script(script, rows)


def head(page: Any, words: str) -> Any:
    """A column's heading."""
    return next(one for one in page.find_elements("css selector", "#board thead [data-direction]") if words in one.text)


def press(page: Any, words: str) -> str | None:
    """Click on a heading; what it says of the order afterwards."""
    head(page, words).find_element("tag name", "button").click()
    return head(page, words).get_attribute("aria-sort")


def choose(page: Any, control: str, words: str) -> None:
    option = next(one for one in page.find_elements("css selector", f"#{control} option") if words in one.text)
    option.click()


def test_columns_sort_best_first_and_then_the_other_way(report: Path, open_page: Open) -> None:
    page = open_page(report / "leaderboard.html")
    assert labels(page)[-1] == "truth"
    assert press(page, "PSNR") == "descending"
    assert labels(page) == ["good", "other", "truth"]  # 23.5 dB, 21 dB; oracles stay below
    assert press(page, "PSNR") == "ascending"
    assert labels(page) == ["other", "good", "truth"]
    assert press(page, "DRIFT") == "ascending"  # lower is better
    assert labels(page) == ["other", "good", "truth"]
    assert press(page, "DRIFT") == "descending"
    assert labels(page) == ["good", "other", "truth"]
    assert [one.get_attribute("aria-sort") for one in page.find_elements("css selector", "#board [aria-sort]")] == ["descending"]


def test_rows_without_a_value_stay_last_both_ways(report: Path, open_page: Open) -> None:
    page = open_page(report / "leaderboard.html")
    for _ in range(2):
        press(page, "MATCHES")
        assert labels(page) == ["good", "other", "truth"] and means(page)["other"][-1] == "–"


def test_the_keyboard_sorts(report: Path, open_page: Open) -> None:
    page = open_page(report / "leaderboard.html")
    button = head(page, "Row").find_element("tag name", "button")
    button.send_keys("\ue007")  # Enter
    assert labels(page)[:2] == ["good", "other"]
    button.send_keys(" ")
    assert labels(page)[:2] == ["other", "good"] and head(page, "Row").get_attribute("aria-sort") == "descending"


def test_every_choice_shows_what_was_computed(report: Path, results: Results, open_page: Open) -> None:
    page = open_page(report / "leaderboard.html")
    offered = page.execute_script(
        "return [document.querySelectorAll('#stratum option').length, document.querySelectorAll('#seeds option').length]"
    )
    assert offered == [1 + len(strata(results)), 2]
    for value in page.execute_script("return [...document.querySelectorAll('#stratum option')].map((one) => one.value)"):
        stratum = strata(results)[int(value) - 1] if value != "0" else None
        page.execute_script(
            "const s = document.getElementById('stratum'); s.value = arguments[0]; s.dispatchEvent(new Event('change'))", value
        )
        for policy, words in zip(policies(results), ("all of them", "selected"), strict=False):
            choose(page, "seeds", words)
            board = tables_for(results, stratum, policy).leaderboard
            shown = means(page, "[data-row]:not([hidden])")
            assert shown.keys() == {row.label for row in board.rows}
            for row in board.rows:
                wanted = ["–" if row.mean_rank is None else f"{row.mean_rank:.2f}"]
                wanted += [
                    "–" if e.mean is None else f"{e.mean:.{c.info.mean_digits}f}".replace("inf", "∞")
                    for e, c in zip(row.entries, board.columns, strict=True)
                ]
                assert shown[row.label] == wanted, (value, policy.reducer)
            assert labels(page, "[data-row]:not([hidden])") == [row.label for row in board.rows]


def test_choices_say_what_they_are(report: Path, open_page: Open) -> None:
    page = open_page(report / "leaderboard.html")
    status = page.find_element("id", "status")
    assert status.text.startswith("5 scenes; all seeds") and status.get_attribute("role") == "status"
    choose(page, "stratum", "outpainting")
    choose(page, "seeds", "selected")
    assert status.text.startswith("2 scenes (Kind of hole: outpainting); selected: 25 % of the seeds with most MATCHES")


def test_scripts_draw_what_the_page_says_without_them(report: Path, open_page: Open) -> None:
    page = open_page(report / "leaderboard.html", scripts=False)
    assert not any(one.is_displayed() for one in page.find_elements("css selector", "[data-needs-script]"))
    assert page.find_element("id", "board").is_displayed()
    source = (report / "leaderboard.html").read_text()
    plain = [
        cell_text(cell) for cell in re.findall(r"<td.*?</td>", re.search(r'<table id="board">.*?</table>', source, re.DOTALL)[0], re.DOTALL)
    ]
    page = open_page(report / "leaderboard.html")
    choose(page, "stratum", "outpainting")
    choose(page, "stratum", "all")
    drawn = page.execute_script("return [...document.querySelectorAll('#board td')].map((one) => one.textContent.trim())")
    assert drawn == plain
    assert [one.is_displayed() for one in page.find_elements("css selector", "#theme, #stratum, #seeds")] == [True] * 3


def cell_text(cell: str) -> str:
    return html.unescape(re.sub("<[^>]*>", "", cell)).strip()


def test_ghost_rows_follow_their_rows(report: Path, results: Results, open_page: Open) -> None:
    page = open_page(report / "leaderboard.html")
    assert labels(page, ".ghost:not([hidden])") == []
    page.find_element("id", "ghosts").click()
    assert labels(page, "tr:not([hidden])") == ["good", "good", "other", "truth"]
    # Seed 3 is best by every scene's own PSNR: 23 + 2 on the average.
    assert means(page, ".ghost")["good"][1] == "25.00" and means(page)["good"][1] == "23.50"
    press(page, "PSNR")
    press(page, "PSNR")
    assert labels(page, "tr:not([hidden])") == ["other", "good", "good", "truth"]


def test_missing_scores_say_why_and_lead_to_the_list(report: Path, open_page: Open) -> None:
    page = open_page(report / "leaderboard.html")
    link = page.find_element("css selector", "#board tbody sup a")
    assert "RuntimeError: out of luck" in link.get_attribute("data-tip")
    link.send_keys("\ue007")
    assert page.execute_script("return document.querySelector(':target').textContent").strip().endswith("RuntimeError: out of luck")


def test_signatures_are_told_on_focus_and_hover(report: Path, open_page: Open) -> None:
    page = open_page(report / "leaderboard.html")
    mark = head(page, "MATCHES").find_element("css selector", "sup a")
    tip = page.find_element("id", "tip")
    assert not tip.is_displayed()
    page.execute_script("arguments[0].focus()", mark)
    assert tip.text == MATCHES and mark.get_attribute("aria-describedby") == "tip"
    mark.send_keys("\ue00c")  # Escape
    assert not tip.is_displayed() and mark.get_attribute("aria-describedby") is None


def background(page: Any) -> str:
    return page.execute_script("return getComputedStyle(document.body).backgroundColor")


def seen(page: Any, kind: str) -> bool:
    return page.find_element("css selector", f".figures .{kind}").is_displayed()


def test_colours_follow_the_system_until_one_is_chosen(report: Path, open_page: Open) -> None:
    page = open_page(report / "leaderboard.html", dark=True)
    dark = background(page)
    assert seen(page, "only-dark") and not seen(page, "only-light")
    page = open_page(report / "leaderboard.html")
    light = background(page)
    assert light != dark and seen(page, "only-light") and not seen(page, "only-dark")
    button = page.find_element("id", "theme")
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    assert background(page) == dark and button.get_attribute("aria-pressed") == "true" and seen(page, "only-dark")
    page = open_page(report / "cards.html")
    assert background(page) == dark  # kept for the other pages
    page.find_element("id", "theme").click()
    assert background(page) == light
    page.execute_script("localStorage.clear()")


@pytest.mark.parametrize("name", ["leaderboard.html", "cards.html", "scene"])
def test_nothing_is_wider_than_a_phone(name: str, report: Path, open_page: Open) -> None:
    path = next((report / "scenes").iterdir()) if name == "scene" else report / name
    width, room = open_page(path, width=390, height=800).execute_script(WIDTHS)
    assert width <= room


@pytest.fixture(scope="session")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run with the metrics that `realbench run` takes by itself, long names and numbers as wide as they come."""
    run = Made(tmp_path_factory.mktemp("usual") / "run")
    columns = plan_columns(None, Feather())
    run.manifest.columns.clear()
    for one in columns:
        card = one.card
        words = {"title": card.title, "summary": card.summary, "direction": card.direction, "region": card.region, "unit": card.unit}
        run.column(one.signature, **words, image=card.image, reads=sorted(card.reads), digits=card.digits)
    for scene in range(6):
        run.scene(f"s{scene}")
    for at, label in enumerate(("reference-warp", "nearest-reference", "prompt-inpaint:tiny", "ground-truth")):
        run.row(label, oracle=label == "ground-truth", seeds=[0, 1] if at == 2 else [0])
        for scene in range(6):
            for seed in range(2 if at == 2 else 1):
                for one in columns:
                    value = 88.88 if one.card.unit else 120.5 if one.metric == "matches" else 0.555
                    run.score(label, f"s{scene}", value - at * value / 100 + scene / 1000, seed=seed, signature=one.signature)
    folder = tmp_path_factory.mktemp("usual-report")
    HTML().write(load_run(run.write()), folder)
    return folder / "leaderboard.html"


@pytest.mark.parametrize("dark", [False, True])
def test_the_usual_columns_fit_on_a_small_screen(dark: bool, usual: Path, open_page: Open) -> None:
    page = open_page(usual, width=1265, dark=dark)  # 1280 less a scrollbar
    boxes = page.execute_script(
        "return [...document.querySelectorAll('#comparison .scroll, #filtering .scroll')].map((one) => [one.scrollWidth, one.clientWidth])"
    )
    assert len(boxes) == 2 and all(width <= room for width, room in boxes), boxes
    heads = page.execute_script(
        "return [...document.querySelectorAll('#board thead .sort, #board thead button')].map((one) => one.textContent)"
    )
    assert len(heads) == 10 and "PSNR, full image (dB)\u00a0↑" in [re.sub(r"[\n ]+", " ", text).strip() for text in heads]


def test_rows_of_a_phone_keep_most_of_the_width_for_numbers(usual: Path, open_page: Open) -> None:
    page = open_page(usual, width=400, height=800)
    names, box = page.execute_script(
        "return ['#board tbody th', '#comparison .scroll'].map((one) => document.querySelector(one).getBoundingClientRect().width)"
    )
    assert names < 0.36 * box


def test_the_first_column_stays_while_the_table_scrolls(report: Path, open_page: Open) -> None:
    page = open_page(report / "leaderboard.html", width=390, height=800)
    region = "document.querySelector('#comparison .scroll')"
    left = f"return [document.querySelector('#board tbody th').getBoundingClientRect().left, {region}.scrollLeft]"
    before, _ = page.execute_script(left)
    page.execute_script(f"{region}.scrollLeft = 120")
    assert page.execute_script(left) == [before, 120]


def test_a_keyboard_reaches_the_content_first(report: Path, open_page: Open) -> None:
    page = open_page(report / "leaderboard.html")
    page.find_element("tag name", "body").send_keys("\ue004")  # Tab
    link = page.switch_to.active_element
    assert link.get_attribute("class") == "skip" and link.get_attribute("href").endswith("#main")
    assert link.is_displayed() and link.rect["y"] >= 0
    assert page.execute_script("return getComputedStyle(document.activeElement).outlineStyle") != "none"
    link.send_keys("\ue007")
    assert page.switch_to.active_element.tag_name == "main"


def test_a_scene_s_name_stays_a_text_on_every_page(report: Path, open_page: Open) -> None:
    pages = [report / "leaderboard.html", report / "cards.html", *(report / "scenes").iterdir()]
    assert len(pages) == 7
    shown = 0
    for path in pages:
        page = open_page(path)
        assert page.title != "owned" and page.execute_script("return document.querySelectorAll('[onerror], img[src=x]').length") == 0
        shown += HOSTILE in page.execute_script("return document.body.textContent")
    assert shown >= 2


@pytest.mark.parametrize(
    "attempt",
    [
        "document.body.innerHTML = '<b>x</b>'",
        "document.body.setAttribute('onclick', 'document.title = 1')",
        "const made = document.createElement('script'); made.text = 'document.title = 1'",
    ],
)
def test_the_policy_refuses_texts_as_markup_or_scripts(attempt: str, report: Path, open_page: Open, browser: Any) -> None:
    page = open_page(report / "leaderboard.html")
    before = page.title
    assert page.execute_script(f"try {{ {attempt}; return 'done' }} catch (error) {{ return error.name }}") == "TypeError"
    assert page.title == before
    heard(browser)  # Chromium complains of what was tried; nothing else is to be heard.
