"""Description of the measured machine."""

from __future__ import annotations

import torch

from capsbench.capsules.convolution_products import BF16_INSTRUCTIONS
from capsbench.process import active_settings
from capsbench.records.provenance import Provenance
from capsbench.records.record import RecordPart
from capsbench.speed.limits import Limits
from capsbench.speed.rows import Precision
from capsbench.training.devices import cpu_model, device_name, resolve_device


class Machine(RecordPart):
    """Everything that a time depends on.

    Attributes:
        provenance: Versions, commit and date.
        device: ``cpu`` or ``cuda``.
        device_name: Product name of the device.
        cpu: Name of the processor.
        threads: Threads of torch.
        bf16: Instructions for bf16; empty if the device emulates it.
        settings: Settings of the process, on or off and why.
        matmul_flops_per_second: Rate of the fastest matrix product, by precision; empty if it was
            not measured.
        copy_bytes_per_second: Bytes read and written per second by a large copy; None if it was not
            measured.
    """

    provenance: Provenance
    device: str
    device_name: str
    cpu: str
    threads: int
    bf16: tuple[str, ...]
    settings: dict[str, str]
    matmul_flops_per_second: dict[Precision, float]
    copy_bytes_per_second: float | None


def describe_machine(device: str, limits: Limits | None) -> Machine:
    """Describe this machine.

    Args:
        device: ``cpu`` or ``cuda``.
        limits: Measured limits of the device; None if they were not measured.
    """
    return Machine(
        provenance=Provenance.now(),
        device=device,
        device_name=device_name(device),
        cpu=cpu_model(),
        threads=torch.get_num_threads(),
        bf16=bf16_instructions(device),
        settings=active_settings(),
        matmul_flops_per_second=dict(limits.matmul) if limits else {},
        copy_bytes_per_second=limits.copy if limits else None,
    )


def bf16_instructions(device: str) -> tuple[str, ...]:
    """Return the instructions by which a device multiplies bf16; empty if it emulates bf16."""
    if device == "cuda":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("tensor cores",) if supported else ()
    available = torch.cpu.get_capabilities()
    return tuple(name for name in BF16_INSTRUCTIONS if available.get(name))


def native_precisions(device: str) -> tuple[Precision, ...]:
    """Return the precisions for which a device has instructions."""
    return ("fp32", "bf16") if bf16_instructions(device) else ("fp32",)


def missing_precision(precision: Precision, device: str) -> str | None:
    """Return the reason why a precision cannot be measured on a device; None if it can."""
    if precision in native_precisions(device):
        return None
    return f"this {'GPU' if device == 'cuda' else 'CPU'} has no {precision} instructions"


def bench_device(name: str) -> str:
    """Replace ``auto`` by ``cuda`` if available, else ``cpu``; check any other name.

    Raises:
        UserError: The device is not available.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return resolve_device(name)
