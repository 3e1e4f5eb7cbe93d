"""The page of a runs folder in headless Chromium; skipped, with a reason, without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from capsbench.reporting.index.page import render_index
from tests.reporting.chromium import Browser, open_all, serious_problems
from tests.reporting.index.made_up import accuracy, summary, work

# Novel accuracies of two benchmarks; B has none on the first, A none on the second.
NOVEL: dict[str, tuple[float | None, float | None]] = {
    "A": (0.5, None),
    "B": (None, 0.6),
    "C": (0.75, 0.095),
    "D": (0.25, 1.0),
}
SIZES = {"A": 5000, "B": 100, "C": None, "D": 900}
LABELS = (
    "return [...document.querySelectorAll('table.leaderboard tbody th a')].map(e => e.textContent)"
)
CUT = (
    "return [...document.querySelectorAll('.scroll:has(table)')]"
    ".filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.ariaLabel)"
)


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Browser]:
    """The page of two benchmarks and four models."""
    place = {"first": 0, "second-at-a-small-scale": 1}
    summaries = {
        name: summary(
            *(
                accuracy(
                    label,
                    "capsnet" if label == "D" else "cnn-small",
                    "Novel",
                    mean,
                    case="training images: 100" if index else "",
                    family="capsules" if label == "D" else "convolutions",
                    parameters=SIZES[label],
                )
                for label, means in NOVEL.items()
                if (mean := means[index]) is not None
            ),
            size="cpu" if index else "full",
            changed="Changed: scale=cpu." if index else "",
            history=(work("2026-11-30", command=f"capsbench run {name}", trainings=3),),
        )
        for name, index in place.items()
    }
    benchmark = tmp_path / "first/report/index.html"
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text("<title>page of first</title>")
    path = tmp_path / "index.html"
    path.write_text(render_index(summaries))
    browser.get_log("browser")
    browser.get(path.as_uri())
    yield browser
    resize(browser, 1280)


def resize(page: Browser, width: int, scheme: str = "light") -> None:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    page.execute_async_script(
        "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))"  # its new width is taken
    )


def sorter(page: Browser, heading: str) -> WebElement:
    """Return the button that sorts by a heading."""
    buttons = page.find_elements(By.CSS_SELECTOR, "table.leaderboard .dt-column-order")
    (found,) = [each for each in buttons if each.accessible_name.startswith(f"{heading}: ")]
    return found


def is_cards(page: Browser) -> bool:
    return bool(page.find_elements(By.CSS_SELECTOR, "table.leaderboard.cards"))


def wait_for(page: Browser, labels: list[str]) -> None:
    """Wait until the leaderboard has these rows, in this order; it is drawn after an event."""
    WebDriverWait(page, 10).until(lambda b: b.execute_script(LABELS) == labels, str(labels))


@pytest.mark.parametrize(
    ("width", "scheme"), [(390, "dark"), (900, "light"), (1280, "light"), (1280, "dark")]
)
def test_nothing_is_cut_and_axe_finds_nothing_serious(page: Browser, width: int, scheme: str):
    resize(page, width, scheme)
    open_all(page)
    assert is_cards(page) == (width == 390)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    assert page.execute_script(CUT) == []
    assert serious_problems(page) == []
    assert page.get_log("browser") == []


@pytest.mark.parametrize("width", [390, 1280])
def test_headings_sort_by_mouse_and_keyboard(page: Browser, width: int):
    resize(page, width)
    second = "second-at-a-small-scale: Novel (training images: 100)"
    wait_for(page, ["A", "C", "D", "B"])
    sorter(page, second).click()
    wait_for(page, ["A", "C", "B", "D"])  # no number, 9.5, 60, 100
    sorter(page, second).send_keys(Keys.ENTER)
    wait_for(page, ["D", "B", "C", "A"])
    heading = sorter(page, "first: Novel").find_element(By.XPATH, "./ancestor::th")
    heading.find_element(By.CSS_SELECTOR, ".dt-column-title").click()
    wait_for(page, ["B", "D", "A", "C"])
    sorter(page, "Parameters").click()
    wait_for(page, ["C", "B", "D", "A"])


@pytest.mark.parametrize("keyboard", [False, True])
def test_links_lead_to_benchmarks_and_models_and_do_not_sort(page: Browser, keyboard: bool):
    def follow(link: WebElement) -> None:
        page.execute_script("arguments[0].scrollIntoView({block: 'center'})", link)
        if keyboard:
            link.send_keys(Keys.ENTER)
        else:
            link.click()

    resize(page, 1280)
    before = page.execute_script(LABELS)
    follow(page.find_element(By.LINK_TEXT, "D"))
    title = "return document.querySelector('details[open] > summary').textContent"
    WebDriverWait(page, 10).until(lambda b: b.find_elements(By.CSS_SELECTOR, "details[open]"))
    assert page.execute_script(title).startswith("D · capsnet")
    follow(page.find_element(By.CSS_SELECTOR, "table.leaderboard .mark"))
    assert page.current_url.endswith("#benchmark-second-at-a-small-scale")
    assert page.execute_script(LABELS) == before
    follow(page.find_element(By.CSS_SELECTOR, "table.leaderboard thead a"))
    WebDriverWait(page, 10).until(lambda b: b.title == "page of first")


def test_filters_hide_families_and_larger_or_unknown_sizes(page: Browser):
    resize(page, 1280)
    family: Any = page.find_element(By.CSS_SELECTOR, "[data-column]")
    most: Any = page.find_element(By.CSS_SELECTOR, "[data-most]")
    most.send_keys("5000")
    wait_for(page, ["A", "D", "B"])
    most.clear()
    most.send_keys("900")
    wait_for(page, ["D", "B"])
    family.send_keys("capsules")
    wait_for(page, ["D"])
    most.clear()
    family.send_keys("all")
    wait_for(page, ["A", "C", "D", "B"])
