"""A scene's page in Chromium: the slider by keyboard and mouse, one zoom for all pictures, and hostile names that stay names."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from realbench.reports._site import scene_page
from realbench.reports.html import HTML
from realbench.results import load_run
from tests.browser.conftest import HOSTILE, Open
from tests.making import Made

TRANSFORMS = "return [...new Set([...document.querySelectorAll('.view img')].map((one) => getComputedStyle(one).transform))].length"
ZOOM = "return Number(getComputedStyle(document.documentElement).getPropertyValue('--zoom'))"
PLACE = "return ['--left', '--top'].map((name) => Number(getComputedStyle(document.documentElement).getPropertyValue(name)))"


def keys() -> Any:
    return pytest.importorskip("selenium.webdriver.common.keys").Keys


def choose(page: Any, side: str, words: str) -> None:
    next(one for one in page.find_elements("css selector", f"#{side} option") if one.text == words).click()


def loaded(page: Any, condition: str) -> None:
    """Wait until a script's condition holds."""
    wait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait
    wait(page, 10).until(lambda driver: driver.execute_script(f"return {condition}"))


def grey(page: Any, share: float) -> float:
    """The stage's colour at a share of its width."""
    stage = page.find_element("id", "stage")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", stage)
    loaded(page, "[...document.querySelectorAll('#stage img')].every((one) => one.complete && one.naturalWidth)")
    pixels = np.asarray(Image.open(io.BytesIO(stage.screenshot_as_png)).convert("L"))
    return float(pixels[pixels.shape[0] // 8, round(share * pixels.shape[1])])


def known(made: Made, label: str, seed: int = 0) -> float:
    path = made.folder.cell(made.cell(label, "plain", seed=seed)) / "fill.png"
    return float(np.asarray(Image.open(path)).mean())


@pytest.fixture
def page(report: Path, open_page: Open) -> Any:
    return open_page(report / scene_page("plain"))


def test_the_slider_shows_one_row_beside_another(page: Any, made_run: Made) -> None:
    names = [one.text for one in page.find_elements("css selector", "#left option")]
    assert {"Ground truth", "Target", "good", "other", "truth"} <= set(names)
    choose(page, "left", "good")
    choose(page, "right", "other")
    left, right = known(made_run, "good"), known(made_run, "other")
    assert abs(left - right) > 3
    assert grey(page, 0.25) == pytest.approx(left, abs=2) and grey(page, 0.75) == pytest.approx(right, abs=2)
    swap = page.find_element("id", "swap")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", swap)
    swap.click()
    assert grey(page, 0.25) == pytest.approx(right, abs=2) and grey(page, 0.75) == pytest.approx(left, abs=2)


def test_the_slider_is_moved_by_keys(page: Any, made_run: Made) -> None:
    choose(page, "left", "good")
    choose(page, "right", "other")
    split = page.find_element("id", "split")
    split.send_keys(keys().END)
    assert split.get_attribute("value") == "100" and grey(page, 0.9) == pytest.approx(known(made_run, "good"), abs=2)
    split.send_keys(keys().HOME)
    assert split.get_attribute("value") == "0" and grey(page, 0.1) == pytest.approx(known(made_run, "other"), abs=2)
    split.send_keys(*[keys().ARROW_RIGHT] * 3)
    assert split.get_attribute("value") == "3" and split.get_attribute("aria-valuetext") == "left picture 3 %"


def test_the_slider_is_moved_by_the_mouse(page: Any) -> None:
    actions = pytest.importorskip("selenium.webdriver").ActionChains
    stage = page.find_element("id", "stage")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", stage)
    actions(page).move_to_element(stage).click_and_hold().move_by_offset(stage.size["width"] // 4, 0).release().perform()
    assert int(page.find_element("id", "split").get_attribute("value")) == pytest.approx(75, abs=2)


def test_all_pictures_zoom_together(page: Any) -> None:
    assert page.execute_script(ZOOM) == 1 and page.execute_script(TRANSFORMS) == 1
    for _ in range(2):
        page.find_element("id", "zoom-in").click()
    assert page.execute_script(ZOOM) == pytest.approx(2.25) and page.find_element("id", "zoom").text == "2.3×"
    # Shares of a picture are the same for all; the computed matrix depends on the picture's size.
    shares = """return [...document.querySelectorAll('.view img')].map((one) => {
        const matrix = new DOMMatrix(getComputedStyle(one).transform);
        const box = one.getBoundingClientRect();
        const shares = [1, matrix.e / box.width, matrix.f / box.height].map((value) => Math.round(value * matrix.a * 1000));
        return shares.join();
    })"""
    assert len(set(page.execute_script(shares))) == 1
    assert "pixelated" not in page.execute_script("return document.documentElement.className")
    page.find_element("id", "zoom-in").click()
    assert "pixelated" in page.execute_script("return document.documentElement.className")
    page.find_element("id", "zoom-reset").click()
    assert page.execute_script(ZOOM) == 1 and page.execute_script(PLACE) == [0, 0]


def test_pictures_zoom_and_move_by_keys(page: Any) -> None:
    view = page.find_element("css selector", "#fills a.view")
    view.send_keys("+", "+", "+")
    assert page.execute_script(ZOOM) == pytest.approx(3.375)
    before = page.execute_script(PLACE)
    view.send_keys(keys().ARROW_RIGHT, keys().ARROW_UP)
    after = page.execute_script(PLACE)
    assert after[0] > before[0] and after[1] < before[1]
    view.send_keys(*[keys().ARROW_LEFT] * 40)
    assert page.execute_script(PLACE)[0] == 0, "never past the edge"
    view.send_keys("-", "0")
    assert page.execute_script(ZOOM) == 1


def test_a_click_zooms_about_its_place_and_a_drag_moves(page: Any) -> None:
    actions = pytest.importorskip("selenium.webdriver").ActionChains
    view = page.find_element("css selector", "#fills a.view")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", view)
    actions(page).move_to_element_with_offset(view, view.size["width"] // 4, 0).click().perform()
    left, top = page.execute_script(PLACE)
    # A point at three quarters stays where it is: ¾ − ¾ / 3.
    assert page.execute_script(ZOOM) == 3 and left == pytest.approx(0.5, abs=0.02) and top == pytest.approx(1 / 3, abs=0.02)
    actions(page).move_to_element(view).click_and_hold().move_by_offset(view.size["width"] // 2, 0).release().perform()
    assert page.execute_script(ZOOM) == 3 and page.execute_script(PLACE)[0] == pytest.approx(0.5 - 0.5 / 3, abs=0.02)
    actions(page).move_to_element(view).click().perform()
    assert page.execute_script(ZOOM) == 1 and page.current_url.endswith(".html")


def test_larger_copies_are_loaded_on_zooming(page: Any) -> None:
    view = page.find_element("css selector", "#fills a.view")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", view)
    image = view.find_element("tag name", "img")
    small, large = image.get_dom_attribute("src"), view.get_dom_attribute("href")
    assert small != large
    page.find_element("id", "zoom-in").click()
    loaded(page, f"document.querySelector('#fills a.view img').getAttribute('src') === '{large}'")


def test_a_hostile_name_stays_a_name(report: Path, open_page: Open) -> None:
    page = open_page(report / scene_page(HOSTILE))
    assert page.find_element("tag name", "h1").text == HOSTILE and page.title == HOSTILE
    assert page.execute_script("return document.querySelectorAll('img[onerror]').length") == 0


def test_a_scene_with_nothing_to_compare(tmp_path: Path, open_page: Open) -> None:
    """Its suite is gone and its only fill failed: no slider, and no complaint of the script (see `open_page`)."""
    made = Made(tmp_path / "run")
    made.scene("bare")
    made.row("row")
    made.fill("row", "bare", state="failed", reason="RuntimeError: out of luck")
    (tmp_path / "out").mkdir()
    HTML().write(load_run(made.write()), tmp_path / "out")
    page = open_page(tmp_path / "out" / scene_page("bare"))
    assert not page.find_elements("id", "compare")
    page.find_element("id", "zoom-in").click()
    assert page.execute_script(ZOOM) == 1.5


def test_without_scripts_all_pictures_are_there(report: Path, open_page: Open) -> None:
    page = open_page(report / scene_page("plain"), scripts=False)
    assert [one.is_displayed() for one in page.find_elements("css selector", "#compare, .zoombar")] == [False, False]
    assert page.find_element("css selector", "#fills a.view").get_attribute("href").endswith(".webp")
    assert page.find_element("id", "seeds").is_displayed()


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_the_screen(report: Path, open_page: Open, width: int, dark: bool) -> None:
    page = open_page(report / scene_page("plain"), width=width, dark=dark)
    found = page.execute_script("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert found[0] <= found[1]
    red = page.execute_script("return Number(getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/)[0])")
    assert (red < 100) == dark
