"""Accuracy on splits and ranges of views, of models whose accuracy is known."""

import pytest
import torch
from pydantic import ValidationError

from capsbench.measures.accuracy_by_split import AccuracyBySplitConfig
from capsbench.viewpoint.ranges import ViewRange
from tests.data.made_up import Flat
from tests.measures.computing import compute, numbers
from tests.measures.function_model import FunctionModel
from tests.measures.marked import Marked, by_first_pixel


def test_familiar_and_novel_images_of_a_recorded_set():
    data = Marked(views=ViewRange(azimuth={"values": [0, 90]}))
    result = compute(
        "accuracy-by-split",
        FunctionModel(by_first_pixel),
        data,
        splits=["familiar", "novel"],
        ranges={"behind": {"azimuth": 180}, "all round": {"azimuth": [0, 270]}},
    )
    assert numbers(result) == {
        "accuracy[split=familiar]": 1.0,
        "accuracy[split=novel]": 0.5,
        "accuracy[split=behind]": 0.5,
        "accuracy[split=all round]": 0.75,
        "gap": 0.5,
    }
    counts = {value.name: value.n for value in result.values}
    assert counts == {
        "accuracy[split=familiar]": 16,
        "accuracy[split=novel]": 16,
        "accuracy[split=behind]": 8,
        "accuracy[split=all round]": 32,
        "gap": 32,
    }
    assert result.per_image["index[split=novel]"].tolist() == data.split("novel").index.tolist()
    assert result.per_image["accuracy[split=novel]"].sum() == 8


class TwoObjects(Flat):
    """Images of two objects, the classes other than the target."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        warped = super().on_after_batch_transfer(batch, dataloader_idx)
        warped.targets = 1 - torch.nn.functional.one_hot(warped.targets, 3)
        return warped


def test_several_objects_are_counted_by_image_and_by_object():
    always_the_first_two = FunctionModel(lambda images: torch.tensor([[2.0, 1.0, 0.0]]).expand(
        len(images), 3), num_classes=3)  # fmt: skip
    result = compute("accuracy-by-split", always_the_first_two, TwoObjects())
    assert numbers(result) == {
        "accuracy[split=familiar]": pytest.approx(1 / 3),
        "object_accuracy[split=familiar]": pytest.approx(2 / 3),
    }
    recall = result.per_image["object_accuracy[split=familiar]"]
    assert recall.tolist() == pytest.approx([0.5, 0.5, 1.0] * 5)


def test_requirements_and_steps_follow_the_arguments():
    config = AccuracyBySplitConfig.model_validate(
        {
            "measure": "accuracy-by-split",
            "splits": ["familiar", "novel"],
            "ranges": {"far": {"rotation": [60, 90]}},
        }
    )
    assert config.required_splits == ("familiar", "novel")
    assert config.required_views == [ViewRange(rotation=[60, 90])]
    assert config.num_progress_steps == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"ranges": {"familiar": {"rotation": [0, 1]}}}, "name of a split"),
        ({"splits": ["train"]}, "splits"),
        ({"splits": []}, "a split or a range"),
        ({"splits": ["novel", "novel"]}, "different"),
    ],
    ids=["a range named as a split", "no test split", "nothing", "twice"],
)
def test_wrong_arguments_are_refused(content, message):
    with pytest.raises(ValidationError, match=message):
        AccuracyBySplitConfig.model_validate({"measure": "accuracy-by-split", **content})
