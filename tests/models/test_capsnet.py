"""One capsule network under every routing: sizes, losses, schedules, refused arguments."""

import pytest
import torch

from capsbench.capsules.losses import cross_entropy, margin_loss
from capsbench.capsules.routings import ROUTINGS
from capsbench.contracts import Batch, one_hot
from capsbench.errors import UserError
from capsbench.viewpoint.views import Views

DIGITS = {"image_shape": (1, 28, 28), "num_classes": 10}
SQUASHED = ("dynamic", "orthogonal", "average")


def batch(count=4):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 1, 28, 28, generator=generator)
    return Batch(images, torch.arange(count), Views.identity(count), torch.arange(count))


@pytest.mark.parametrize("routing", ROUTINGS)
def test_only_the_routing_differs(build, routing):
    """All have the stem, the primary poses and the votes in common."""
    model, other = (build("capsnet", routing=r, **DIGITS) for r in (routing, "dynamic"))
    own, theirs = (
        {
            # Weights that are orthogonal are kept as others.
            name.replace("parametrizations.", "").removesuffix(".original"): each.shape
            for name, each in m.named_parameters()
            if "presences" not in name
        }
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


def test_a_network_of_timm_can_be_the_stem(build):
    """Its deepest map of at most eight pixels per position feeds the primary capsules."""
    model = build("capsnet", stem="timm:resnet10t", **DIGITS)
    features = model.stem(batch().images)
    model.eval()
    assert features.shape == (4, 128, 4, 4) == (4, model.stem.channels, *model.stem.size(28, 28))
    assert not model.stem.network.training  # a trial changes no mode
    model.train()
    assert model.routed_classes.window == (4, 4, 4)
    layer = model.layers_of_interest()["stem"]
    assert (layer.stride, layer.transformation) == (8, None)
    model.loss(model(batch().images), batch(), 0.0).backward()
    assert all(p.grad is not None for p in model.stem.parameters())


def test_with_a_stem_of_timm_no_map_moves_by_construction(build):
    model = build("capsnet", stem="timm:resnet10t", types=(3,), strides=(1,), **DIGITS)
    layers = model.layers_of_interest()
    assert not layers["capsules 1 poses"].transformation.exact


@pytest.mark.parametrize(
    ("stem", "words"),
    [
        ("timm:vit_tiny_patch16_224", "at most 8 pixels per position"),
        ("timm:resnet10x", "did you mean"),
        ("timm:swin_tiny_patch4_window7_224", "gives no map for images of 28 x 28"),
    ],
)
def test_a_network_that_cannot_be_a_stem_is_refused(build, stem, words):
    with pytest.raises(UserError, match=words):
        build("capsnet", stem=stem, **DIGITS)


def test_a_shared_transformation_saves_its_parameters(build):
    """Sixteen by sixteen for each class, in place of each child in each place."""
    sizes = {"channels": 16, "primary_types": 16, **DIGITS}
    own, shared = (build("capsnet", shared=each, **sizes) for each in (False, True))
    counts = [sum(p.numel() for p in model.parameters()) for model in (own, shared)]
    assert counts[0] - counts[1] == (4 * 4 * 16 - 1) * 10 * 16 * 16
