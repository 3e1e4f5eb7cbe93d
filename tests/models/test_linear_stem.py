"""The linear classifier on a capsule network's stem, against the layers that it stands for."""

import pytest
import torch
from torch.nn import functional as F

from capsbench.errors import UserError
from capsbench.models.capsnet_dr import CapsNetDR
from capsbench.models.capsnet_em import CapsNetEM
from capsbench.models.linear_stem import LinearStem
from capsbench.representations import whole_strides

STEM = {"channels": 3, "kernel": 5, "stride": 3}


def build(cls, **arguments):
    torch.manual_seed(0)
    return cls(image_shape=(2, 24, 23), num_classes=4, **arguments).double().eval()


@pytest.mark.parametrize("standardized", [True, False])
def test_scores_are_a_linear_map_of_the_stem(standardized):
    model = build(LinearStem, standardized=standardized, **STEM)
    images = torch.rand(3, 2, 24, 23, dtype=torch.float64)
    weight, bias, linear, offset = model.parameters()
    for image, scores in zip(images, model(images).scores, strict=True):
        if standardized:
            image = (image - image.mean()) / image.var(correction=0).sqrt()
        maps = F.conv2d(image[None], weight, bias, stride=3).relu()
        expected = linear @ maps.reshape(-1) + offset
        torch.testing.assert_close(scores, expected)


@pytest.mark.parametrize(
    ("cls", "standardized", "more"),
    [
        (CapsNetEM, True, {"primary_types": 2, "types": (2,), "strides": (1,)}),
        (CapsNetDR, False, {"primary_types": 2, "primary_kernel": 3, "decoder": ()}),
    ],
    ids=["em", "dr"],
)
def test_the_stem_is_that_of_the_capsule_network(cls, standardized, more):
    """The primary capsules receive what the linear layer receives, times a constant."""
    capsules = build(cls, **STEM, **more)
    linear = build(LinearStem, standardized=standardized, **STEM)
    linear.stem[0].load_state_dict(capsules.conv.state_dict())
    received = {}
    for name, layer in (("capsules", capsules.primary), ("linear", linear.classes)):
        layer.register_forward_pre_hook(
            lambda _, inputs, name=name: received.update({name: inputs[0]})
        )
    images = torch.rand(2, 2, 24, 23, dtype=torch.float64)
    capsules(images), linear(images)
    gain = capsules.stem_gain if cls is CapsNetEM else 1
    torch.testing.assert_close(gain * received["linear"], received["capsules"])


def test_it_has_as_many_parameters_as_on_paper():
    """16 filters of 9 x 9 and 5 x 5 places on 28 x 28 pixels, ten classes."""
    model = LinearStem(image_shape=(1, 28, 28), num_classes=10, channels=16, kernel=9, stride=4)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == 16 * (81 + 1) + 10 * (16 * 5 * 5 + 1) == 5_322


def test_shifts_are_a_claim_where_images_are_standardised():
    bases = {
        standardized: build(LinearStem, standardized=standardized)
        .layers_of_interest()["stem"]
        .transformation
        for standardized in (True, False)
    }
    assert bases[True].claimed == whole_strides(2) and not bases[True].exact
    assert bases[False].exact == whole_strides(2) and not bases[False].claimed


def test_images_below_the_window_are_refused():
    with pytest.raises(UserError, match=r"linear-stem.*9 x 9"):
        LinearStem(image_shape=(1, 8, 30), num_classes=2, kernel=9)


def test_averaging_the_residual_stem_has_the_parameters_of_hahn_2019():
    """145 thousand parameters: 143,664 of the stem, 128 weights and a bias for ten classes."""
    torch.manual_seed(0)
    model = LinearStem(
        image_shape=(1, 28, 28),
        num_classes=10,
        stem="residual",
        channels=16,
        standardized=False,
        pooled=True,
    ).eval()
    assert sum(p.numel() for p in model.parameters()) == 143_664 + 1_290
    images = torch.rand(2, 1, 28, 28)
    expected = model.classes[1](model.stem(images).mean(dim=(2, 3)))
    torch.testing.assert_close(model(images).scores, expected)
