"""Votes against loops over children and parents, and equations 5 and 6."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capsbench.capsules.coordinates import coordinates
from capsbench.capsules.votes import check_votes_commute, pair_votes, shared_votes, window_votes
from capsbench.capsules.windows import sum_over_windows, windows

DOUBLE = torch.float64
ROWS = [(), (1,), (4,)]  # a vector, and matrices of one and four rows


def normal(*shape, seed=0, dtype=DOUBLE):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=DOUBLE).to(dtype)


@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("rows", ROWS)
def test_pair_votes_equal_a_loop(rows, batch):
    poses, weights = normal(batch, 5, *rows, 4), normal(5, 3, 4, 2, seed=1)
    votes = pair_votes(poses, weights)
    assert votes.shape == (batch, 5, 3, *rows, 2)
    for b, i, j in product(range(batch), range(5), range(3)):
        torch.testing.assert_close(votes[b, i, j], poses[b, i] @ weights[i, j])


@pytest.mark.parametrize("batch", [0, 2])
@pytest.mark.parametrize("rows", ROWS)
def test_shared_votes_equal_a_loop(rows, batch):
    poses, weights = normal(batch, 2, 3, 5, *rows, 4), normal(5, 3, 4, 2, seed=1)
    votes = shared_votes(poses, weights)
    assert votes.shape == (batch, 2, 3, 5, 3, *rows, 2)
    for b, y, x, c, p in product(range(batch), range(2), range(3), range(5), range(3)):
        torch.testing.assert_close(votes[b, y, x, c, p], poses[b, y, x, c] @ weights[c, p])


@given(
    batch=st.integers(0, 2),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    types=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    rows=st.sampled_from(ROWS),
    stride=st.integers(1, 3),
    with_offsets=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_window_votes_equal_a_loop(batch, size, kernel, types, rows, stride, with_offsets):
    kernel = tuple(map(min, kernel, size))
    poses, weights = normal(batch, *size, types[0], *rows, 4), normal(*kernel, *types, 4, 2, seed=1)
    offsets = normal(*kernel, *(rows or (1,)), 2, seed=2) if with_offsets else None
    votes = window_votes(poses, weights, stride=stride, offsets=offsets)
    down, across = ((s - k) // stride + 1 for s, k in zip(size, kernel, strict=True))
    children = list(product(range(kernel[0]), range(kernel[1]), range(types[0])))
    assert votes.shape[:5] == (batch, down, across, types[1], len(children))
    for b, y, x, p in product(range(batch), range(down), range(across), range(types[1])):
        for child, (dy, dx, c) in enumerate(children):
            pose = poses[b, y * stride + dy, x * stride + dx, c]
            expected = pose @ weights[dy, dx, c, p]
            if offsets is not None:
                expected = expected + offsets[dy, dx]
            torch.testing.assert_close(votes[b, y, x, p, child], expected.flatten())


def test_gradients_equal_finite_differences():
    check = torch.autograd.gradcheck
    pairs = normal(2, 2, 4, 4).requires_grad_(), normal(2, 3, 4, 4, seed=1).requires_grad_()
    assert check(pair_votes, pairs)
    on_map = normal(1, 3, 3, 2, 4, 4).requires_grad_(), normal(2, 1, 4, 4).requires_grad_()
    assert check(shared_votes, on_map)
    seen = normal(1, 3, 3, 2, 2).requires_grad_(), normal(2, 2, 2, 1, 2, 3).requires_grad_()
    assert check(lambda poses, weights: window_votes(poses, weights, stride=1), seen)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_votes_keep_dtype_and_device(dtype):
    """The meta device represents any other: an intermediate CPU tensor would fail."""
    for device in ("cpu", "meta"):
        poses = normal(2, 3, 3, 2, 4, 4, dtype=dtype).to(device)
        weights = normal(2, 2, 2, 3, 4, 4, dtype=dtype).to(device)
        for votes in (
            pair_votes(poses[:, 0, 0], weights[0, 0]),
            shared_votes(poses, weights[0, 0]),
            window_votes(poses, weights, offsets=coordinates(2, 2, like=weights)),
        ):
            assert (votes.dtype, votes.device.type) == (dtype, device)


@given(st.integers(0, 99), st.sampled_from([1e-3, 1.0, 1e3]))
@settings(max_examples=20, deadline=None)
def test_votes_move_with_the_part(seed, scale):
    """Use any T, including shears, reflections and singular maps."""
    transform = scale * normal(4, 4, seed=seed)
    transform[0] *= seed % 2
    on_map, weights = normal(2, 3, 3, 2, 4, 4), normal(2, 2, 2, 5, 4, 4, seed=1)
    cases = [
        (lambda poses: pair_votes(poses, weights[0, 0]), on_map[:, 1, 1]),
        (lambda poses: shared_votes(poses, weights[0, 0]), on_map),
        (lambda poses: window_votes(poses, weights), on_map),
    ]
    for vote, poses in cases:
        assert check_votes_commute(vote, poses, transform) < 1e-14


def test_check_fails_for_votes_that_do_not_move_with_the_part():
    poses, weights, transform = normal(2, 3, 4, 4), normal(3, 5, 4, 4, seed=1), normal(4, 4, seed=2)

    def from_the_left(poses):  # W p does not commute with T p
        return torch.einsum("ijde,bief->bijdf", weights, poses)

    assert check_votes_commute(from_the_left, poses, transform) > 0.1
    offsets = coordinates(2, 2, like=weights)
    on_map, shared = normal(1, 3, 3, 2, 4, 4), normal(2, 2, 2, 5, 4, 4)
    assert (
        check_votes_commute(lambda p: window_votes(p, shared, offsets=offsets), on_map, transform)
        > 0.01
    )


def test_sum_over_windows_is_the_transpose_of_windows():
    """<windows(x), y> = <x, sum_over_windows(y)>."""
    maps = normal(2, 5, 6, 3)
    seen = windows(maps, (3, 2), 2)
    assert seen.shape == (2, 2, 3, 3, 2, 3)
    assert torch.equal(seen[1, 1, 2, 0, 1], maps[1, 2, 5])
    values = normal(*seen.shape, seed=1)
    gathered = sum_over_windows(values, (5, 6), 2)
    torch.testing.assert_close((seen * values).sum(), (maps * gathered).sum())
    assert not sum_over_windows(normal(1, 1, 1, 2, 2, 3), (3, 3), 2)[:, 2].any()
