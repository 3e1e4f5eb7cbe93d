"""The run of a benchmark: means over seeds as tables, published numbers, images.

Lists of runs show no spread over seeds, so that it is computed here.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from capsbench.records import Results
from capsbench.reporting.comparisons.aggregate import (
    ACCURACY_BY_VIEW,
    SeedValues,
    aggregate_seeds,
    measures,
    quantities,
)
from capsbench.reporting.comparisons.published import compare_differences, compare_published
from capsbench.reporting.gallery import Gallery, gallery
from capsbench.reporting.wandb.keys import key, quantity_key
from capsbench.reporting.wandb.run import Run

TEXTS = {"label", "measure", "metric", "split", "factor", "layer", "source"}  # of differences.csv
GALLERY_VIEWS = 6  # of the gallery, spread over all views: each image is a file
SPREAD = ("mean", "low", "high", "seeds")
Rows = list[list[Any]]


class TableData(NamedTuple):
    """Columns and rows of a table."""

    columns: Sequence[str]
    rows: Rows


def fill_aggregate(run: Run, results: Results, report: Path) -> None:
    """Log the tables and example images of a benchmark, and its means by model.

    Args:
        run: The run.
        results: The records.
        report: Folder of the page, with the table of differences.
    """
    board = leaderboard(results)
    tables = {
        "leaderboard": board,
        "accuracy_by_view": accuracy_by_view(results),
        "differences": differences(report / "differences.csv"),
        "published": published(results),
        "published_differences": published_differences(results),
    }
    run.summarize(summary(board))
    for name, table in tables.items():
        if table.rows:
            run.log_table(name, table.columns, table.rows)
    if results.examples is not None:
        columns = ("factor", "view", "familiar", "images")
        run.log_table("example_images", columns, _example_images(results))
    if (pictures := gallery(results)) is not None:
        fields = ("factor", "view", "familiar", "image", "class", *pictures.labels)
        run.log_table("gallery", fields, _gallery_rows(results, pictures))


def leaderboard(results: Results) -> TableData:
    """Return a row for each model: its cost, and each summary over its seeds."""
    numbers = dict.fromkeys(
        (measure, quantity)
        for measure in measures(results.cells)
        for quantity in quantities(
            results.cells, measure, factor=None, view=None, layer=None, source=None
        )
        if not quantity.condition
    )
    columns = ["label", "model", "varied", "parameters", "flops"]
    columns += [f"{quantity_key(*number)}_{name}" for number in numbers for name in SPREAD]
    rows = []
    for title, cells in results.by_label().items():
        first = cells[0]
        sizes = (_first(c.parameters for c in cells), _first(c.flops for c in cells))
        row: list[Any] = [title, first.reference.model, _text(first.point), *sizes]
        for measure, quantity in numbers:
            row += _spread(aggregate_seeds(cells, measure, quantity))
        rows.append(row)
    return TableData(columns, rows)


def summary(board: TableData) -> dict[str, float]:
    """Return the means of the leaderboard under names with the model."""
    return {
        f"{key(row[0])}_{name.removesuffix('_mean')}": value
        for row in board.rows
        for name, value in zip(board.columns, row, strict=True)
        if name.endswith("_mean") and value is not None
    }


def accuracy_by_view(results: Results) -> TableData:
    """Return a row for each model and view, with the mean over seeds and its interval."""
    columns = ("label", "factor", "view", "familiar", "metric", *SPREAD)
    rows: Rows = []
    for title, cells in results.by_label().items():
        for each in quantities(cells, ACCURACY_BY_VIEW):
            if each.view is not None:
                spread = _spread(aggregate_seeds(cells, ACCURACY_BY_VIEW, each))
                familiar = each.split == "familiar"
                rows.append([title, each.factor, each.view, familiar, each.metric, *spread])
    return TableData(columns, rows)


def differences(path: Path) -> TableData:
    """Return the differences between models, with the intervals that the page has."""
    lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
    columns, *texts = lines
    rows = [
        [_number(name, text) for name, text in zip(columns, line, strict=True)] for line in texts
    ]
    return TableData(columns, rows)


def published(results: Results) -> TableData:
    """Return published numbers beside the measured ones."""
    columns = [
        *("label", "varied", "measure", "quantity", "published", "published_spread"),
        *(*SPREAD, "verdict", "source", "selected_on", "known_by"),
    ]
    rows: Rows = [
        [
            each.entry.model,
            _text(each.entry.at),
            each.entry.measure,
            each.entry.quantity.name,
            each.entry.value,
            each.entry.spread,
            *_spread(each.counterpart.seed_values),
            each.verdict,
            each.entry.source,
            each.entry.selected_on,
            each.entry.known_by,
        ]
        for each in compare_published(results)
    ]
    return TableData(columns, rows)


def published_differences(results: Results) -> TableData:
    """Return published differences between two models beside the measured ones."""
    columns = ("label", "first", "varied", "measure", "quantity", "published", *SPREAD)
    rows: Rows = [
        [
            each.entry.model,
            each.first.model,
            _text(each.entry.at),
            each.entry.measure,
            each.entry.quantity.name,
            each.entry.value - each.first.value,
            *_spread(each.seed_values),
            each.verdict_text,
            each.entry.source,
        ]
        for each in compare_differences(results)
    ]
    return TableData((*columns, "verdict", "source"), rows)


def _example_images(results: Results) -> Iterator[tuple[Any, ...]]:
    """Yield a row for each view, with the first test images of all classes side by side."""
    import wandb

    listed, images = results.record.examples, results.examples
    assert listed is not None and images is not None
    first = [listed.classes.index(name) for name in dict.fromkeys(listed.classes)]
    for view, each in zip(listed.views, images[:, first], strict=True):
        yield view.factor, view.value, view.familiar, wandb.Image(_strip(each))


def _gallery_rows(results: Results, pictures: Gallery) -> Iterator[tuple[Any, ...]]:
    """Yield a row for each image at some views, with the class that each model predicts."""
    import wandb

    listed, images = results.record.examples, results.examples
    assert listed is not None and images is not None
    models = [model["predicted"] for model in pictures.content["models"]]
    chosen = np.linspace(0, len(images) - 1, min(GALLERY_VIEWS, len(images)), dtype=int)
    for row in chosen.tolist():
        view = listed.views[row]
        for shown, place in enumerate(pictures.places[row].tolist()):
            if listed.numbers[row][place] >= 0:
                picture = wandb.Image(images[row, place].transpose(1, 2, 0))
                answers = [_class_name(listed.class_names, each[row][shown]) for each in models]
                name = listed.classes[place]
                yield view.factor, view.value, view.familiar, picture, name, *answers


def _class_name(names: Sequence[str], number: int) -> str | None:
    """Return the name of a predicted class; None for none."""
    return names[number] if number >= 0 else None


def _strip(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return images (K, C, H, W) as one of (H, K W, C)."""
    count, channels, height, width = images.shape
    return images.transpose(2, 0, 3, 1).reshape(height, count * width, channels)


def _spread(seed_values: SeedValues | None) -> list[Any]:
    if seed_values is None:
        return [None, None, None, None]
    low, high = seed_values.interval or (None, None)
    return [seed_values.mean, low, high, seed_values.n]


def _first(values: Iterator[Any]) -> Any:
    return next((value for value in values if value is not None), None)


def _text(point: object) -> str | None:
    """Return what the benchmark varies as text: a column has one kind of values."""
    return None if point is None else str(point)


def _number(column: str, text: str) -> Any:
    """Return a field of a CSV file: a number, a text, or None if it is empty."""
    if not text:
        return None
    return text if column in TEXTS or column.startswith("condition_") else float(text)
