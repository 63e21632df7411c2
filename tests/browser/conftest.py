"""Pages in a real browser: headless Chromium, driven by selenium, opened from disk as a reader opens them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from realbench.reports.html import HTML
from realbench.results import Results, load_run
from tests.conftest import write_scene
from tests.making import DRIFT, PSNR, Made

HOSTILE = "<img src=x onerror=document.title='owned'>"
MATCHES = "matches|region:hole|backend:sift|v:1"
HOW = "`apt-get install chromium chromium-driver` and `pip install selenium` (or `pip install -e .[dev]`)"
Open = Callable[..., Any]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A Chromium that writes down what its console says and what it fetches."""
    selenium = pytest.importorskip("selenium.webdriver", reason=f"no selenium: {HOW}")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip(f"no {'chromedriver' if chromium else 'Chromium'}: {HOW}")
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    yield found
    found.quit()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """open_page(path, width=…, dark=…, scripts=…): opens a file. Ends with an error if a page complained, or fetched anything but files
    beside it."""
    folders = []
    heard(browser)

    def open_file(path: Path, *, width: int = 1280, height: int = 900, dark: bool = False, scripts: bool = True) -> Any:
        folders.append(path.parent)
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        )
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [theme]})
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
        browser.get(path.absolute().as_uri())
        return browser

    yield open_file
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    errors, fetched = heard(browser)
    browser.get("data:,")
    assert errors == []
    assert [address for address in fetched if not beside(address, folders)] == []


def heard(browser: Any) -> tuple[list[str], list[str]]:
    """What the console said, and the addresses that were asked for, since the last time."""
    said = [line["message"] for line in browser.get_log("browser")]
    messages = (json.loads(line["message"])["message"] for line in browser.get_log("performance"))
    return said, [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]


def beside(address: str, folders: list[Path]) -> bool:
    """Whether an address leads to nothing but the report's own files, or stands for itself."""
    parts = urlsplit(address)
    if parts.scheme in ("data", "blob"):
        return True
    path = Path(unquote(parts.path))
    return parts.scheme == "file" and any(folder in path.parents or folder.parent in path.parents for folder in folders)


@pytest.fixture(scope="session")
def made_run(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Three rows over five scenes, one of them hostile by name; `good` has four seeds with matches, `other` lacks a scene."""
    root = tmp_path_factory.mktemp("browser")
    suite = root / "suite"
    names = ["tall", "wide", "plain", "late", HOSTILE]
    for number, name in enumerate(names):
        write_scene(suite / name, seed=number, size=(40, 56) if name == "tall" else (48, 32), references=1 + number % 2)
    run = Made(root / "run", suite)
    run.column(DRIFT, direction="lower", region="known", image="raw", reads=["target"])
    run.column(MATCHES, reads=["references"], digits=0)
    for name in names:
        run.scene(name, hole_kind="outpainting" if name in ("tall", "wide") else "inpainting", tags=["odd"] if name == "wide" else [])
    run.row("good", seeds=[0, 1, 2, 3])
    run.row("other")
    run.row("truth", oracle=True)
    for at, name in enumerate(names):
        for seed in range(4):
            run.score("good", name, 20.0 + at + seed, seed=seed)
            run.score("good", name, 10.0 * seed, seed=seed, signature=MATCHES)
            run.score("good", name, 0.5, seed=seed, signature=DRIFT)
        run.score("truth", name, float("inf"))
        if name != "late":
            run.score("other", name, 24.0 - 2 * at)
            run.score("other", name, 0.25, signature=DRIFT)
    run.fill("other", "late", state="failed", reason="RuntimeError: out of luck")
    run.write()
    return run


@pytest.fixture(scope="session")
def results(made_run: Made) -> Results:
    """The run, read back."""
    return load_run(made_run.root)


@pytest.fixture(scope="session")
def report(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report of the run."""
    folder = tmp_path_factory.mktemp("report")
    HTML().write(results, folder)
    return folder


__all__ = ["DRIFT", "HOSTILE", "MATCHES", "PSNR", "Open", "beside", "heard"]
