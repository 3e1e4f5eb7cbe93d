"""Copies of activations that are quantised, sparse or complex."""

import pytest
import torch

from capsbench.measures import MeasureContext, parse_config, run_measure
from tests.measures.layered import Layered, NoiseImages

GRID = {"rotation": {"start": 0, "stop": 90, "step": 90}}


def quantised(images):
    return torch.quantize_per_tensor(images, 1 / 64, 0, torch.quint8)


def errors_by_layer(**layers):
    model = Layered((1, 4, 4), 2, **layers).eval()
    config = parse_config({"measure": "invariance-error", "grid": GRID, "images": 40})
    result = run_measure(config, model, NoiseImages(), MeasureContext("cpu"))
    return {
        layer: [value.value for value in result.values if value.layer == layer] for layer in layers
    }


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_errors_are_those_of_dense_real_numbers():
    errors = errors_by_layer(
        quantised=(quantised, "map"),
        rounded=(lambda images: quantised(images).dequantize(), "map"),
        sparse=(lambda images: images.flatten(1).relu().to_sparse(), "vector"),
        dense=(lambda images: images.flatten(1).relu(), "vector"),
        complex=(lambda images: torch.complex(images, images.square()), "map"),
        channels=(lambda images: torch.cat([images, images.square()], dim=1), "map"),
    )
    assert errors["quantised"] == errors["rounded"] != []
    assert errors["sparse"] == errors["dense"] != []
    assert errors["complex"] == errors["channels"] != []
