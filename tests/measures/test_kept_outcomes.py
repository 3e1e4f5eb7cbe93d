"""What measures keep of each image under a value's key has that value as its mean."""

import importlib
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from capsbench.measures import MeasureEntry
from capsbench.names import find
from capsbench.viewpoint.ranges import ViewRange

GRID = {
    "rotation": {"start": -180, "stop": 180, "step": 60},
    "scale": {"start": 0.8, "stop": 1, "step": 0.1},
}
KEPT: dict[str, tuple[dict[str, Any], set[str]]] = {
    "accuracy-by-view": ({"grid": GRID}, {"familiar/accuracy", "novel/accuracy"}),
    "accuracy-by-split": ({"ranges": {"far": {"rotation": [60, 90]}}}, {"far/accuracy"}),
    "averaged-accuracy": ({}, {"familiar/averaged/accuracy", "familiar/single/accuracy"}),
    "worst-of-k": ({"views": {"rotation": [-90, 90]}, "k": 3}, {"worst/accuracy"}),
    "consistency": ({"grid": GRID}, {"consistency"}),
    "calibration": ({}, set()),
    "invariance-error": ({"grid": GRID}, {"invariance/error@hidden", "invariance/error@pixels"}),
    "spatial-equivariance": ({"grid": GRID}, {"equivariance/spatial/error@block 1"}),
    "linear-equivariance": ({"width": 1}, {"equivariance/linear/beyond_controls@hidden"}),
    "pose-readout": (
        {"factors": ["rotation", "shift_x"], "views": {"rotation": [-90, 90], "shift": [-2, 2]}},
        {"readout/rotation/r2@hidden", "readout/shift_x/r2@pixels"},
    ),
    "attacks": ({"targeted": True, "images": 30}, {"fgsm/accuracy", "bim/targeted/accuracy"}),
}


@pytest.mark.parametrize("measure", KEPT)
def test_the_mean_of_the_outcomes_is_the_value(measure):
    arguments, expected = KEPT[measure]
    entry = TypeAdapter(MeasureEntry).validate_python({"measure": measure, **arguments})
    views = ViewRange(rotation=[-70, 70], shift=[-2, 2])
    data = find("datamodules", "digits").load()(limit=240, views=views)
    torch.manual_seed(0)
    model = find("models", "cnn-small").load()(image_shape=(1, 32, 32), num_classes=10, width=4)
    take = importlib.import_module(entry.module).measure
    found = take(entry, model.eval(), data, "cpu", lambda: None)
    kept = found.samples.keys() & found.values.keys()
    assert expected <= kept
    for key in kept:
        assert np.mean(found.samples[key]) == pytest.approx(found.values[key], abs=1e-7), key
        index = found.samples.get(f"{key.partition('/')[0]}/index", found.samples.get("index"))
        assert index is not None
        assert len(index) == found.samples[key].shape[-1]


def test_where_an_image_is_not_seen_from_all_views_no_outcome_is_kept():
    from tests.data.made_up import Turntable

    grid = {"azimuth": {"start": 0, "stop": 270, "step": 90}}
    entry = TypeAdapter(MeasureEntry).validate_python({"measure": "accuracy-by-view", "grid": grid})
    data = Turntable(views=ViewRange(azimuth={"values": [0]}))
    model = find("models", "cnn-small").load()(image_shape=(1, 8, 8), num_classes=2, width=4)
    take = importlib.import_module(entry.module).measure
    found = take(entry, model.eval(), data, "cpu", lambda: None)
    assert "novel/accuracy" in found.values
    assert found.samples.keys() == {"correct", "shown", "index"}
