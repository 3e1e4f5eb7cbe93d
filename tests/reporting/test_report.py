from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from capsbench.records import read_json, write_json
from capsbench.reporting import figures, report, tables
from capsbench.reporting.results import ACCURACY_BY_VIEW, load
from capsbench.reporting.terminal import result_tables

NASTY = "_<script>alert(1)</script> & \"'|*$x_1$ [bold]"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_benchmark) -> Path:
    made: Path = write_benchmark(
        tmp_path_factory.mktemp("runs"),
        diverged=(("EM routing", 1),),
        unfinished=(("Dynamic routing", 0),),
        changes=("recipe.steps=300", "limit=100"),
        published=(
            {
                "model": "EM routing",
                "measure": "accuracy-by-view",
                "key": "novel/accuracy",
                "value": 0.5,
                "printed": "50 % error",
                "source": "a paper, table 1",
                "selected_on": "test",
                "known_by": "read",
            },
        ),
    )
    report.build(made)
    return made


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report/index.html").read_text()


def test_files(folder: Path):
    found = set(contents(folder / "report"))
    curves = {"by-view", "rotation", "shift_x", "shift_y", "scale"}
    names = {f"accuracy-{name}" for name in curves} | {f"training-{i}" for i in range(3)}
    drawn = {f"figures/{name}.{kind}" for name in names for kind in ("svg", "png")}
    assert found == {"index.html", "report.md", "results.csv", "differences.csv"} | drawn


def test_rebuilding_gives_the_same_bytes(folder: Path):
    before = contents(folder / "report")
    command = "import sys, pathlib; from capsbench.reporting.report import build; "
    command += "build(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", command, str(folder)], check=True)  # another hash seed
    assert contents(folder / "report") == before


def test_figures_of_what_is_no_longer_there_are_removed(tmp_path: Path, write_benchmark):
    folder = write_benchmark(tmp_path, seeds=(0,), models=(("CNN", "cnn-small"),))
    old = folder / "report/figures/accuracy-colour.svg"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    report.build(folder)
    assert not old.exists()


def test_csv_holds_every_value(folder: Path):
    rows = list(csv.DictReader(io.StringIO((folder / "report/results.csv").read_text())))
    results = load(folder)
    expected = [
        (cell.label, cell.model, str(cell.seed), cell.fingerprint, measure, key, value, str(m.n))
        for cell in results.cells
        for measure, m in cell.measurements.items()
        for key, value in m.values.items()
    ]
    assert [(*list(row.values())[:6], float(row["value"]), row["n"]) for row in rows] == expected
    assert len({(row["label"], row["seed"]) for row in rows}) == 4


def test_summary_is_the_mean_of_the_measured_seeds(folder: Path):
    results = load(folder)
    rows = {row.label: row for row in tables.summary(results)}
    outcomes = [c.measurements[ACCURACY_BY_VIEW] for c in results.by_label()["CNN"]]
    novel = rows["CNN"].entries["novel"]
    assert novel is not None
    assert novel.over.mean == pytest.approx(np.mean([o.values["novel/accuracy"] for o in outcomes]))
    assert novel.text.endswith("; n = 2)")
    assert (rows["CNN"].seeds, rows["CNN"].planned, rows["CNN"].notes) == (2, 2, ())
    assert rows["EM routing"].notes == ("seed 1 diverged at step 137",)
    assert rows["Dynamic routing"].notes == ("seed 0 not finished yet",)
    assert rows["Dynamic routing"].seeds == 1


def test_views_between_the_trained_ones_have_a_column_where_there_are_any(
    tmp_path, write_benchmark
):
    folder = write_benchmark(tmp_path)
    before = load(folder)
    assert list(tables.columns(before)) == ["familiar", "novel", "gap", "seconds"]
    for cell in before.cells:
        path = cell.folder.measure(cell.measures[ACCURACY_BY_VIEW])
        if path.is_file():
            content = read_json(path)
            content["values"] |= {"between/accuracy": 0.75, "outside/accuracy": 0.25}
            write_json(path, content)
    results = load(folder)
    row = tables.summary(results)[0]
    assert list(row.entries) == ["familiar", "novel", "between", "outside", "gap", "seconds"]
    assert row.entries["between"] is not None
    assert row.entries["between"].mean == "75.0 %"
    assert "lie between the trained ones" in tables.caption(results)


def test_markdown(folder: Path):
    text = (folder / "report/report.md").read_text()
    lines = text.splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len([line for line in table if line.startswith("| CNN |")]) == 1
    row = tables.summary(load(folder))[0]
    for entry in row.entries.values():
        assert entry is not None
        assert entry.text in text
    assert "**Not the published protocol.** Changed: recipe.steps=300 and limit=100." in text
    assert "EM routing: seed 1 diverged at step 137" in text
    for image in re.findall(r"\]\((figures/[^)]*)\)", text):
        assert (folder / "report" / image).is_file()
    assert len({line.count("|") for line in table[:5]}) == 1


def test_page_says_what_is_missing_and_what_was_changed(page: str):
    assert "This is not the protocol as published" in page
    assert "<code>recipe.steps=300</code>" in page
    assert "Dynamic routing: seed 0 not finished yet" in page
    assert "a paper, table 1" in page


def test_an_unchanged_finished_benchmark_has_no_notices(tmp_path: Path, write_benchmark):
    folder = write_benchmark(tmp_path, seeds=(0, 1, 2), models=(("CNN", "cnn-small"),))
    page = report.build(folder).read_text()
    assert 'class="notice"' not in page
    assert "95 % t interval of the mean" in page


def test_a_benchmark_without_any_result_still_has_a_page(tmp_path: Path, write_benchmark):
    folder = write_benchmark(tmp_path, seeds=(0,), unfinished=tuple((m, 0) for m in MODELS))
    page = report.build(folder).read_text()
    assert page.count("seed 0 not finished yet") == 6  # in the notice and in the table
    assert '<h2 id="curves">' not in page


MODELS = ("CNN", "Dynamic routing", "EM routing")


class Elements(HTMLParser):
    """Collects tags and attributes; text of a script would be a script."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_names_are_text_everywhere(tmp_path: Path, write_benchmark):
    folder = write_benchmark(
        tmp_path, models=((NASTY, "cnn-small"),), changes=(NASTY,), diverged=((NASTY, 1),)
    )
    page = report.build(folder).read_text()
    elements = Elements()
    elements.feed(page)
    assert "script" not in {tag for tag, _ in elements.found}
    assert not [name for _, attrs in elements.found for name in attrs if name.startswith("on")]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in (folder / "report/report.md").read_text()
    for path in (folder / "report/figures").glob("*.svg"):
        tree = ET.parse(path)
        assert not [e for e in tree.iter() if e.tag.endswith("script")]
    drawn = ET.parse(folder / "report/figures/accuracy-by-view.svg").getroot()
    assert NASTY in {e.text for e in drawn.iter() if e.tag.endswith("}text")}
    rows = csv.DictReader(io.StringIO((folder / "report/results.csv").read_text()))
    assert {row["label"] for row in rows} == {NASTY}
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(result_tables(load(folder)))
    assert NASTY in console.export_text()


def test_page_is_self_contained(page: str):
    elements = Elements()
    elements.feed(page)
    assert not {"script", "iframe", "object", "embed"} & {tag for tag, _ in elements.found}
    for tag, attrs in elements.found:
        assert (attrs.get("src") or "data:").startswith("data:"), (tag, attrs)
        if tag == "link":
            assert attrs["href"] == "data:,"
    assert not re.search(r"url\((?!#)|@import", page)
    ids = [attrs["id"] for _, attrs in elements.found if "id" in attrs]
    assert len(ids) == len(set(ids))
    references = set(re.findall(r'(?:url\(|href=")#([^")]+)', page))
    assert references
    assert references <= set(ids)


def test_every_image_has_words(page: str):
    elements = Elements()
    elements.feed(page)
    images = [attrs for tag, attrs in elements.found if tag == "img"]
    assert len(images) == 25 + 17 + 17 + 11
    assert all(attrs["alt"] for attrs in images)
    for tag, attrs in elements.found:
        if tag == "svg":
            assert attrs.get("aria-label") or attrs.get("aria-hidden") == "true"


def test_terminal_table(folder: Path):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(result_tables(load(folder)))
    text = console.export_text()
    first = tables.summary(load(folder))[0].entries["familiar"]
    assert first is not None
    assert first.mean in text
    assert first.seeds in text
    assert "seed 1 diverged at step 137" in text


def test_figure_shows_each_seed_and_the_mean(folder: Path):
    results = load(folder)
    figure = figures.accuracy_by_view(results, ["rotation"])
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    cells = results.by_label()["CNN"]
    seeds = [
        (view.value, view.accuracy)
        for cell in cells
        for view in cell.measurements[ACCURACY_BY_VIEW].views
        if view.factor == "rotation"
    ]
    drawn = np.asarray(axes.collections[0].get_offsets())
    np.testing.assert_allclose(sorted(drawn.tolist()), sorted(seeds))
    mean = np.array(sorted(seeds))[:, 1].reshape(-1, 2).mean(axis=1)
    np.testing.assert_allclose(np.asarray(axes.lines[0].get_ydata()), mean)
    chance = [line for line in axes.lines if np.allclose(line.get_ydata(), 0.1)]
    assert len(chance) == 1
    words = {text.get_text() for text in axes.texts}
    assert words == {"familiar", "chance"}


@pytest.mark.parametrize(("seeds", "bands"), [((0, 1), 0), ((0, 1, 2), 3)])
def test_a_band_is_drawn_from_three_seeds_up(tmp_path: Path, write_benchmark, seeds, bands):
    results = load(write_benchmark(tmp_path, seeds=seeds))
    figure = figures.accuracy_by_view(results, ["scale"])
    assert figure is not None
    found = [c for c in figure.axes[0].collections if type(c).__name__.startswith("FillBetween")]
    assert len(found) == bands


def test_reporting_needs_no_torch():
    command = "import sys, capsbench.reporting.report, capsbench.reporting.terminal; "
    command += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
