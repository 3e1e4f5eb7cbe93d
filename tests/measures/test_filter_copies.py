"""Copies among filters: planted ones are recognized, random ones are not."""

from dataclasses import replace

import pytest
import torch

from capsbench.errors import UserError
from capsbench.measures._filter_copies import SCALES, rotated_copies
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp

SIZE = 9


def noise(count, channels=1, size=SIZE, seed=0):
    randomness = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, size, size, generator=randomness, dtype=torch.float64)


def rotated(filters, degrees, scale=1.0):
    views = Views.identity(1)
    rotation = torch.tensor([degrees], dtype=torch.float64)
    views = replace(views, rotation=rotation, scale=torch.full((1, 2), scale, dtype=torch.float64))
    return warp(filters, views.matrices(SIZE, SIZE))


@pytest.mark.parametrize("null", ["phases", "pixels"])
def test_random_filters_are_copies_by_chance_alone(null):
    shares = torch.stack(
        [rotated_copies(noise(40, seed=seed), null=null, null_sets=5).share for seed in range(8)]
    )
    assert 0.02 < shares.mean() < 0.09


@pytest.mark.parametrize(("degrees", "scale"), [(90, 1.0), (180, 1.0), (45, 1.25), (330, 1.5)])
def test_a_planted_copy_is_recognized(degrees, scale):
    filters = noise(20, channels=2)
    filters[7] = 3 * rotated(filters[2:3], degrees, scale)[0] + 5  # contrast and mean do not count
    copies = rotated_copies(filters)
    assert copies.similarity[7] == pytest.approx(1, abs=1e-9)
    assert copies.source[7] == 2
    assert (copies.angle[7], copies.scale[7]) == (degrees, scale)
    assert copies.similarity[7] > copies.threshold
    if scale == 1:  # the inverse is a copy too
        assert copies.source[2] == 7
        assert (copies.angle[2] + degrees) % 360 == 0


def test_all_rotated_copies_of_one_filter_are_recognized():
    smooth = torch.nn.functional.avg_pool2d(noise(1, size=13), 5, 1)
    filters = torch.cat([rotated(smooth, degrees) for degrees in range(0, 360, 30)])
    copies = rotated_copies(filters, scales=[1.0])
    assert copies.share == 1
    assert copies.random_similarity.shape == (20, 12)
    assert (copies.random_similarity > copies.threshold).double().mean() == pytest.approx(
        0.05, abs=0.01
    )


def test_a_negative_or_an_equal_filter_is_not_a_rotated_copy():
    filters = noise(10)
    filters[1] = -filters[0]
    filters[2] = filters[3]
    copies = rotated_copies(filters)
    assert (copies.similarity[:4] < 0.95).all()
    assert rotated_copies(filters, angles=[0.0]).similarity[2] == pytest.approx(1)


def test_a_filter_is_not_a_copy_of_itself():
    filters = noise(10)
    place = torch.arange(SIZE) - (SIZE - 1) / 2
    filters[0] = torch.exp(-(place[:, None].square() + place.square()) / 8)  # rotates onto itself
    copies = rotated_copies(filters)
    assert copies.similarity[0] < 0.9
    assert (copies.source != torch.arange(10)).all()


def test_constant_filters_do_not_count():
    filters = noise(12)
    filters[1:3] = rotated(filters[:1], 90)
    filters[3], filters[4] = 0, 0.1
    copies = rotated_copies(filters)
    assert copies.similarity.isnan().nonzero().flatten().tolist() == [3, 4]
    assert copies.random_similarity.isnan()[:, 3:5].all()
    assert not copies.random_similarity[:, 5:].isnan().any()
    expected = (copies.similarity > copies.threshold).sum() / 10
    assert float(copies.share) == pytest.approx(float(expected))
    assert rotated_copies(torch.ones(3, 1, SIZE, SIZE)).share.isnan()


def test_the_seed_changes_only_the_random_sets():
    filters = noise(8)
    one, same, other = (rotated_copies(filters, seed=seed, null_sets=2) for seed in (0, 0, 1))
    assert torch.equal(one.random_similarity, same.random_similarity)
    assert not torch.equal(one.random_similarity, other.random_similarity)
    assert torch.equal(one.similarity, other.similarity)


def test_invalid_filters_are_refused():
    with pytest.raises(UserError, match="two or more"):
        rotated_copies(noise(1))
    with pytest.raises(UserError, match="at least 3 x 3"):
        rotated_copies(noise(4, size=1))
    with pytest.raises(UserError, match=r"1 or more; got 0\.5"):
        rotated_copies(noise(4), scales=[0.5, *SCALES])
