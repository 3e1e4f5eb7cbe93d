"""EM routing of votes that are huge, tiny, absent or half precision: finite and correct."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from capsbench.capsules.em_variants import AUTHORS_CODE, AUTHORS_CODE_CLASSES, PAPER
from capsbench.capsules.relative_error import max_relative_error
from tests.capsules.em_reference import (
    DOUBLE,
    Layer,
    gradients,
    layer,
)


def extreme_poses(kind, shape, generator):
    """Return poses of one magnitude, or of several among the children of one parent."""
    noise = torch.randn(shape, generator=generator)
    magnitudes = {"mixed": [0.0, 1e-30, 1.0, 1e6], "opposite": [-1e6, 0.0, 1e6]}
    if kind not in magnitudes:
        return kind * noise
    values = torch.tensor(magnitudes[kind])
    selected = values[torch.randint(len(values), shape[:4], generator=generator)][..., None, None]
    return selected.expand(shape).clone() if kind == "opposite" else selected * noise


@given(
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    types=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 3),
    votes=st.sampled_from([0.0, 1e-30, 1e-3, 1.0, 30.0, 1e3, 1e6, 1e15, "mixed", "opposite"]),
    weights=st.sampled_from(["any", "identity"]),
    presence=st.sampled_from(["none", "all", "some", "between"]),
    iterations=st.integers(1, 10),
    temperature=st.sampled_from([0.01, 1.0, 10.0]),
    variant=st.sampled_from([PAPER, AUTHORS_CODE, AUTHORS_CODE_CLASSES]),
    half=st.booleans(),
    seed=st.integers(0, 999),
)
@settings(max_examples=60, deadline=None)
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
    arguments = {"iterations": iterations, "stride": stride, "inverse_temperature": temperature}
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        result = tensors.route(**arguments, variant=variant)
    for output in result:
        assert output.dtype == torch.float32
        assert output.isfinite().all()
    assert (result.presences >= 0).all() and (result.presences <= 1).all()
    # If two wholes are equally likely, rounding grows with each iteration: in long routings of
    # votes of 1e9 one gradient in 2,000 overflows, of 1e12 one in 60.
    if votes == 1e15:
        return
    # Without a present child the code's parents have only the mass of its epsilon, and the true
    # gradients grow a millionfold with each iteration: 1e32 after seven, in float64 too.
    if presence == "none" and variant.mass_epsilon and iterations > 5:
        return
    for gradient in gradients(result, tensors):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("variant", [PAPER, AUTHORS_CODE, AUTHORS_CODE_CLASSES])
def test_single_huge_vote_has_a_finite_gradient(variant, seed):
    """The code's mean is far from such a vote, at 0.9 of it."""
    generator = torch.Generator().manual_seed(seed)
    shapes = (1, 1, 1, 1, 4, 4), (1, 1, 1, 1), (1, 1, 1, 3, 4, 4), (3,), (3,)
    tensors = Layer(*(torch.randn(shape, generator=generator) for shape in shapes))
    tensors = tensors._replace(
        poses=1e15 * tensors.poses, presences=tensors.presences.sigmoid()
    ).map(Tensor.requires_grad_)
    arguments = {"iterations": 2 + seed, "inverse_temperature": 0.01, "variant": variant}
    assert all(x.isfinite().all() for x in gradients(tensors.route(**arguments), tensors))


def test_large_votes_are_routed_like_small_ones():
    """A change of units, with a variance floor of zero."""
    tensors = layer()._replace(beta_u=torch.full((3,), -1.0, dtype=DOUBLE))
    large = tensors._replace(poses=2.0**40 * tensors.poses)
    arguments = {"variant": replace(PAPER, variance_floor=0.0), "iterations": 3}
    plain = tensors.route(**arguments)
    shifted = large._replace(beta_u=tensors.beta_u - 40 * math.log(2)).route(**arguments)
    assert max_relative_error(shifted.poses, 2.0**40 * plain.poses) < 1e-9
    assert max_relative_error(shifted.presences, plain.presences) < 1e-9


@pytest.mark.parametrize("mean", [0.0, 300.0])
def test_small_spread_around_a_large_mean_keeps_its_variance(mean):
    """A one-pass variance, E[V²] - E[V]², is lost in the rounding of 300² in float32."""
    tensors = layer()
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(tensors.poses.shape, generator=generator, dtype=DOUBLE)
    single = tensors._replace(
        poses=mean + 0.1 * noise,
        weights=torch.eye(4, dtype=DOUBLE).expand_as(tensors.weights),
        beta_u=tensors.beta_u - math.log(0.1),  # costs around zero
    ).map(Tensor.float)
    arguments = {"iterations": 2, "inverse_temperature": 0.2}
    expected, result = single.map(Tensor.double).route(**arguments), single.route(**arguments)
    assert ((expected.presences - 0.5).abs() < 0.49).all()  # none is saturated
    torch.testing.assert_close(result.presences.double(), expected.presences, rtol=0, atol=2e-3)
    torch.testing.assert_close(result.poses.double(), expected.poses, rtol=1e-6, atol=1e-3)


def test_autocast_does_not_apply_to_the_routing():
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
