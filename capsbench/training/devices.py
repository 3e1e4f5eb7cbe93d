"""Devices: availability, names and precision."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from capsbench.capsules.convolution_products import multiplies_bfloat16
from capsbench.errors import UserError
from capsbench.training.execution import Execution
from capsbench.training.recipe import ProtocolRecipe

ACCELERATORS = {"cpu": "cpu", "cuda": "gpu", "mps": "mps"}


def resolve_device(name: str, *, elsewhere: bool = False) -> str:
    """Replace ``auto`` by the fastest available device; check any other name.

    Args:
        name: Name of a device, or ``auto``.
        elsewhere: The device is that of other machines: a name is not checked here.

    Returns:
        ``cpu``, ``cuda`` or ``mps``.

    Raises:
        UserError: The device is not available.
    """
    present = available_devices()
    if name == "auto":
        return present[0]
    if name not in present and not elsewhere:
        raise UserError(f"device '{name}' is not available here; available: {', '.join(present)}")
    return name


def require_devices(execution: Execution) -> None:
    """Refuse more devices than this machine has.

    Raises:
        UserError: There are fewer, or the kind of device is not available.
    """
    device = resolve_device(execution.device)
    present = {"cuda": torch.cuda.device_count(), "mps": 1}.get(
        device
    )  # a processor has any number
    if present is not None and execution.devices > present:
        raise UserError(
            f"expected at most the {present} {device} device{'s' * (present > 1)} of this machine, "
            f"got {execution.devices} devices; request fewer"
        )


def available_devices() -> list[str]:
    """Return the available kinds of device, the fastest first."""
    cuda = ["cuda"] if torch.cuda.is_available() else []
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]


@contextmanager
def use_threads(threads: int | None) -> Iterator[None]:
    """Compute with a number of processor threads, whatever the environment says.

    The number can exceed the number of cores: sums depend on it, and cores do not change it.

    Args:
        threads: Threads of torch; None for those of the process, as of a model on an accelerator.
    """
    if threads is None:
        yield
        return
    before, variable = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    # Lightning's launcher chooses a number of its own where this variable is absent.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        if variable is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = variable


def threads_on(device: str, threads: int) -> int | None:
    """Return the threads that a protocol states for a processor; None on any other device."""
    return threads if device == "cpu" else None


def cpu_model() -> str:
    """Return the name of the processor: its model on Linux, elsewhere its architecture."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def device_name(device: str, threads: int | None = None) -> str:
    """Return the product name of a device for records; for a CPU with a number of threads.

    Args:
        device: ``cpu``, ``cuda`` or ``mps``.
        threads: Number of threads; by default those of torch at present.
    """
    if device == "cuda":
        return torch.cuda.get_device_name()
    threads = threads or torch.get_num_threads()
    return f"{cpu_model()}, {threads} thread{'s' * (threads > 1)}"


def device_place(device: str) -> str:
    """Return a device with its number on this machine, if this process sees a part of them.

    >>> device_place("cpu")
    'cpu'
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return f"{device}:{visible}" if visible and device == "cuda" else device


def threads_note(threads: int, device: str) -> str | None:
    """Return a note if a protocol states more threads than this process has cores, else None."""
    cores = os.cpu_count() or 1
    if device == "cpu" and threads > cores:
        return (
            f"note: the protocol states {threads} threads, and this machine has {cores} "
            f"core{'s' * (cores > 1)}: the numbers are the same, and take longer"
        )
    return None


def processes_note(model: nn.Module, processes: int) -> str | None:
    """Return a note if a model learns otherwise in several processes than in one, else None.

    Losses and gradients are means over the images, which processes share. Statistics of a batch,
    and random numbers of layers, are those of each process's images.
    """
    kinds = {
        "batch normalization": any(isinstance(each, _BatchNorm) for each in model.modules()),
        "dropout": any(isinstance(each, _DropoutNd) and each.p for each in model.modules()),
    }
    names = [name for name, has in kinds.items() if has]
    if processes == 1 or not names:
        return None
    return (
        f"note: {' and '.join(names)} in {processes} processes differ from those of one: the "
        "weights are others than on one device"
    )


def precision_note(recipe: ProtocolRecipe, device: str) -> str | None:
    """Return a warning if the recipe's precision is emulated on this device, else None."""
    if recipe.precision == "bf16-mixed" and device == "cpu" and not multiplies_bfloat16():
        return (
            "note: this processor has no bfloat16 instructions; "
            "bf16-mixed is emulated and slower than 32-true"
        )
    return None
