"""Triton's kernels of EM routing against stored votes and autograd in double precision."""

import pytest
import torch

from capsbench.capsules.kernels.em import PRIOR_SHARE, Assignments, Windows

KERNELS = "capsbench.capsules.kernels.em_triton"
# Largest error relative to the largest value.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
SHAPES = {"odd": (3, 7, 5), "one type": (2, 3, 1), "tiles of few positions": (5, 4, 20)}  # N, I, P
# All shapes in double precision, and the odd one in single precision.
CASES = [(shape, 1.0, torch.float64) for shape in SHAPES.values()]
CASES += [(SHAPES["odd"], scale, torch.float32) for scale in (0.1, 0.3, 1.0)]
every_case = pytest.mark.parametrize(("shape", "scale", "dtype"), CASES)


def normal(*sizes, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(sizes, generator=generator, dtype=torch.float64)


def votes_of(patches, weights, offsets, centre):
    votes = torch.einsum("nirk,ipkc->niprc", patches, weights)
    return votes + offsets[:, None] - centre[:, None]


def windows_of(shape, *, scale=1.0):
    num_positions, num_children, types = shape
    patches = normal(num_positions, num_children, 4, 4, seed=0)
    weights = scale * normal(num_children, types, 4, 4, seed=1)
    offsets = normal(num_children, 4, 4, seed=2)
    centre = 0.5 * normal(num_positions, types, 4, 4, seed=3)
    return Windows(patches, weights, offsets, centre)


def assignments_of(shape):
    num_positions, num_children, types = shape
    log_weights = normal(num_positions, num_children, types, seed=4)
    log_totals = normal(num_positions, num_children, seed=5) + 1
    return Assignments(
        log_weights, log_totals, normal(num_positions, num_children, seed=6).sigmoid()
    )


def naive_moments(windows, assignments):
    log_weights, log_totals, presences = assignments
    votes = votes_of(*windows)
    logs = -log_totals[..., None] if log_weights is None else log_weights - log_totals[..., None]
    assigned = ((logs.exp() + PRIOR_SHARE) * presences[..., None]).expand(votes.shape[:3])
    mass = assigned.sum(dim=1)
    divisor = mass[..., None, None]
    sums = [torch.einsum("nip,niprc->nprc", assigned, x) for x in (votes, votes.square())]
    return mass, sums[0] / divisor, sums[1] / divisor


def naive_log_densities(windows, mean, log_precision, base):
    differences = votes_of(*windows) - mean[:, None]
    distances = (log_precision.exp()[:, None] * differences.square()).sum(dim=(-2, -1))
    log_weights = base[:, None] - 0.5 * distances
    return log_weights, log_weights.logsumexp(dim=-1)


def parents_of(shape):
    """Return mean, log precision and base."""
    num_positions, _, types = shape
    return (
        0.3 * normal(num_positions, types, 4, 4, seed=7),
        0.5 * normal(num_positions, types, 4, 4, seed=8),
        normal(num_positions, types, seed=9),
    )


def cast(tensors, dtype):
    """Return a sequence of the same type with its tensors in a dtype."""
    single = [None if x is None else x.detach().to(dtype) for x in tensors]
    return type(tensors)(*single) if hasattr(tensors, "_fields") else tuple(single)


def assert_agree(result, expected, dtype):
    for one, other in zip(result, expected, strict=True):
        assert one.dtype == dtype
        scale = max(other.abs().max().item(), 1e-3)
        torch.testing.assert_close(one.double(), other, rtol=0, atol=TOLERANCE[dtype] * scale)


def differentiated(values, inputs):
    """Return factors of the values, and the gradients of the sum of the products."""
    factors = [normal(*x.shape, seed=10 + i) for i, x in enumerate(values)]
    total = sum((x * factor).sum() for x, factor in zip(values, factors, strict=True))
    return factors, torch.autograd.grad(total, inputs)


@every_case
def test_moments_and_their_gradient(on_gpu, shape, scale, dtype):
    check_moments(on_gpu, windows_of(shape, scale=scale), assignments_of(shape), dtype)


def test_moments_of_even_assignments(on_gpu):
    shape = SHAPES["odd"]
    assignments = assignments_of(shape)._replace(log_weights=None)
    check_moments(on_gpu, windows_of(shape), assignments)


def check_moments(on_gpu, windows, assignments, dtype=torch.float64):
    even = assignments.log_weights is None
    inputs_with_grad = [*windows[:2], *assignments[1 if even else 0 :]]
    for tensor in inputs_with_grad:
        tensor.requires_grad_()
    expected = naive_moments(windows, assignments)
    given = cast(windows, dtype), cast(assignments, dtype)
    result = on_gpu(f"{KERNELS}:moments", *given)
    assert_agree(result, cast(expected, torch.float64), dtype)
    factors, derivatives = differentiated(expected, inputs_with_grad)
    gradients = on_gpu(f"{KERNELS}:moments_gradient", *given, result, cast(factors, dtype))
    assert_agree([*gradients[:2], *gradients[3 if even else 2 :]], derivatives, dtype)


def test_moments_without_a_mass(on_gpu):
    """Positions whose assignments are zero, and about as large as those of the prior."""
    shape = SHAPES["odd"]
    assignments = assignments_of(shape)
    assignments.log_weights[0] = -800.0
    assignments.log_weights[1] = -34.0
    check_moments(on_gpu, windows_of(shape), assignments)


def test_moments_of_absent_children_of_zeros(on_gpu):
    shape = SHAPES["odd"]
    windows, assignments = windows_of(shape), assignments_of(shape)
    absent_mask = torch.rand(shape[:2], generator=torch.Generator().manual_seed(0)) < 0.5
    windows = windows._replace(patches=windows.patches.masked_fill(absent_mask[..., None, None], 0))
    presences = assignments.presences.masked_fill(absent_mask, 0)
    check_moments(on_gpu, windows, assignments._replace(presences=presences))


@every_case
def test_log_densities_and_their_gradient(on_gpu, shape, scale, dtype):
    windows = windows_of(shape, scale=scale)
    mean, log_precision, base = parents_of(shape)
    inputs_with_grad = [*windows[:2], mean, log_precision, base]
    for tensor in inputs_with_grad:
        tensor.requires_grad_()
    expected = naive_log_densities(windows, mean, log_precision, base)
    given = cast(windows, dtype), *cast((mean, log_precision.exp(), base), dtype)
    result = on_gpu(f"{KERNELS}:log_densities", *given)
    assert_agree(result, cast(expected, torch.float64), dtype)
    factors, derivatives = differentiated(expected, inputs_with_grad)
    gradients = on_gpu(
        f"{KERNELS}:log_densities_gradient", *given[:3], result, cast(factors, dtype)
    )
    assert_agree(gradients, derivatives, dtype)


def every_result(on_gpu, windows, assignments, mean, precision, base):
    """Return all results in single precision, with output gradients of ones."""
    windows, assignments = cast(windows, torch.float32), cast(assignments, torch.float32)
    mean, precision, base = cast((mean, precision, base), torch.float32)
    moments = on_gpu(f"{KERNELS}:moments", windows, assignments)
    ones = [torch.ones_like(x) for x in moments]
    densities = on_gpu(f"{KERNELS}:log_densities", windows, mean, precision, base)
    others = [torch.ones_like(x) for x in densities]
    arguments = windows, mean, precision, densities, others
    return (
        *moments,
        *densities,
        *on_gpu(f"{KERNELS}:moments_gradient", windows, assignments, moments, ones),
        *on_gpu(f"{KERNELS}:log_densities_gradient", *arguments),
    )


def test_votes_up_to_1e15_have_finite_results(on_gpu):
    shape, scale = SHAPES["odd"], 1e15
    patches, weights, offsets, centre = windows_of(shape)
    windows = Windows(scale * patches, weights, scale * offsets, scale * centre)
    mean, log_precision, base = parents_of(shape)
    parents = scale * mean, log_precision.exp() / scale**2, base
    result = every_result(on_gpu, windows, assignments_of(shape), *parents)
    assert all(x.isfinite().all() for x in result)


def test_the_same_input_gives_the_same_bits(on_gpu):
    shape = SHAPES["odd"]
    mean, log_precision, base = parents_of(shape)
    inputs = windows_of(shape), assignments_of(shape), mean, log_precision.exp(), base
    result, again = (every_result(on_gpu, *inputs) for _ in range(2))
    assert all(map(torch.equal, result, again))
