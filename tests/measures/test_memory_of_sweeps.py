"""A sweep over many views needs no more memory than a sweep over few."""

import pytest
import torch

from capsbench.names import find
from capsbench.profiling.peak_memory import peak_bytes
from tests.measures.computing import compute

LIMIT = 300


def peak(measure, views):
    """Return the peak bytes of a measure of `cnn-small` over a number of views."""
    grid = {"rotation": {"start": 3, "stop": 3 * views, "step": 3}}
    data = find("datamodules", "digits").load()(limit=LIMIT)
    torch.manual_seed(0)
    model = find("models", "cnn-small").load()(image_shape=(1, 32, 32), num_classes=10, width=4)
    model.eval()
    data.split("familiar")

    def call():
        compute(measure, model, data, grid=grid)

    call()  # memory that only the first call allocates is no part of a sweep
    return peak_bytes(call, "cpu")


@pytest.mark.parametrize(
    "measure",
    [
        "accuracy-by-view",
        "consistency",
        "invariance-error",
        pytest.param("spatial-equivariance", marks=pytest.mark.slow),
    ],
)
def test_peak_memory_does_not_grow_with_the_number_of_views(measure):
    few, many = peak(measure, 2), peak(measure, 12)
    per_image = 10 * LIMIT * 8 * 20  # at most 20 numbers of each image at each further view
    assert few > 20 * per_image / 10
    assert many - few < per_image
