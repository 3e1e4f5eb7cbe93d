"""The page of a runs folder: made from the summaries beside the pages of its benchmarks."""

from __future__ import annotations

from pathlib import Path

import pytest

from capsbench.records import load_results
from capsbench.reporting import report
from capsbench.reporting.index.page import build_index, render_index
from capsbench.reporting.index.summary import NAME
from capsbench.reporting.tables.summary_table import accuracy_on
from tests.reporting.index.made_up import accuracy, summary, work
from tests.reporting.page_elements import Elements, foreign_scripts, without_scripts

HOSTILE = "<script>alert(1)</script>"
MODELS = (("CNN", "cnn-small"), (HOSTILE, "capsnet-dr"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, write_benchmark) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    folder = write_benchmark(runs, models=MODELS, seeds=(0, 1, 2))
    report.build(folder)
    return runs


def test_every_page_updates_the_page_of_its_folder(runs: Path):
    page = (runs / "index.html").read_text()
    assert 'href="quick/report/index.html"' in page
    results = load_results(runs / "quick")
    for cells in results.by_label().values():
        novel = accuracy_on(cells, "novel")
        assert novel is not None
        assert f"{100 * novel.mean:.1f} %" in without_scripts(page)
    before = (runs / "index.html").stat().st_mtime_ns
    report.build(runs / "quick")  # nothing has changed
    assert (runs / "index.html").stat().st_mtime_ns == before
    (runs / "index.html").unlink()
    report.build(runs / "quick")
    assert (runs / "index.html").read_text() == page


def test_names_are_text(runs: Path):
    page = (runs / "index.html").read_text()
    assert foreign_scripts(page) == []
    assert "&lt;script&gt;alert(1)" in page
    for _, attributes in Elements(page).elements:
        assert not [name for name in attributes if name.startswith("on")]


def test_a_benchmark_without_a_summary_is_named_alone(tmp_path: Path, write_benchmark):
    folder = write_benchmark(tmp_path, models=MODELS[:1], seeds=(0,))
    page = build_index(tmp_path).read_text()
    assert "No benchmark has a page yet" in page
    assert "without a page of this version: quick." in page
    report.build(folder)
    assert "without a page" not in (tmp_path / "index.html").read_text()
    (folder / "report" / NAME).write_text('{"title": "of another version"}')
    page = build_index(tmp_path).read_text()
    assert "without a page of this version: quick." in page
    assert 'href="quick/report/index.html"' not in page


def links(page: str) -> list[str]:
    elements = Elements(page).elements
    return [str(each["href"]) for name, each in elements if name == "a" and "href" in each]


def test_every_link_leads_to_a_page_or_a_part(runs: Path):
    page = (runs / "index.html").read_text()
    parts = {each.get("id") for _, each in Elements(page).elements}
    for link in links(page):
        if link.startswith("#"):
            assert link[1:] in parts
        else:
            assert (runs / link).is_file()
    assert {"#model-0", "#model-1"} <= set(links(page))


def test_a_benchmark_of_another_size_is_marked():
    sentence = "This is not the protocol. Changed: recipe.steps=5."
    one = accuracy("A", "a", "Novel", 0.5)
    page = render_index(
        {
            "small": summary(one, size="cpu", changed=sentence),
            "whole": summary(one, changed="With other seeds."),
        }
    )
    assert page.count(f"</span> {sentence}") == 1  # in the list of benchmarks, after a mark
    assert page.count('class="mark"') == 2  # in the table and in the list
    assert ">cpu</a>" in page and ">cpu</span>" in page
    assert "#benchmark-small" in links(page)
    assert ">With other seeds.</p>" in page
    assert "#benchmark-whole" not in links(page)


def test_commands_can_be_copied():
    done = work("2026-11-30", command="capsbench run <name>", trainings=3)
    one = accuracy("A", "cnn-small", "Novel", 0.5)
    page = render_index({"quick": summary(one, history=(done,))})
    copied = [each["data-copy"] for _, each in Elements(page).elements if "data-copy" in each]
    assert set(copied) == {
        "capsbench run quick",
        "capsbench run <name>",
        "capsbench show cnn-small",
    }
