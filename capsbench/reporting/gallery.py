"""Example images with what each model predicts, for the reader to choose from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capsbench.records import CellResult, Results
from capsbench.records.benchmark import ExampleList
from capsbench.reporting.comparisons.aggregate import ACCURACY_BY_VIEW
from capsbench.reporting.comparisons.confusions import views_of
from capsbench.reporting.comparisons.per_image import load_arrays
from capsbench.reporting.formatting import FACTORS, view
from capsbench.reporting.inline import small_data_uri

NOT_MEASURED = -2  # beside -1 for an output that is not finite


@dataclass(frozen=True)
class GalleryView:
    """A view, with its images below one another in one picture."""

    label: str
    source: str


@dataclass(frozen=True)
class Gallery:
    """Example images at V views, and the predictions of M models.

    Attributes:
        views: The views.
        start: Place of the view that is shown first, a novel one.
        labels: Titles of the models.
        seeds: Seed of each model in words.
        content: All of it as plain JSON, for the script of the page.
    """

    views: Sequence[GalleryView]
    start: int
    labels: Sequence[str]
    seeds: str
    content: dict[str, Any]


def gallery(results: Results) -> Gallery | None:
    """Return the example images with the predictions of the first seed of each model.

    Args:
        results: The records.

    Returns:
        None if there are no images, or no model has predictions for them.
    """
    examples, images = results.record.examples, results.examples
    if examples is None or images is None or not examples.numbers:
        return None
    places = results.color_indices()
    by_model, seeds = dict[str, list[list[int]]](), dict[str, int | None]()
    for title, cells in results.by_label().items():
        for cell in cells:
            if (predicted := predicted_classes(cell, examples)) is not None:
                by_model[title], seeds[title] = predicted, cell.seed
                break
    if not by_model:
        return None
    views = [
        GalleryView(
            f"{FACTORS[each.factor]} {view(each.factor, each.value)}", small_data_uri(column)
        )
        for each, column in zip(examples.views, images, strict=True)
    ]
    novel = [index for index, each in enumerate(examples.views) if not each.familiar]
    size = (int(images.shape[-2]), int(images.shape[-1]))
    content = {
        "size": size,
        "sources": [each.source for each in views],
        "numbers": examples.numbers,
        "classes": [examples.class_names.index(name) for name in examples.classes],
        "names": examples.class_names,
        "models": [
            {"label": title, "place": places[title], "predicted": predicted}
            for title, predicted in by_model.items()
        ],
    }
    start = novel[len(novel) // 3] if novel else 0
    return Gallery(views, start, list(by_model), _seeds(seeds), content)


def _seeds(seeds: Mapping[str, int | None]) -> str:
    """Return the seeds of models in words.

    >>> _seeds({"CNN": 0, "CapsNet": 0}), _seeds({"CNN": 0, "CapsNet": 1})
    ('seed 0', 'CNN: seed 0; CapsNet: seed 1')
    """

    def words(seed: int | None) -> str:
        return "trained elsewhere" if seed is None else f"seed {seed}"

    if len(set(seeds.values())) == 1:
        return words(next(iter(seeds.values())))
    return "; ".join(f"{title}: {words(seed)}" for title, seed in seeds.items())


def predicted_classes(cell: CellResult, examples: ExampleList) -> list[list[int]] | None:
    """Return the predicted classes (V, K) of a cell; None if its records have none.

    A class is -1 if the model predicts none, and `NOT_MEASURED` where there is no prediction.
    """
    record = cell.measures.get(ACCURACY_BY_VIEW)
    arrays = load_arrays(cell, ACCURACY_BY_VIEW) if record is not None else {}
    if record is None or "predicted" not in arrays:
        return None
    rows = {(value.factor, value.view): row for row, value in enumerate(views_of(cell))}
    predicted: NDArray[Any] = arrays["predicted"]
    columns = {int(number): column for column, number in enumerate(arrays["index"])}
    classes = np.full((len(examples.views), len(examples.classes)), NOT_MEASURED)
    for i, (each, numbers) in enumerate(zip(examples.views, examples.numbers, strict=True)):
        row = rows.get((each.factor, each.value))
        for j, number in enumerate(numbers):
            if row is not None and number in columns:
                classes[i, j] = predicted[row, columns[number]]
    result: list[list[int]] = classes.tolist()
    return result
