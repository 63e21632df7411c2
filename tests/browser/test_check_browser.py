"""A check's page in Chromium: a slider for each scene that changed, tips that say why, folded scenes, hostile names that stay names."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from realbench.report import write_reports
from tests.browser.conftest import Open
from tests.reports.checking import HOSTILE, pair

ZOOM = "return Number(getComputedStyle(document.documentElement).getPropertyValue('--zoom'))"
SPLITS = "return [...document.querySelectorAll('.stage')].map((one) => getComputedStyle(one).getPropertyValue('--split'))"


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a check; the baseline's fills are of grey 40, the run's of grey 200."""
    folder = tmp_path_factory.mktemp("check")
    old, new = pair(folder)
    return write_reports(replace(new, before=old), folder / "out", ["regression"])[0]


@pytest.fixture
def page(check: Path, open_page: Open) -> Any:
    return open_page(check)


def keys() -> Any:
    return pytest.importorskip("selenium.webdriver.common.keys").Keys


def grey(page: Any, stage: Any, share: float) -> float:
    """A stage's colour at a share of its width, between its labels and its middle."""
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", stage)
    wait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait
    ready = "return [...arguments[0].querySelectorAll('img')].every((one) => one.complete && one.naturalWidth)"
    wait(page, 10).until(lambda driver: driver.execute_script(ready, stage))
    pixels = np.asarray(Image.open(io.BytesIO(stage.screenshot_as_png)).convert("L"))
    return float(pixels[round(0.8 * pixels.shape[0]), round(share * pixels.shape[1])])


def test_each_slider_moves_alone(page: Any) -> None:
    stages = page.find_elements("css selector", ".stage")
    ranges = page.find_elements("css selector", ".split input")
    assert len(stages) == len(ranges) == 4 and page.execute_script(SPLITS) == ["42%", "50%", "42%", "42%"]
    assert grey(page, stages[1], 0.2) == pytest.approx(40, abs=3) and grey(page, stages[1], 0.8) == pytest.approx(200, abs=3)
    ranges[1].send_keys(keys().END)
    assert page.execute_script(SPLITS) == ["42%", "100%", "42%", "42%"] and grey(page, stages[1], 0.8) == pytest.approx(40, abs=3)
    ranges[1].send_keys(keys().HOME)
    assert grey(page, stages[1], 0.2) == pytest.approx(200, abs=3)
    actions = pytest.importorskip("selenium.webdriver").ActionChains
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", stages[2])
    actions(page).move_to_element(stages[2]).click_and_hold().move_by_offset(stages[2].size["width"] // 4, 0).release().perform()
    found = page.execute_script(SPLITS)
    assert float(found[2].rstrip("%")) == pytest.approx(75, abs=2) and found[:2] == ["42%", "0%"] and page.execute_script(ZOOM) == 1


def test_all_pictures_zoom_together(page: Any) -> None:
    view = page.find_element("css selector", "figure a.view")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", view)
    view.click()
    assert page.execute_script(ZOOM) == 3 and page.current_url.endswith("check.html")
    transforms = "return [...document.querySelectorAll('.view img')].map((one) => new DOMMatrix(getComputedStyle(one).transform).a)"
    assert set(page.execute_script(transforms)) == {3}


def test_a_verdict_says_what_it_means(page: Any) -> None:
    verdict = page.find_element("css selector", ".counts .v-lost")
    page.execute_script("arguments[0].focus()", verdict)
    assert page.find_element("id", "tip").text == "the baseline has scores that the run lacks"


def test_scenes_that_hold_unfold(page: Any) -> None:
    table = page.find_element("css selector", "#held table")
    assert not table.is_displayed()
    summary = page.find_element("css selector", "#held summary")
    summary.send_keys(keys().ENTER)
    assert table.is_displayed() and "plain" in table.text


def test_a_scene_s_name_leads_to_its_pictures(page: Any) -> None:
    link = page.find_element("css selector", "a[href='#change-2']")
    assert link.text == HOSTILE and page.execute_script("return document.querySelectorAll('img[onerror]').length") == 0
    link.send_keys(keys().ENTER)
    bar = page.find_element("css selector", ".zoombar")
    below = "return arguments[0].querySelector('h3').getBoundingClientRect().top - arguments[1].getBoundingClientRect().bottom"
    assert page.execute_script(below, page.find_element("id", "change-2"), bar) >= 0, "no heading under the bar that stays on top"


def test_without_scripts_all_pictures_are_there(check: Path, open_page: Open) -> None:
    page = open_page(check, scripts=False)
    assert not any(one.is_displayed() for one in page.find_elements("css selector", ".slider, .zoombar"))
    assert len(page.find_elements("css selector", "#change-1 figure img")) == 4


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_the_screen(check: Path, open_page: Open, width: int, dark: bool) -> None:
    page = open_page(check, width=width, dark=dark)
    found = page.execute_script("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert found[0] <= found[1]
    red = page.execute_script("return Number(getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/)[0])")
    assert (red < 100) == dark
