"""One capsule network under every routing: sizes, losses, schedules, refused arguments."""

import pytest
import torch

from capsbench.capsules.losses import cross_entropy, margin_loss
from capsbench.capsules.routings import ROUTINGS
from capsbench.contracts import Batch, one_hot
from capsbench.errors import UserError
from capsbench.viewpoint.views import Views

DIGITS = {"image_shape": (1, 28, 28), "num_classes": 10}
SQUASHED = ("dynamic", "average")


def batch(count=4):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 1, 28, 28, generator=generator)
    return Batch(images, torch.arange(count), Views.identity(count), torch.arange(count))


@pytest.mark.parametrize("routing", ROUTINGS)
def test_only_the_routing_differs(build, routing):
    """All have the stem, the primary poses and the votes in common."""
    model, other = (build("capsnet", routing=r, **DIGITS) for r in (routing, "dynamic"))
    own, theirs = (
        {name: each.shape for name, each in m.named_parameters() if "presences" not in name}
        for m in (model, other)
    )
    assert theirs.items() <= own.items()
    assert all("routed_classes" in name for name in own.keys() - theirs.keys())
    prediction = model(batch().images)
    assert prediction.scores.shape == prediction.presences.shape == (4, 10)
    assert prediction.poses.shape == (4, 10, 16)


@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize("stem", ["conv", "residual"])
def test_layers_between_take_steps_of_their_own(build, routing, stem):
    sizes = {"conv": {"channels": 8, "kernel": 9, "stride": 4}, "residual": {"channels": 4}}[stem]
    model = build(
        "capsnet",
        routing=routing,
        stem=stem,
        primary_types=3,
        types=(4, 2),
        strides=(1, 1),
        capsule_kernel=2,
        pose="matrix",
        **sizes,
        **DIGITS,
    )
    assert model(batch().images).poses.shape == (4, 10, 4, 4)
    layers = model.layers_of_interest()
    assert {"capsules 1 poses", "capsules 2 presences", "class poses"} <= layers.keys()
    assert model.check_couplings(batch().images) < 1e-4


@pytest.mark.parametrize("routing", ROUTINGS)
def test_the_loss_is_that_of_lengths_or_logits(build, routing):
    model, images = build("capsnet", routing=routing, **DIGITS), batch()
    prediction = model(images.images)
    targets = one_hot(images.targets, 10)
    expected = (
        margin_loss(prediction.presences, targets)
        if routing in SQUASHED
        else cross_entropy(prediction.scores, targets)
    )
    loss = model.loss(prediction, images, 0.5)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    learned = [p for name, p in model.named_parameters() if "pose" in name or "stem" in name]
    assert all(p.grad is not None for p in learned)


def test_only_em_routing_has_a_schedule(build):
    for routing in ROUTINGS:
        model = build("capsnet", routing=routing, **DIGITS)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        model.advance(1.0)
        changed = [n for n, value in model.state_dict().items() if not value.equal(before[n])]
        assert changed == (["routed_classes.inverse_temperature"] if routing == "em" else [])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"types": (4,)}, "one stride for each layer of capsule types"),
        ({"stem": "conv", "image_shape": (1, 8, 8)}, "at least"),
    ],
)
def test_what_does_not_fit_is_refused(build, arguments, words):
    with pytest.raises(UserError, match=words):
        build("capsnet", **DIGITS | arguments)
