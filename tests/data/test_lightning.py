from __future__ import annotations

import copy

from pytorch_lightning import LightningDataModule

from capsbench.datamodules import Digits


def test_instances_are_lightning_data_modules():
    data = Digits(limit=20)
    assert isinstance(data, LightningDataModule)
    assert type(data) is Digits
    assert issubclass(Digits, LightningDataModule)
    copied = copy.deepcopy(data)
    assert type(copied) is Digits
    assert len(copied.split("train")) == 20


def test_a_detached_one_has_the_same_images():
    data, detached = Digits(limit=20), Digits.detached(limit=20)
    assert detached.rank_and_world_size == (0, 1)
    assert (detached.split("train").images == data.split("train").images).all()
