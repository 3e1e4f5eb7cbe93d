"""C kernels: compiled by the system's compiler on first use, kept in the user's cache folder."""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from capsbench.capsules.kernels.code_cache import code_file, code_folder
from capsbench.errors import UserError

FOLDER = Path(__file__).parent
# No -ffast-math: linking with it makes the whole process flush subnormal numbers to zero.
FLAGS: tuple[str, ...] = (
    "-O3",
    "-march=native",
    "-fno-math-errno",
    "-fopenmp",
    "-shared",
    "-fPIC",
)
DTYPE_FLAGS = {torch.float32: ("-DREAL=float",), torch.float64: ("-DREAL=double", "-DDOUBLE")}


@cache
def unavailable_reason() -> str | None:
    """Return the reason why C files cannot be compiled here, or None if they can.

    Only Linux is supported: there gcc and torch's wheels use the same OpenMP, and kernels share
    torch's threads.
    """
    if sys.platform != "linux":
        return "C kernels are for Linux"
    if _compiler() is None:
        return f"there is no C compiler '{_compiler_name()}'"
    try:
        simd_width(torch.float32)
    except NativeError as error:
        return error.reason
    return None


class NativeError(UserError):
    """A C file cannot be compiled, kept or loaded.

    Args:
        reason: Sentence without a final stop.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}; use the routing backend 'eager' in place of 'native'")
        self.reason = reason


def call(function: Callable[..., Any], *arguments: Tensor | float | ctypes.c_void_p | None) -> Any:
    """Call a function of a library, with tensors as pointers and None as NULL.

    Args:
        function: Of a library from `library`.
        *arguments: Contiguous CPU tensors of the library's dtype, and numbers; floats are converted
            to that dtype.

    Returns:
        The return value of the function.
    """
    tensors = [value for value in arguments if isinstance(value, Tensor)]
    real = ctypes.c_float if tensors[0].dtype == torch.float32 else ctypes.c_double
    converted: list[Any] = []
    for value in arguments:
        if isinstance(value, Tensor):
            assert value.is_contiguous(), "kernels ignore strides"
            assert value.device.type == "cpu" and value.dtype == tensors[0].dtype
            converted.append(ctypes.c_void_p(value.data_ptr()))
        else:
            converted.append(real(value) if isinstance(value, float) else value)
    return function(*converted)


@cache
def library(source: str | Path, dtype: torch.dtype, **constants: int | str) -> ctypes.CDLL:
    """Return the library of a C file, compiled with some constants.

    Args:
        source: Name of a file in this folder, or a path.
        dtype: Dtype of its numbers, float32 or float64.
        **constants: Further definitions, such as the sizes of the layer.

    Raises:
        NativeError: The compiler fails, or there is no cache folder for code.
    """
    try:
        return _load(FOLDER / source, dtype, constants)
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [f"exit code {error.returncode}"]
        raise NativeError(f"'{_compiler_name()}' fails: {lines[-1]}") from None
    except (OSError, RuntimeError) as error:  # no home folder, no access to it, or no space in it
        raise NativeError(
            f"no library can be kept in the user's cache folder and loaded: {error}"
        ) from None


def _load(file: Path, dtype: torch.dtype, constants: Mapping[str, int | str]) -> ctypes.CDLL:
    program = _compiler()
    assert program is not None, "call unavailable_reason first"
    defined = [
        *DTYPE_FLAGS[dtype],
        *(f"-D{name}={value}" for name, value in sorted(constants.items())),
    ]
    options = [*FLAGS, *defined]
    name = f"{file.stem}-{_fingerprint(file.parent, options, _machine(*program))}.so"

    def compile_to(output: Path) -> None:
        _run([*program, *options, str(file), "-lm", "-o", str(output)])

    return ctypes.CDLL(str(code_file(code_folder("libraries") / name, compile_to)))


@cache
def simd_width(dtype: torch.dtype) -> int:
    """Return the number of elements in the vectors of a library, see ``simd.h``."""
    return int(library("simd_width.c", dtype).simd_width())


def _compiler_name() -> str:
    return os.environ.get("CC") or "cc"


def _compiler() -> list[str] | None:
    """Return the compiler command; it may have arguments, as in ``CC="ccache gcc"``."""
    try:
        program, *arguments = shlex.split(_compiler_name())
    except ValueError:  # an open quotation mark, or nothing but blanks
        return None
    path = shutil.which(program)
    return None if path is None else [path, *arguments]


def _fingerprint(folder: Path, options: list[str], machine: Mapping[str, str]) -> str:
    sources = [path.read_bytes() for path in sorted(folder.glob("*.[ch]"))]
    settings = "\n".join([*options, *machine.values()]).encode()
    return sha256(b"\0".join([settings, *sources])).hexdigest()[:32]


def _run(command: list[str]) -> str:
    """Return the output of a compiler; its messages may have another encoding."""
    return subprocess.run(
        command, check=True, capture_output=True, encoding="utf-8", errors="replace"
    ).stdout


@cache
def _machine(*program: str) -> Mapping[str, str]:
    """Return the settings behind -march=native; several machines may share a home folder."""
    cpu = [
        line
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith(("model name", "flags", "CPU part", "Features"))
    ]
    return {
        "compiler": _run([*program, "--version"]),
        "processor": platform.machine(),
        "cpu": "\n".join(sorted(set(cpu))),
    }
