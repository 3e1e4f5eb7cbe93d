"""Attacks as a measure: known answers from end to end, on digits and on sets made up."""

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from capsbench.contracts import Model, Prediction
from capsbench.errors import UserError
from capsbench.measures import Attacks, MeasureEntry
from capsbench.measures.attacks import measure
from capsbench.names import find

SHAPE = (1, 32, 32)


class Halves(Model):
    """Sees whether the left half is brighter: class 0, or else class 1; never any other.

    Its scores change by 1 where all of the left half does.
    """

    def __init__(self, sign=1.0, image_shape=SHAPE):
        super().__init__(image_shape=image_shape, num_classes=10)
        width = image_shape[2]
        weight = torch.full(image_shape, -1.0)
        weight[..., : width // 2] = 1.0
        self.weight = nn.Parameter(sign * weight / (weight.numel() / 2))

    def forward(self, images, views=None):
        margin = (images * self.weight).sum(dim=(1, 2, 3))
        others = margin.new_full((len(margin), 8), -100.0)
        return Prediction(torch.cat([margin[:, None], -margin[:, None], others], dim=1))

    def loss(self, prediction, batch, progress):
        raise AssertionError("a measure trains nothing")


class Blind(Halves):
    """Its probabilities do not change with the image at all."""

    def forward(self, images, views=None):
        return Prediction(super().forward(images).scores * 0)


def data(limit=60, **kwargs):
    return find("datamodules", "digits").load()(limit=limit, **kwargs)


def outcome(model, source=None, **arguments):
    more = {} if source is None else {"sources": {"other": source}}
    entry = Attacks(measure="attacks", sources=[*more.get("sources", ())], **arguments)
    advanced = []
    found = measure(entry, model, data(), "cpu", lambda: advanced.append(1), **more)
    assert len(advanced) == entry.steps
    assert all(np.isfinite(value) for value in found.values.values())
    assert found.samples["index"].shape == (found.n,)
    return found


def margins(found):
    """Of the images that were chosen: left minus right, and classes."""
    split = data().split("familiar")
    rows = torch.isin(split.index, torch.from_numpy(found.samples["index"]))
    images, targets = split.images[rows].float() / 255, split.targets[rows]
    return images, (images * Halves().weight).sum(dim=(1, 2, 3)).detach(), targets


@pytest.mark.parametrize("method", ["fgsm", "bim", "pgd"])
def test_the_worst_in_reach_is_found_of_a_model_that_is_linear(method):
    epsilons = (0, 0.02, 0.3)
    found = outcome(Halves(), methods=[method], epsilons=epsilons)
    images, margin, targets = margins(found)
    assert found.n == 60
    says = torch.where(margin > 0, 0, 1)
    assert found.values["unchanged/accuracy"] == (says == targets).double().mean().item() > 0
    for row, epsilon in enumerate(epsilons):
        # Down where the class's weights are positive, up where they are negative, inside [0, 1].
        way = torch.where(targets == 0, -1.0, 1.0)[:, None, None, None] * Halves().weight.sign()
        worst = (images + epsilon * way).clamp(0, 1)
        margin = (worst * Halves().weight).sum(dim=(1, 2, 3))
        right = torch.where(margin > 0, 0, 1) == targets
        key = f"{method}/eps={epsilon}"
        np.testing.assert_array_equal(found.samples[f"{method}/accuracy"][row], right)
        assert found.values[f"{key}/accuracy"] == pytest.approx(right.double().mean().item())
        assert found.values[f"{key}/blind"] == 0
    assert found.values[f"{method}/eps=0.3/accuracy"] < found.values["unchanged/accuracy"]


def test_an_aim_is_reached_where_it_can_be():
    found = outcome(Halves(), methods=["fgsm", "bim"], epsilons=[0.5], targeted=True)
    aims, targets = found.samples["aims"], margins(found)[2].numpy()
    assert (aims != targets).all() and len(np.unique(aims)) == 10
    for method in ("fgsm", "bim"):
        reached = found.samples[f"{method}/targeted/reached"][0]
        assert not reached[aims > 1].any()  # no image is taken for these
        assert reached[aims < 2].all()
        assert found.values[f"{method}/targeted/eps=0.5/reached"] == reached.mean()
        assert f"{method}/eps=0.5/reached" not in found.values
    assert found.values["unchanged/reached"] == found.samples["unchanged/reached"].mean()


def test_a_model_without_a_gradient_is_told_from_one_that_resists():
    found = outcome(Blind(), methods=["pgd"], epsilons=[0.3])
    assert found.values["pgd/eps=0.3/blind"] == 1
    assert found.values["pgd/eps=0.3/accuracy"] == found.values["unchanged/accuracy"]


def test_a_transfer_is_made_on_the_source_and_judged_by_the_model():
    white = outcome(Halves(), methods=["fgsm"], epsilons=[0.5])
    assert white.values["fgsm/eps=0.5/accuracy"] == 0
    # What harms the source helps a model that sees the opposite, where it says anything.
    helped = outcome(Halves(), Halves(sign=-1), methods=["fgsm"], epsilons=[0.5])
    targets = margins(helped)[2].numpy()
    np.testing.assert_array_equal(helped.samples["from other/fgsm/accuracy"][0], targets < 2)
    assert helped.values["fgsm/eps=0.5/accuracy"] == 0
    # The source's gradient is that which is missing.
    unharmed = outcome(Halves(), Blind(), methods=["fgsm"], epsilons=[0.5])
    assert unharmed.values["from other/fgsm/eps=0.5/blind"] == 1
    key = "from other/fgsm/eps=0.5/accuracy"
    assert unharmed.values[key] == unharmed.values["unchanged/accuracy"]
    with pytest.raises(UserError, match="same images and classes"):
        outcome(Halves(), Halves(image_shape=(1, 28, 28)))


def test_a_source_that_is_not_there_is_told():
    entry = Attacks(measure="attacks", sources=["CNN"])
    found = measure(entry, Halves(), data(), "cpu", lambda: None)
    assert found.notes == ("no attacks from CNN: it has no trained network at hand",)
    assert not any(key.startswith("from") for key in found.values)
    assert entry.of("CNN").sources == ()
    assert entry.of("CapsNet").needs == ("CNN",)


def test_fewer_images_are_a_part_of_more():
    arguments = {"methods": ["pgd"], "epsilons": [0.05], "targeted": True}
    entry = Attacks(measure="attacks", images=20, **arguments)
    few = measure(entry, Halves(), data(), "cpu", lambda: None)
    many = outcome(Halves(), **arguments)
    assert few.n == 20
    assert np.unique(margins(few)[2], return_counts=True)[1].tolist() == [2] * 10
    where = np.searchsorted(many.samples["index"], few.samples["index"])
    assert set(few.samples) == set(many.samples)
    for name, of_few in few.samples.items():
        np.testing.assert_array_equal(of_few, many.samples[name][..., where])


@pytest.mark.parametrize(
    "content",
    [
        {"epsilons": []},
        {"epsilons": [-0.1]},
        {"epsilons": [8]},
        {"epsilons": [0.1, 0.1]},
        {"methods": []},
        {"methods": ["deepfool"]},
        {"methods": ["fgsm", "fgsm"]},
        {"iterations": 0},
        {"images": 0},
        {"steps": 3},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(content):
    with pytest.raises(ValidationError):
        TypeAdapter(MeasureEntry).validate_python({"measure": "attacks", **content})
