"""Sizes at which one network costs as much as another one."""

import pytest

from capsbench.errors import UserError
from capsbench.models.cnn_small import CNNSmall
from capsbench.profiling.model_cost import model_cost
from capsbench.profiling.sizing import nearest_size


def network(width):
    return CNNSmall(width=width, hidden=5, image_shape=(1, 12, 12), num_classes=3)


@pytest.mark.parametrize("of", ["parameters", "flops"])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.9, 1.0, 1.01, 1.4])
def test_it_is_the_best_of_all_sizes(of, share):
    """Every size is tried here."""
    costs = {width: getattr(model_cost(network(width).eval()), of) for width in range(1, 20)}
    wanted = round(share * costs[9])
    best = min(costs, key=lambda width: (abs(costs[width] - wanted), width))
    assert nearest_size(network, wanted, of=of) == best


def test_a_size_that_costs_nothing_more_is_refused():
    with pytest.raises(UserError, match=r"no size.*has 100,000,000 parameters"):
        nearest_size(lambda _: network(1), 100_000_000, of="parameters")
