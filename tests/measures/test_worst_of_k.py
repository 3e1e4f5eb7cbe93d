"""The worst of k views: against all subsets of views, and of models that depend on one pixel."""

from itertools import combinations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from capsbench.measures.worst_of_k import WorstOfKConfig, expected_worst, worst_view
from tests.data.made_up import Turntable
from tests.measures.computing import compute, number
from tests.measures.function_model import FunctionModel
from tests.measures.points import BrightPixels, by_point

WORST = {"metric": "worst_case_accuracy"}
RANDOM = {"metric": "random_accuracy"}


def random_outcomes(views, images, rate=0.7):
    randomness = torch.Generator().manual_seed(views)
    return torch.rand(views, images, generator=randomness) < rate


@pytest.mark.parametrize("views", [1, 2, 5])
def test_the_expectation_is_the_mean_over_all_subsets(views):
    correct = random_outcomes(views, 40)
    expected = [
        torch.stack(
            [correct[list(some)].all(dim=0).double() for some in combinations(range(views), k)]
        ).mean()
        for k in range(1, views + 1)
    ]
    by_number = expected_worst(correct)
    torch.testing.assert_close(by_number, torch.stack(expected))
    assert by_number[0] == pytest.approx(float(correct.double().mean()))
    assert by_number[-1] == correct.all(dim=0).double().mean()


def test_many_views_lose_no_digit():
    correct = torch.ones(501, 4, dtype=torch.bool)
    correct[0, :3] = False  # three images are correct from 500 views, one from 501
    k = torch.arange(1, 502, dtype=torch.float64)
    torch.testing.assert_close(expected_worst(correct), 0.25 + 0.75 * (501 - k) / 501)


def test_without_images_the_expectation_is_undefined():
    assert expected_worst(torch.ones(3, 0, dtype=torch.bool)).isnan().all()


def test_a_wrong_view_is_worse_than_any_correct_one():
    correct = torch.tensor([[True, True, False], [True, False, False], [True, True, True]])
    losses = torch.tensor([[0.1, 9.0, 1.0], [0.2, 1.0, 2.0], [0.3, 8.0, 7.0]])
    assert worst_view(correct, losses).tolist() == [2, 1, 1]


def test_accuracy_from_random_shifts():
    """A shift by 8 pixels or none: points of class 1 leave the image where they are shifted."""
    views = {"shift": {"values": [0, 8]}}
    result = compute("worst-of-k", FunctionModel(by_point), BrightPixels(), views=views, k=3)
    correct = result.per_image["correct"]
    assert correct.shape == (3, 30)
    targets = BrightPixels().split("test").targets.numpy()
    assert correct[:, targets == 0].all()  # without a point the prediction is class 0
    assert 0 < correct[:, targets == 1].mean() < 1
    assert number(result, **RANDOM) == pytest.approx(correct.mean())
    assert number(result, **WORST) == pytest.approx(correct.all(axis=0).mean())
    assert number(result, **WORST, k=1) == number(result, **RANDOM)
    assert number(result, **WORST, k=3) == pytest.approx(number(result, **WORST))
    pairs = [correct[list(pair)].all(axis=0) for pair in ((0, 1), (0, 2), (1, 2))]
    assert number(result, **WORST, k=2) == pytest.approx(np.mean(pairs))
    assert {value.n for value in result.values} == {30}
    worst = np.take_along_axis(correct, result.per_image["worst_view"][None], axis=0)[0]
    assert worst.tolist() == correct.all(axis=0).tolist()
    loss = -torch.log_softmax(torch.tensor([0.5, -0.5]), dim=0)[0]
    assert result.per_image["loss"][correct] == pytest.approx(float(loss))


def test_views_are_a_function_of_image_and_draw():
    views = {"rotation": [-90, 90], "shift": [-3, 3]}
    weights = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    model = FunctionModel(lambda images: images.flatten(start_dim=1) @ weights)
    few, many = (
        compute("worst-of-k", model, BrightPixels(), views=views, k=k, images=n).per_image
        for k, n in ((2, 10), (5, 30))
    )
    rows = np.searchsorted(many["index"], few["index"])
    np.testing.assert_array_equal(few["loss"], many["loss"][:2, rows])
    assert len(np.unique(many["loss"][0])) > 20  # not one view for all images
    assert (many["loss"][0] != many["loss"][1]).sum() > 20  # nor for all draws


def test_a_range_of_two_factors_changes_both_at_once():
    """The point is seen if it is neither moved out of the image nor made too dark."""

    def by_light(images):
        """Return scores (B, 2): class 1 if any pixel is lighter than the middle grey."""
        light = (images.flatten(start_dim=1) > 0.5).any(dim=1)
        return torch.stack([~light, light], dim=1).float()

    shift, brightness = {"shift": {"values": [0, 8]}}, {"brightness": [-1, 0]}
    model, data = FunctionModel(by_light), BrightPixels()
    seen = []
    for views in (shift, brightness, shift | brightness):
        result = compute("worst-of-k", model, data, views=views, k=4)
        is_one = data.split("familiar").targets.numpy() == 1
        seen.append(result.per_image["correct"] == is_one)  # class 1 is predicted
    moved, darkened, both = seen
    # Each factor has the same draws alone and together with others.
    np.testing.assert_array_equal(both, moved & darkened)
    assert (both != moved).any() and (both != darkened).any()
    worst = ((moved & darkened) == is_one).all(axis=0)
    assert number(result, **WORST) == worst.mean()


def test_a_part_moves_alone():
    """The object of a turntable moves in front of its uniform grey background."""

    def by_background(images):
        """Return scores (B, 2): class 0 if the first pixel has the background's grey."""
        other = (images[:, 0, 0, 0] - 100 / 255).abs() > 1e-3
        return torch.stack([~other, other], dim=1).float()

    data = Turntable(familiar_test_share=0.5)
    views = {"shift": {"values": [0, 4]}, "part": "object"}
    result = compute("worst-of-k", FunctionModel(by_background), data, views=views, k=2)
    targets = data.split("familiar").targets.numpy()
    assert number(result, **WORST) == (targets == 0).mean()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "views"),
        ({"views": {}}, "let a factor vary"),
        ({"views": {"rotation": [0, 9], "azimuth": [0, 9]}}, "azimuth"),
        ({"views": {"rotation": [0, 9]}, "k": 0}, "k"),
    ],
    ids=["no views", "still", "recorded views", "no draw"],
)
def test_wrong_arguments_are_refused(content, message):
    with pytest.raises(ValidationError, match=message):
        WorstOfKConfig.model_validate({"measure": "worst-of-k", **content})
