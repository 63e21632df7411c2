"""The blind page in Chromium: answered by keyboard, saved as a file, and folded back into the run."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from realbench.reports.blind import Blind
from realbench.results import Results
from realbench.votes import BlindOptions, Key, tally
from tests.browser.conftest import Open

PAIRS = 3


SEEDS = itertools.count()


@pytest.fixture
def study(results: Results, tmp_path: Path) -> tuple[Path, Key]:
    """A page of a study of its own and its key: what a browser keeps of another test's answers is none of this one's."""
    path, key = Blind().write(replace(results, blind=BlindOptions(pairs=PAIRS, seed=next(SEEDS))), tmp_path / "blind")
    return path, Key.model_validate_json(key.read_text())


@pytest.fixture
def page(study: tuple[Path, Key], open_page: Open) -> Any:
    return open_page(study[0])


def press(page: Any, *words: str) -> None:
    """Keys to whatever has the focus."""
    actions = pytest.importorskip("selenium.webdriver").ActionChains
    actions(page).send_keys(*words).perform()


def text(page: Any, name: str) -> str:
    return page.find_element("id", name).text


def exported(page: Any) -> dict[str, Any]:
    return json.loads(page.find_element("id", "votes").get_property("value"))


def test_votes_by_keyboard_are_saved_and_come_back(page: Any, study: tuple[Path, Key], results: Results, tmp_path: Path) -> None:
    keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
    _, key = study
    page.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page.find_element("id", "start").send_keys(keys.ENTER)
    answers = []
    for at, pair in enumerate(key.pairs):
        assert text(page, "pair-name") == f"Pair {at + 1} of {PAIRS}"
        good = "a" if pair.a.label == "good" else "b"
        press(page, good, "t")
        answers.append({"pair": pair.id, "realistic": good, "faithful": "tie"})
        assert text(page, "answered") == f"{at + 1} answered"
        press(page, keys.ENTER)
    assert text(page, "summary") == "All pairs are answered."
    assert exported(page)["votes"] == answers
    page.find_element("id", "save").click()
    wait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait
    wait(page, 20).until(lambda _: [path for path in tmp_path.glob("*.json") if path.stat().st_size])
    (saved,) = tmp_path.glob("*.json")
    assert json.loads(saved.read_text()) == exported(page)
    found = tally(replace(results, votes=(saved,)))
    assert found is not None
    realistic, faithful = found.questions
    assert (realistic.rows[0].label, realistic.rows[0].wins, realistic.rows[0].losses) == ("good", PAIRS, 0)
    assert [row.ties for row in faithful.rows] == [PAIRS, PAIRS]


def test_answers_can_be_changed_and_outlive_a_reload(page: Any) -> None:
    keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
    page.find_element("id", "start").click()
    press(page, "a", "b", keys.ENTER, keys.BACKSPACE)
    assert text(page, "pair-name") == f"Pair 1 of {PAIRS}"
    page.find_element("css selector", "#realistic input[value=tie]").click()
    page.find_element("id", "finish").click()
    (vote,) = exported(page)["votes"]
    assert (vote["realistic"], vote["faithful"]) == ("tie", "b")
    ballot = exported(page)["ballot"]
    page.refresh()
    assert text(page, "start") == "Go on"
    page.find_element("id", "start").click()
    assert text(page, "pair-name") == f"Pair 2 of {PAIRS}", "the first one that is open"
    page.find_element("id", "finish").click()
    assert exported(page) == {"kind": "realbench-votes/1", "study": exported(page)["study"], "ballot": ballot, "votes": [vote]}


def test_the_marked_question_is_the_one_that_keys_answer(page: Any) -> None:
    page.find_element("id", "start").click()
    marked = "return [...document.querySelectorAll('fieldset.active')].map((one) => one.id)"
    assert page.execute_script(marked) == ["realistic"]
    press(page, "b")
    assert page.execute_script(marked) == ["faithful"]
    assert page.find_element("css selector", "#realistic input[value=b]").is_selected()
    press(page, "a")
    assert page.execute_script(marked) == []


def test_what_is_kept_may_be_broken(page: Any, study: tuple[Path, Key]) -> None:
    for broken in (
        "{",
        "null",
        '{"ballot": "x"}',
        '{"ballot": "00000000000000000000000000000000", "answers": {"__proto__": 1, "x": {"realistic": "c"}}}',
    ):
        page.execute_script("localStorage.setItem(arguments[0], arguments[1])", f"realbench-votes-{study[1].study}", broken)
        page.refresh()
        page.find_element("id", "start").click()
        assert text(page, "answered") == "0 answered"
        page.find_element("id", "finish").click()
        assert exported(page)["votes"] == []


def test_no_name_is_anywhere_at_any_pair(page: Any, study: tuple[Path, Key]) -> None:
    page.find_element("id", "start").click()
    labels = {side.label for pair in study[1].pairs for side in (pair.a, pair.b)}
    assert labels == {"good", "other"}
    for _ in range(PAIRS):
        shown = page.execute_script("return document.documentElement.outerHTML.replace(/data:image[^\"]*/g, '')")
        assert not [label for label in labels if f'"{label}"' in shown or f">{label}<" in shown]
        assert all(page.execute_script("return [...document.querySelectorAll('#pair img')].map((one) => one.naturalWidth)"))
        page.find_element("id", "next").click()


@pytest.mark.parametrize("width", [360, 1280])
def test_a_pair_fits_the_screen(study: tuple[Path, Key], open_page: Open, width: int) -> None:
    page = open_page(study[0], width=width)
    page.find_element("id", "start").click()
    found = page.execute_script("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert found[0] <= found[1]
