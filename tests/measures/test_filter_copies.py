"""Copies among filters: planted ones are found, random ones are not."""

from dataclasses import replace

import pytest
import torch

from capsbench.errors import UserError
from capsbench.measures._filter_copies import SCALES, turned_copies
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp

SIZE = 9


def noise(count, channels=1, size=SIZE, seed=0):
    randomness = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, size, size, generator=randomness, dtype=torch.float64)


def turned(filters, degrees, scale=1.0):
    views = Views.identity(1)
    turn = torch.tensor([degrees], dtype=torch.float64)
    views = replace(views, rotation=turn, scale=torch.full((1, 2), scale, dtype=torch.float64))
    return warp(filters, views.matrices(SIZE, SIZE))


@pytest.mark.parametrize("null", ["phases", "pixels"])
def test_random_filters_are_explained_by_chance_alone(null):
    shares = torch.stack(
        [turned_copies(noise(40, seed=seed), null=null, null_sets=5).share for seed in range(8)]
    )
    assert 0.02 < shares.mean() < 0.09


@pytest.mark.parametrize(("degrees", "scale"), [(90, 1.0), (180, 1.0), (45, 1.25), (330, 1.5)])
def test_a_planted_copy_is_found(degrees, scale):
    filters = noise(20, channels=2)
    filters[7] = 3 * turned(filters[2:3], degrees, scale)[0] + 5  # contrast and mean do not count
    found = turned_copies(filters)
    assert found.similarity[7] == pytest.approx(1, abs=1e-9)
    assert found.source[7] == 2
    assert (found.angle[7], found.scale[7]) == (degrees, scale)
    assert found.similarity[7] > found.threshold
    if scale == 1:  # and the other way round
        assert found.source[2] == 7
        assert (found.angle[2] + degrees) % 360 == 0


def test_all_turned_copies_of_one_are_explained():
    smooth = torch.nn.functional.avg_pool2d(noise(1, size=13), 5, 1)
    filters = torch.cat([turned(smooth, degrees) for degrees in range(0, 360, 30)])
    found = turned_copies(filters, scales=[1.0])
    assert found.share == 1
    assert found.random.shape == (20, 12)
    assert (found.random > found.threshold).double().mean() == pytest.approx(0.05, abs=0.01)


def test_a_negative_or_an_equal_filter_is_no_turned_copy():
    filters = noise(10)
    filters[1] = -filters[0]
    filters[2] = filters[3]
    found = turned_copies(filters)
    assert (found.similarity[:4] < 0.95).all()
    assert turned_copies(filters, angles=[0.0]).similarity[2] == pytest.approx(1)


def test_a_filter_is_no_copy_of_itself():
    filters = noise(10)
    place = torch.arange(SIZE) - (SIZE - 1) / 2
    filters[0] = torch.exp(-(place[:, None].square() + place.square()) / 8)  # turns onto itself
    found = turned_copies(filters)
    assert found.similarity[0] < 0.9
    assert (found.source != torch.arange(10)).all()


def test_constant_filters_do_not_count():
    filters = noise(12)
    filters[1:3] = turned(filters[:1], 90)
    filters[3], filters[4] = 0, 0.1
    found = turned_copies(filters)
    assert found.similarity.isnan().nonzero().flatten().tolist() == [3, 4]
    assert found.random.isnan()[:, 3:5].all()
    assert not found.random[:, 5:].isnan().any()
    expected = (found.similarity > found.threshold).sum() / 10
    assert float(found.share) == pytest.approx(float(expected))
    assert turned_copies(torch.ones(3, 1, SIZE, SIZE)).share.isnan()


def test_the_seed_decides_the_random_sets_alone():
    filters = noise(8)
    one, same, other = (turned_copies(filters, seed=seed, null_sets=2) for seed in (0, 0, 1))
    assert torch.equal(one.random, same.random)
    assert not torch.equal(one.random, other.random)
    assert torch.equal(one.similarity, other.similarity)


def test_bad_filters_are_told():
    with pytest.raises(UserError, match="two or more"):
        turned_copies(noise(1))
    with pytest.raises(UserError, match="at least 3 x 3"):
        turned_copies(noise(4, size=1))
    with pytest.raises(UserError, match=r"1 or more; got 0\.5"):
        turned_copies(noise(4), scales=[0.5, *SCALES])
