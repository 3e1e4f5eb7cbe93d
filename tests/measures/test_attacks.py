"""Attacks as a measure: models whose worst case is known, on digits."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from capsbench.contracts import Model, Prediction
from capsbench.errors import UserError
from capsbench.measures import MeasureContext
from capsbench.measures.attacks import Attacks, AttacksConfig
from capsbench.names import find
from capsbench.values import select
from tests.measures.computing import compute, number

SHAPE = (1, 32, 32)


class Halves(Model):
    """Predicts class 0 if the left half is brighter, else class 1, and never another.

    Its scores change by 1 if all of the left half does.
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


class Flat(Halves):
    """Its scores have a zero gradient."""

    def forward(self, images, views=None):
        return Prediction(super().forward(images).scores * 0)


def digits():
    return find("datamodules", "digits").load()(limit=60)


def attacked(model, source=None, **arguments):
    sources = {} if source is None else {"other": source}
    result = compute("attacks", model, digits(), sources=sources, **arguments)
    assert {value.n for value in result.values} == {len(result.per_image["index"])}
    return result


def margins(result):
    """Return the images of a result, their margins (left minus right), and their classes."""
    split = digits().split("familiar")
    rows = torch.isin(split.index, torch.from_numpy(result.per_image["index"]))
    images, labels = split.images[rows].float() / 255, split.targets[rows]
    return images, (images * Halves().weight).sum(dim=(1, 2, 3)).detach(), labels


class Masked(Halves):
    """Its scores are those of `Halves`, but their gradient leads nowhere."""

    def forward(self, images, views=None):
        scores = super().forward(images).scores.detach()
        return Prediction(scores + (images[:, 0, 0, :10] - images[:, 0, 0, :10].detach()))


@pytest.mark.parametrize("method", ["fgsm", "bim", "pgd", "apgd-ce", "apgd-dlr"])
def test_attacks_reach_the_worst_case_of_a_linear_model(method):
    epsilons = (0, 0.02, 0.3)
    result = attacked(Halves(), methods=[method], epsilons=epsilons)
    images, margin, labels = margins(result)
    assert len(images) == 60
    correct = torch.where(margin > 0, 0, 1) == labels
    unchanged = number(result, metric="accuracy", attack="none")
    assert unchanged == correct.double().mean().item() > 0
    shares = []
    for row, epsilon in enumerate(epsilons):
        # Down where the class's weights are positive, up where they are negative, within [0, 1].
        sign = torch.where(labels == 0, -1.0, 1.0)[:, None, None, None] * Halves().weight.sign()
        worst = (images + epsilon * sign).clamp(0, 1)
        margin = (worst * Halves().weight).sum(dim=(1, 2, 3))
        right = torch.where(margin > 0, 0, 1) == labels
        at = {"method": method, "epsilon": epsilon}
        np.testing.assert_array_equal(result.per_image[f"accuracy[method={method}]"][row], right)
        shares.append(number(result, metric="accuracy", **at))
        assert shares[-1] == pytest.approx(right.double().mean().item())
        assert number(result, metric="zero_gradient", **at) == 0
    assert shares[-1] < unchanged
    assert number(result, metric="accuracy", method=method) == pytest.approx(np.mean(shares))


def test_a_targeted_attack_succeeds_where_the_class_can_be_predicted():
    result = attacked(Halves(), methods=["fgsm", "bim"], epsilons=[0.5], targeted=True)
    classes, labels = result.per_image["target_class"], margins(result)[2].numpy()
    assert (classes != labels).all() and len(np.unique(classes)) == 10
    for method in ("fgsm", "bim"):
        success = result.per_image[f"target_success[method={method},targeted=True]"][0]
        assert not success[classes > 1].any()  # these are never predicted
        assert success[classes < 2].all()
        at = {"method": method, "targeted": True, "epsilon": 0.5}
        assert number(result, metric="target_success", **at) == success.mean()
        assert not select(result.values, metric="target_success", method=method, targeted=None)
    unchanged = result.per_image["target_success[attack=none]"].mean()
    assert number(result, metric="target_success", attack="none") == unchanged


def test_the_worst_case_counts_images_that_no_attack_misleads():
    epsilons, methods = (0.02, 0.1), ("fgsm", "apgd-dlr", "square")
    result = attacked(
        Masked(), Halves(), methods=methods, epsilons=epsilons, targeted=True, steps=3, queries=40
    )
    arrays = result.per_image
    each = [arrays["accuracy[attack=none]"].repeat(2, axis=0)]
    each += [
        arrays[f"accuracy[{source}method={method}{targeted}]"]
        for source in ("", "source=other,")
        for method in methods
        for targeted in ("", ",targeted=True")
    ]
    worst = arrays["accuracy[method=worst-case]"]
    np.testing.assert_array_equal(worst, np.all(each, axis=0))
    assert all((worst != array).any() for array in each[:2])
    for row, epsilon in enumerate(epsilons):
        at = {"method": "worst-case", "epsilon": epsilon}
        assert number(result, metric="accuracy", **at) == pytest.approx(worst[row].mean())
    assert number(result, metric="accuracy", method="worst-case") == pytest.approx(worst.mean())


class Waves(Halves):
    """Its scores rise and fall with the margin, so that a large step can lead back."""

    def forward(self, images, views=None):
        scores = super().forward(images).scores
        return Prediction(torch.cat([(60 * scores[:, :2]).sin(), scores[:, 2:]], dim=1))


def test_the_worst_case_holds_at_all_larger_epsilons():
    arrays = attacked(Waves(), methods=["fgsm"], epsilons=[0.2, 0.02, 0.08]).per_image
    fgsm, worst = (arrays[f"accuracy[method={m}]"][[1, 2, 0]] for m in ("fgsm", "worst-case"))
    assert (fgsm[1:] & ~fgsm[:-1]).any()
    np.testing.assert_array_equal(
        worst, np.logical_and.accumulate(fgsm & arrays["accuracy[attack=none]"])
    )


def test_an_attack_that_helps_does_not_help_the_worst_case():
    result = attacked(Masked(), methods=["fgsm"], epsilons=[0.5])
    unchanged, fgsm, worst = (
        result.per_image[f"accuracy[{name}]"]
        for name in ("attack=none", "method=fgsm", "method=worst-case")
    )
    assert (fgsm & ~unchanged).any()
    np.testing.assert_array_equal(worst, fgsm & unchanged)


def test_masked_gradients_are_told():
    arguments = {"methods": ["pgd", "square"], "epsilons": [0.5], "steps": 3}
    at = {"metric": "masked", "method": "worst-case", "epsilon": 0.5}
    result = attacked(Masked(), **arguments)
    assert number(result, metric="zero_gradient", method="pgd", epsilon=0.5) == 0
    right = result.per_image["accuracy[attack=none]"]
    pgd, square = (
        right & result.per_image[f"accuracy[method={name}]"] for name in ("pgd", "square")
    )
    assert number(result, **at) == pytest.approx(pgd.mean() - square.mean()) and pgd.sum() > 5
    (note,) = result.notes
    assert note.startswith("masked gradients at epsilon 0.5: square")
    honest = attacked(Halves(), **arguments)
    assert number(honest, **at) == 0 and not honest.notes


def test_without_a_weaker_attack_nothing_is_said_of_masked_gradients():
    result = attacked(Halves(), methods=["pgd"], epsilons=[0.3])
    assert not select(result.values, metric="masked")


def test_the_cost_of_attacks_is_told():
    arguments = {"epsilons": [0.02], "steps": 6, "queries": 15}
    result = attacked(Halves(), **arguments)
    passes: dict[str, float] = {
        method: number(result, metric="passes", method=method, epsilon=0.02)
        for method in AttacksConfig(measure="attacks").methods
    }
    assert passes["fgsm"] == 2 and passes["pgd"] == 12
    for method, most in {"apgd-ce": 14, "apgd-dlr": 14, "square": 15}.items():
        assert 1 < passes[method] < most  # images that are misled cost no more


def test_zero_gradients_are_distinguished_from_robustness():
    result = attacked(Flat(), methods=["pgd"], epsilons=[0.3])
    at = {"method": "pgd", "epsilon": 0.3}
    assert number(result, metric="zero_gradient", **at) == 1
    unchanged = number(result, metric="accuracy", attack="none")
    assert number(result, metric="accuracy", **at) == unchanged


def test_a_transferred_attack_uses_the_source_and_evaluates_the_model():
    at = {"method": "fgsm", "epsilon": 0.5}
    white_box = attacked(Halves(), methods=["fgsm"], epsilons=[0.5])
    assert number(white_box, metric="accuracy", **at) == 0
    # An attack on a model with opposite scores helps this one, if the class can be predicted.
    helped = attacked(Halves(), Halves(sign=-1), methods=["fgsm"], epsilons=[0.5])
    labels = margins(helped)[2].numpy()
    transferred = helped.per_image["accuracy[source=other,method=fgsm]"]
    np.testing.assert_array_equal(transferred[0], labels < 2)
    assert number(helped, metric="accuracy", **at) == 0
    # The zero gradient is that of the source.
    unharmed = attacked(Halves(), Flat(), methods=["fgsm"], epsilons=[0.5])
    assert number(unharmed, metric="zero_gradient", source="other", **at) == 1
    unchanged = number(unharmed, metric="accuracy", attack="none")
    assert number(unharmed, metric="accuracy", source="other", **at) == unchanged
    with pytest.raises(UserError, match="same images and classes"):
        attacked(Halves(), Halves(image_shape=(1, 28, 28)))


def test_a_missing_source_is_noted():
    config = AttacksConfig(measure="attacks", sources=["CNN"])
    assert config.for_model("CNN").sources == ()
    assert config.for_model("CapsNet").source_models == ("CNN",)
    result = Attacks.compute(config, Halves(), digits(), MeasureContext("cpu"))
    (note,) = result.notes
    assert "was not given" in note and "--source CNN=" in note
    assert not [value for value in result.values if value.source]


def test_fewer_images_are_part_of_more():
    arguments = {"methods": ["pgd"], "epsilons": [0.05], "targeted": True}
    few, many = attacked(Halves(), images=20, **arguments), attacked(Halves(), **arguments)
    assert np.unique(margins(few)[2], return_counts=True)[1].tolist() == [2] * 10
    where = np.searchsorted(many.per_image["index"], few.per_image["index"])
    assert set(few.per_image) == set(many.per_image)
    for name, array in few.per_image.items():
        np.testing.assert_array_equal(array, many.per_image[name][..., where])


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
        {"steps": 0},
        {"restarts": 0},
        {"queries": 0},
        {"images": 0},
        {"iterations": 3},
    ],
    ids=str,
)
def test_invalid_arguments_are_refused(content):
    with pytest.raises(ValidationError):
        AttacksConfig.model_validate({"measure": "attacks", **content})
