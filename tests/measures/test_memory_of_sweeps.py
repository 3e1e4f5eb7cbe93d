"""A sweep over many views takes no more memory than one over few."""

import importlib

import pytest
import torch
from pydantic import TypeAdapter

from capsbench.measures import MeasureEntry
from capsbench.names import find
from capsbench.profiling.peak_memory import peak_bytes

LIMIT = 300


def peak(measure, views):
    """Bytes for a measure of `cnn-small` over so many views."""
    grid = {"rotation": {"start": 3, "stop": 3 * views, "step": 3}}
    entry = TypeAdapter(MeasureEntry).validate_python({"measure": measure, "grid": grid})
    data = find("datamodules", "digits").load()(limit=LIMIT)
    torch.manual_seed(0)
    model = find("models", "cnn-small").load()(image_shape=(1, 32, 32), num_classes=10, width=4)
    take = importlib.import_module(entry.module).measure
    data.split("familiar")

    def call():
        take(entry, model.eval(), data, "cpu", lambda: None)

    call()  # what is made or chosen at the first call only is no part of a sweep
    return peak_bytes(call, "cpu")


@pytest.mark.parametrize(
    "measure", ["accuracy-by-view", "consistency", "invariance-error", "spatial-equivariance"]
)
def test_peak_memory_does_not_grow_with_the_number_of_views(measure):
    few, many = peak(measure, 2), peak(measure, 12)
    outcomes = 10 * LIMIT * 8 * 20  # at most, of each image at each further view: 20 numbers
    assert few > 20 * outcomes / 10
    assert many - few < outcomes
