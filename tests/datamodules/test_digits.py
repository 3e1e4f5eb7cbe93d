"""Scikit-learn's digits."""

import pytest
import torch

from capsbench.datamodules.digits import Digits
from capsbench.errors import UserError
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.ranges import ViewRange
from tests.datamodules.properties import SPLITS, images_by_number


def test_enlarged_on_a_black_canvas():
    train = Digits().split("train")
    assert (train.images.dtype, train.images.shape[1:]) == (torch.uint8, (1, 32, 32))
    assert not train.images[..., :4, :].any()
    assert train.images.max() == 255


def test_changed_digits_are_refused(monkeypatch):
    monkeypatch.setattr(Digits, "identity", Digits.identity._replace(checksum="sha256:0"))
    with pytest.raises(UserError, match="expected sha256:0"):
        Digits().split("train")


def test_a_limit_is_balanced_nested_and_gives_no_image_another_view():
    views = ViewRange(rotation=(-30, 30))
    whole = Digits(views=views)
    small, smaller = Digits(views=views, limit=100), Digits(views=views, limit=50)
    for name in SPLITS:
        indices = [set(d.split(name).index.tolist()) for d in (whole, small, smaller)]
        assert indices[2] < indices[1] < indices[0]
        assert torch.bincount(small.split(name).targets).tolist() == [10] * 10
    every = images_by_number(whole.evaluation.batches("validation", "cpu"))
    for number, (image, _, _) in images_by_number(
        smaller.evaluation.batches("validation", "cpu")
    ).items():
        torch.testing.assert_close(image, every[number][0], atol=1e-6, rtol=0)


def test_batches_are_floats_in_the_unit_interval_seen_from_their_views():
    data = Digits(limit=50)
    (batch,) = data.evaluation.batches("test", "cpu")
    stored = data.split("test")
    assert torch.equal(batch.images, stored.images.float() / 255)
    (turned,) = data.evaluation.batches("test", "cpu", GridView("rotation", 90))
    assert torch.equal(turned.images, torch.rot90(batch.images, 1, (2, 3)))
