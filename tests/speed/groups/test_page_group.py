"""The group ``page``: what the browser shows counts only if every chart is drawn."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from capsbench.speed.groups import page


def test_without_a_browser_nothing_is_measured(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    (comparison,) = page.comparisons()
    assert [row.name for row in comparison.rows] == ["an empty page", "200 cells"]
    assert all(row.not_measured and "Chromium" in row.not_measured for row in comparison.rows)


def test_a_page_that_is_not_drawn_has_no_time(tmp_path: Path):
    browser = next(filter(None, map(shutil.which, page.BROWSERS)), None)
    if browser is None:
        pytest.skip("chromium is not installed")
    page._open(browser, page._empty)()
    blank = tmp_path / "blank.html"
    blank.write_text("<!doctype html>")
    with pytest.raises(RuntimeError, match="did not draw"):
        page._open(browser, lambda: blank)()
