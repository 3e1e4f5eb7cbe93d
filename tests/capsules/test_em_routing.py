import math
from collections import defaultdict
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from capsbench.capsules import em_routing as module
from capsbench.capsules.em_routing import VARIANCE_FLOOR, em_routing, window_votes


def naive(poses, presences, weights, *, beta_u, beta_a, inverse_temperature, iterations, stride=1,
          offsets=None):  # fmt: skip
    """Equations 20-29 of the article for one image, as loops over children and parents."""
    H, W, C = presences.shape
    KH, KW, _, P = weights.shape[:4]
    votes, parents_of, children_of = {}, defaultdict(list), defaultdict(list)
    for y in range((H - KH) // stride + 1):
        for x in range((W - KW) // stride + 1):
            for ky in range(KH):
                for kx in range(KW):
                    for c in range(C):
                        for p in range(P):
                            child, parent = (y * stride + ky, x * stride + kx, c), (y, x, p)
                            vote = poses[child] @ weights[ky, kx, c, p]
                            if offsets is not None:
                                vote = vote + offsets[ky, kx]
                            votes[child, parent] = vote.flatten()
                            parents_of[child].append(parent)
                            children_of[parent].append(child)
    R = {(i, j): 1 / len(parents_of[i]) for i, j in votes}  # eq. 20
    children_per_parent = H * W * C / len(children_of)
    for _ in range(iterations):
        mu, variance, logit = {}, {}, {}
        for j, members in children_of.items():
            assigned = {i: R[i, j] * presences[i] for i in members}  # eq. 21
            mass = sum(assigned.values())
            mu[j] = sum(assigned[i] * votes[i, j] for i in members) / mass  # eq. 22
            spread = sum(assigned[i] * (votes[i, j] - mu[j]) ** 2 for i in members) / mass
            variance[j] = spread + VARIANCE_FLOOR
            log_sigma = variance[j].sqrt().log()
            cost = (beta_u[j[2]] + log_sigma) * mass / children_per_parent  # eq. 26
            logit[j] = inverse_temperature * (beta_a[j[2]] - cost.sum())  # eq. 27
        last = R
        R = {}
        for i, parents in parents_of.items():
            log_weights = []
            for j in parents:
                log_p = -0.5 * (2 * math.pi * variance[j]).log()
                log_p = log_p - (votes[i, j] - mu[j]) ** 2 / (2 * variance[j])  # eq. 28
                log_weights.append(logit[j].sigmoid().log() + log_p.sum())
            for j, r in zip(parents, torch.stack(log_weights).softmax(0), strict=True):
                R[i, j] = r  # eq. 29
    shape = [n + 1 for n in max(children_of)]
    pose = torch.stack([mu[j] for j in sorted(mu)]).view(*shape, 4, 4)
    presence = torch.stack([logit[j].sigmoid() for j in sorted(mu)]).view(shape)
    return pose, presence, last


def case(*, batch=1, size=(5, 5), kernel=(3, 3), C=2, P=3, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    return {
        "poses": draw(batch, *size, C, 4, 4),
        "presences": draw(batch, *size, C).sigmoid(),
        "weights": 0.5 * draw(*kernel, C, P, 4, 4),
        "beta_u": draw(P),
        "beta_a": draw(P),
    }


@pytest.mark.parametrize("iterations", [1, 2, 3])
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "offset"),
    [((5, 5), (3, 3), 2, False), ((4, 3), (2, 2), 1, False), ((3, 2), (3, 2), 1, True)],
    ids=["overlapping by one", "stride 1", "whole map"],
)
def test_value_and_gradient_are_those_of_the_equations(
    size, kernel, stride, offset, iterations, monkeypatch
):
    monkeypatch.setattr(module, "MASS_EPSILON", 0.0)  # the equations have none
    inputs: Any = {name: x.requires_grad_() for name, x in case(size=size, kernel=kernel).items()}
    if offset:
        inputs["offsets"] = torch.rand(*kernel, 4, 4, dtype=torch.float64)
    how: Any = {"inverse_temperature": 0.2, "iterations": iterations, "stride": stride}
    found = em_routing(**inputs, **how)
    single = {k: x[0] if k in ("poses", "presences") else x for k, x in inputs.items()}
    pose, presence, assignments = naive(**single, **how)
    torch.testing.assert_close(found.poses[0], pose, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(found.presences[0], presence, rtol=1e-8, atol=1e-9)
    for ((cy, cx, c), (y, x, p)), r in assignments.items():
        assert found.assignments[0, y, x, p, cy - y * stride, cx - x * stride, c].item() == (
            pytest.approx(float(torch.as_tensor(r).detach()), rel=1e-6, abs=1e-9)
        )

    leaves = [x for name, x in inputs.items() if name != "offsets"]
    direction = torch.randn(pose.shape, generator=torch.Generator().manual_seed(1)).double()
    loss = (found.poses[0] * direction).sum() + (found.presences[0] * direction[..., 0, 0]).sum()
    reference = (pose * direction).sum() + (presence * direction[..., 0, 0]).sum()
    gradients = torch.autograd.grad(loss, leaves)
    for got, want in zip(gradients, torch.autograd.grad(reference, leaves), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("iterations", [1, 2, 3])
@pytest.mark.parametrize(("size", "stride"), [((5, 5), 2), ((5, 6), 1), ((7, 7), 3)])
def test_assignments_sum_to_one_over_all_parents_that_see_a_child(size, stride, iterations):
    inputs = case(batch=2, size=size)
    assignments = em_routing(
        **inputs, inverse_temperature=1.0, iterations=iterations, stride=stride
    ).assignments
    per_window = assignments.sum(dim=3)  # over types: (B, H', W', KH, KW, C)
    columns = per_window.permute(0, 5, 3, 4, 1, 2).flatten(4, 5).flatten(1, 3)
    total = F.fold(columns, size, (3, 3), stride=stride)
    reach = [stride * ((n - 3) // stride) + 3 for n in size]
    torch.testing.assert_close(
        total[:, :, : reach[0], : reach[1]], torch.ones(2, 2, *reach).double()
    )


def test_commutes_with_quarter_turns_of_the_pose():
    inputs = case(batch=2)
    Q = torch.zeros(4, 4, dtype=torch.float64)
    Q[0, 1], Q[1, 0], Q[2, 2], Q[3, 3] = -1, 1, 1, 1
    how: Any = {"inverse_temperature": 1.0, "iterations": 3, "stride": 2}
    plain = em_routing(**inputs, **how)
    turned = em_routing(**{**inputs, "poses": Q @ inputs["poses"]}, **how)
    torch.testing.assert_close(turned.poses, Q @ plain.poses)
    torch.testing.assert_close(turned.presences, plain.presences)


def test_order_of_children_and_company_in_the_batch_do_not_matter():
    inputs = case(batch=3, C=4)
    how: Any = {"inverse_temperature": 1.0, "iterations": 3, "stride": 2}
    plain = em_routing(**inputs, **how)
    order = torch.tensor([2, 0, 3, 1])
    shuffled = {
        **inputs,
        "poses": inputs["poses"][:, :, :, order],
        "presences": inputs["presences"][..., order],
        "weights": inputs["weights"][:, :, order],
    }
    for found, expected in zip(em_routing(**shuffled, **how)[:2], plain, strict=False):
        torch.testing.assert_close(found, expected)
    alone = {**inputs, "poses": inputs["poses"][1:2], "presences": inputs["presences"][1:2]}
    for found, expected in zip(em_routing(**alone, **how), plain, strict=True):
        torch.testing.assert_close(found, expected[1:2])


def test_number_of_children_does_not_change_the_presence():
    """Gritzman's second pitfall: every child twice is the same evidence, not twice the cost."""
    inputs = case()
    how: Any = {"inverse_temperature": 1.0, "iterations": 3, "stride": 2}
    twice = {
        **inputs,
        "poses": inputs["poses"].repeat(1, 1, 1, 2, 1, 1),
        "presences": inputs["presences"].repeat(1, 1, 1, 2),
        "weights": inputs["weights"].repeat(1, 1, 2, 1, 1, 1),
    }
    for found, expected in zip(
        em_routing(**twice, **how)[:2], em_routing(**inputs, **how), strict=False
    ):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_variance_survives_votes_far_from_zero():
    """In one pass without centring, float32 loses a spread of 1 beside a mean of 3000."""
    inputs = case(size=(3, 3), C=4)
    inputs["weights"] = torch.eye(4).double().expand(3, 3, 4, 3, 4, 4).clone()
    inputs["poses"] = inputs["poses"] + 3000
    inputs["beta_a"] = torch.zeros(3).double()
    how: Any = {"inverse_temperature": 0.1, "iterations": 3}
    expected = em_routing(**inputs, **how)
    found = em_routing(**{name: x.float() for name, x in inputs.items()}, **how)
    torch.testing.assert_close(found.presences.double(), expected.presences, rtol=1e-3, atol=1e-3)


def test_children_that_no_parent_sees_get_no_gradient():
    inputs = case(size=(6, 6))
    inputs["poses"].requires_grad_()
    found = em_routing(**inputs, inverse_temperature=1.0, iterations=3, stride=2)
    found.poses.sum().backward()
    gradient = inputs["poses"].grad
    assert gradient.isfinite().all()
    assert (gradient[:, 5] == 0).all()
    assert (gradient[:, :5, :5] != 0).any()


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 4), kernel=st.integers(1, 3), stride=st.integers(1, 3),
    C=st.integers(1, 2), P=st.integers(1, 3), iterations=st.integers(1, 10),
    scale=st.sampled_from([0.0, 1e-30, 1.0, 1e3, 1e9, 1e15]),
    presence=st.sampled_from([0.0, 1e-30, 0.5, 1.0]),
)  # fmt: skip
def test_stays_finite(size, kernel, stride, C, P, iterations, scale, presence):
    size = max(size, kernel)
    inputs = case(size=(size, size), kernel=(kernel, kernel), C=C, P=P, dtype=torch.float32)
    inputs["poses"] = scale * inputs["poses"]
    inputs["presences"] = torch.full_like(inputs["presences"], presence)
    leaves = [x.requires_grad_() for x in inputs.values()]
    found = em_routing(**inputs, inverse_temperature=1.0, iterations=iterations, stride=stride)
    assert all(x.isfinite().all() for x in found)
    if scale < 1e15:  # there the third power of a vote, in the gradient, leaves float32
        gradients = torch.autograd.grad(found.presences.sum() + found.poses.mean(), leaves)
        assert all(x.isfinite().all() for x in gradients)


def test_autocast_routes_in_float32():
    inputs = case(dtype=torch.float32)
    how: Any = {"inverse_temperature": 0.1, "iterations": 3, "stride": 2}
    plain = em_routing(**inputs, **how)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = em_routing(**{**inputs, "poses": inputs["poses"].bfloat16()}, **how)
    assert found.poses.dtype == torch.float32
    torch.testing.assert_close(found.presences, plain.presences, rtol=0.1, atol=0.05)


def test_forward_derivative_agrees_with_differences():
    inputs = case()
    poses = inputs.pop("poses")
    tangent = torch.randn(poses.shape, generator=torch.Generator().manual_seed(4)).double()

    def presences(poses):
        return em_routing(
            poses, **inputs, inverse_temperature=0.2, iterations=3, stride=2
        ).presences

    derivative = torch.func.jvp(presences, (poses,), (tangent,))[1]
    step = 1e-6
    difference = (presences(poses + step * tangent) - presences(poses - step * tangent)) / (
        2 * step
    )
    torch.testing.assert_close(derivative, difference, rtol=1e-5, atol=1e-7)


def test_a_vote_turns_with_the_pose_of_its_child():
    """Article, eq. 5-6, for any transformation."""
    inputs = case(batch=2)
    T = torch.randn(4, 4, generator=torch.Generator().manual_seed(5)).double()
    votes = window_votes(inputs["poses"], inputs["weights"], stride=2).unflatten(-1, (4, 4))
    moved = window_votes(T @ inputs["poses"], inputs["weights"], stride=2).unflatten(-1, (4, 4))
    torch.testing.assert_close(moved, T @ votes)
