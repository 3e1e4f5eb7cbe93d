"""The page in headless Chromium; skipped, with a reason, if it is not installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from capsbench.reporting import report
from tests.reporting.test_hostile_records import write_hostile

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
HOSTILE = "<script>document.title='broken'</script>"
Browser = webdriver.Chrome

# Every element with text of its own: text, color, and the background behind it.
COLORS = """
const opaque = color => !/^rgba\\(.*, 0\\)$|^transparent$/.test(color);
const background = element => {
  for (let e = element; e; e = e.parentElement) {
    const color = getComputedStyle(e).backgroundColor;
    if (opaque(color)) return color;
  }
  return 'none';
};
const numbers = color => color.match(/[\\d.]+/g).map(Number);
const texts = [];
for (const element of document.body.querySelectorAll('*')) {
  const nodes = [...element.childNodes].filter(n => n.nodeType === 3);
  const text = nodes.map(n => n.data).join('').trim();
  if (!text || element.closest('style')) continue;
  const style = getComputedStyle(element);
  const color = element instanceof SVGElement ? style.fill : style.color;
  texts.push([text, numbers(color), numbers(background(element)), element instanceof SVGElement]);
}
return texts;
"""
MARKS = """
const numbers = color => color.match(/[\\d.]+/g).map(Number);
return [...document.querySelectorAll('.swatch path')].map(e => numbers(getComputedStyle(e).fill));
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("chromium or chromedriver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=Service(driver)) as started:
        started.set_script_timeout(60)
        yield started


@pytest.fixture(scope="module")
def page(browser: Browser, tmp_path_factory: pytest.TempPathFactory, write_benchmark) -> Browser:
    """The page of three models (one of them with a hostile name), all details open."""
    models = (("CNN", "cnn-small"), (HOSTILE, "capsnet-dr"), ("EM routing", "capsnet-em"))
    folder: Path = write_benchmark(
        tmp_path_factory.mktemp("runs"),
        models=models,
        diverged=(("EM routing", 1),),
        settings={"recipe.steps": 300},
    )
    browser.get(report.build(folder).as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    return browser


@pytest.fixture
def show(page: Browser) -> Iterator[Any]:
    def resize(width: int, scheme: str = "light") -> None:
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    yield resize
    resize(1280)


def test_it_renders(page: Browser, show):
    show(1280)
    assert page.title == "Digits, upright in training and turned in the test · CapsBench"
    assert len(page.find_elements(By.CSS_SELECTOR, ".summary tbody tr")) == 3
    labels = [
        e.text.splitlines()[0] for e in page.find_elements(By.CSS_SELECTOR, ".summary tbody th")
    ]
    assert labels == ["CNN", HOSTILE, "EM routing"]
    figures = page.find_elements(By.CSS_SELECTOR, "figure > svg")
    assert len(figures) == 4 + 3
    assert all(f.size["width"] > 300 and f.size["height"] > 150 for f in figures)
    broken = "return [...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    assert page.execute_script(broken) == 0
    assert len(page.find_elements(By.CSS_SELECTOR, ".strip img")) == 70


def test_the_console_is_silent_and_nothing_is_fetched(page: Browser):
    page.refresh()
    page.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.get_log("browser") == []
    fetched = page.execute_script(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    assert [name for name in fetched if not name.startswith("data:")] == []


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_the_page_never_scrolls_sideways(page: Browser, show, width: int):
    show(width)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    wide = page.execute_script(
        "return [...document.querySelectorAll('.scroll')].every(e => e.clientWidth <= innerWidth)"
    )
    assert wide


def test_figures_are_legible_on_a_phone(page: Browser, show):
    show(360)
    heights = page.execute_script(
        "return [...document.querySelectorAll('figure > svg text')]"
        ".map(e => [parseFloat(getComputedStyle(e).fontSize), e.getScreenCTM()])"
        ".map(([size, matrix]) => size * Math.hypot(matrix.a, matrix.b))"
    )
    assert len(heights) > 50
    assert min(heights) > 9  # pixels


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(page: Browser, show, scheme: str):
    show(1280, scheme)
    texts = page.execute_script(COLORS)
    assert sum(is_svg for *_, is_svg in texts) > 50
    paper = luminance(texts[0][2])
    assert paper > 0.8 if scheme == "light" else paper < 0.05
    weak = [
        (text, color, background)
        for text, color, background, _ in texts
        if contrast(color, background) < 4.5
    ]
    assert weak == []
    marks = page.execute_script(MARKS)
    assert len(marks) == 6
    assert all(contrast(mark, texts[0][2]) >= 3 for mark in marks)


def test_nothing_of_a_strangers_records_runs_or_is_fetched(
    browser: Browser, tmp_path: Path, write_benchmark
):
    folder = write_hostile(tmp_path, write_benchmark)
    browser.get_log("browser")
    browser.get((folder / "report/index.html").as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.title.startswith("=1+1 ![x]")
    assert browser.get_log("browser") == []
    fetched = browser.execute_script(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    assert [name for name in fetched if not name.startswith("data:")] == []
    assert browser.execute_script("return document.scripts.length") == 0


def luminance(color: list[float]) -> float:
    """Return the relative luminance of sRGB (WCAG 2.2)."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in map(_unit, color)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _unit(channel: float) -> float:
    return channel / 255


def contrast(one: list[float], other: list[float]) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)
