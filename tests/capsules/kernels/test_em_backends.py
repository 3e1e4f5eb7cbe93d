"""Every backend of EM routing against the textbook backend in float64, and that against loops."""

import pytest
import torch
from torch import Tensor

from capsbench.capsules.backends import unavailable_reason
from capsbench.capsules.capsule import Capsules
from capsbench.capsules.coordinates import coordinates
from capsbench.capsules.em_layers import ConvEMCapsules
from capsbench.capsules.em_variants import AUTHORS_CODE, AUTHORS_CODE_CLASSES, OURS, PAPER
from capsbench.capsules.kernels import em_eager
from capsbench.profiling.peak_memory import peak_bytes
from tests.capsules.em_reference import (
    DOUBLE,
    GEOMETRIES,
    every_variant,
    for_variant,
    gradients,
    layer,
    naive,
)

CPU = torch.device("cpu")
# Largest error relative to the largest value, of poses, presences, assignments and gradients.
TOLERANCE = {torch.float64: 1e-11, torch.float32: 3e-4}
SHAPES = {
    "five types": ({"size": (5, 6), "kernel": (3, 3), "in_types": 3, "out_types": 5}, 2),
    "a vector of types": ({"size": (4, 4), "kernel": (3, 3), "out_types": 16}, 1),
    "more than a vector": ({"size": (3, 3), "kernel": (3, 3), "out_types": 19}, 1),
    "whole map": ({"size": (2, 3), "kernel": (2, 3), "out_types": 4}, 1),
}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def available(backend):
    reason = unavailable_reason(backend, CPU)
    return pytest.param(backend, marks=pytest.mark.skipif(reason is not None, reason=str(reason)))


every_backend = pytest.mark.parametrize("backend", [available("eager"), available("native")])


def values_and_gradients(tensors, **arguments):
    tensors = tensors.map(lambda x: x.detach().clone().requires_grad_())
    result = tensors.route(**arguments)
    return *result, *gradients([x.double() for x in result], tensors)


def assert_agree(result, expected, tolerance):
    for one, other in zip(result, expected, strict=True):
        scale = max(other.abs().max().item(), 1e-3)
        torch.testing.assert_close(one.double(), other, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("geometry", ["3x3, stride 2, last row uncovered", "2x1", "whole map"])
@every_variant
def test_textbook_agrees_with_loops(variant, geometry):
    shape, stride = GEOMETRIES[geometry]
    tensors = for_variant(layer(**shape, batch=1), variant).map(Tensor.requires_grad_)
    arguments = {"stride": stride, "variant": variant}
    result, expected = (
        tensors.route(backend="textbook", **arguments)[:3],
        tensors.route(naive, **arguments),
    )
    assert_agree(
        (*result, *gradients(result, tensors)), (*expected, *gradients(expected, tensors)), 1e-8
    )


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("scale", [0.1, 0.3, 1.0])
@every_shape
@every_backend
def test_agrees_with_the_textbook(backend, shape, scale, dtype):
    sizes, stride = shape
    tensors = layer(**sizes, scale=scale)
    expected = values_and_gradients(tensors, backend="textbook", stride=stride)
    single = tensors.map(lambda x: x.to(dtype))
    result = values_and_gradients(single, backend=backend, stride=stride)
    assert {x.dtype for x in result} == {dtype}
    assert_agree(result, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("iterations", [1, 2, 4])
@pytest.mark.parametrize(
    "variant", [OURS, AUTHORS_CODE, AUTHORS_CODE_CLASSES], ids=["ours", "code", "classes"]
)
@every_backend
def test_agrees_for_other_variants(backend, variant, iterations):
    tensors = for_variant(layer(**SHAPES["whole map"][0]), variant)
    arguments = {"variant": variant, "iterations": iterations}
    expected = values_and_gradients(tensors, backend="textbook", **arguments)
    assert_agree(values_and_gradients(tensors, backend=backend, **arguments), expected, 1e-10)


@pytest.mark.parametrize("absent", ["some", "all"])
@every_backend
def test_agrees_for_absent_children_and_children_of_zeros(backend, absent):
    tensors = layer(**SHAPES["whole map"][0])
    absent_mask = (
        torch.rand(tensors.presences.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    )
    absent_mask = absent_mask | (absent == "all")
    tensors = tensors._replace(
        presences=tensors.presences.masked_fill(absent_mask, 0),
        poses=tensors.poses.masked_fill(absent_mask[..., None, None], 0),
    )
    expected = values_and_gradients(tensors, backend="textbook")
    assert_agree(values_and_gradients(tensors, backend=backend), expected, 1e-10)


@every_backend
def test_agrees_with_coordinates(backend):
    tensors = layer(**SHAPES["whole map"][0])
    arguments = {"offsets": coordinates(2, 3, like=tensors.weights)}
    expected = values_and_gradients(tensors, backend="textbook", **arguments)
    assert_agree(values_and_gradients(tensors, backend=backend, **arguments), expected, 1e-11)


@every_backend
def test_gradient_equals_finite_differences(backend):
    tensors = layer(size=(2, 1), kernel=(1, 1), in_types=1, out_types=2, batch=1)
    inputs = tuple(tensors.map(Tensor.requires_grad_))
    assert torch.autograd.gradcheck(
        lambda *x: tuple(type(tensors)(*x).route(backend=backend)), inputs
    )


@pytest.mark.skipif(unavailable_reason("compiled", CPU) is not None, reason="no compiler")
def test_compiled_agrees():
    tensors = layer(size=(3, 3), kernel=(2, 2), out_types=8, batch=1)
    expected = values_and_gradients(tensors, backend="textbook", iterations=2)
    result = values_and_gradients(tensors.map(Tensor.float), backend="compiled", iterations=2)
    assert_agree(result, expected, TOLERANCE[torch.float32])


@pytest.mark.parametrize("numbers", [1, 5000])
def test_slices_do_not_change_results(numbers, monkeypatch):
    tensors = layer(**SHAPES["five types"][0])
    expected = values_and_gradients(tensors, backend="textbook", stride=2)
    monkeypatch.setattr(em_eager, "SLICE", numbers)
    assert_agree(values_and_gradients(tensors, backend="eager", stride=2), expected, 1e-11)


@pytest.mark.parametrize("votes", [0.0, 1e-30, 1e-3, 30.0, 1e6, 1e12, 1e15])
@pytest.mark.parametrize("variant", [PAPER, AUTHORS_CODE], ids=["text", "code"])
@every_backend
def test_extreme_votes_have_finite_values_and_gradients(backend, variant, votes):
    tensors = layer(**SHAPES["whole map"][0], scale=1.0).map(Tensor.float)
    tensors = tensors._replace(poses=votes * tensors.poses)
    result = values_and_gradients(tensors, backend=backend, variant=variant)
    assert all(x.isfinite().all() for x in result)
    # All parents of a child are the types of one position.
    total = result[2].sum(dim=3)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-4)


@pytest.mark.parametrize("ratio", [3e-3, 3e-4])
@every_backend
def test_small_spread_around_a_large_mean_keeps_its_gradient(backend, ratio):
    """The gradient of an uncentred variance E[V²] - E[V]² is lost in rounding."""
    tensors = layer(**SHAPES["whole map"][0])
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(tensors.poses.shape, generator=generator, dtype=DOUBLE)
    tensors = tensors._replace(
        poses=1 + ratio * noise, weights=torch.eye(4, dtype=DOUBLE).expand_as(tensors.weights)
    )
    expected = values_and_gradients(tensors, backend="textbook", iterations=2)
    result = values_and_gradients(tensors.map(Tensor.float), backend=backend, iterations=2)
    assert_agree(result[3:4], expected[3:4], 5e-3)


@pytest.mark.skipif(unavailable_reason("native", CPU) is not None, reason="no compiler")
def test_bits_of_native_do_not_depend_on_the_number_of_threads():
    tensors = layer(**SHAPES["five types"][0]).map(Tensor.float)
    one = values_and_gradients(tensors, backend="native", stride=2)
    torch.set_num_threads(2)
    assert all(map(torch.equal, one, values_and_gradients(tensors, backend="native", stride=2)))


def peak(backend):
    torch.manual_seed(0)
    routing = ConvEMCapsules(8, 16, kernel=3, stride=2)
    routing.backend = backend
    children = Capsules(
        torch.randn(8, 11, 11, 8, 4, 4, requires_grad=True), torch.rand(8, 11, 11, 8)
    )

    def route():
        poses = routing(children, 0.5).poses
        torch.autograd.grad(poses.sum(), (children.poses, routing.weights))

    route()
    batch, height, width, types, num_children, length = routing.vote_shape(children, 0.5)
    return peak_bytes(route, "cpu") / (4 * batch * height * width * types * num_children * length)


@every_backend
def test_votes_are_never_stored_all_at_once(backend, monkeypatch):
    """Peak memory of the layer as a fraction of all votes.

    There are three tensors of assignments, each 1/16 of the votes, and their gradients.
    """
    monkeypatch.setattr(em_eager, "SLICE", 2**16)
    assert peak("textbook") > 3
    assert peak(backend) < 1
