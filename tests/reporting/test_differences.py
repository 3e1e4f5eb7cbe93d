"""Differences between models: those of the outcomes that are kept, corrected together."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from capsbench.errors import UserError
from capsbench.records import CellFolder
from capsbench.reporting import report
from capsbench.reporting.differences import caption, differences, p_value
from capsbench.reporting.outcomes import outcomes
from capsbench.reporting.results import load
from capsbench.statistics.correction import holm
from capsbench.statistics.paired_difference import difference

SPLITS = {"measure": "accuracy-by-split", "splits": ["familiar", "novel"]}
WORST = {"measure": "worst-of-k", "views": {"rotation": [-9, 9]}}
RATES = {"CNN": 0.9, "Dynamic routing": 0.6, "EM routing": 0.88}
SEEDS = (0, 1, 2)
IMAGES = 60


def right(label, split, seed):
    draws = np.random.default_rng([len(label), len(split), seed])
    return draws.random(IMAGES) < RATES[label]


@pytest.fixture
def folder(tmp_path: Path, write_benchmark, add_measure) -> Path:
    return write(tmp_path, write_benchmark, add_measure, SEEDS)


def write(path, write_benchmark, add_measure, seeds):
    made: Path = write_benchmark(path, seeds=seeds)
    for label in RATES:
        for seed in seeds:
            found = {f"{split}/accuracy": right(label, split, seed) for split in SPLITS["splits"]}
            values = {key: float(of.mean()) for key, of in found.items()}
            # Images of one split are the same for all models, of the other they are not.
            index = {"familiar/index": np.arange(IMAGES), "novel/index": np.arange(IMAGES)}
            index["novel/index"] = np.arange(IMAGES) + (label == "EM routing")
            samples = {**found, **index}
            add_measure(made, label, seed, SPLITS, {**values, "gap": 0.0}, samples=samples)
            by_view = np.stack([right(label, view, seed) for view in ("a", "bb")])
            values = {"worst/accuracy": float(by_view.mean()), "k=1/accuracy": 0.5}
            samples = {"worst/accuracy": by_view, "index": np.arange(IMAGES)}
            add_measure(made, label, seed, WORST, values, samples=samples)
    return made


def test_each_model_beside_the_first_one(folder: Path):
    rows = differences(load(folder), resamples=199)
    assert [(row.label, row.measure, row.key) for row in rows] == [
        ("Dynamic routing", "accuracy-by-split", "familiar/accuracy"),
        ("EM routing", "accuracy-by-split", "familiar/accuracy"),
        ("Dynamic routing", "accuracy-by-split", "novel/accuracy"),
        ("Dynamic routing", "worst-of-k", "worst/accuracy"),
        ("EM routing", "worst-of-k", "worst/accuracy"),
    ]
    tables = {
        label: np.stack([right(label, "familiar", seed) for seed in SEEDS]) for label in RATES
    }
    wanted = difference(tables["Dynamic routing"], tables["CNN"], resamples=199)
    assert rows[0].found[:4] == (*wanted[:3], rows[0].found.p_corrected)
    assert rows[0].found.mean < -0.1
    assert rows[0].found.n_seeds == (3, 3)
    assert rows[0].found.n_images == IMAGES
    assert [row.found.p_corrected for row in rows] == list(holm([row.found.p for row in rows]))
    assert {row.found.comparisons for row in rows} == {5}


def test_of_several_views_an_image_s_outcome_is_the_mean(folder: Path):
    cells = load(folder).by_label()["CNN"]
    (key,) = found = outcomes(cells, "worst-of-k")
    assert key == "worst/accuracy"
    views = [np.stack([right("CNN", view, 1) for view in ("a", "bb")]).mean(axis=0)]
    assert np.allclose(found[key].table[1], views[0])
    assert found[key].table.shape == (3, IMAGES)


def test_page_markdown_and_csv_hold_the_same_rows(folder: Path):
    report.build(folder)
    page = (folder / "report/index.html").read_text()
    text = (folder / "report/report.md").read_text()
    rows = differences(load(folder))
    for row in rows:
        for cell in row.cells:
            assert cell.replace("<", "&lt;") in page
            assert cell.replace("<", "&lt;") in text
    with (folder / "report/differences.csv").open(newline="") as stream:
        read = list(csv.DictReader(stream))
    assert [float(line["difference"]) for line in read] == [row.found.mean for row in rows]
    assert "for all 5 comparisons" in page


def test_two_seeds_have_no_interval(tmp_path: Path, write_benchmark, add_measure):
    results = load(write(tmp_path, write_benchmark, add_measure, (0, 1)))
    rows = differences(results)
    assert [row.cells[1:3] for row in rows] == [("–", "–")] * 5
    assert "They need 3 seeds or more of both models." in caption(results, rows)
    assert "p is corrected" not in caption(results, rows)


def test_nothing_is_compared_of_one_model_or_without_outcomes(tmp_path: Path, write_benchmark):
    assert differences(load(write_benchmark(tmp_path))) == []
    alone = (("CNN", "cnn-small"),)
    assert differences(load(write_benchmark(tmp_path / "b", models=alone))) == []


def test_a_damaged_file_is_told(folder: Path):
    results = load(folder)
    cell = results.cells[0]
    path = CellFolder(cell.folder.path).samples(cell.measures["worst-of-k"])
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="is damaged"):
        differences(results)


def test_p_values_are_short():
    assert [p_value(p) for p in (1.0, 0.04567, 0.001, 0.00099)] == [
        "1",
        "0.046",
        "0.001",
        "< 0.001",
    ]
