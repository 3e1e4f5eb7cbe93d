"""Properties of EM routing: competition, independence, equivariance."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from capsbench.capsules.em_variants import AUTHORS_CODE
from capsbench.capsules.relative_error import max_relative_error
from capsbench.capsules.votes import window_votes
from capsbench.errors import UserError
from tests.capsules.em_reference import (
    DOUBLE,
    GEOMETRIES,
    Layer,
    every_variant,
    for_variant,
    gradients,
    layer,
)


@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_assignments_of_a_child_sum_to_one_over_all_its_parents(geometry, iterations):
    """Gritzman's third pitfall: parents at different positions compete, too."""
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


@every_variant
def test_parents_of_a_single_child_are_fitted_to_its_vote(variant):
    """Gritzman's first pitfall: the votes of such a parent have a variance of zero."""
    tensors = layer(size=(2, 2), kernel=(1, 1), in_types=1).map(Tensor.float)
    tensors = tensors.map(Tensor.requires_grad_)
    result = tensors.route(variant=variant)
    assert result.presences.isfinite().all()
    votes = window_votes(tensors.poses, tensors.weights).squeeze(-2).unflatten(-1, (4, 4))
    # In the code 0.9 + 0.09 + 0.009 of it after three iterations.
    expected = 0.999 * votes if variant is AUTHORS_CODE else votes
    torch.testing.assert_close(result.poses, expected, rtol=1e-4, atol=1e-4)
    for gradient in gradients([x.double() for x in result], tensors):
        assert gradient.isfinite().all() and gradient.abs().max() < 1e6


def test_the_code_uses_absolute_mass():
    """Gritzman's second pitfall, avoided by the text's variant: evidence grows with layer size."""
    tensors = for_variant(layer(), AUTHORS_CODE)
    twice = tensors._replace(
        poses=tensors.poses.repeat(1, 1, 1, 2, 1, 1),
        presences=tensors.presences.repeat(1, 1, 1, 2),
        weights=tensors.weights.repeat(1, 1, 2, 1, 1, 1),
    )
    arguments = {"variant": AUTHORS_CODE, "iterations": 1, "inverse_temperature": 0.3}
    once, doubled = (x.route(**arguments).presences.logit() for x in (tensors, twice))
    constant = 0.3 * 0.05 * -5000 * tensors.beta_a
    torch.testing.assert_close(doubled - constant, 2 * (once - constant), rtol=1e-5, atol=1e-5)


@every_variant
@pytest.mark.parametrize("stride", [2, 3])
def test_lines_outside_of_all_windows_do_not_change_the_routing(variant, stride):
    """Lines beyond the last window and, if windows leave gaps, between them."""
    tensors = for_variant(layer(size=(9, 9), kernel=(2, 2)), variant)
    seen = tensors._replace(poses=tensors.poses[:, :8, :8], presences=tensors.presences[:, :8, :8])
    if stride == 3:
        lines = torch.tensor([0, 1, 3, 4, 6, 7])
        seen = seen._replace(
            poses=seen.poses[:, lines][:, :, lines], presences=seen.presences[:, lines][:, :, lines]
        )
    result = tensors.route(stride=stride, variant=variant)
    expected = seen.route(stride=2, variant=variant)
    for actual, reference in zip(result, expected, strict=True):
        torch.testing.assert_close(actual, reference)


def test_children_without_parents_have_no_influence():
    tensors = layer(size=(6, 6), kernel=(3, 3)).map(Tensor.requires_grad_)
    for gradient in gradients(tensors.route(stride=2), [tensors.poses, tensors.presences]):
        nonzero = gradient.flatten(start_dim=3).any(dim=-1)
        assert nonzero[:, :5, :5].all()
        assert not nonzero[:, 5].any() and not nonzero[:, :, 5].any()


def test_duplicated_children_are_the_same_evidence():
    """Gritzman's second pitfall: costs have the same scale in layers of any size."""
    tensors = layer()
    twice = tensors._replace(
        poses=tensors.poses.repeat(1, 1, 1, 2, 1, 1),
        presences=tensors.presences.repeat(1, 1, 1, 2),
        weights=tensors.weights.repeat(1, 1, 2, 1, 1, 1),
    )
    for actual, reference in zip(twice.route()[:2], tensors.route()[:2], strict=True):
        torch.testing.assert_close(actual, reference)


def test_parents_of_only_absent_children_are_at_the_mean_of_the_votes():
    tensors = layer(size=(2, 2), kernel=(2, 2))
    absent = tensors._replace(presences=torch.zeros_like(tensors.presences))
    votes = window_votes(absent.poses, absent.weights)
    expected = votes.mean(dim=-2).unflatten(-1, (4, 4))
    torch.testing.assert_close(absent.route(iterations=1).poses, expected)


def test_routing_without_an_iteration_is_refused():
    with pytest.raises(UserError, match="at least one iteration"):
        layer().route(iterations=0)


@pytest.mark.parametrize("name", ["signed permutation", "turn by 30 degrees"])
def test_map_of_the_votes(name):
    """Signed permutations of the columns commute with the routing, other rotations do not."""
    tensors, matrix = layer(), SIGNED_PERMUTATION if name == "signed permutation" else turn(30)
    plain = tensors.route()
    result = tensors._replace(weights=tensors.weights @ matrix).route()
    error = max_relative_error(result.poses, plain.poses @ matrix)
    error = max(error, max_relative_error(result.presences, plain.presences))
    assert error < 1e-12 if name == "signed permutation" else error > 1e-3


SIGNED_PERMUTATION = torch.eye(4, dtype=DOUBLE)[[2, 0, 3, 1]] * torch.tensor([1.0, -1, 1, -1])


def turn(degrees):
    """Return a rotation of the first two columns of a pose."""
    angle = math.radians(degrees)
    matrix = torch.eye(4, dtype=DOUBLE)
    matrix[0, 0] = matrix[1, 1] = math.cos(angle)
    matrix[0, 1], matrix[1, 0] = -math.sin(angle), math.sin(angle)
    return matrix


def test_absent_children_have_no_influence():
    tensors = layer(in_types=3)
    tensors.presences[..., 1] = 0
    poses = tensors.poses.requires_grad_()
    plain = tensors.route()
    (gradient,) = gradients(plain, [poses])
    assert [bool(gradient[:, :, :, c].any()) for c in range(3)] == [True, False, True]

    moved = tensors._replace(poses=poses.detach().clone(), presences=tensors.presences.clone())
    moved.poses[:, :, :, 1] += 5
    for actual, reference in zip(moved.route()[:2], plain[:2], strict=True):
        torch.testing.assert_close(actual, reference, rtol=0, atol=1e-12)
    moved.presences[..., 1] = 0.5
    assert (moved.route().poses - plain.poses).abs().max() > 0.1


def test_images_are_independent():
    tensors = layer(batch=3)
    poses = tensors.poses.requires_grad_()
    together = tensors.route()
    alone = tensors._replace(poses=poses[1:2], presences=tensors.presences[1:2]).route()
    for actual, reference in zip(together, alone, strict=True):
        torch.testing.assert_close(actual[1:2], reference, rtol=0, atol=1e-12)
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
