"""Averaging over views: against the warps and probabilities of the network itself."""

import pytest
import torch

from capsbench.contracts import Batch
from capsbench.errors import UserError
from capsbench.profiling.model_cost import model_cost
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp

SMALL = {"network": "cnn-small", "arguments": {"width": 4, "hidden": 8}}


def images(count=3, size=28):
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(0))


def test_the_answer_is_the_mean_of_the_probabilities_over_views(build):
    values = (-20.0, 0.0, 35.0)
    model = build("averaged", views={"rotation": values}, **SMALL).eval()
    views = Views.of_grid([GridView("rotation", value) for value in values])
    seen = [warp(images(), matrix[None]) for matrix in views.matrices(28, 28)]
    expected = torch.stack([model.network(each).scores.softmax(dim=-1) for each in seen])
    probabilities = model.log_probabilities(model(images())).exp()
    torch.testing.assert_close(probabilities, expected.mean(dim=0), rtol=1e-4, atol=1e-6)


def test_every_combination_of_factors_is_a_view(build):
    views = {"rotation": (0.0, 90.0), "shift_x": (-1.0, 0.0, 2.0)}
    model = build("averaged", views=views, **SMALL).eval()
    assert model.grids.shape == (6, 28, 28, 2)
    last = warp(images().rot90(1, (2, 3)), Views.identity(1).with_shift((2, 0)).matrices(28, 28))
    scores = model.network(last).scores.log_softmax(dim=-1)
    torch.testing.assert_close(
        model._log_probabilities(images(), model.grids[-1]), scores, rtol=1e-4, atol=1e-5
    )


def test_four_quarter_turns_make_any_network_invariant_to_them(build):
    model = build("averaged", **SMALL).eval()
    expected = model(images()).scores
    for turns in (1, 2, 3):
        turned = model(images().rot90(turns, (2, 3))).scores
        torch.testing.assert_close(turned, expected, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(model.network(images().rot90(turns, (2, 3))).scores, expected)


def test_the_network_trains_as_if_it_were_alone(build):
    model = build("averaged", network="capsnet-dr", arguments={"channels": 8, "primary_types": 2})
    batch = Batch(images(), torch.arange(3), Views.identity(3), torch.arange(3))
    model.train()
    prediction, alone = model(batch.images), model.network(batch.images)
    torch.testing.assert_close(prediction.scores, alone.scores)
    torch.testing.assert_close(
        model.loss(prediction, batch, 0.5), model.network.loss(alone, batch, 0.5)
    )
    torch.testing.assert_close(model.logits(prediction), model.network.logits(alone))


def test_it_costs_a_pass_for_each_view(build):
    model = build("averaged", views={"rotation": (-30.0, 0.0, 30.0)}, **SMALL).eval()
    assert model_cost(model).flops == 3 * model_cost(model.network).flops


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"views": {"azimuth": (0.0,)}}, "factor of the averaged views: 'azimuth'"),
        ({"views": {}}, "at least one factor"),
        ({"network": "cnn-smal"}, "did you mean 'cnn-small'"),
        ({"network": "cnn-small", "arguments": {"widht": 3}}, "'widht'; did you mean 'width'"),
        ({"network": "os:system"}, "no installed package registers"),
    ],
)
def test_what_does_not_fit_is_refused(build, arguments, words):
    with pytest.raises(UserError, match=words):
        build("averaged", **arguments)


def test_the_schedules_of_the_network_advance(build):
    sizes = {"channels": 8, "primary_types": 2, "types": [2], "strides": [2]}
    model = build("averaged", network="capsnet-em", arguments=sizes)
    before = float(model.network.inverse_temperature)
    model.advance(1.0)
    assert float(model.network.inverse_temperature) > before
