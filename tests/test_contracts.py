"""The checks that every model has."""

import math

import pytest
import torch

from capsbench.contracts import EXPONENT, Model, Prediction
from capsbench.errors import UserError
from capsbench.names import find


def test_checks_leave_each_module_in_its_mode():
    model = find("models", "cnn-small").load()(image_shape=(1, 8, 8), num_classes=3, width=2)
    model.hidden.eval()
    images = torch.rand(3, 1, 8, 8)
    assert model.check_batch_independence(images) < 1e-5
    assert model.check_determinism(images) == 0
    assert model.training and model.classes.training and not model.hidden.training


def test_nan_in_any_output_is_not_a_small_error(monkeypatch):
    model = find("models", "cnn-small").load()(image_shape=(1, 8, 8), num_classes=3, width=2)
    monkeypatch.setattr(
        model, "forward", lambda images: Prediction(images[:, 0, 0], math.nan * images[:, 0, 1])
    )
    images = torch.rand(3, 1, 8, 8)
    assert math.isnan(model.check_batch_independence(images))
    assert math.isnan(model.check_determinism(images))


@pytest.mark.parametrize("name", ["capsnet-dr", "capsnet-em", "capsnet-em-code"])
def test_a_model_checks_each_of_its_routing_layers(name, monkeypatch):
    arguments = {"channels": 4, "primary_types": 2}
    model = find("models", name).load()(image_shape=(1, 28, 28), num_classes=3, **arguments)
    images = torch.rand(2, 1, 28, 28)
    assert 0 < model.check_couplings(images) < 1e-4
    monkeypatch.setattr(model.classes, "check_couplings", lambda *inputs: 0.5)
    assert model.check_couplings(images) == 0.5


def test_a_model_without_routing_has_no_coupling_error():
    model = find("models", "cnn-small").load()(image_shape=(1, 8, 8), num_classes=3, width=2)
    assert model.check_couplings(torch.rand(2, 1, 8, 8)) == 0


class Presences(Model):
    """A model whose scores are presences."""

    def forward(self, images, views=None):
        return Prediction(images.mean(dim=(2, 3)))

    def loss(self, prediction, batch, progress):
        return prediction.scores.mean()

    def logits(self, prediction):
        return prediction.scores.log()


def test_probabilities_are_presences_to_a_power_divided_by_their_sum():
    model = Presences(image_shape=(3, 4, 4), num_classes=3)
    images = torch.rand(5, 3, 4, 4)
    presences = images.mean(dim=(2, 3)).double()
    for exponent in (1.0, 2.5):
        model.probability_exponent.fill_(exponent)
        powers = presences**exponent
        expected = (powers / powers.sum(dim=1, keepdim=True)).log().float()
        torch.testing.assert_close(model.log_probabilities(model(images)), expected)


def test_log_probabilities_are_the_same_for_every_model():
    def log_probabilities(self, prediction):
        return prediction.scores

    # Made by calls, since type checkers refuse class statements that override a final method.
    own = {"log_probabilities": log_probabilities}
    with pytest.raises(UserError, match=r"Own overrides log_probabilities.*override logits"):
        type("Own", (Presences,), own)
    with pytest.raises(UserError, match="Mixed overrides log_probabilities"):
        type("Mixed", (type("Mixin", (), own), Presences), {})


@pytest.mark.parametrize("name", ["cnn-small", "capsnet-dr", "capsnet-em"])
def test_only_the_exponent_may_be_missing_in_weights(name):
    cls = find("models", name).load()
    model = cls(image_shape=(1, 28, 28), num_classes=3)
    state = {key: value for key, value in model.state_dict().items() if key != EXPONENT}
    model.probability_exponent.fill_(7)
    model.load_state_dict(state)
    assert EXPONENT not in state
    assert model.probability_exponent == 1
    model.load_state_dict({**state, EXPONENT: torch.tensor(7.0)})
    assert model.probability_exponent == 7
    wrapper = torch.nn.ModuleList([model])
    wrapper.load_state_dict({f"0.{key}": value for key, value in state.items()})
    assert model.probability_exponent == 1
    missing = next(iter(state))
    del state[missing]
    with pytest.raises(RuntimeError, match=f'Missing key.*"{missing}"'):
        model.load_state_dict(state)


def test_the_exponent_is_float32_and_not_trained():
    torch.set_default_dtype(torch.float64)
    try:
        model = Presences(image_shape=(1, 4, 4), num_classes=1)
    finally:
        torch.set_default_dtype(torch.float32)
    assert model.probability_exponent.dtype == torch.float32
    assert not list(model.parameters())
