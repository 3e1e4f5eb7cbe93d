"""The page in headless Chromium; skipped, with a reason, if it is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from capsbench.reporting import report
from capsbench.reporting.comparison import compare
from tests.reporting.chromium import Browser, open_all, serious_problems
from tests.reporting.comparisons.two_runs import write_run
from tests.reporting.test_hostile_records import write_hostile
from tests.reporting.test_loading import write_claims

HOSTILE = "<script>document.title='broken'</script>"

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
    open_all(browser)
    return browser


@pytest.fixture
def show(page: Browser) -> Iterator[Any]:
    def resize(width: int, scheme: str = "light") -> None:
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},  # scroll at once
        ]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        frames = "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))"
        page.execute_async_script(frames)  # the page has taken its new width

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
    charts = page.find_elements(By.CSS_SELECTOR, ".chart svg")
    answers, factors, costs, trainings = 2, 4, 2 * 2, 2 * 3
    assert len(charts) == answers + factors + costs + trainings
    assert all(chart.size["width"] > 300 and chart.size["height"] > 120 for chart in charts)
    curves = page.find_elements(By.CSS_SELECTOR, "[aria-labelledby=curves] .chart")
    assert [each.accessible_name.partition(":")[0] for each in curves] == [
        *("Rotation", "Horizontal shift", "Vertical shift", "Scale")
    ]
    assert all("familiar views" in each.accessible_name for each in curves)
    broken = "return [...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    assert page.execute_script(broken) == 0
    assert len(page.find_elements(By.CSS_SELECTOR, ".strip img")) == 70


def test_the_console_is_silent_and_nothing_is_fetched(page: Browser):
    page.refresh()
    open_all(page)
    assert page.get_log("browser") == []
    fetched = page.execute_script(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    assert [name for name in fetched if not name.startswith("data:")] == []


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_the_page_never_scrolls_sideways(page: Browser, show, width: int):
    show(width)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    cut = page.execute_script(
        "return [...document.querySelectorAll('.scroll:has(table)')]"
        ".filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.ariaLabel)"
    )
    assert cut == []


def test_figures_are_legible_on_a_phone(page: Browser, show):
    show(360)
    heights = page.execute_script(
        "return [...document.querySelectorAll('.chart svg text')]"
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
    assert len(marks) == 9
    assert all(contrast(mark, texts[0][2]) >= 3 for mark in marks)


def drawn_marks(page: Browser) -> list[int]:
    """Return the number of symbols in each of the charts of factors."""
    count: list[int] = page.execute_script(
        "return [...document.querySelectorAll('[aria-labelledby=curves] .chart')]"
        ".map(e => e.querySelectorAll('.mark-symbol > path').length)"
    )
    return count


def test_the_legend_switches_models_and_seeds_in_all_charts(page: Browser, show):
    show(1280)
    before = drawn_marks(page)
    buttons = page.find_elements(By.CSS_SELECTOR, ".legend button")
    assert [button.text for button in buttons] == ["CNN", HOSTILE, "EM routing", "marks of seeds"]
    into_view = "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})"
    for button in (buttons[1], buttons[3]):
        page.execute_script(into_view, button)
        button.click()
        WebDriverWait(page, 10).until(
            lambda b: all(now < old for now, old in zip(drawn_marks(b), before, strict=True))
        )
        assert button.get_attribute("aria-pressed") == "false"
        button.click()
        WebDriverWait(page, 10).until(lambda b: drawn_marks(b) == before)
        assert button.get_attribute("aria-pressed") == "true"


def test_a_view_reads_out_every_model(page: Browser, show):
    show(1280)
    chart = page.find_element(By.CSS_SELECTOR, "[aria-labelledby=curves] .chart svg")
    page.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", chart
    )
    mouse = ActionChains(page).move_to_element(chart)
    mouse.move_by_offset(40, -80).move_by_offset(1, 1).perform()
    tooltip = page.find_element(By.ID, "vg-tooltip-element")
    WebDriverWait(page, 10).until(lambda _: tooltip.is_displayed())
    for model in ("CNN", HOSTILE, "EM routing"):
        assert model in tooltip.text
    assert "°" in tooltip.text and "%" in tooltip.text


def test_a_table_is_sorted_by_its_numbers_and_filtered(page: Browser, show):
    show(1280)
    heading = page.find_element(By.CSS_SELECTOR, "table.summary thead th:nth-child(3)")
    cells = "return [...document.querySelectorAll('table.summary tbody td:nth-child(3)')]"
    values = f"{cells}.map(e => parseFloat(e.dataset.order))"
    original = page.execute_script(values)
    assert original == sorted(original)
    page.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", heading
    )

    def click(order: str | None, expected: list[float]) -> None:
        heading.click()  # the table is drawn after the event
        WebDriverWait(page, 10).until(
            lambda b: (
                heading.get_attribute("aria-sort") == order and b.execute_script(values) == expected
            )
        )

    click("ascending", original)
    click("descending", original[::-1])
    click(None, original)
    search = page.find_element(By.CSS_SELECTOR, ".numbers .dt-search input")
    rows = search.find_elements(By.XPATH, "ancestor::details//tbody/tr")
    search.send_keys("-90")
    left = "ancestor::details//tbody/tr"
    WebDriverWait(page, 10).until(
        lambda _: 0 < len(search.find_elements(By.XPATH, left)) < len(rows)
    )
    search.clear()


def test_a_link_to_a_closed_part_opens_it(page: Browser, show):
    show(1280)
    page.execute_script("document.getElementById('model-1').open = false")
    page.execute_script("location.hash = '#model-1'")
    opened = "return document.getElementById('model-1').open"
    WebDriverWait(page, 10).until(lambda b: b.execute_script(opened))


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (360, "light")])
def test_axe_finds_nothing_serious(page: Browser, show, width: int, scheme: str):
    show(width, scheme)
    assert serious_problems(page) == []


def test_no_other_script_may_run(page: Browser):
    page.get_log("browser")
    page.execute_script(
        "const added = document.createElement('script');"
        "added.textContent = 'window.broken = true'; document.body.append(added)"
    )
    assert page.execute_script("return window.broken") is None
    assert "Content Security Policy" in page.get_log("browser")[0]["message"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_of_a_comparison(
    browser: Browser, tmp_path: Path, write_benchmark, add_measure, scheme: str
):
    models = ((HOSTILE, "cnn-small"), ("EM routing", "capsnet-em"))
    a, b = (
        write_run(
            tmp_path / name,
            write_benchmark,
            add_measure,
            {HOSTILE: rate, "EM routing": 0.8},
            models=models,
        )
        for name, rate in (("a", 0.9), ("b", 0.6))
    )
    page = tmp_path / "page.html"
    compare(a, b, {}).write_page(page)
    browser.get_log("browser")
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page.as_uri())
    open_all(browser)
    assert len(browser.find_elements(By.CSS_SELECTOR, ".chart svg")) == 2
    assert serious_problems(browser) == []
    assert browser.get_log("browser") == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (360, "light")])
def test_the_page_of_claims(
    browser: Browser, tmp_path: Path, write_benchmark, width: int, scheme: str
):
    models = (("<b>CNN</b>", "cnn-small"), ("EM", "capsnet-em"))
    write_benchmark(tmp_path, models=models, seeds=(0, 1, 2, 3, 4))
    folder = write_claims(tmp_path)
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get_log("browser")
    browser.get((folder / "report/index.html").as_uri())
    open_all(browser)
    (chart,) = browser.find_elements(By.CSS_SELECTOR, "[aria-labelledby=claim-1] .chart svg")
    assert chart.find_elements(By.CSS_SELECTOR, ".mark-symbol path")
    (answer,) = browser.find_elements(By.CSS_SELECTOR, ".answers li")
    assert answer.text.startswith("EM routing is better: ")
    assert "95 % interval" in answer.text
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert serious_problems(browser) == []
    assert browser.get_log("browser") == []


def test_nothing_of_a_strangers_records_runs_or_is_fetched(
    browser: Browser, tmp_path: Path, write_benchmark
):
    folder = write_hostile(tmp_path, write_benchmark)
    browser.get_log("browser")
    browser.get((folder / "report/index.html").as_uri())
    open_all(browser)
    assert browser.title.startswith("=1+1 ![x]")
    assert browser.get_log("browser") == []
    fetched = browser.execute_script(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    assert [name for name in fetched if not name.startswith("data:")] == []
    assert browser.execute_script("return window.broken") is None


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
