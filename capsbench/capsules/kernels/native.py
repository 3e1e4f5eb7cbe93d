"""C kernels: compiled by the system's compiler when first used, kept in the user's cache folder."""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FOLDER = Path(__file__).parent
# No -ffast-math: linking with it makes a whole process round numbers near zero to zero.
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fopenmp", "-shared", "-fPIC")
NUMBERS = {torch.float32: ("-DREAL=float",), torch.float64: ("-DREAL=double", "-DDOUBLE")}


@cache
def problem() -> str | None:
    """Why no C file can be compiled here, in a few words; None where it can.

    On Linux alone, where gcc and torch's wheels use one OpenMP: kernels share torch's threads.
    """
    if sys.platform != "linux":
        return "C kernels are for Linux"
    if _compiler() is None:
        return f"there is no C compiler '{_compiler_name()}'"
    try:
        lanes(torch.float32)
    except subprocess.CalledProcessError as error:
        words = error.stderr.strip().splitlines() or [f"exit code {error.returncode}"]
        return f"'{_compiler_name()}' fails: {words[-1]}"
    except (OSError, RuntimeError) as error:  # no home, or nothing can be kept or loaded there
        return f"no library can be kept in the user's cache folder: {error}"
    return None


def call(function: Callable[..., Any], *arguments: Tensor | float | ctypes.c_void_p | None) -> Any:
    """Call a function of a library; tensors are told by where they lie, None as NULL.

    Args:
        function: Of a library from `library`.
        *arguments: Tensors must be contiguous, on the CPU and of the library's dtype, which that of
            other numbers than whole ones follows.

    Returns:
        What the function returns.
    """
    tensors = [value for value in arguments if isinstance(value, Tensor)]
    real = ctypes.c_float if tensors[0].dtype == torch.float32 else ctypes.c_double
    told: list[Any] = []
    for value in arguments:
        if isinstance(value, Tensor):
            assert value.is_contiguous(), "a kernel sees numbers, and no strides"
            assert value.device.type == "cpu" and value.dtype == tensors[0].dtype
            told.append(ctypes.c_void_p(value.data_ptr()))
        else:
            told.append(real(value) if isinstance(value, float) else value)
    return function(*told)


@cache
def library(source: str | Path, dtype: torch.dtype, **constants: int | str) -> ctypes.CDLL:
    """The library of a C file, compiled for some constants.

    Args:
        source: Name of a file of this folder, or the path of another one.
        dtype: Of its numbers, float32 or float64.
        **constants: What else is defined, such as the sizes of the layer.

    Raises:
        subprocess.CalledProcessError: The compiler refuses the file; ``stderr`` has its words.
    """
    program = _compiler()
    assert program is not None, "whoever compiles asks for a problem first"
    defined = [*NUMBERS[dtype], *(f"-D{name}={value}" for name, value in sorted(constants.items()))]
    options = [*FLAGS, *defined]
    file = FOLDER / source
    command = [*program, *options, str(file), "-lm"]
    name = f"{file.stem}-{_fingerprint(file.parent, options, _machine(*program))}.so"
    path = cache_folder() / "native" / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = Path(folder, name)
            subprocess.run([*command, "-o", str(made)], check=True, capture_output=True, text=True)
            made.replace(path)  # whole or not at all, whoever else compiles the same
    return ctypes.CDLL(str(path))


def cache_folder() -> Path:
    """Where this user's machine-made files are kept: ``$XDG_CACHE_HOME/capsbench``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "capsbench")


@cache
def lanes(dtype: torch.dtype) -> int:
    """How many numbers the vectors of a library hold, see ``lanes.h``."""
    return int(library("lanes.c", dtype).lane_count())


def _compiler_name() -> str:
    return os.environ.get("CC") or "cc"


def _compiler() -> list[str] | None:
    """The command, which may have arguments of its own, as in ``CC="ccache gcc"``."""
    program, *arguments = shlex.split(_compiler_name())
    found = shutil.which(program)
    return None if found is None else [found, *arguments]


def _fingerprint(folder: Path, options: list[str], machine: Mapping[str, str]) -> str:
    sources = [path.read_bytes() for path in sorted(folder.glob("*.[ch]"))]
    told = "\n".join([*options, *machine.values()]).encode()
    return sha256(b"\0".join([told, *sources])).hexdigest()[:16]


@cache
def _machine(*program: str) -> Mapping[str, str]:
    """What -march=native depends on; a home folder may be shared by unlike machines."""
    cpu = [
        line
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith(("model name", "flags", "CPU part", "Features"))
    ]
    version = subprocess.run([*program, "--version"], capture_output=True, text=True, check=True)
    return {
        "compiler": version.stdout,
        "processor": platform.machine(),
        "cpu": "\n".join(sorted(set(cpu))),
    }
