"""Outcomes image by image: of each measured value, what every test image contributed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from capsbench.errors import UserError
from capsbench.measures._result import INDEX, OBJECT
from capsbench.records import read_npz
from capsbench.reporting.results import Cell

Array = NDArray[Any]
UNCHANGED = "unchanged/"  # of attacks: on some of the images, with no attack


class Outcomes(NamedTuple):
    """What the images of a test contributed to a value, under every seed of a model.

    Attributes:
        numbers: (N,) each image's number in its source.
        table: (S, N): the mean of all is the mean of the value over seeds.
        objects: (N,) which object each image shows; None where the set does not tell.
    """

    numbers: Array
    table: NDArray[np.float64]
    objects: Array | None


def outcomes(cells: Sequence[Cell], measure: str) -> dict[str, Outcomes]:
    """Of the values of a measure, those whose outcomes all seeds of a model have kept.

    A measure keeps them under the value's own key, as (N,), or as (V, N) where the value is a mean
    over V views, and the images' numbers as ``index``, or of each split ``<split>/index``.

    Raises:
        UserError: A file is damaged.
    """
    tables: dict[str, list[Array]] = {}
    indices: dict[str, Array] = {}
    objects: dict[str, Array | None] = {}
    done = [cell for cell in cells if measure in cell.measurements]
    for cell in done:
        kept = by_image(cell.measurements[measure].values, _samples(cell, measure))
        for key, (index, row, shown) in kept.items():
            objects.setdefault(key, shown)
            if np.array_equal(indices.setdefault(key, index), index):
                tables.setdefault(key, []).append(row)
    return {
        key: Outcomes(indices[key], np.stack(rows), objects[key])
        for key, rows in tables.items()
        if len(rows) == len(done)
    }


def by_image(
    values: Iterable[str], samples: Mapping[str, Array]
) -> dict[str, tuple[Array, NDArray[np.float64], Array | None]]:
    """Of the values that have them, (N,) each image's number in its source, outcome, and object.

    Args:
        values: The keys.
        samples: What the measure kept, see `outcomes` and `capsbench.measures._objects`.
    """
    found = {}
    for key in values:
        own = f"{key.partition('/')[0]}/"
        prefix = own if f"{own}{INDEX}" in samples else ""
        index, shown = (samples.get(f"{prefix}{name}") for name in (INDEX, OBJECT))
        if key in samples and not key.startswith(UNCHANGED) and index is not None:
            found[key] = index, np.atleast_2d(samples[key]).mean(axis=0), shown
    return found


def _samples(cell: Cell, measure: str) -> dict[str, Array]:
    path = cell.folder.samples(cell.measures[measure])
    try:
        return read_npz(path)
    except FileNotFoundError:
        return {}
    except (ValueError, EOFError, BadZipFile):
        raise UserError(
            f"{path} is damaged; remove it with the .json beside it and run the benchmark again"
        ) from None
