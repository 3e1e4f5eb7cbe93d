"""Calls of functions that launch Triton kernels, with what they take and return as bytes."""

import io
from importlib import import_module
from unittest.mock import patch

import torch

from capsbench.capsules.dynamic_routing import dynamic_routing
from capsbench.capsules.em_routing import em_routing
from capsbench.capsules.kernels import triton_launch


def call(where, payload, device, programs):
    """Call ``package.module:function`` with packed arguments, and pack what it returns."""
    module, name = where.split(":")
    function = getattr(import_module(module), name)
    with patch.object(triton_launch, "PROGRAMS", programs):
        return pack(function(*unpack(payload, device)))


def pack(values):
    file = io.BytesIO()
    torch.save(values, file)
    return file.getvalue()


def unpack(payload, device="cpu"):
    return torch.load(io.BytesIO(payload), map_location=device, weights_only=False)


def squares(outputs):
    """The sum of the squares of all numbers."""
    return torch.stack([x.square().sum() for x in outputs]).sum()


def dynamic(children, weights, bias):
    """Parents and couplings of dynamic routing by Triton, and gradients of their squares."""
    inputs = [x.requires_grad_() for x in (children, weights, bias)]
    found = dynamic_routing(*inputs[:2], iterations=3, bias=inputs[2], backend="triton")
    return *found, *torch.autograd.grad(squares(found), inputs)


def em(*tensors):
    """Poses, presences and assignments of EM routing by Triton, and gradients of their squares."""
    poses, presences, weights, beta_u, beta_a, offsets = (x.requires_grad_() for x in tensors)
    found = em_routing(
        poses,
        presences,
        weights,
        beta_u=beta_u,
        beta_a=beta_a,
        inverse_temperature=0.7,
        iterations=3,
        stride=2,
        offsets=offsets.detach(),
        backend="triton",
    )
    inputs = (poses, presences, weights, beta_u, beta_a)
    return *found, *torch.autograd.grad(squares(found), inputs)
