"""The machine that was measured, in words and numbers."""

from __future__ import annotations

from typing import Any

import torch

from capsbench.capsules.convolution_products import BF16_INSTRUCTIONS
from capsbench.process import active_settings
from capsbench.running.provenance import provenance
from capsbench.speed.limits import Limits
from capsbench.speed.rows import Precision
from capsbench.training.devices import cpu_model, device_name, resolve_device


def bf16_instructions(device: str) -> list[str]:
    """The instructions with which a device multiplies bf16; none means that it emulates them."""
    if device == "cuda":
        return ["tensor cores"] if torch.cuda.is_bf16_supported(including_emulation=False) else []
    present = torch.cpu.get_capabilities()
    return [name for name in BF16_INSTRUCTIONS if present.get(name)]


def precisions(device: str) -> tuple[Precision, ...]:
    """The precisions in which a device has matrix products of its own."""
    return ("fp32", "bf16") if bf16_instructions(device) else ("fp32",)


def lacks_precision(precision: Precision, device: str) -> str | None:
    """Why a device cannot be measured in a precision; None where it can."""
    if precision in precisions(device):
        return None
    return f"this {'GPU' if device == 'cuda' else 'CPU'} has no {precision} instructions"


def bench_device(name: str) -> str:
    """Turn ``auto`` into a device that can be measured: ``cuda`` if there is one, else ``cpu``.

    Raises:
        UserError: The device is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return resolve_device(name)


def describe(device: str, limits: Limits | None) -> dict[str, Any]:
    """Everything on which a time depends, for the record.

    Args:
        device: ``cpu`` or ``cuda``.
        limits: What the device can do at best; None if that was not measured.
    """
    return {
        **provenance(),
        "device": device,
        "device_name": device_name(device),
        "cpu": cpu_model(),
        "threads": torch.get_num_threads(),
        "bf16": bf16_instructions(device),
        "settings": active_settings(),
        "matmul_flops_per_second": dict(limits.matmul) if limits else {},
        "copy_bytes_per_second": limits.copy if limits else None,
    }
