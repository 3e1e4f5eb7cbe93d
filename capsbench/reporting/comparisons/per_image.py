"""Per-image outcomes: the contribution of every test image to a measured value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from capsbench.errors import UserError
from capsbench.files.atomic import read_npz
from capsbench.measures import index_name
from capsbench.measures._result import object_name
from capsbench.records import CellResult
from capsbench.values import Quantity, Value

Array = NDArray[Any]
UNATTACKED = {"attack": "none"}  # accuracy without attack, on some of the images


class ImageOutcomes(NamedTuple):
    """Contributions of N test images to a value, for each of S seeds.

    Attributes:
        numbers: (N,) each image's number in its source.
        table: (S, N) contributions; their mean is the mean of the value over seeds.
        objects: (N,) number of the object that each image shows; None if the set has no objects.
    """

    numbers: Array
    table: NDArray[np.float64]
    objects: Array | None


def load_outcomes(cells: Sequence[CellResult], measure: str) -> dict[Quantity, ImageOutcomes]:
    """Load the outcomes of a measure's quantities that every seed of a model has for equal images.

    Raises:
        UserError: A file is damaged.
    """
    by_seed = [
        outcomes(cell.measures[measure].values, load_arrays(cell, measure))
        for cell in cells
        if measure in cell.measures
    ]
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
    result = {}
    for value in values:
        split = value.split if index_name(value.split) in per_image else None
        numbers = per_image.get(index_name(split))
        row = per_image.get(value.name)
        if row is None or numbers is None or value.matches(**UNATTACKED):
            continue
        table = np.atleast_2d(row).mean(axis=0)[None]
        objects = per_image.get(object_name(split))
        result[value.quantity] = ImageOutcomes(numbers, table, objects)
    return result


def load_arrays(cell: CellResult, measure: str) -> dict[str, Array]:
    """Load the per-image arrays of a measure of a cell; none if there is no file.

    Raises:
        UserError: The file is damaged.
    """
    path = cell.folder.per_image(cell.reference.measures[measure])
    try:
        return read_npz(path)
    except FileNotFoundError:
        return {}
    except (ValueError, EOFError, BadZipFile):
        raise UserError(
            f"{path} is damaged; remove it and the .json file of the same name, and run the "
            "benchmark again"
        ) from None
