"""Headless Chromium for tests of pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_core_python import __file__ as axe_package
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
Browser = webdriver.Chrome


@contextmanager
def started_browser(profile: Path) -> Iterator[Browser]:
    """Start Chromium, with its own folder for a profile; skip the test if it is not installed."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("chromium or chromedriver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=Service(driver)) as started:
        started.set_script_timeout(60)
        yield started


def open_all(browser: Browser) -> None:
    """Open all details, and wait until every chart is drawn."""
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    undrawn = "return [...document.querySelectorAll('.chart')].filter(e => !e.querySelector('svg'))"
    WebDriverWait(browser, 60).until(lambda b: not b.execute_script(undrawn))


def serious_problems(page: Browser) -> list[tuple[str, str]]:
    """Return what axe finds that is serious or critical: the rule, and an element."""
    page.execute_script((Path(str(axe_package)).parent / "axe.min.js").read_text())
    found = page.execute_async_script("axe.run(document).then(arguments[0])")
    assert found["passes"]
    serious = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
    return [(each["id"], each["nodes"][0]["html"][:200]) for each in serious]
