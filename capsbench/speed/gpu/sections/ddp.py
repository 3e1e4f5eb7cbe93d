"""Section ``ddp``: one training on all devices, against the same training on one."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path

import torch
from torch import distributed
from torch.multiprocessing.spawn import spawn

from capsbench.records import Results
from capsbench.speed.gpu.parts import Incomplete, NotMeasured, Parts, Values, Work
from capsbench.speed.gpu.sections._runs import run_quick

TIMEOUT = timedelta(seconds=15)
# Largest difference of a loss between one process and several. On a GPU, the form of a convolution
# depends on the images of a process, also without TF32, whose rounding 20 steps would magnify.
TOLERANCE = {"cpu": 1e-5, "cuda": 1e-3}
FULL_PRECISION = {"NVIDIA_TF32_OVERRIDE": "0"}
MODELS = "CNN,CapsNet (dynamic routing),Matrix capsules (EM routing)"
LOSSES = ("--seeds", "0", "--set", "recipe.evaluate_every=1")
BATCH_SIZE = 48  # at most; each process has the same number of images
CPU_PROCESSES = 2


def plan(parts: Parts) -> Mapping[str, Work]:
    """Return a sum over all devices, and trainings on one and on all."""
    return {
        "sum over all devices": partial(sum_over_devices, parts),
        "training on all devices": partial(same_losses, parts),
    }


def _processes(device: str) -> int:
    return torch.cuda.device_count() if device == "cuda" else CPU_PROCESSES


def sum_over_devices(parts: Parts) -> Values:
    """Add numbers of one process per device, by NCCL or, on the processor, by gloo.

    Raises:
        RuntimeError: torch was built without the library, or a process failed.
    """
    backend = "nccl" if parts.device == "cuda" else "gloo"
    if not distributed.is_backend_available(backend):
        raise RuntimeError(f"torch was built without {backend}")
    count = _processes(parts.device)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn(_sum, (count, backend, parts.device, port), nprocs=count)
    return {"backend": backend, "processes": count}


def _sum(rank: int, count: int, backend: str, device: str, port: int) -> None:
    """Check the sum of a million ones in one of the processes."""
    if device == "cuda":
        torch.cuda.set_device(rank)
    distributed.init_process_group(
        backend, f"tcp://127.0.0.1:{port}", TIMEOUT, world_size=count, rank=rank
    )
    numbers = torch.full((2**20,), 1.0 + rank, device=device)
    distributed.all_reduce(numbers)
    expected = count * (count + 1) / 2
    distributed.destroy_process_group()
    if not torch.equal(numbers, torch.full_like(numbers, expected)):
        raise ArithmeticError(f"expected the sum {expected}, got {numbers[0].item()}")


def same_losses(parts: Parts) -> Values:
    """Compare the losses of the first steps on one device and on all.

    Raises:
        NotMeasured: There is one device only.
        Incomplete: Losses differ, or the time was over.
    """
    count = _processes(parts.device)
    if count < 2:
        raise NotMeasured("there is one device; only the start of its group of one was checked")
    batch_size = count * max(1, BATCH_SIZE // count)
    arguments = [*LOSSES, "--set", f"recipe.batch_size={batch_size}"]
    arguments += ["--models", "CNN" if parts.small else MODELS]
    arguments += ["--set", f"recipe.steps={4 if parts.small else 20}"]
    arguments += ["--limit", "96" if parts.small else "480"]
    losses: list[dict[str, list[float]]] = []
    for devices in (1, count):
        several = ("--devices", str(devices), "--strategy", "ddp") if devices > 1 else ()
        with tempfile.TemporaryDirectory() as folder:
            try:
                results = run_quick(
                    Path(folder),
                    *arguments,
                    *several,
                    device=parts.device,
                    seconds=parts.left,
                    variables=FULL_PRECISION,
                )
            except TimeoutError as late:
                raise Incomplete(late, {"processes": count, "losses": losses}, "cut") from None
            _require_processes(results.records, devices)
            losses.append(
                {
                    cell.label: [row["train_loss"] for row in cell.trajectory]
                    for cell in results.records.cells
                }
            )
        parts.keep({"processes": count, "losses": losses})
    one, all_devices = losses
    differences = {
        label: max(abs(a - b) for a, b in zip(one[label], all_devices[label], strict=True))
        for label in one
    }
    values = {"processes": count, "losses": losses, "largest difference": differences}
    if not max(differences.values()) <= TOLERANCE[parts.device]:
        error = ArithmeticError(f"losses of one and of {count} processes differ: {differences}")
        raise Incomplete(error, values)
    return values


def _require_processes(records: Results, devices: int) -> None:
    """Check that each training states the number of processes that was requested."""
    for cell in records.cells:
        stated = cell.training and cell.training.execution.devices
        if stated != devices:
            raise RuntimeError(f"{cell.label}: expected {devices} processes, got {stated}")
