"""The Lie derivative as a measure: known answers from end to end, on digits."""

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from capsbench.contracts import LayerOfInterest, Model, Prediction
from capsbench.errors import UserError
from capsbench.measures import LieDerivative, MeasureEntry
from capsbench.measures._derivatives import UNITS, class_derivative
from capsbench.measures.lie_derivative import measure
from capsbench.names import find

ENTRY = TypeAdapter[MeasureEntry](MeasureEntry)


def blurring(dilation):
    """A fixed blur, with zeros beyond the border."""
    layer = nn.Conv2d(1, 1, 3, padding=dilation, dilation=dilation, bias=False)
    layer.weight.data = torch.tensor([[[[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]]]) / 16
    return layer


class Seen(Model):
    """A blurred negative, whose zeros beyond the border do not move, and a constant."""

    def __init__(self):
        super().__init__(image_shape=(1, 32, 32), num_classes=10)
        torch.manual_seed(0)
        self.blur = blurring(1)
        self.fixed = nn.Linear(1024, 3)
        nn.init.zeros_(self.fixed.weight)
        self.drop = nn.Dropout(0.5)
        self.classes = nn.Linear(1024, 10)

    def forward(self, images, views=None):
        seen = self.blur(1 - images).flatten(1)
        self.fixed(seen)
        return Prediction(self.classes(self.drop(seen)))

    def loss(self, prediction, batch, progress):
        raise AssertionError("a measure trains nothing")


class Named(Seen):
    def layers_of_interest(self):
        return {"map": LayerOfInterest("blur", "map"), "fixed": LayerOfInterest("fixed", "vector")}


class Turned(Named):
    """The map is shown upside down: it moves the other way."""

    def forward(self, images, views=None):
        return super().forward(images.flip(2, 3))


def outcome(model, limit=30, **arguments):
    data = find("datamodules", "digits").load()(limit=limit)
    entry = LieDerivative(measure="lie-derivative", **arguments)
    advanced = []
    found = measure(entry, model, data, "cpu", lambda: advanced.append(1))
    assert len(advanced) == entry.steps
    assert all(np.isfinite(value) for value in found.values.values())
    return found, data


def test_what_moves_along_is_equivariant_and_what_does_not_is_not():
    directions = ("shift_x", "shift_y")
    along, _ = outcome(Named(), directions=directions)
    against, _ = outcome(Turned(), directions=directions)
    for direction in directions:
        invariance = along.values[f"{direction}/lie/invariance@map"]
        assert invariance > 0.1
        assert along.values[f"{direction}/lie/equivariance@map"] < 1e-6
        assert along.values[f"{direction}/lie/equivariance@pixels"] < 1e-6
        # Moved back from where it does not go: twice as fast.
        wrong = against.values[f"{direction}/lie/equivariance@map"]
        assert wrong == pytest.approx(2 * invariance, rel=0.1)


def test_probabilities_are_differentiated_end_to_end():
    model = Named()
    found, data = outcome(model)
    batch = next(data.evaluation.batches("familiar", "cpu"))
    for direction in UNITS:
        expected = class_derivative(model, batch.images, direction).derivative.detach()
        key = f"{direction}/lie/{{}}@probabilities"
        absolute, squared = expected.abs().mean(), expected.square().sum(dim=1).mean()
        assert found.values[key.format("absolute")] == pytest.approx(absolute.item(), rel=1e-4)
        assert found.values[key.format("squared")] == pytest.approx(squared.item(), rel=1e-4)
        per_image = found.samples[f"{direction}/absolute"]
        np.testing.assert_allclose(per_image, expected.abs().mean(dim=1), rtol=1e-3, atol=1e-8)
    assert found.samples["index"].tolist() == batch.index.tolist()
    assert found.n == 30


def test_a_constant_layer_is_undefined_and_told():
    found, _ = outcome(Named(), directions=["rotation"], layers=["fixed"])
    assert not any(key.endswith("@fixed") for key in found.values)
    assert any("undefined (0/0)" in note and "@fixed" in note for note in found.notes)
    assert "rotation/lie/invariance@probabilities" in found.values
    assert "rotation/lie/invariance@pixels" not in found.values


def test_a_map_whose_places_are_not_known_is_not_moved_back():
    found, _ = outcome(Seen(), directions=["shift_x"], layers=["blur"])
    assert found.values["shift_x/lie/invariance@blur"] > 0.1
    assert "shift_x/lie/equivariance@blur" not in found.values
    assert any(note.startswith("layer 'blur' is not moved back") for note in found.notes)
    named, _ = outcome(Named(), directions=["shift_x"])
    assert not any("not moved back" in note for note in named.notes)
    with pytest.raises(UserError, match="blurr"):
        outcome(Seen(), layers=["blurr"])


def test_a_map_that_sees_the_border_everywhere_is_not_moved_back():
    class Wide(Named):
        def __init__(self):
            super().__init__()
            self.blur = nn.Sequential(*[blurring(d) for d in (1, 2, 4, 8)])

    found, _ = outcome(Wide(), directions=["shift_x"])
    assert "shift_x/lie/equivariance@map" not in found.values
    assert any("look at the border" in note for note in found.notes)


def test_batches_do_not_matter(monkeypatch):
    together, _ = outcome(Named(), directions=["scale"], images=25)
    monkeypatch.setattr("capsbench.measures.lie_derivative.BATCH", 7)
    apart, _ = outcome(Named(), directions=["scale"], images=25)
    assert together.values.keys() == apart.values.keys()
    for key, value in together.values.items():
        assert apart.values[key] == pytest.approx(value, rel=1e-4, abs=1e-6), key
    np.testing.assert_allclose(
        apart.samples["scale/absolute"], together.samples["scale/absolute"], rtol=1e-3, atol=1e-8
    )


def test_capsules_have_all_that_can_be_said_of_them():
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
    found, _ = outcome(model, directions=["rotation"], limit=10)
    layers = ["pixels", *model.layers_of_interest(), "probabilities"]
    of_layers = {f"rotation/lie/invariance@{layer}" for layer in layers}
    of_maps = {f"rotation/lie/equivariance@{m}" for m in ("pixels", "conv", "primary presences")}
    end_to_end = {f"rotation/lie/{name}@probabilities" for name in ("absolute", "squared")}
    assert set(found.values) == of_layers | of_maps | end_to_end
    assert found.notes == ()


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
def test_what_makes_no_sense_is_refused(content):
    with pytest.raises(ValidationError):
        ENTRY.validate_python({"measure": "lie-derivative", **content})
