"""Sides of a comparison: what is refused, and which models are joined."""

from __future__ import annotations

from pathlib import Path

import pytest

from capsbench.errors import UserError
from capsbench.records import (
    BenchmarkFolder,
    BenchmarkRecord,
    CellFolder,
    MeasureRecord,
    TrainingConfig,
)
from capsbench.reporting.comparisons.sides import load_sides, pair_models
from capsbench.values import Quantity

ONE = (("CNN", "cnn-small"),)
OTHERS = (("CNN", "cnn-small"), ("P4", "cnn-p4"))


@pytest.fixture
def folders(tmp_path: Path, write_benchmark) -> tuple[Path, Path]:
    return write_benchmark(tmp_path / "a"), write_benchmark(tmp_path / "b", models=OTHERS)


def cells(folder: Path) -> list[Path]:
    record = BenchmarkRecord.load(BenchmarkFolder(folder).record)
    return [folder.parent / cell.path for cell in record.cells]


def test_models_of_equal_titles_are_joined(folders):
    a, b = load_sides(*folders)
    (pair,) = pair_models(a, b, {})
    assert pair.title == "CNN"
    assert [cell.folder.path.is_relative_to(folders[1].parent) for cell in pair.b] == [True] * 2


def test_models_that_are_named_are_joined_alone(folders):
    a, b = load_sides(*folders)
    (pair,) = pair_models(a, b, {"EM routing": "P4"})
    assert pair.title == "P4 minus EM routing"
    with pytest.raises(UserError, match="did you mean 'CNN'"):
        pair_models(a, b, {"CNM": "P4"})


def test_no_equal_titles(tmp_path, folders, write_benchmark):
    other = write_benchmark(tmp_path / "c", models=(("P4", "cnn-p4"), ("P4M", "cnn-p4m")))
    sides = load_sides(folders[0], other)
    with pytest.raises(UserError, match="--pair 'CNN=P4'"):
        pair_models(*sides, {})


def test_one_model_each_is_joined_whatever_its_title(folders):
    a, b = load_sides(cells(folders[0])[0], cells(folders[1])[2])
    (pair,) = pair_models(a, b, {})
    assert pair.title == "cnn-p4 minus cnn-small"


def test_the_same_trainings_are_refused(folders):
    sides = load_sides(folders[0], folders[0])
    with pytest.raises(UserError, match="the same trainings"):
        pair_models(*sides, {})
    (pair,) = pair_models(*sides, {"CNN": "EM routing"})
    assert pair.title == "EM routing minus CNN"


def test_other_data_is_refused(folders):
    for cell in cells(folders[1]):
        files = CellFolder(cell)
        config = TrainingConfig.load(files.config)
        data = config.data.model_copy(update={"num_classes": 5})
        changed = config.model_copy(update={"data": data})
        changed.save(files.config)
        cell.rename(cell.with_name(changed.folder_name))
    record = BenchmarkRecord.load(BenchmarkFolder(folders[1]).record)
    paths = [
        next((folders[1].parent / c.path).parent.glob(f"{c.seed}-*")).relative_to(folders[1].parent)
        for c in record.cells
    ]
    moved = [
        c.model_copy(update={"path": p.as_posix()})
        for c, p in zip(record.cells, paths, strict=True)
    ]
    record.model_copy(update={"cells": tuple(moved)}).save(BenchmarkFolder(folders[1]).record)
    with pytest.raises(UserError, match=r"num_classes of the data is 10 and 5"):
        load_sides(*folders)


def test_folders_of_other_kinds_are_refused(tmp_path, folders):
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims/claims.json").write_text("{}")
    for other, words in {
        cells(folders[1])[0]: "is a single cell",
        tmp_path: "holds no records",
        tmp_path / "none": "no folder",
        tmp_path / "claims": "holds claims",
    }.items():
        with pytest.raises(UserError, match=words):
            load_sides(folders[0], other)


def test_cells_are_compared_on_the_views_that_both_have(tmp_path, write_benchmark, add_measure):
    """Another benchmark that shares the first cell has measured more values at other views."""
    grids = [{"rotation": {"start": 0, "stop": stop, "step": 15}} for stop in (90, 15)]
    folders = [write_benchmark(tmp_path / name, seeds=(0,), models=ONE) for name in "ab"]
    for folder, grid in ((folders[0], 0), (folders[0], 1), (folders[1], 1)):
        config = {"measure": "accuracy-by-view", "grid": grids[grid]}
        splits = ("novel", "familiar") if grid == 0 else ("novel",)
        values = [Quantity(metric="accuracy", split=split).with_value(0.5, 10) for split in splits]
        add_measure(folder, "CNN", 0, config, values)
    for folder in folders:
        for path in (cells(folder)[0] / "measures").glob("*.json"):
            if len(MeasureRecord.load(path).values) > 2:
                path.unlink()
    sides = load_sides(*(cells(folder)[0] for folder in folders))
    stops = [
        side.cells[0].measures["accuracy-by-view"].arguments["grid"]["rotation"]["stop"]
        for side in sides
    ]
    assert stops == [15, 15]


def test_an_unfinished_cell_is_refused(tmp_path, write_benchmark):
    folder = write_benchmark(tmp_path / "c", unfinished=(("CNN", 0),))
    with pytest.raises(UserError, match="not finished"):
        load_sides(*cells(folder)[:2])
