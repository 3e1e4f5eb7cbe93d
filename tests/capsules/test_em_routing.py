"""EM routing against loops written from the article's equations 20-29 and the authors' code."""

import math
from collections import defaultdict
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal

from capsbench.capsules.coordinates import PixelCoordinates, coordinates
from capsbench.capsules.deviation import deviation
from capsbench.capsules.em_routing import em_routing
from capsbench.capsules.em_variants import (
    AUTHORS_CODE,
    AUTHORS_CODE_CLASSES,
    PAPER,
    raised_over_training,
    raised_per_iteration,
)
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


def layer(*, size=(3, 3), in_types=2, out_types=3, kernel=(2, 2), batch=2, scale=0.1):
    """Votes that nearly agree, so that assignments stay soft and the variance's floor counts.

    With a large ``scale`` of the weights they do not.
    """
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=DOUBLE)

    poses = torch.eye(4, dtype=DOUBLE) + 0.2 * normal(batch, *size, in_types, 4, 4)
    weights = normal(4, 4) + scale * normal(*kernel, in_types, out_types, 4, 4)
    presences = normal(batch, *size, in_types).sigmoid()
    return Layer(poses, presences, weights, 0.3 * normal(out_types), 0.3 * normal(out_types))


def naive(poses, presences, weights, *, offsets=None, variant=PAPER, **how):
    """Poses, presences and assignments of `naive_image`, one image after the other."""
    m_step = {PAPER: TextStep, AUTHORS_CODE: CodeStep, AUTHORS_CODE_CLASSES: CodeClassStep}[variant]
    images = [
        naive_image(*image, weights, offsets=offsets, step=m_step(), **how)
        for image in zip(poses, presences, strict=True)
    ]
    return tuple(map(torch.stack, zip(*images, strict=True)))


class TextStep:
    """The M-step of one parent by the article's equations 22, 26 and 27."""

    split_among_places = True

    def __call__(self, assigned, votes, before, beta_u, beta_a, warmth, iteration, average):
        mass = sum(assigned)
        mean = sum(a * v for a, v in zip(assigned, votes, strict=True)) / mass
        squares = sum(a * (v - mean) ** 2 for a, v in zip(assigned, votes, strict=True))
        deviation = (squares / mass + FLOOR).sqrt()
        cost = (beta_u + deviation.log()) * mass / average
        return mean, deviation, torch.sigmoid(warmth * (beta_a - cost.sum()))


class CodeStep:
    """The same as the authors' code has it, in a convolutional layer."""

    split_among_places = False
    epsilon, share = 1e-7, 1.0

    def __call__(self, assigned, votes, before, beta_u, beta_a, warmth, iteration, average):
        mass = sum(assigned) + self.epsilon
        now = sum(a * v for a, v in zip(assigned, votes, strict=True)) / mass
        mean = 0.9 * now + 0.1 * (torch.zeros_like(now) if before is None else before)
        squares = sum(a * (v - mean) ** 2 for a, v in zip(assigned, votes, strict=True))
        variance = FLOOR + squares / mass
        fit = mass * (-variance.log().sum() - beta_u * 16 * (math.log(2 * math.pi) + 1))
        warmth = self.share * warmth * (1 - 0.95 ** (iteration + 1))
        return mean, variance.sqrt(), torch.sigmoid(warmth * (fit - 5000 * beta_a))


class CodeClassStep(CodeStep):
    """The same in the class layer."""

    epsilon, share = 1e-5, 0.25


def naive_image(
    poses,
    presences,
    weights,
    *,
    beta_u,
    beta_a,
    inverse_temperature,
    iterations,
    step,
    stride=1,
    offsets,
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
    r = {  # eq. 20
        (i, j): weights.new_tensor(1 / (len(seen_by[i]) if step.split_among_places else out_types))
        for i, j in votes
    }
    mean: dict[tuple[int, int, int], Tensor] = {}
    deviation, presence = {}, {}
    for iteration in range(iterations):
        for j in parents:
            mean[j], deviation[j], presence[j] = step(
                [r[i, j] * presences[i] for i in sees[j]],  # eq. 21
                [votes[i, j] for i in sees[j]],
                mean.get(j),
                beta_u[j[2]],
                beta_a[j[2]],
                inverse_temperature,
                iteration,
                average_mass,
            )
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
        assert scale > 1e-6
        torch.testing.assert_close(got, wanted, rtol=0, atol=10 * tolerance * scale)


# Betas of the code are multiplied by 5,000: small ones keep its presences off 0 and 1.
def for_variant(tensors, variant):
    if variant is PAPER:
        return tensors
    return tensors._replace(beta_a=tensors.beta_a / 500, beta_u=tensors.beta_u - 1)


VARIANTS = {"text": PAPER, "code": AUTHORS_CODE}
every_variant = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())


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


@every_variant
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_values_and_gradients_are_those_of_the_equations(variant, geometry):
    shape, stride = GEOMETRIES[geometry]
    tensors = for_variant(layer(**shape, batch=1), variant)
    assert_agrees(tensors, iterations=3, stride=stride, variant=variant)


@every_variant
@pytest.mark.parametrize("iterations", [1, 2])
def test_values_and_gradients_of_few_iterations_and_two_images(variant, iterations):
    assert_agrees(for_variant(layer(), variant), iterations=iterations, variant=variant)


@every_variant
@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_values_and_gradients_with_large_weights(variant, scale):
    tensors = for_variant(layer(scale=scale, batch=1), variant)
    assert_agrees(tensors, iterations=3, variant=variant, tolerance=1e-6)


@pytest.mark.parametrize(
    ("variant", "offsets"),
    [
        (PAPER, coordinates),
        (AUTHORS_CODE_CLASSES, PixelCoordinates(image_size=(32, 30), stride=4, offset=8)),
    ],
    ids=["text", "code"],
)
def test_class_layer_shares_weights_and_adds_coordinates(variant, offsets):
    tensors = for_variant(layer(size=(2, 3), kernel=(1, 1), out_types=4, batch=1), variant)
    tensors = tensors._replace(weights=tensors.weights.expand(2, 3, -1, -1, -1, -1).clone())
    assert_agrees(tensors, offsets=offsets(2, 3, like=tensors.weights), variant=variant)


@every_variant
def test_more_iterations_and_a_tensor_for_the_inverse_temperature(variant):
    temperature = torch.tensor(0.3, dtype=DOUBLE)
    tensors = for_variant(layer(batch=1), variant)
    how = {"iterations": 6, "inverse_temperature": temperature, "variant": variant}
    assert_agrees(tensors, tolerance=1e-6, **how)


def test_inverse_temperatures_of_text_and_code():
    assert [raised_over_training(p, start=0.5, end=2.5) for p in (0, 0.5, 1)] == [0.5, 1.5, 2.5]
    rising = [raised_per_iteration(0.01, iteration=i) for i in range(3)]
    assert rising == pytest.approx([0.0005, 0.000975, 0.00142625])


def test_gradient_is_that_of_finite_differences():
    tensors = layer(size=(2, 1), kernel=(1, 1), in_types=1, out_types=2, batch=1)
    tensors = tensors.map(Tensor.requires_grad_)
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


@every_variant
def test_parents_of_a_single_child_are_fitted_to_its_vote(variant):
    """Gritzman's first pitfall: such a parent's votes have no variance at all."""
    tensors = layer(size=(2, 2), kernel=(1, 1), in_types=1).map(Tensor.float)
    tensors = tensors.map(Tensor.requires_grad_)
    found = tensors.route(variant=variant)
    assert found.presences.isfinite().all()
    votes = window_votes(tensors.poses, tensors.weights).squeeze(-2).unflatten(-1, (4, 4))
    # Of the code, 0.9 + 0.09 + 0.009 of it in three iterations.
    expected = votes if variant is PAPER else 0.999 * votes
    torch.testing.assert_close(found.poses, expected, rtol=1e-4, atol=1e-4)
    for gradient in gradients([x.double() for x in found], tensors):
        assert gradient.isfinite().all() and gradient.abs().max() < 1e6


def test_the_code_counts_mass_as_it_is():
    """Gritzman's second pitfall, which the text's variant avoids: evidence grows with a layer."""
    tensors = for_variant(layer(), AUTHORS_CODE)
    twice = tensors._replace(
        poses=tensors.poses.repeat(1, 1, 1, 2, 1, 1),
        presences=tensors.presences.repeat(1, 1, 1, 2),
        weights=tensors.weights.repeat(1, 1, 2, 1, 1, 1),
    )
    how = {"variant": AUTHORS_CODE, "iterations": 1, "inverse_temperature": 0.3}
    once, doubled = (x.route(**how).presences.logit() for x in (tensors, twice))
    constant = 0.3 * 0.05 * -5000 * tensors.beta_a
    torch.testing.assert_close(doubled - constant, 2 * (once - constant), rtol=1e-5, atol=1e-5)


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
        torch.testing.assert_close(got, wanted)


def test_parents_of_absent_children_alone_have_a_pose_of_zero():
    tensors = layer()
    poses = tensors._replace(presences=torch.zeros_like(tensors.presences)).route().poses
    assert not poses.any()


@pytest.mark.parametrize("name", ["signed permutation", "turn by 30 degrees"])
def test_map_of_the_votes(name):
    """Signed permutations of the columns commute with the routing, other turns do not."""
    tensors, matrix = layer(), SIGNED_PERMUTATION if name == "signed permutation" else turn(30)
    plain = tensors.route()
    found = tensors._replace(weights=tensors.weights @ matrix).route()
    apart = deviation(found.poses, plain.poses @ matrix)
    apart = max(apart, deviation(found.presences, plain.presences))
    assert apart < 1e-12 if name == "signed permutation" else apart > 1e-3


SIGNED_PERMUTATION = torch.eye(4, dtype=DOUBLE)[[2, 0, 3, 1]] * torch.tensor([1.0, -1, 1, -1])


def turn(degrees):
    """Turns the first two columns of a pose."""
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
    for got, wanted in zip(moved.route()[:2], plain[:2], strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)
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


def extreme_poses(kind, shape, generator):
    """Poses of one magnitude, or of several among the children of one parent."""
    noise = torch.randn(shape, generator=generator)
    magnitudes = {"mixed": [0.0, 1e-30, 1.0, 1e6, 1e15], "opposite": [-1e15, 0.0, 1e15]}
    if kind not in magnitudes:
        return kind * noise
    choices = torch.tensor(magnitudes[kind])
    chosen = choices[torch.randint(len(choices), shape[:4], generator=generator)][..., None, None]
    return chosen.expand(shape).clone() if kind == "opposite" else chosen * noise


@given(
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    types=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 3),
    votes=st.sampled_from([0.0, 1e-30, 1e-3, 1.0, 30.0, 1e3, 1e6, 1e12, 1e15, "mixed", "opposite"]),
    weights=st.sampled_from(["any", "identity"]),
    presence=st.sampled_from(["none", "all", "some", "between"]),
    iterations=st.integers(1, 10),
    temperature=st.sampled_from([0.01, 1.0, 10.0]),
    variant=st.sampled_from([PAPER, AUTHORS_CODE, AUTHORS_CODE_CLASSES]),
    half=st.booleans(),
    seed=st.integers(0, 999),
)
@settings(max_examples=100, deadline=None)
def test_values_and_gradients_are_finite(
    size,
    types,
    kernel,
    stride,
    votes,
    weights,
    presence,
    iterations,
    temperature,
    variant,
    half,
    seed,
):
    if votes == "opposite":  # of more iterations the derivative itself may leave float32's range
        iterations = min(iterations, 5)
    generator = torch.Generator().manual_seed(seed)
    kernel = [min(pair) for pair in zip(kernel, size, strict=True)]
    between = torch.rand(2, *size, types[0], generator=generator)
    transforms = torch.randn(*kernel, *types, 4, 4, generator=generator)
    tensors = Layer(
        extreme_poses(votes, (2, *size, types[0], 4, 4), generator),
        {
            "none": torch.zeros_like(between),
            "all": torch.ones_like(between),
            "some": between.round(),
            "between": between,
        }[presence],
        torch.eye(4).expand_as(transforms).clone() if weights == "identity" else transforms,
        torch.randn(types[1], generator=generator),
        torch.randn(types[1], generator=generator),
    ).map(Tensor.requires_grad_)
    how = {"iterations": iterations, "stride": stride, "inverse_temperature": temperature}
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        found = tensors.route(**how, variant=variant)
    for output in found:
        assert output.dtype == torch.float32
        assert output.isfinite().all()
    assert (found.presences >= 0).all() and (found.presences <= 1).all()
    for gradient in gradients(found, tensors):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("variant", [PAPER, AUTHORS_CODE, AUTHORS_CODE_CLASSES])
def test_single_huge_vote_has_a_finite_gradient(variant, seed):
    """The code's mean lies far off such a vote, at 0.9 of it."""
    generator = torch.Generator().manual_seed(seed)
    shapes = (1, 1, 1, 1, 4, 4), (1, 1, 1, 1), (1, 1, 1, 3, 4, 4), (3,), (3,)
    tensors = Layer(*(torch.randn(shape, generator=generator) for shape in shapes))
    tensors = tensors._replace(
        poses=1e15 * tensors.poses, presences=tensors.presences.sigmoid()
    ).map(Tensor.requires_grad_)
    how = {"iterations": 2 + seed, "inverse_temperature": 0.01, "variant": variant}
    assert all(x.isfinite().all() for x in gradients(tensors.route(**how), tensors))


def test_large_votes_are_routed_like_small_ones():
    """In larger units, with the floor of the variance out of the way."""
    tensors = layer()._replace(beta_u=torch.full((3,), -1.0, dtype=DOUBLE))
    large = tensors._replace(poses=2.0**40 * tensors.poses)
    how = {"variant": replace(PAPER, variance_floor=0.0), "iterations": 3}
    plain = tensors.route(**how)
    shifted = large._replace(beta_u=tensors.beta_u - 40 * math.log(2)).route(**how)
    assert deviation(shifted.poses, 2.0**40 * plain.poses) < 1e-9
    assert deviation(shifted.presences, plain.presences) < 1e-9


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
