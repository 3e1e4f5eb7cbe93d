"""Triton's kernels as launched, compiled for a Hopper GPU, which need not be present."""

import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from capsbench.capsules.kernels.em import Assignments, Windows

triton = pytest.importorskip("triton")
if triton.knobs.runtime.interpret:
    pytest.skip("Triton runs in its interpreter", allow_module_level=True)

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.runtime import driver  # noqa: E402

from capsbench.capsules.kernels import dynamic_triton, em_triton  # noqa: E402

CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


@pytest.fixture
def usages(monkeypatch, tmp_path):
    """Compile kernels instead of launching them, and return the resources per thread."""
    hopper = SimpleNamespace(
        get_current_target=lambda: GPUTarget("cuda", 90, 32),
        get_current_device=lambda: 0,
        get_current_stream=lambda device: 0,
    )
    resources: list[dict[str, int]] = []

    def compile_only(kernel, grid, *tensors, **arguments):
        compiled = kernel.warmup(
            *tensors, grid=grid, **{"num_warps": 4, "enable_fp_fusion": True} | arguments
        )
        file = tmp_path / f"{len(resources)}.cubin"
        file.write_bytes(compiled.asm["cubin"])
        report = subprocess.run(
            [CUOBJDUMP, "--dump-resource-usage", file], capture_output=True, text=True, check=True
        ).stdout
        usage = dict(re.findall(r"(REG|STACK|SHARED):(\d+)", report))
        resources.append({name: int(number) for name, number in usage.items()})
        kernel.device_caches.clear()  # the GPU of this machine may be another one

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    for module in (dynamic_triton, em_triton):
        monkeypatch.setattr(module, "launch", compile_only)
    monkeypatch.setattr(driver, "_active", hopper)
    return resources


def empty(*sizes):
    return torch.empty(sizes, device="meta")


def assert_in_registers(usages):
    """Allow a few spilled numbers, of more than 200, for other versions of the compiler."""
    assert all(usage["STACK"] <= 128 for usage in usages), usages


def test_dynamic_routing_of_the_paper(usages):
    children, weights = empty(512, 1152, 8), empty(1152, 10, 8, 16)
    parent_sum, couplings = empty(3, 512, 10, 16), empty(512, 1152, 10)
    dynamic_triton.weighted_sum(children, weights, parent_sum[0])
    dynamic_triton.agreement_gradient(children, weights, parent_sum[0], parent_sum[0], couplings)
    dynamic_triton.vote_gradients(children, weights, parent_sum, parent_sum, couplings)
    assert len(usages) == 3
    assert_in_registers(usages)


def test_em_routing_of_a_convolutional_layer(usages):
    positions, children, types = 2304, 72, 16
    parents, pairs = empty(positions, types, 4, 4), empty(positions, types)
    windows = Windows(
        empty(positions, children, 4, 4),
        empty(children, types, 4, 4),
        empty(children, 4, 4),
        parents,
    )
    logs, each = empty(positions, children, types), empty(positions, children)
    moments, densities = (pairs, parents, parents), (logs, each)
    em_triton.moments(windows, Assignments(logs, each, each))
    em_triton.moments_gradient(windows, Assignments(logs, each, each), moments, moments)
    em_triton.log_densities(windows, parents, parents, pairs)
    em_triton.log_densities_gradient(windows, parents, parents, densities, densities)
    assert len(usages) == 5  # the last function has two passes
    assert_in_registers(usages)
