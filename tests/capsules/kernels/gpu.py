"""Calls of functions that launch Triton kernels, with what they take and return as bytes."""

import io
from importlib import import_module
from unittest.mock import patch

import torch

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
