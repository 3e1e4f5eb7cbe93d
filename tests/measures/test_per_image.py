"""Arrays under the name of a quantity hold what each image contributed to its value."""

from typing import Any

import numpy as np
import pytest
import torch

from capsbench.measures import index_name
from capsbench.names import find
from capsbench.viewpoint.ranges import ViewRange
from tests.measures.computing import compute

GRID = {
    "rotation": {"start": -180, "stop": 180, "step": 60},
    "scale": {"start": 0.8, "stop": 1, "step": 0.1},
}
# Arguments of each measure, and quantities that must have an array.
EXPECTED: dict[str, tuple[dict[str, Any], set[str]]] = {
    "accuracy-by-view": ({"grid": GRID}, {"accuracy[split=familiar]", "accuracy[split=novel]"}),
    "accuracy-by-split": ({"ranges": {"far": {"rotation": [60, 90]}}}, {"accuracy[split=far]"}),
    "averaged-accuracy": (
        {},
        {"accuracy[split=familiar,crops=averaged]", "accuracy[split=familiar,crops=single]"},
    ),
    "worst-of-k": ({"views": {"rotation": [-90, 90]}, "k": 3}, {"worst_case_accuracy"}),
    "consistency": ({"grid": GRID}, {"consistency", "accuracy"}),
    "calibration": ({}, {"confidence[split=familiar]", "accuracy[split=familiar]"}),
    "invariance-error": (
        {"grid": GRID},
        {"invariance_error[layer=hidden]", "invariance_error[layer=pixels]"},
    ),
    "spatial-equivariance": ({"grid": GRID}, {"spatial_error[layer=block 1]"}),
    "declared-equivariance": (
        {"grid": {"shift_x": {"start": -4, "stop": 4, "step": 2}}},
        {"unchanged_error[layer=block 1,basis=by construction]"},
    ),
    "linear-equivariance": ({"width": 1}, {"gain_over_control[layer=hidden]"}),
    "pose-readout": (
        {"factors": ["rotation", "shift_x"], "views": {"rotation": [-90, 90], "shift": [-2, 2]}},
        {"r2[factor=rotation,layer=hidden]", "r2[factor=shift_x,layer=pixels]"},
    ),
    "attacks": (
        {"targeted": True, "images": 30, "epsilons": [0.03, 0.1], "steps": 3, "queries": 10},
        {"accuracy[method=fgsm]", "accuracy[method=worst-case]"},
    ),
}


@pytest.mark.parametrize("measure", EXPECTED)
def test_the_mean_over_images_is_the_value(measure):
    arguments, expected = EXPECTED[measure]
    views = ViewRange(rotation=[-70, 70], shift=[-2, 2])
    data = find("datamodules", "digits").load()(limit=240, views=views)
    torch.manual_seed(0)
    model = find("models", "cnn-small").load()(image_shape=(1, 32, 32), num_classes=10, width=4)
    result = compute(measure, model.eval(), data, **arguments)
    arrays = result.per_image
    with_array = [value for value in result.values if value.name in arrays]
    assert expected <= {value.name for value in with_array}
    for value in with_array:
        array = arrays[value.name]
        assert np.mean(array) == pytest.approx(value.value, abs=1e-7), value.name
        index = arrays.get(index_name(value.split), arrays.get(index_name()))
        assert index is not None
        assert len(index) == array.shape[-1]
