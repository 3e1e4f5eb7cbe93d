"""Lie derivative as a measure: layers of known equivariance, on digits."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from capsbench.contracts import LayerOfInterest, Model, Prediction
from capsbench.errors import NotMeasuredError, UserError
from capsbench.measures import MeasureContext
from capsbench.measures._derivatives import lie_derivatives
from capsbench.measures.lie_derivative import LieDerivative, LieDerivativeConfig
from capsbench.names import find
from capsbench.values import select
from tests.measures.computing import compute, number, numbers


def blurring(dilation):
    """Return a fixed blur with zero padding."""
    layer = nn.Conv2d(1, 1, 3, padding=dilation, dilation=dilation, bias=False)
    layer.weight.data = torch.tensor([[[[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]]]) / 16
    return layer


class Blurred(Model):
    """A blurred negative, whose zero padding does not move, and a constant layer."""

    def __init__(self):
        super().__init__(image_shape=(1, 32, 32), num_classes=10)
        torch.manual_seed(0)
        self.blur = blurring(1)
        self.fixed = nn.Linear(1024, 3)
        nn.init.zeros_(self.fixed.weight)
        self.drop = nn.Dropout(0.5)
        self.classes = nn.Linear(1024, 10)

    def forward(self, images, views=None):
        blurred = self.blur(1 - images).flatten(1)
        self.fixed(blurred)
        return Prediction(self.classes(self.drop(blurred)))

    def loss(self, prediction, batch, progress):
        raise AssertionError("a measure trains nothing")


class Declared(Blurred):
    def layers_of_interest(self):
        return {"map": LayerOfInterest("blur", "map"), "fixed": LayerOfInterest("fixed", "vector")}


class Flipped(Declared):
    """The map is upside down: it moves the other way."""

    def forward(self, images, views=None):
        return super().forward(images.flip(2, 3))


def digits(limit=30):
    return find("datamodules", "digits").load()(limit=limit)


def measured(model, limit=30, **arguments):
    return compute("lie-derivative", model, digits(limit), **arguments)


def rate(result, metric, layer, direction):
    return number(result, metric=metric, layer=layer, factor=direction)


def test_maps_that_move_with_the_image_are_equivariant_and_others_are_not():
    directions = ("shift_x", "shift_y")
    equivariant = measured(Declared(), directions=directions)
    opposite = measured(Flipped(), directions=directions)
    for direction in directions:
        invariance = rate(equivariant, "lie_invariance", "map", direction)
        assert invariance > 0.1
        assert rate(equivariant, "lie_equivariance", "map", direction) < 1e-6
        assert rate(equivariant, "lie_equivariance", "pixels", direction) < 1e-6
        # Warped back in the wrong direction, it moves twice as fast.
        wrong = rate(opposite, "lie_equivariance", "map", direction)
        assert wrong == pytest.approx(2 * invariance, rel=0.1)


@pytest.mark.parametrize("direction", ["tilt_x", "tilt_y"])
def test_tilts_are_measured_when_they_are_named(direction):
    equivariant = measured(Declared(), directions=[direction])
    opposite = measured(Flipped(), directions=[direction])
    assert rate(equivariant, "lie_equivariance", "pixels", direction) < 1e-6
    # The blur of a nearer part is no wider, but it moves with the part.
    map_rate = rate(equivariant, "lie_equivariance", "map", direction)
    assert map_rate < 0.2 * rate(equivariant, "lie_invariance", "map", direction)
    assert map_rate < 0.1 * rate(opposite, "lie_equivariance", "map", direction)


def test_probabilities_are_differentiated_end_to_end():
    model = Declared()
    result = measured(model)
    assert model.training and model.drop.training  # as before
    batch = next(digits().evaluation.batches("familiar", "cpu"))

    def probabilities(images):
        return {"": model.log_probabilities(model.eval()(images)).exp()}

    for direction in ("shift_x", "shift_y", "rotation", "scale", "shear"):
        derivatives = lie_derivatives(probabilities, batch.images, direction, {})
        expected = derivatives[""].derivative.detach()
        absolute, squared = expected.abs().mean(), expected.square().sum(dim=1).mean()
        at = ("probabilities", direction)
        assert rate(result, "absolute_derivative", *at) == pytest.approx(absolute.item(), rel=1e-4)
        assert rate(result, "squared_derivative", *at) == pytest.approx(squared.item(), rel=1e-4)
        name = f"absolute_derivative[factor={direction},layer=probabilities]"
        per_image = expected.abs().mean(dim=1)
        np.testing.assert_allclose(result.per_image[name], per_image, rtol=1e-3, atol=1e-8)
    assert result.per_image["index"].tolist() == batch.index.tolist()
    assert {value.n for value in result.values} == {30}


def test_a_constant_layer_is_undefined_and_noted():
    result = measured(Declared(), directions=["rotation"], layers=["fixed"])
    assert {value.layer for value in result.values} == {"probabilities"}
    assert any("undefined (0/0)" in note and "layer=fixed" in note for note in result.notes)
    assert rate(result, "lie_invariance", "probabilities", "rotation") > 0


def test_a_map_of_unknown_places_is_not_warped_back():
    result = measured(Blurred(), directions=["shift_x"], layers=["blur"])
    assert rate(result, "lie_invariance", "blur", "shift_x") > 0.1
    assert not select(result.values, metric="lie_equivariance", layer="blur")
    assert any("'blur' is not moved back" in note for note in result.notes)
    declared = measured(Declared(), directions=["shift_x"])
    assert not any("not moved back" in note for note in declared.notes)
    with pytest.raises(UserError, match="blurr"):
        measured(Blurred(), layers=["blurr"])


def test_a_map_that_sees_the_border_everywhere_is_not_warped_back():
    class Wide(Declared):
        def __init__(self):
            super().__init__()
            self.blur = nn.Sequential(*[blurring(d) for d in (1, 2, 4, 8)])

    result = measured(Wide(), directions=["shift_x"])
    assert not select(result.values, metric="lie_equivariance", layer="map")
    assert any("see the border" in note for note in result.notes)


def test_batches_do_not_matter(monkeypatch):
    together = measured(Declared(), directions=["scale"], images=25)
    monkeypatch.setattr("capsbench.measures.lie_derivative.BATCH_SIZE", 7)
    apart = measured(Declared(), directions=["scale"], images=25)
    assert numbers(apart) == pytest.approx(numbers(together), rel=1e-4, abs=1e-6)
    name = "absolute_derivative[factor=scale,layer=probabilities]"
    np.testing.assert_allclose(
        apart.per_image[name], together.per_image[name], rtol=1e-3, atol=1e-8
    )


def test_an_operation_without_forward_derivative_is_noted():
    class Backward(torch.autograd.Function):
        @staticmethod
        def forward(ctx, images):
            return images.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    class Underivable(Declared):
        def forward(self, images, views=None):
            return super().forward(Backward.apply(images))

    config = LieDerivativeConfig(measure="lie-derivative")
    with pytest.raises(NotMeasuredError, match="no forward derivative"):
        LieDerivative.compute(config, Underivable(), digits(), MeasureContext("cpu"))


def test_values_of_a_capsule_network():
    torch.manual_seed(0)
    model = find("models", "capsnet-dr").load()(
        image_shape=(1, 32, 32),
        num_classes=10,
        channels=4,
        kernel=5,
        primary_types=2,
        primary_dim=4,
        primary_kernel=3,
        class_dim=4,
        decoder=(),
    )
    result = measured(model, directions=["rotation"], limit=10)
    layers = ["pixels", *model.layers_of_interest(), "probabilities"]
    maps = ["pixels", "conv", "primary presences"]
    expected = {("lie_invariance", layer) for layer in layers}
    expected |= {("lie_equivariance", layer) for layer in maps}
    expected |= {(f"{term}_derivative", "probabilities") for term in ("absolute", "squared")}
    assert {(value.metric, value.layer) for value in result.values} == expected
    assert result.notes == ()


@pytest.mark.parametrize(
    "content",
    [
        {"directions": []},
        {"directions": ["azimuth"]},
        {"directions": ["scale", "scale"]},
        {"layers": ["hidden", "hidden"]},
        {"images": 1},
        {"grid": {}},
    ],
    ids=str,
)
def test_invalid_arguments_are_refused(content):
    with pytest.raises(ValidationError):
        LieDerivativeConfig.model_validate({"measure": "lie-derivative", **content})
