"""Accuracy of probabilities averaged over crops, of models whose accuracy is known."""

import itertools

import pytest
import torch
from pydantic import ValidationError

from capsbench.measures.averaged_accuracy import AveragedAccuracyConfig
from tests.data.made_up import Flat
from tests.measures.computing import compute, number
from tests.measures.function_model import FunctionModel

AVERAGED = {"metric": "accuracy", "split": "familiar", "crops": "averaged"}
SINGLE = {"metric": "accuracy", "split": "familiar", "crops": "single"}


def test_the_crops_of_hinton_2018():
    config = AveragedAccuracyConfig(measure="averaged-accuracy")
    offsets = {(0, 0)} | {
        (i * a, j * a) for a in (1, 2, 3) for i, j in itertools.product((-1, 1), repeat=2)
    }
    assert len(config.shifts) == 13
    assert set(config.shifts) == offsets


def test_probabilities_are_averaged_over_crops():
    """Class 1 is certain if the bright pixel is shifted by one pixel, else class 0 is likelier."""

    def scores(images):
        shifted = images[:, 0, 2, 6] == 1  # a shift by one pixel moves the bright pixel from (5, 2)
        return torch.where(shifted[:, None], torch.tensor([[0.0, 9.0, 0.0]]),
                           torch.tensor([[0.2, 0.0, 0.0]]))  # fmt: skip

    data = Flat()
    model = FunctionModel(scores, num_classes=3)
    result = compute("averaged-accuracy", model, data, shifts=[[0, 0], [1, 0]])
    targets = data.split("test").targets
    share = {label: (targets == label).float().mean().item() for label in (0, 1)}
    assert number(result, **SINGLE) == pytest.approx(share[0])
    assert number(result, **AVERAGED) == pytest.approx(share[1])
    assert {value.n for value in result.values} == {15}
    reordered = compute("averaged-accuracy", model, data, shifts=[[1, 0], [0, 0]])
    assert number(reordered, **AVERAGED) == number(result, **AVERAGED)
    per_image = result.per_image["accuracy[split=familiar,crops=averaged]"]
    assert per_image.tolist() == (targets == 1).tolist()
    index = result.per_image["index[split=familiar]"]
    assert index.tolist() == data.split("familiar").index.tolist()


def test_without_the_centre_there_is_no_single_crop():
    model = FunctionModel(lambda images: images[:, 0, 2, 4:7], num_classes=3)
    result = compute("averaged-accuracy", model, Flat(), shifts=[[1, 0]])
    assert [value.condition for value in result.values] == [{"crops": "averaged"}]


@pytest.mark.parametrize("content", [{"shifts": []}, {"splits": []}], ids=["no crop", "no split"])
def test_wrong_arguments_are_refused(content):
    with pytest.raises(ValidationError):
        AveragedAccuracyConfig.model_validate({"measure": "averaged-accuracy", **content})
