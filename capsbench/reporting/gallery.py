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
FIRST, MOST_DIFFERENT = 2, 2  # images of each class that are shown at a view


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
        places: (V, K) places of the shown images among the example images of each view.
        start: Place of the view that is shown first, a novel one.
        labels: Titles of the models.
        seeds: Seed of each model in words.
        content: All of it as plain JSON, for the script of the page.
    """

    views: Sequence[GalleryView]
    places: NDArray[np.intp]
    start: int
    labels: Sequence[str]
    seeds: str
    content: dict[str, Any]


def gallery(results: Results) -> Gallery | None:
    """Return example images with the predictions of the first seed of each model.

    At each view these are the first two of each class, and two more of the recorded ones, on which
    the models differ most (see `choose_images`).

    Args:
        results: The records.

    Returns:
        None if there are no images, or no model has predictions for them.
    """
    examples, images = results.record.examples, results.examples
    if examples is None or images is None or not examples.numbers:
        return None
    by_model, seeds = dict[str, NDArray[np.intp]](), dict[str, int | None]()
    for title, cells in results.by_label().items():
        for cell in cells:
            if (predicted := predicted_classes(cell, examples)) is not None:
                by_model[title], seeds[title] = predicted, cell.seed
                break
    if not by_model:
        return None
    numbers = np.array(examples.numbers)
    classes = np.array([examples.class_names.index(name) for name in examples.classes])
    places = choose_images(np.stack(list(by_model.values())), classes, numbers)
    views = [
        GalleryView(
            f"{FACTORS[each.factor]} {view(each.factor, each.value)}", small_data_uri(column)
        )
        for each, column in zip(examples.views, _at(images, places), strict=True)
    ]
    colors = results.color_indices()
    content = {
        "size": (int(images.shape[-2]), int(images.shape[-1])),
        "sources": [each.source for each in views],
        "numbers": _at(numbers, places).tolist(),
        "classes": classes[places[0]].tolist(),  # at every view
        "names": examples.class_names,
        "models": [
            {"label": title, "place": colors[title], "predicted": _at(predicted, places).tolist()}
            for title, predicted in by_model.items()
        ],
    }
    novel = [index for index, each in enumerate(examples.views) if not each.familiar]
    start = novel[len(novel) // 3] if novel else 0
    return Gallery(views, places, start, list(by_model), _seeds(seeds), content)


def choose_images(
    predicted: NDArray[np.intp], classes: NDArray[np.intp], numbers: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Choose images of each class at each view: the first two, and the two that tell most.

    Those are the images for which the models give the most different answers. Among equals, an
    image goes first that more models get wrong, and then the earlier one.

    Args:
        predicted: (M, V, K) classes that M models predict.
        classes: (K,) class of each image.
        numbers: (V, K) number of each image in its source; -1 if there is none.

    Returns:
        (V, k) places of the chosen images, class by class in their order.
    """
    ordered = np.sort(predicted, axis=0)
    different = 1 + (np.diff(ordered, axis=0) != 0).sum(axis=0)
    wrong = (predicted != classes).sum(axis=0)
    value = np.where(numbers >= 0, different * (len(predicted) + 1) + wrong, -1)
    chosen = []
    for label in dict.fromkeys(classes.tolist()):
        (members,) = np.nonzero(classes == label)
        first, others = members[:FIRST], members[FIRST:]
        order = np.argsort(-value[:, others], axis=1, kind="stable")[:, :MOST_DIFFERENT]
        firsts = np.broadcast_to(first, (len(value), len(first)))
        chosen.append(np.concatenate([firsts, np.sort(others[order], axis=1)], axis=1))
    return np.concatenate(chosen, axis=1)


def _at(rows: NDArray[Any], places: NDArray[np.intp]) -> NDArray[Any]:
    """Return the entries of each row at its own places: (V, K, ...) and (V, k) to (V, k, ...)."""
    return rows[np.arange(len(rows))[:, None], places]


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


def predicted_classes(cell: CellResult, examples: ExampleList) -> NDArray[np.intp] | None:
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
    return classes
