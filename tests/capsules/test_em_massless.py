"""Parents of EM routing without mass: at the centre of their votes, in every form and dtype."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from capsbench.capsules.backends import unavailable_reason
from capsbench.capsules.capsule import Capsules
from capsbench.capsules.em_layers import ClassEMCapsules, ConvEMCapsules
from capsbench.capsules.em_variants import AUTHORS_CODE, AUTHORS_CODE_CLASSES, PAPER
from capsbench.capsules.kernels.em import PRIOR_SHARE
from capsbench.capsules.mixture_windows import LEAST_PRESENCE
from capsbench.capsules.votes import window_votes
from tests.capsules.em_reference import DOUBLE, Layer, naive

CPU = torch.device("cpu")
# Largest errors relative to the largest value. In float32 the one-pass variance of the kernels is
# known to about 1e-5, a fiftieth of its floor, and each iteration divides by it.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 5e-3}
GRADIENT_TOLERANCE = {torch.float64: 1e-9, torch.float32: 0.03}
FORMS = [
    pytest.param(
        form,
        marks=pytest.mark.skipif(
            unavailable_reason(form, CPU) is not None, reason=f"there is no {form}"
        ),
    )
    for form in ("textbook", "eager", "native")
]
every_form = pytest.mark.parametrize("form", FORMS)
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE)


def far_votes(*, size=(1, 2), kernel=(1, 2), batch=2, types=16):
    """Return a layer whose votes have a size of three, so that some parents take no child."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=DOUBLE)

    return Layer(
        3 * normal(batch, *size, 4, 4, 4),
        normal(batch, *size, 4).sigmoid(),
        0.5 * normal(*kernel, 4, types, 4, 4),
        torch.full((types,), -0.5, dtype=DOUBLE),
        torch.full((types,), -4.0, dtype=DOUBLE),
    )


def route(tensors, **arguments):
    """Return poses, presences, assignments, and gradients of a sum of poses and presences."""
    inputs = tensors.map(lambda x: x.detach().clone().requires_grad_())
    result = inputs.route(**{"inverse_temperature": 5.0, "iterations": 5, **arguments})
    generator = torch.Generator().manual_seed(1)
    total = sum(
        (torch.randn(x.shape, generator=generator, dtype=DOUBLE) * x.double()).sum()
        for x in result[:2]
    )
    return *result[:3], *torch.autograd.grad(total, inputs)


def assert_agree(result, expected, dtype):
    for index, (one, other) in enumerate(zip(result, expected, strict=True)):
        tolerance = (TOLERANCE if index < 3 else GRADIENT_TOLERANCE)[dtype]
        scale = max(other.abs().max().item(), 1e-3)
        torch.testing.assert_close(one.double(), other, rtol=0, atol=tolerance * scale)


def masses(tensors, assignments):
    """Return the mass of each parent of one window that covers the map: (B, P)."""
    return torch.einsum("bpyxc,byxc->bp", assignments[:, 0, 0].double(), tensors.presences)


def centres(tensors):
    """Return the mean of the votes, weighted by presences, (B, P, 4, 4)."""
    votes = window_votes(tensors.poses, tensors.weights)[:, 0, 0]  # (B, P, I, 16)
    presences = tensors.presences.flatten(1)
    mean = torch.einsum("bi,bpie->bpe", presences, votes) / presences.sum(dim=1)[:, None, None]
    return mean.unflatten(-1, (4, 4))


@every_dtype
@every_form
def test_parents_without_mass_are_at_the_centre_of_their_votes(form, dtype):
    tensors = far_votes()
    exact = route(tensors, backend="textbook")
    massless = masses(tensors, exact[2]) < 1e-20
    assert massless.sum() >= 2
    poses, presences = route(tensors.map(lambda x: x.to(dtype)), backend=form)[:2]
    expected = centres(tensors)[massless]
    torch.testing.assert_close(poses[:, 0, 0][massless].double(), expected, rtol=1e-4, atol=1e-4)
    # Their cost is zero: λ β_a is left.
    expected = torch.tensor(5 * -4.0).sigmoid().expand_as(massless)[massless].double()
    result = presences[:, 0, 0][massless].double()
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("iterations", [3, 4])
@every_dtype
@every_form
def test_values_and_gradients_agree_with_the_textbook(form, dtype, iterations):
    tensors = far_votes(size=(2, 3))
    expected = route(tensors, backend="textbook", iterations=iterations)
    assert (expected[2].sum(dim=(-1, -2, -3)) < 1e-10).sum() >= 4
    result = route(tensors.map(lambda x: x.to(dtype)), backend=form, iterations=iterations)
    assert_agree(result, expected, dtype)


@pytest.mark.slow
@pytest.mark.skipif(
    unavailable_reason("compiled", CPU) is not None, reason=str(unavailable_reason("compiled", CPU))
)
def test_compiled_kernels_agree_with_the_textbook():
    """In one dtype: compiling takes a minute."""
    tensors = far_votes(size=(2, 3))
    expected = route(tensors, backend="textbook", iterations=3)
    assert (expected[2].sum(dim=(-1, -2, -3)) < 1e-10).any()
    result = route(tensors.map(Tensor.float), backend="compiled", iterations=3)
    assert_agree(result, expected, torch.float32)


def test_the_prior_moves_a_mean_by_its_share_of_the_mass():
    """The bound in docs/equations.md; below the rounding of float32 from a share of 2^-26."""
    tensors = far_votes(size=(3, 3), kernel=(3, 3), types=6)
    tensors = tensors._replace(
        poses=tensors.poses / 10, beta_a=-torch.linspace(4, 40, 6, dtype=DOUBLE)
    )
    result = tensors.route(inverse_temperature=1.0, iterations=2)
    mass = masses(tensors, result.assignments)
    total = tensors.presences.sum(dim=(1, 2, 3))[:, None]
    small = mass < 1e-9
    assert small.any()
    assert mass.min() > 1e-17
    votes = window_votes(tensors.poses, tensors.weights)[:, 0, 0].unflatten(-1, (4, 4))
    assigned = result.assignments[:, 0, 0].flatten(2) * tensors.presences.flatten(1)[:, None]
    mean = torch.einsum("bpi,bpirc->bprc", assigned / assigned.sum(dim=-1, keepdim=True), votes)
    share = (PRIOR_SHARE * total / (mass + PRIOR_SHARE * total))[..., None, None]
    expected = mean + share * (centres(tensors) - mean)
    error = (result.poses[:, 0, 0] - expected).abs().amax(dim=(-1, -2))
    moved = (expected - mean).abs().amax(dim=(-1, -2))
    assert (error[small] < 1e-3 * moved[small] + 1e-12).all()
    assert (share[mass > 2**-26 * total] < 2**-24).all()


def test_textbook_agrees_with_loops():
    tensors = far_votes(batch=1).map(Tensor.requires_grad_)
    arguments = {"inverse_temperature": 5.0, "iterations": 5}
    result = tensors.route(backend="textbook", **arguments)
    expected = tensors.route(naive, **arguments)
    assert masses(tensors, result.assignments).min() < 1e-20
    for one, other in zip(result[:3], expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    for one, other in zip(
        *(torch.autograd.grad(x[0].sum() + x[1].sum(), tensors) for x in (result, expected)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("variant", [AUTHORS_CODE, AUTHORS_CODE_CLASSES], ids=["code", "classes"])
@every_dtype
@every_form
def test_the_variants_of_the_code_pull_them_to_zero(form, dtype, variant):
    tensors = far_votes()
    arguments = {"variant": variant, "inverse_temperature": 0.01}
    expected = route(tensors, backend="textbook", **arguments)
    massless = masses(tensors, expected[2]) < 1e-15
    assert massless.any()
    result = route(tensors.map(lambda x: x.to(dtype)), backend=form, **arguments)
    assert_agree(result, expected, dtype)
    assert result[0][:, 0, 0][massless].abs().max() < 0.2 * centres(tensors).abs().max()


@every_form
def test_without_a_floor_of_the_variance(form):
    variant = replace(PAPER, variance_floor=0.0)
    tensors = far_votes()
    expected = route(tensors, backend="textbook", variant=variant)
    assert_agree(route(tensors, backend=form, variant=variant), expected, DOUBLE)


@every_dtype
@every_form
@pytest.mark.parametrize("presence", [0.0, 1e-30, 1e-12, 1e-6])
def test_presences_of_one_value_never_change_the_poses(form, dtype, presence):
    """The mean depends on ratios of presences only, down to no present child at all."""
    tensors = far_votes()
    one, other = (
        route(
            tensors._replace(presences=torch.full_like(tensors.presences, value)).map(
                lambda x: x.to(dtype)
            ),
            backend=form,
            inverse_temperature=0.0,
        )
        for value in (presence, 1.0)
    )
    assert_agree(one[:1], (other[0].double(),), dtype)
    assert all(x.isfinite().all() for x in one)


def test_results_do_not_jump_where_presences_are_raised():
    tensors = far_votes(batch=1, size=(1, 2), kernel=(1, 2))
    ratio = tensors.presences / tensors.presences.sum()
    below, above = (
        tensors._replace(presences=ratio * LEAST_PRESENCE * (1 + change)).route(iterations=2)
        for change in (-1e-9, 1e-9)
    )
    torch.testing.assert_close(below.poses, above.poses, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(below.presences, above.presences, rtol=1e-6, atol=0)


@every_form
def test_gradient_through_a_massless_parent_equals_finite_differences(form):
    """The second parent's prior is as large as its assignments, and larger."""
    tensors = far_votes(batch=1, size=(1, 1), kernel=(1, 1), types=2)
    tensors = tensors._replace(poses=tensors.poses / 3)
    tensors.weights[..., 1, :, :] += 4 * torch.eye(4, dtype=DOUBLE)
    result = tensors.route(iterations=2, inverse_temperature=1.0)
    assert masses(tensors, result.assignments).min() < 1e3 * PRIOR_SHARE
    assert torch.autograd.gradcheck(
        lambda *x: tuple(Layer(*x).route(iterations=2, inverse_temperature=1.0, backend=form)[:2]),
        tuple(tensors.map(Tensor.requires_grad_)),
        atol=1e-5,
        fast_mode=True,
    )


@every_form
def test_the_variance_has_a_gradient_where_it_is_zero(form):
    """A single present child: the variance rises with the presence of another one."""
    tensors = far_votes(batch=1, size=(1, 2), kernel=(1, 2), types=2)
    presences = torch.zeros_like(tensors.presences)
    presences[0, 0, 0, 0] = 0.7
    tensors = tensors._replace(presences=presences, poses=tensors.poses / 10)
    arguments = {"inverse_temperature": 0.3, "iterations": 2}
    expected = route(tensors, backend="textbook", **arguments)
    assert_agree(route(tensors, backend=form, **arguments), expected, DOUBLE)


@every_form
def test_autocast_does_not_change_massless_parents(form):
    tensors = far_votes().map(lambda x: x.to(torch.bfloat16))
    expected = route(tensors.map(Tensor.float), backend=form)
    with torch.autocast("cpu", torch.bfloat16):
        result = route(tensors, backend=form)
    for one, other in zip(result[:3], expected[:3], strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "layer",
    [ConvEMCapsules(4, 6, kernel=2, stride=1), ClassEMCapsules(4, 6)],
    ids=["convolutional", "classes with coordinates"],
)
@every_form
def test_layers_agree(form, layer):
    tensors = far_votes(size=(3, 3))
    layer = layer.double()
    layer.backend = form
    children = Capsules(tensors.poses, tensors.presences)
    result = layer(children, 5.0)
    layer.backend = "textbook"
    assert_agree(result, layer(children, 5.0), DOUBLE)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@every_form
def test_numbers_that_are_none_stay_in_their_image(form, value):
    tensors = far_votes(batch=3).map(Tensor.float)
    broken = tensors.poses.clone()
    broken[1, 0, 0, 0, 0, 0] = value
    expected = tensors.route(backend=form)
    result = tensors._replace(poses=broken).route(backend=form)
    for one, other in zip(result, expected, strict=True):
        assert torch.equal(one[[0, 2]], other[[0, 2]])
    assert result.poses[1].isnan().any()


@every_form
def test_an_empty_batch_has_empty_results_and_gradients_of_zero(form):
    tensors = far_votes(batch=0)
    result = route(tensors, backend=form)
    assert [len(x) for x in result[:3]] == [0, 0, 0]
    assert not any(x.any() for x in result[3:])
