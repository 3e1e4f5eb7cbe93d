"""Rows of group ``page``: time from the start of a browser to the last chart of a page."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from capsbench.reporting import report
from capsbench.speed.recorded_runs import MODELS, record_cells, temporary_folder
from capsbench.speed.rows import Comparison, Row, Work

SEEDS = 10  # of each of the twenty networks
ROUNDS = 5
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# The browser prints the page and ends once it is loaded, which is after the last chart.
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--dump-dom")
DRAWN = b"data-drawn"  # what the page adds to itself after its last chart
EMPTY = "<!doctype html><html data-drawn></html>"


def comparisons() -> list[Comparison]:
    """Compare the page of 200 cells with an empty one, in headless Chromium."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    missing = None if browser else "Chromium is not installed"
    rows = [
        Row(name, partial(_open, browser, page), measures_memory=False, not_measured=missing)
        for name, page in (("an empty page", _empty), (f"{MODELS * SEEDS} cells", _benchmark))
    ]
    return [Comparison("browser", tuple(rows), rounds=ROUNDS)]


def _open(browser: str | None, page: Callable[[], Path]) -> Work:
    address = page().as_uri()

    def work() -> None:
        with TemporaryDirectory(prefix="capsbench-bench-") as profile:
            command = [str(browser), *FLAGS, f"--user-data-dir={profile}", address]
            shown = subprocess.run(command, check=True, capture_output=True)
        if DRAWN not in shown.stdout:
            raise RuntimeError(f"the browser did not draw {address}")

    return work


@cache
def _empty() -> Path:
    path = temporary_folder() / "empty.html"
    path.write_text(EMPTY)
    return path


@cache
def _benchmark() -> Path:
    return report.build(record_cells(temporary_folder() / "page", SEEDS).folder.path)
