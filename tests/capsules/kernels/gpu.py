"""Calls of functions that launch Triton kernels, with arguments and results as bytes."""

import io
from importlib import import_module
from unittest.mock import patch

import torch

from capsbench.capsules.dynamic_routing import dynamic_routing
from capsbench.capsules.em_routing import em_routing
from capsbench.capsules.kernels import triton_launch


def call(where, payload, device, programs):
    """Call ``package.module:function`` with packed arguments, and pack its result."""
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
    """Return the sum of squares of all elements."""
    return torch.stack([x.square().sum() for x in outputs]).sum()


def dynamic(children, weights, bias):
    """Run dynamic routing by Triton; return its outputs and gradients of their squares."""
    inputs = [x.requires_grad_() for x in (children, weights, bias)]
    result = dynamic_routing(*inputs[:2], iterations=3, bias=inputs[2], backend="triton")
    return *result, *torch.autograd.grad(squares(result), inputs)


def em(*tensors):
    """Run EM routing by Triton; return its outputs and gradients of their squares."""
    poses, presences, weights, beta_u, beta_a, offsets = (x.requires_grad_() for x in tensors)
    result = em_routing(
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
    return *result, *torch.autograd.grad(squares(result), inputs)
