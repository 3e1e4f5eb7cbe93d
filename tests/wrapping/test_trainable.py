"""Models that cannot be trained are refused when their training is planned."""

import pytest
import torch
from torch import nn

from capsbench.errors import UserError
from capsbench.wrapping import LogitsModel
from capsbench.wrapping.trainable import require_trainable


class Auxiliary(nn.Module):
    """A network that returns a tuple, or fails, in training mode alone."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.fails, self.classes = fails, nn.Linear(36, 10)

    def forward(self, images):
        logits = self.classes(nn.functional.dropout(images.flatten(1), training=self.training))
        if not self.training:
            return logits
        if self.fails:
            raise ValueError("too small")
        return logits, logits.square()


def wrapped(module, **arguments):
    return LogitsModel(module, image_shape=(1, 6, 6), num_classes=10, **arguments)


def test_networks_that_fail_in_training_mode_alone_are_refused():
    with pytest.raises(UserError, match=r"'net' in training mode.*output_key"):
        require_trainable(wrapped(Auxiliary()), "net")
    with pytest.raises(UserError, match=r"'net' in training mode.*too small"):
        require_trainable(wrapped(Auxiliary(fails=True)), "net")
    with pytest.raises(UserError, match="no trainable parameters"):
        require_trainable(wrapped(nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(10))), "net")


def test_a_trial_draws_nothing():
    torch.manual_seed(0)
    model = wrapped(Auxiliary(), output_key=0)
    state = torch.random.get_rng_state()
    require_trainable(model, "net")
    assert torch.equal(torch.random.get_rng_state(), state)
