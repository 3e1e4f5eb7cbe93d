"""Leaderboards: whose numbers they hold, and which records count."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from capsbench.records import Results, load_results
from capsbench.records.benchmark import ProtocolChanges
from capsbench.reporting.exports.export import ExportedResults
from capsbench.reporting.tables.leaderboard_table import _layers, leaderboards
from capsbench.reporting.tables.table import Table
from capsbench.schema.claims import ClaimTest
from capsbench.values import Quantity

MODELS = (("CNN", "cnn-small"), ("CapsNet", "capsnet-dr"))
PLACE = "capsbench.reporting.tables.leaderboard_table"
CPU = ProtocolChanges(scale="cpu")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, write_benchmark) -> Results:
    folder = write_benchmark(tmp_path_factory.mktemp("runs"), models=MODELS, seeds=(0, 1, 2))
    return load_results(folder)


@pytest.fixture(autouse=True)
def current_revisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the records as those of the present revisions."""
    monkeypatch.setattr(f"{PLACE}.earlier_revisions", lambda cells: [])


def exported(results: Results, name: str, changes: ProtocolChanges = CPU) -> ExportedResults:
    benchmark = results.benchmark.model_copy(update={"name": name})
    record = results.record.model_copy(update={"benchmark": benchmark, "changes": changes})
    return ExportedResults(Path("a.json"), replace(results, record=record), [])


def rows(table: Table) -> dict[str, dict[str, Any]]:
    """Return the numbers of a table by network and heading."""
    titles = [column.title for column in table.columns]
    return {
        row.contents()[0].text: dict(
            zip(titles, [cell.number for cell in row.contents()], strict=True)
        )
        for row in table.rows
    }


def test_a_column_is_the_accuracy_at_its_own_factor(results: Results):
    (table,) = leaderboards([exported(results, "rotations")], [])
    for label, numbers in rows(table).items():
        cells = results.by_label()[label]
        for title, split, factor in (
            ("Familiar", "familiar", None),
            ("Shifted sideways", "novel", "shift_x"),
            ("Scaled", "novel", "scale"),
        ):
            quantity = Quantity(metric="accuracy", split=split, factor=factor)
            values = [cell.measures["accuracy-by-view"].get(quantity) for cell in cells]
            assert numbers[title] == pytest.approx(fmean(value for value in values if value))
        assert numbers["Parameters"] == cells[0].parameters
    assert "Tilted" not in rows(table)["CNN"]  # no record
    assert "in %" in table.title
    line = table.rows[0].contents()[1].line
    assert re.fullmatch(r"\d+\.\d \(\d+\.\d–\u2060\d+\.\d\)", line)  # three seeds


def test_only_unchanged_records_at_scale_cpu_count(results: Results):
    changed = CPU.model_copy(update={"settings": {"recipe.steps": 5}})
    for changes in (ProtocolChanges(), changed, ProtocolChanges(scale="small")):
        assert leaderboards([exported(results, "rotations", changes)], []) == []


def test_the_record_with_the_most_cells_counts_and_none_of_earlier_revisions(
    results: Results, monkeypatch: pytest.MonkeyPatch
):
    whole = exported(results, "rotations")
    part = exported(replace(results, cells=results.cells[:1]), "rotations")
    for both in ([whole, part], [part, whole]):
        (table,) = leaderboards(both, [])
        assert list(rows(table)) == ["CNN", "CapsNet"]
    monkeypatch.setattr(
        f"{PLACE}.earlier_revisions", lambda cells: ["model"] if len(cells) > 1 else []
    )
    (table,) = leaderboards([whole, part], [])
    assert list(rows(table)) == ["CNN"]


def test_a_network_that_one_record_lacks_has_dashes_and_no_time(results: Results):
    cnn = replace(results, cells=tuple(cell for cell in results.cells if cell.label == "CNN"))
    (table,) = leaderboards([exported(cnn, "rotations"), exported(results, "tilts")], [])
    numbers = rows(table)["CapsNet"]
    assert numbers["Familiar"] is None
    assert table.rows[1].contents()[-1].text == "–"
    assert numbers["Parameters"]


def test_objects_have_a_leaderboard_of_their_own(results: Results):
    records = [exported(results, "rotations"), exported(results, "toynorb-azimuth")]
    digits, objects = leaderboards(records, [])
    assert (digits.name, objects.name) == ("digits", "objects")
    assert "one class" in digits.caption
    assert "one class" not in objects.caption


def test_the_time_is_not_that_of_one_delayed_training(results: Results):
    seconds = iter((10.0, 500.0, 12.0))
    cells = []
    for cell in results.cells:
        assert cell.training is not None
        if cell.label == "CNN":
            training = cell.training.model_copy(update={"seconds": next(seconds)})
            cells.append(replace(cell, training=training))
    (table,) = leaderboards([exported(replace(results, cells=tuple(cells)), "rotations")], [])
    assert table.rows[0].contents()[-1].text == "12.0 s"


def test_a_network_of_augmented_images_is_named(results: Results):
    (plain,) = leaderboards([exported(results, "rotations")], [])
    assert "augmented" not in plain.caption
    *others, last = results.cells
    assert last.config is not None
    recipe = last.config.recipe.model_copy(update={"augmentation": ("RandAugment",)})
    config = last.config.model_copy(update={"recipe": recipe})
    cells = (*others, replace(last, config=config))
    (table,) = leaderboards([exported(replace(results, cells=cells), "rotations")], [])
    assert f"count as novel: {last.label}." in table.caption


def test_layers_are_those_of_the_claims():
    test = ClaimTest.model_validate(
        {
            "part": "mnist",
            "model": "CapsNet",
            "against": "CNN",
            "measure": "linear-equivariance",
            "quantity": {"metric": "group_r2_over_control", "layer": "class poses"},
            "against_quantity": {"metric": "group_r2_over_control", "layer": "hidden"},
            "learned": True,
        }
    )
    whole_network = {"measure": "part-whole", "quantity": {"metric": "confidence_auroc"}}
    not_learned = {"quantity": {"metric": "r2", "layer": "stem"}, "learned": False}
    others = [
        ClaimTest.model_validate(test.model_dump() | changes)
        for changes in (whole_network, not_learned)
    ]
    layers = _layers([test, *others])
    assert {label: quantity.layer for label, (_, quantity) in layers.items()} == {
        "CapsNet": "class poses",
        "CNN": "hidden",
    }
