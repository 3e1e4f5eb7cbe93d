"""EM routing against a loop written from the article's equations 20-29, and its properties."""

import math
from collections import defaultdict
from itertools import product
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal

from capsbench.capsules import em_routing as module
from capsbench.capsules.coordinates import coordinates
from capsbench.capsules.em_routing import em_routing
from capsbench.capsules.votes import window_votes

DOUBLE = torch.float64
FLOOR = 5e-4  # of the variance


class Layer(NamedTuple):
    """The tensors of a layer."""

    poses: Tensor
    presences: Tensor
    weights: Tensor
    beta_u: Tensor
    beta_a: Tensor

    def route(self, router=em_routing, **how):
        how = {"inverse_temperature": 0.7, "iterations": 3, **how}
        return router(*self[:3], beta_u=self.beta_u, beta_a=self.beta_a, **how)

    def map(self, function):
        return Layer(*map(function, self))


def layer(*, size=(3, 3), in_types=2, out_types=3, kernel=(2, 2), batch=2):
    """Votes that nearly agree, so that assignments stay soft and the variance's floor counts."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=DOUBLE)

    poses = torch.eye(4, dtype=DOUBLE) + 0.2 * normal(batch, *size, in_types, 4, 4)
    weights = normal(4, 4) + 0.1 * normal(*kernel, in_types, out_types, 4, 4)
    presences = normal(batch, *size, in_types).sigmoid()
    return Layer(poses, presences, weights, 0.3 * normal(out_types), 0.3 * normal(out_types))


def naive(poses, presences, weights, *, offsets=None, **how):
    """Poses, presences and assignments of `naive_image`, one image after the other."""
    images = [
        naive_image(*image, weights, offsets=offsets, **how)
        for image in zip(poses, presences, strict=True)
    ]
    return tuple(map(torch.stack, zip(*images, strict=True)))


def naive_image(
    poses, presences, weights, *, beta_u, beta_a, inverse_temperature, iterations, stride=1, offsets
):
    """One parent and child after the other; the assignments are those of the last M-step."""
    rows, columns, in_types, out_types = weights.shape[:4]
    tops, lefts = (
        [start for start in range(0, size, stride) if start + window <= size]
        for size, window in zip(presences.shape, (rows, columns), strict=False)
    )
    parents = list(product(tops, lefts, range(out_types)))
    window = list(product(range(rows), range(columns), range(in_types)))
    average_mass = presences.numel() / len(parents)

    votes, seen_by, sees = {}, defaultdict(list), defaultdict(list)
    for y, x, p in parents:
        for dy, dx, c in window:
            child = y + dy, x + dx, c
            vote = poses[child] @ weights[dy, dx, c, p]  # eq. 4
            vote = vote if offsets is None else vote + offsets[dy, dx]
            votes[child, (y, x, p)] = vote.flatten()
            seen_by[child].append((y, x, p))
            sees[y, x, p].append(child)
    r = {(i, j): weights.new_tensor(1 / len(seen_by[i])) for i, j in votes}  # eq. 20
    mean, deviation, presence = {}, {}, {}
    for iteration in range(iterations):
        for j in parents:
            assigned = {i: r[i, j] * presences[i] for i in sees[j]}  # eq. 21
            mass = sum(assigned.values())
            mean[j] = sum(a * votes[i, j] for i, a in assigned.items()) / mass  # eq. 22
            squares = sum(a * (votes[i, j] - mean[j]) ** 2 for i, a in assigned.items())
            deviation[j] = (squares / mass + FLOOR).sqrt()
            cost = (beta_u[j[2]] + deviation[j].log()) * mass / average_mass  # eq. 26
            presence[j] = torch.sigmoid(inverse_temperature * (beta_a[j[2]] - cost.sum()))  # eq. 27
        if iteration + 1 < iterations:
            for i, others in seen_by.items():
                densities = [  # eq. 28
                    Normal(mean[j], deviation[j]).log_prob(votes[i, j]).sum() for j in others
                ]
                logs = [presence[j].log() + p for j, p in zip(others, densities, strict=True)]
                shares = torch.stack(logs).softmax(dim=0)  # eq. 29
                r |= {(i, j): share for j, share in zip(others, shares, strict=True)}
    shape = len(tops), len(lefts), out_types
    return (
        torch.stack([mean[j] for j in parents]).view(*shape, 4, 4),
        torch.stack([presence[j] for j in parents]).view(shape),
        torch.stack([r[i, j] for j in parents for i in sees[j]]).view(*shape, *weights.shape[:3]),
    )


def gradients(outputs, inputs):
    """Of a sum with a fixed random factor for each element of poses and presences."""
    generator = torch.Generator().manual_seed(1)
    total = sum(
        (torch.randn(x.shape, generator=generator, dtype=DOUBLE) * x).sum() for x in outputs[:2]
    )
    return torch.autograd.grad(total, inputs)


def assert_agrees(tensors, *, tolerance=1e-8, **how):
    tensors = tensors.map(Tensor.requires_grad_)
    found, expected = tensors.route(**how), tensors.route(naive, **how)
    for got, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)
    for got, wanted in zip(gradients(found, tensors), gradients(expected, tensors), strict=True):
        scale = wanted.abs().max().item()
        assert scale > 1e-3
        torch.testing.assert_close(got, wanted, rtol=0, atol=10 * tolerance * scale)


@pytest.fixture
def no_mass_epsilon(monkeypatch):
    """The equations know of no epsilon; without it the agreement is to rounding."""
    monkeypatch.setattr(module, "MASS_EPSILON", 0.0)


GEOMETRIES: dict[str, tuple[dict[str, Any], int]] = {
    "1x1": ({"size": (2, 3), "kernel": (1, 1)}, 1),
    "1x1, stride 2": ({"size": (3, 4), "kernel": (1, 1)}, 2),
    "3x3": ({"size": (4, 5), "kernel": (3, 3), "out_types": 2}, 1),
    "3x3, stride 2": ({"size": (5, 5), "kernel": (3, 3), "out_types": 2}, 2),
    "3x3, stride 2, last row unseen": ({"size": (6, 3), "kernel": (3, 3)}, 2),
    "2x2, stride 3, every third line unseen": ({"size": (5, 6), "kernel": (2, 2)}, 3),
    "2x1": ({"size": (3, 3), "kernel": (2, 1)}, 1),
    "one type each": ({"size": (3, 3), "kernel": (2, 2), "in_types": 1, "out_types": 1}, 1),
    "whole map": ({"size": (2, 3), "kernel": (2, 3)}, 1),
}


@pytest.mark.parametrize("iterations", [1, 2, 3])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_values_and_gradients_are_those_of_the_equations(no_mass_epsilon, geometry, iterations):
    shape, stride = GEOMETRIES[geometry]
    assert_agrees(layer(**shape), iterations=iterations, stride=stride)


def test_class_layer_shares_weights_and_adds_coordinates(no_mass_epsilon):
    tensors = layer(size=(2, 3), kernel=(1, 1), out_types=4)
    tensors = tensors._replace(weights=tensors.weights.expand(2, 3, -1, -1, -1, -1).clone())
    assert_agrees(tensors, offsets=coordinates(2, 3, like=tensors.weights))


def test_more_iterations_and_a_tensor_for_the_inverse_temperature(no_mass_epsilon):
    temperature = torch.tensor(0.3, dtype=DOUBLE)
    assert_agrees(layer(), iterations=6, inverse_temperature=temperature, tolerance=1e-6)


def test_mass_epsilon_changes_next_to_nothing():
    assert_agrees(layer(), tolerance=1e-5)


def test_gradient_is_that_of_finite_differences():
    tensors = layer(size=(3, 2), in_types=1, out_types=2, batch=1).map(Tensor.requires_grad_)
    assert torch.autograd.gradcheck(lambda *x: tuple(Layer(*x).route()), tuple(tensors))


def test_forward_derivative_is_that_of_the_gradient():
    tensors = layer()
    tangent = torch.randn_like(tensors.poses)

    def presences(poses):
        return tensors._replace(poses=poses).route().presences.sum()

    derivative = torch.func.jvp(presences, (tensors.poses,), (tangent,))[1]
    gradient = torch.func.grad(presences)(tensors.poses)
    torch.testing.assert_close(derivative, (gradient * tangent).sum())


@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_assignments_of_a_child_sum_to_one_over_all_parents_that_see_it(geometry, iterations):
    """Gritzman's third pitfall: parents at different places compete, too."""
    shape, stride = GEOMETRIES[geometry]
    tensors = layer(**shape)
    assignments = tensors.route(iterations=iterations, stride=stride).assignments
    total, seen = torch.zeros_like(tensors.presences), torch.zeros_like(tensors.presences)
    rows, columns = shape["kernel"]
    height, width = assignments.shape[1:3]
    for y, x in product(range(height), range(width)):
        window = (
            slice(None),
            slice(stride * y, stride * y + rows),
            slice(stride * x, stride * x + columns),
        )
        total[window] += assignments[:, y, x].sum(dim=1)
        seen[window] = 1
    torch.testing.assert_close(total, seen)


def test_children_that_no_parent_sees_have_no_influence():
    tensors = layer(size=(6, 6), kernel=(3, 3)).map(Tensor.requires_grad_)
    for gradient in gradients(tensors.route(stride=2), [tensors.poses, tensors.presences]):
        touched = gradient.flatten(start_dim=3).any(dim=-1)
        assert touched[:, :5, :5].all()
        assert not touched[:, 5].any() and not touched[:, :, 5].any()


def test_every_child_twice_is_the_same_evidence():
    """Gritzman's second pitfall: costs mean the same in layers of any size."""
    tensors = layer()
    twice = tensors._replace(
        poses=tensors.poses.repeat(1, 1, 1, 2, 1, 1),
        presences=tensors.presences.repeat(1, 1, 1, 2),
        weights=tensors.weights.repeat(1, 1, 2, 1, 1, 1),
    )
    for got, wanted in zip(twice.route()[:2], tensors.route()[:2], strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)


def test_vote_commutes_with_any_map_of_the_pose():
    """Article, eq. 5 and 6."""
    tensors = layer(size=(5, 5))
    T = torch.randn(4, 4, dtype=DOUBLE)
    votes = window_votes(tensors.poses, tensors.weights, stride=2).unflatten(-1, (4, 4))
    moved = window_votes(T @ tensors.poses, tensors.weights, stride=2).unflatten(-1, (4, 4))
    torch.testing.assert_close(moved, T @ votes)


def turn(degrees):
    """Turns the first two columns of a pose."""
    angle = math.radians(degrees)
    matrix = torch.eye(4, dtype=DOUBLE)
    matrix[0, 0] = matrix[1, 1] = math.cos(angle)
    matrix[0, 1], matrix[1, 0] = -math.sin(angle), math.sin(angle)
    return matrix


def deviation_under(matrix, *, left=False):
    """Largest deviation of poses and presences from those that the mapped votes should give."""
    tensors = layer()
    plain = tensors.route()
    if left:
        mapped, expected = tensors._replace(poses=matrix @ tensors.poses), matrix @ plain.poses
    else:
        mapped, expected = tensors._replace(weights=tensors.weights @ matrix), plain.poses @ matrix
    found = mapped.route()
    assert (found.poses - plain.poses).abs().max() > 0.1
    poses = (found.poses - expected).abs().max()
    return torch.maximum(poses, (found.presences - plain.presences).abs().max())


SIGNED_PERMUTATION = torch.eye(4, dtype=DOUBLE)[[2, 0, 3, 1]] * torch.tensor([1.0, -1, 1, -1])


@pytest.mark.parametrize("left", [False, True], ids=["of the votes", "of the pose"])
@pytest.mark.parametrize("matrix", [turn(90), SIGNED_PERMUTATION], ids=["turn", "permutation"])
def test_commutes_with_signed_permutations(matrix, left):
    assert deviation_under(matrix, left=left) < 1e-12


@pytest.mark.parametrize("left", [False, True], ids=["of the votes", "of the pose"])
def test_diagonal_variances_do_not_commute_with_a_turn_by_30_degrees(left):
    assert deviation_under(turn(30), left=left) > 1e-3


def test_absent_children_have_no_influence(no_mass_epsilon):
    tensors = layer(in_types=3)
    tensors.presences[..., 1] = 0
    poses = tensors.poses.requires_grad_()
    plain = tensors.route()
    (gradient,) = gradients(plain, [poses])
    assert [bool(gradient[:, :, :, c].any()) for c in range(3)] == [True, False, True]

    moved = tensors._replace(poses=poses.detach().clone(), presences=tensors.presences.clone())
    moved.poses[:, :, :, 1] += 5
    for got, wanted in zip(moved.route()[:2], plain[:2], strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-9)
    moved.presences[..., 1] = 0.5
    assert (moved.route().poses - plain.poses).abs().max() > 0.1


def test_images_do_not_see_each_other():
    tensors = layer(batch=3)
    poses = tensors.poses.requires_grad_()
    together = tensors.route()
    alone = tensors._replace(poses=poses[1:2], presences=tensors.presences[1:2]).route()
    for got, wanted in zip(together, alone, strict=True):
        torch.testing.assert_close(got[1:2], wanted, rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(together.poses[1].sum() + together.presences[1].sum(), poses)
    assert [bool(image.any()) for image in gradient] == [False, True, False]


def test_order_of_types_does_not_matter():
    tensors = layer(in_types=4)
    order, above = torch.tensor([2, 0, 3, 1]), torch.tensor([1, 2, 0])
    plain = tensors.route()
    permuted = Layer(
        tensors.poses[:, :, :, order],
        tensors.presences[..., order],
        tensors.weights[:, :, order][:, :, :, above],
        tensors.beta_u[above],
        tensors.beta_a[above],
    ).route()
    torch.testing.assert_close(permuted.poses, plain.poses[:, :, :, above])
    torch.testing.assert_close(permuted.presences, plain.presences[..., above])
    torch.testing.assert_close(permuted.assignments, plain.assignments[:, :, :, above][..., order])


@given(
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    types=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 3),
    scale=st.sampled_from([0.0, 1e-30, 1e-3, 1.0, 30.0, 1e3, 1e6]),
    presence=st.sampled_from(["none", "all", "some", "between"]),
    iterations=st.integers(1, 10),
    temperature=st.sampled_from([0.01, 1.0, 10.0]),
    half=st.booleans(),
    seed=st.integers(0, 999),
)
@settings(max_examples=80, deadline=None)
def test_values_and_gradients_are_finite(
    size, types, kernel, stride, scale, presence, iterations, temperature, half, seed
):
    generator = torch.Generator().manual_seed(seed)
    kernel = [min(pair) for pair in zip(kernel, size, strict=True)]
    between = torch.rand(2, *size, types[0], generator=generator)
    tensors = Layer(
        scale * torch.randn(2, *size, types[0], 4, 4, generator=generator),
        {
            "none": torch.zeros_like(between),
            "all": torch.ones_like(between),
            "some": between.round(),
            "between": between,
        }[presence],
        torch.randn(*kernel, *types, 4, 4, generator=generator),
        torch.randn(types[1], generator=generator),
        torch.randn(types[1], generator=generator),
    ).map(Tensor.requires_grad_)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        found = tensors.route(iterations=iterations, stride=stride, inverse_temperature=temperature)
    for output in found:
        assert output.dtype == torch.float32
        assert output.isfinite().all()
    assert (found.presences >= 0).all() and (found.presences <= 1).all()
    for gradient in gradients(found, tensors):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("mean", [0.0, 300.0])
def test_small_spread_around_a_large_mean_keeps_its_variance(mean):
    """A variance of one pass, E[V²] - E[V]², drowns in the rounding of 300² in float32."""
    tensors = layer()
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(tensors.poses.shape, generator=generator, dtype=DOUBLE)
    single = tensors._replace(
        poses=mean + 0.1 * noise,
        weights=torch.eye(4, dtype=DOUBLE).expand_as(tensors.weights),
        beta_u=tensors.beta_u - math.log(0.1),  # costs around zero
    ).map(Tensor.float)
    how = {"iterations": 2, "inverse_temperature": 0.2}
    expected, found = single.map(Tensor.double).route(**how), single.route(**how)
    assert ((expected.presences - 0.5).abs() < 0.49).all()  # none is saturated
    torch.testing.assert_close(found.presences.double(), expected.presences, rtol=0, atol=2e-3)
    torch.testing.assert_close(found.poses.double(), expected.poses, rtol=1e-6, atol=1e-3)


def test_autocast_does_not_reach_the_routing():
    tensors = layer().map(Tensor.float)
    half = tensors._replace(poses=tensors.poses.bfloat16())
    rounded = tensors._replace(poses=half.poses.float()).route()
    expected = tensors.route()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert all(map(torch.equal, tensors.route(), expected))
        assert all(map(torch.equal, half.route(), rounded))
    assert {x.dtype for x in rounded} == {torch.float32}
    torch.testing.assert_close(rounded.poses, expected.poses, rtol=0, atol=0.1)
    torch.testing.assert_close(rounded.presences, expected.presences, rtol=0, atol=0.1)
