"""Section ``machine``: driver, versions, devices, compilers, and the limits of the device.

Each first thing that can fail on a new machine is a part of its own, so that the record names it.
"""

from __future__ import annotations

import shutil
import subprocess
import warnings
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from capsbench.capsules.relative_error import max_relative_error
from capsbench.speed.gpu.parts import NotMeasured, Parts, Values, Work
from capsbench.speed.limits import LimitSizes, measure_limits
from capsbench.speed.machine import describe_machine, native_precisions
from capsbench.training.devices import device_name

SMALL = LimitSizes(products=((256, 256, 256),), copy_bytes=2**22)
QUERY = "name,driver_version,memory.total,mig.mode.current,power.limit,clocks.max.sm"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Relative to the largest element of a product of 512 x 512 normal numbers.
TOLERANCE = {"float32": 1e-5, "bfloat16": 1e-2, "float16": 2e-3}


def plan(parts: Parts) -> Mapping[str, Work]:
    """Return the parts: what is there, and one small computation of each kind."""
    return {
        "driver": driver,
        "versions": versions,
        "device": partial(choose_device, parts.device),
        "devices": devices,
        "matrix products": products,
        "a kernel compiled by torch": compiled_kernel,
        "limits": partial(limits, parts),
    }


def driver() -> Values:
    """Return what nvidia-smi says of the driver, the devices and their MIG instances."""
    if shutil.which("nvidia-smi") is None:
        raise NotMeasured("nvidia-smi is not installed")
    listed = _nvidia_smi("-L")
    fields = _nvidia_smi(f"--query-gpu={QUERY}", "--format=csv,noheader")
    return {
        "devices": listed.splitlines(),
        "fields": QUERY,
        "values": fields.splitlines(),
        "mig": "MIG" in listed,
    }


def _nvidia_smi(*arguments: str) -> str:
    result = subprocess.run(
        ["nvidia-smi", *arguments], capture_output=True, text=True, check=False, timeout=20
    )
    if result.returncode:
        raise RuntimeError(f"nvidia-smi: {(result.stdout + result.stderr).strip()}")
    return result.stdout.strip()


def versions() -> Values:
    """Return the versions of torch and of the libraries that it was built with."""
    nccl = torch.cuda.nccl.version() if torch.distributed.is_nccl_available() else None
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "nccl": nccl and ".".join(map(str, nccl)),
        "architectures": torch.cuda.get_arch_list(),
        "compiler": shutil.which("cc"),  # Triton compiles its launcher with it
    }


def choose_device(requested: str) -> Values:
    """Return the device of all sections: ``cuda`` if a context can be made, else ``cpu``.

    Raises:
        RuntimeError: CUDA is requested, or a driver is installed, but a context cannot be made.
    """
    cpu = {"device": "cpu", "names": [device_name("cpu")]}
    if requested == "cpu":
        return cpu
    with warnings.catch_warnings(record=True) as caught:  # such as of an architecture
        warnings.simplefilter("always")
        try:
            torch.cuda.init()  # the driver may be missing or too old
            torch.zeros(1, device="cuda").item()
        except Exception:
            if requested == "auto" and shutil.which("nvidia-smi") is None:
                return cpu
            raise
    return {
        "device": "cuda",
        "names": [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())],
        "warnings": [str(each.message) for each in caught],
    }


def devices() -> Values:
    """Return the properties of each CUDA device; torch sees one instance of a divided one."""
    _require_cuda()
    rows = []
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        free, total = torch.cuda.mem_get_info(number)
        rows.append(
            {
                "name": properties.name,
                "capability": f"sm_{properties.major}{properties.minor}",
                "multiprocessors": properties.multi_processor_count,
                "memory": total,
                "free": free,
            }
        )
    return {"rows": rows, "count": len(rows)}


def products() -> Values:
    """Compare a matrix product of each precision on each device with float64 on the processor."""
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, 512, 512, generator=generator, dtype=torch.float64).unbind()
    places = [f"cuda:{number}" for number in range(torch.cuda.device_count())] or ["cpu"]
    errors = {
        f"{place} {name}": max_relative_error(
            _product(left, right, place, dtype), left.to(dtype).double() @ right.to(dtype).double()
        )
        for place in places
        for name, dtype in DTYPES.items()
    }
    wrong = [name for name, error in errors.items() if not error <= TOLERANCE[name.split()[1]]]
    if wrong:
        raise ArithmeticError(f"wrong products: {wrong}; errors {errors}")
    return errors


def _product(left: Tensor, right: Tensor, place: str, dtype: torch.dtype) -> Tensor:
    return (left.to(place, dtype) @ right.to(place, dtype)).cpu().double()


def compiled_kernel() -> Values:
    """Compile a function by torch.compile: with Triton on a GPU, which needs a C compiler too."""
    inputs = torch.randn(4096, device="cuda" if torch.cuda.is_available() else "cpu")
    result = torch.compile(lambda x: (2 * x + 1).sin())(inputs)
    error = max_relative_error(result, (2 * inputs + 1).sin())
    if not error < 1e-5:
        raise ArithmeticError(f"the compiled function differs by {error:.1e}")
    return {"relative error": error}


def limits(parts: Parts) -> Values:
    """Describe the machine as `capsbench bench` does, with its limits."""
    device = "cuda" if torch.cuda.is_available() and parts.device != "cpu" else "cpu"
    sizes = SMALL if parts.small or device == "cpu" else None
    measured = measure_limits(device, native_precisions(device), sizes)
    return describe_machine(device, measured).model_dump(mode="json", exclude={"provenance"})


def _require_cuda() -> None:
    if not torch.cuda.is_available():
        raise NotMeasured("there is no CUDA device")
