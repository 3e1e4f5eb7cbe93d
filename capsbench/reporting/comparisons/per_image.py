"""Per-image outcomes: the contribution of every test image to a measured value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from capsbench.files.atomic import is_present
from capsbench.measures import index_name
from capsbench.measures._result import object_name
from capsbench.measures._swept_views import SUMMARIES
from capsbench.records import CellResult, cell_files
from capsbench.records.cell_files import measure_remedy
from capsbench.values import Quantity, Value

Array = NDArray[Any]
UNATTACKED = {"attack": "none"}  # accuracy without attack, on some of the images


class ImageOutcomes(NamedTuple):
    """Contributions of N test images to a value, for each of S seeds.

    Attributes:
        numbers: (N,) each image's number in its source, of the images behind the value.
        table: (S, N) contributions; their mean is the mean of the value over seeds.
        objects: (N,) number of the object that each image shows; None if the set has no objects.
    """

    numbers: Array
    table: NDArray[np.float64]
    objects: Array | None


def load_outcomes(
    cells: Sequence[CellResult], measure: str, *, at_views: bool = False
) -> dict[Quantity, ImageOutcomes]:
    """Load the outcomes of a measure's quantities that every seed of a model has for equal images.

    Args:
        cells: The seeds of a model.
        measure: Name of the measure.
        at_views: Load those of `outcomes_at_views` as well.

    Raises:
        UserError: A file is damaged.
    """
    by_seed = []
    for cell in cells:
        if measure in cell.measures:
            values, per_image = cell.measures[measure].values, load_arrays(cell, measure)
            own = outcomes(values, per_image)
            by_seed.append(own | outcomes_at_views(values, per_image) if at_views else own)
    common = {}
    for quantity, (numbers, _, objects) in (by_seed[0] if by_seed else {}).items():
        if all(
            quantity in each and np.array_equal(each[quantity].numbers, numbers) for each in by_seed
        ):
            table = np.concatenate([each[quantity].table for each in by_seed])
            common[quantity] = ImageOutcomes(numbers, table, objects)
    return common


def outcomes(
    values: Iterable[Value], per_image: Mapping[str, Array]
) -> dict[Quantity, ImageOutcomes]:
    """Return the outcomes of the values that have any, of a single seed.

    Args:
        values: Values of one measure.
        per_image: Arrays of the measure, see `capsbench.measures.MeasureResult`. An array (V, N) is
            averaged over its views.
    """
    result, values = {}, list(values)
    for value in values:
        split = value.split if index_name(value.split) in per_image else None
        numbers = per_image.get(index_name(split))
        row = per_image.get(value.name)
        if row is None or numbers is None or value.matches(**UNATTACKED):
            continue
        table = np.atleast_2d(row).mean(axis=0)[None]
        objects = per_image.get(object_name(split))
        each = ImageOutcomes(numbers, table, objects)
        if (behind := _images_behind(value, values, per_image)) is not None:
            each = _only(each, behind, value.value)
        result[value.quantity] = each
    return result


def outcomes_at_views(
    values: Iterable[Value], per_image: Mapping[str, Array]
) -> dict[Quantity, ImageOutcomes]:
    """Return the outcomes of the accuracies at single views, of a single seed.

    Args:
        values: Values of one measure, those at views in the order of the views.
        per_image: Arrays of the measure; ``correct`` and ``evaluated`` (V, N) hold the outcomes.
    """
    views = [value for value in values if value.view is not None and value.metric == "accuracy"]
    correct, evaluated = per_image.get("correct"), per_image.get("evaluated")
    if correct is None or evaluated is None or len(correct) != len(views):
        return {}
    numbers, objects = per_image[index_name()], per_image.get(object_name())
    return {
        view.quantity: ImageOutcomes(
            numbers[shown],
            row[shown][None].astype(float),
            None if objects is None else objects[shown],
        )
        for view, row, shown in zip(views, correct, evaluated, strict=True)
    }


def _images_behind(
    value: Value, values: Sequence[Value], per_image: Mapping[str, Array]
) -> NDArray[np.bool_] | None:
    """Return the images (N,) that were evaluated at the views that a summary averages.

    They are not all images if the set recorded each image from one view, such as an azimuth.

    Returns:
        None if all images were evaluated, or the measure does not say.
    """
    evaluated = per_image.get("evaluated")  # (V, N)
    views = [each for each in values if each.view is not None]
    if evaluated is None or len(evaluated) != len(views) or evaluated.all():
        return None
    regions = None if value.split is None else SUMMARIES.get(value.split)
    rows = [regions is None or view.split in regions for view in views]
    return np.asarray(evaluated[rows].any(axis=0))


def _only(outcomes: ImageOutcomes, behind: NDArray[np.bool_], value: float) -> ImageOutcomes:
    """Return the outcomes of some images, if the contribution of each other one is the value.

    The others say nothing about the value: drawing them would widen its interval, and they are no
    evidence. The deviations from the value are scaled so that their mean is still the value.
    """
    numbers, table, objects = outcomes
    scaled = value + (table[:, behind] - value) * (behind.sum() / len(behind))
    return ImageOutcomes(numbers[behind], scaled, None if objects is None else objects[behind])


def load_arrays(cell: CellResult, measure: str) -> dict[str, Array]:
    """Load the per-image arrays of a measure of a cell; none if there is no file.

    Raises:
        UserError: The file is damaged.
    """
    path = cell.folder.per_image(cell.reference.measures[measure])
    if not is_present(path):
        return {}
    remedy = measure_remedy(cell.folder)
    sha256 = cell.measures[measure].arrays_sha256
    if sha256 is None:  # an older record, which needs no arrays
        remedy = f"remove the {path.stem}.json beside it, and {remedy}"
    return cell_files.load_arrays(path, sha256, remedy)
