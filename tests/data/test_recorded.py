"""The division of recorded images into training, validation and test."""

import pytest
import torch

from capsbench.data.recorded import Recording, cropped_shape
from capsbench.errors import UserError
from capsbench.viewpoint.ranges import ViewRange
from tests.data.made_up import OfficialTurntable, Turntable

FAMILIAR = ViewRange(azimuth={"values": [0, 90]})


def numbers(data, *names):
    return [set(data.split(name).index.tolist()) for name in names]


def values(data, name, factor):
    return set(data.split(name).factors[factor].tolist())


def test_a_set_with_test_images_of_its_own():
    data = OfficialTurntable(views=FAMILIAR)
    assert values(data, "train", "instance") == {0}
    assert values(data, "validation", "instance") == {1}  # a whole instance
    assert values(data, "test", "instance") == {2, 3}
    for name in ("train", "validation", "familiar"):
        assert values(data, name, "azimuth") == {0, 90}
    assert values(data, "novel", "azimuth") == {180, 270}
    train, validation, test, familiar, novel = numbers(
        data, "train", "validation", "test", "familiar", "novel"
    )
    assert not train & validation and not (train | validation) & test
    assert familiar | novel == test and not familiar & novel
    assert [len(part) for part in (train, validation, familiar, novel)] == [8, 8, 16, 16]


def test_instances_of_the_test_can_be_named():
    data = Turntable(views=FAMILIAR, test_instances=(0,), validation_instances=(1, 3))
    assert values(data, "train", "instance") == {2}
    assert values(data, "validation", "instance") == {1, 3}
    assert values(data, "test", "instance") == {0}


def test_without_test_instances_the_test_has_novel_images_and_a_share_of_the_rest():
    data = Turntable(views=FAMILIAR, familiar_test_share=0.25)
    train, validation, test, familiar, novel = numbers(
        data, "train", "validation", "test", "familiar", "novel"
    )
    assert not train & validation and not (train | validation) & test
    assert len(train | validation | test) == 64
    assert len(novel) == 32 and len(familiar) == 8
    assert values(data, "novel", "azimuth") == {180, 270}
    assert values(data, "train", "azimuth") == {0, 90}
    assert torch.bincount(data.split("familiar").targets).tolist() == [4, 4]
    # The division is a function of the set: neither of the seed nor of earlier calls.
    assert numbers(Turntable(views=FAMILIAR, familiar_test_share=0.25, seed=9), "train")[0] == train


def test_all_familiar_views_can_be_for_training():
    data = Turntable(views=FAMILIAR, familiar_test_share=0.0)
    assert len(data.split("train")) + len(data.split("validation")) == 32
    with pytest.raises(UserError, match="no familiar test images"):
        list(data.evaluation.batches("familiar", "cpu"))


def test_every_combination_of_factors_is_restricted():
    views = ViewRange(azimuth=[80, 100], elevation=30, instance=[0, 2])
    data = Turntable(views=views)
    assert values(data, "train", "azimuth") | values(data, "validation", "azimuth") == {90}
    assert values(data, "train", "elevation") == {30}
    assert values(data, "train", "instance") | values(data, "validation", "instance") == {0, 1, 2}
    assert values(data, "novel", "azimuth") == {0, 90, 180, 270}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"test_instances": (7,)}, r"test_instances.*turntable.*\[0, 1, 2, 3\].*7"),
        ({"validation_instances": ()}, "validation_instances.*turntable"),
        ({"views": ViewRange(azimuth=45)}, "no image with azimuth 45"),
        ({"views": ViewRange(lighting=1)}, "by lighting"),
        ({"views": ViewRange(instance=0), "familiar_test_share": 0, "validation_instances": (0,)},
         "no train.*cup, cow"),
        ({"test_instances": (0, 1, 2, 3)}, "no train.*cup, cow"),
        ({"familiar_test_share": 0}, "no image to test"),
    ],
)  # fmt: skip
def test_impossible_divisions_are_user_errors(arguments, message):
    with pytest.raises(UserError, match=message):
        Turntable(**arguments).split("train")


def test_an_official_test_split_cannot_be_replaced():
    with pytest.raises(UserError, match="test images"):
        OfficialTurntable(test_instances=(0,)).split("test")


def test_azimuths_are_periodic():
    data = Turntable(views=ViewRange(azimuth=[-100, 10]))
    assert values(data, "train", "azimuth") == {270, 0}


def test_poses_come_with_their_images():
    data = OfficialTurntable(views=FAMILIAR)
    for batch in data.evaluation.batches("novel", "cpu"):
        assert batch.poses is not None
        assert torch.equal(batch.poses[:, 0].long(), batch.targets)
        rows = batch.index // 8 % 4
        assert torch.equal(batch.poses[:, 1].long(), rows)


@pytest.mark.parametrize(("crop", "shape"), [(None, (2, 48, 48)), (32, (2, 32, 32))])
def test_the_middle_of_images(crop, shape):
    assert cropped_shape((2, 48, 48), crop, "x") == shape


@pytest.mark.parametrize("crop", [0, 49, -3])
def test_a_crop_cannot_exceed_the_image(crop):
    with pytest.raises(UserError, match="between 1 and 48"):
        cropped_shape((2, 48, 48), crop, "x")


def test_instances_that_only_the_training_has_do_not_make_a_test_novel():
    data = OfficialTurntable(views=ViewRange(instance={"values": [0, 1]}, azimuth=[0, 90]))
    assert values(data, "familiar", "instance") == {2, 3}
    assert values(data, "familiar", "azimuth") == {0, 90}
    rows = data.evaluation.view_rows("test", ViewRange(azimuth=180))
    assert set(data.split("test").factors["instance"][rows].tolist()) == {2, 3}
    # If test and training share instances, they count.
    shared = Turntable(views=ViewRange(instance={"values": [0, 1]}))
    assert values(shared, "novel", "instance") == {2, 3}


def test_without_parts_nothing_is_rearranged():
    with pytest.raises(UserError, match="parts"):
        Turntable().split("rearranged")


@pytest.mark.parametrize("wrong", [torch.ones(3, dtype=torch.bool), torch.zeros(64)])
def test_official_test_images_are_named_one_by_one(monkeypatch, wrong):
    images = Turntable().read().images
    monkeypatch.setattr(OfficialTurntable, "read", lambda self: Recording(images, wrong))
    with pytest.raises(UserError, match="64 times true or false"):
        OfficialTurntable().split("test")
