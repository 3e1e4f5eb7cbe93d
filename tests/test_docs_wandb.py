"""docs/wandb.md lists every name that a run on Weights & Biases has, and no other."""

import re
from pathlib import Path

from capsbench.reporting.wandb import keys

PAGE = (Path(__file__).parents[1] / "docs" / "wandb.md").read_text(encoding="utf-8")


def listed(section: str) -> list[set[str]]:
    """Return the plain names of the last column of each row of a section's table."""
    text = PAGE.partition(f"### {section}\n")[2].partition("\n##")[0]
    cells = [line.rstrip("| ").rpartition("|")[2] for line in text.splitlines() if line[:2] == "| "]
    return [set(re.findall(r"`([a-z_]+)`", cell)) for cell in cells[1:]]


def test_the_configuration_is_listed():
    assert listed("Configuration") == [
        set(keys.TRAINING_CONFIG),
        set(keys.RECIPE_CONFIG),
        set(keys.EVALUATION_CONFIG),
        set(keys.BENCHMARK_CONFIG),
        set(keys.AGGREGATE_CONFIG),
    ]


def test_the_curves_are_listed():
    training, validation, *_ = listed("Curves")
    assert training == set(keys.TRAINING_CURVES)
    assert validation == set(keys.VALIDATION_CURVES)


def test_the_summary_is_listed():
    assert listed("Summary")[0] == set(keys.EVALUATION_SUMMARY)


def test_the_tables_are_listed():
    assert listed("Tables and pictures") == [
        set(keys.EVALUATION_TABLES),
        set(keys.AGGREGATE_TABLES),
    ]


def test_beginnings_of_names_are_explained():
    for begin in (keys.FAMILIAR, keys.ARGUMENT):
        assert f"`{begin}`" in PAGE
    for axis in (f"{keys.VIEW}<factor>", keys.LAYER, f"{keys.CONDITION}<name>"):
        assert f"`{axis}`" in PAGE
