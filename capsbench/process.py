"""Settings of a process that make large tensors cheap; made at its start, before torch is there.

A step of a capsule network allocates and frees hundreds of megabytes. The C library gives a large
block back to the kernel when it is freed; the next one is new memory, each page of which the kernel
clears and maps when it is first written to. With EM routing that took half of a step. So

* freed memory is kept for the next block (glibc's ``mallopt``);
* torch asks for huge pages, which are fewer (``THP_MEM_ALLOC_ENABLE``);
* threads that wait for each other sleep after some microseconds (``OMP_WAIT_POLICY``, and
  ``GOMP_SPINCOUNT`` for GNU's OpenMP): beside other processes spinning slows a training manifold.

What the environment says already stays as it is. The price is memory: a process stays as large as
it ever was. Threads are not pinned to cores (``OMP_PROC_BIND``): that pins this thread too, and all
that it starts, processes included, to the first core.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path
from typing import Any

PLAIN = "CAPSBENCH_PLAIN_PROCESS"  # a variable, so that processes of a group inherit it

# Parameters of glibc's malloc.h.
MALLOPT = {
    "M_MMAP_MAX": (-4, 0),  # large blocks come from the heap, like small ones, and return to it
    "M_TRIM_THRESHOLD": (-1, 2**31 - 1),  # less than 2 GiB at its end stay with the process
    "M_TOP_PAD": (-2, 64 * 2**20),  # it grows by this much more than is needed
}
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")

_in_force: dict[str, str] = {}


def tune() -> None:
    """Make the settings, unless ``CAPSBENCH_PLAIN_PROCESS=1``; only for a program's first lines."""
    reason = None
    if os.environ.get(PLAIN) == "1":
        reason = "--plain-process"
    elif "torch" in sys.modules:
        reason = "torch was there before"
    for name, make in SETTINGS.items():
        _in_force[name] = f"off: {reason}" if reason else make()


def settings_in_force() -> dict[str, str]:
    """What is on, and what is off and why, in words."""
    return {
        name: _in_force.get(name, "off: this process was not started by capsbench")
        for name in SETTINGS
    }


def _let_waiting_threads_sleep() -> str:
    policy = _set("OMP_WAIT_POLICY", "PASSIVE")
    if not policy.startswith("on"):
        return policy
    # Alone it has them sleep at once, and to wake one takes longer than many a small operation.
    spins = _set("GOMP_SPINCOUNT", "10000")  # some ten microseconds
    return f"{policy}, {spins.partition(': ')[2]}"


def _ask_for_huge_pages() -> str:
    if not HUGE_PAGES.is_file():
        return "off: only Linux has them"
    if "[never]" in HUGE_PAGES.read_text(encoding="ascii"):
        return f"off: this kernel lends none ({HUGE_PAGES}: never)"
    return _set("THP_MEM_ALLOC_ENABLE", "1")


def _keep_freed_memory() -> str:
    if platform.libc_ver()[0] != "glibc":
        return "off: only the C library glibc can be told to"
    variables = {"GLIBC_TUNABLES", *(f"MALLOC{name[1:]}_" for name in MALLOPT)}
    if given := sorted(variables & os.environ.keys()):
        return _as_given(*given)
    library = ctypes.CDLL("libc.so.6")
    if _address(library.malloc) != _address(ctypes.CDLL(None).malloc):
        return "off: another allocator than glibc's is loaded"
    for name, (parameter, value) in MALLOPT.items():
        if library.mallopt(parameter, value) != 1:
            return f"off: glibc refuses {name}={value}"
    return "on: mallopt " + ", ".join(f"{name}={value}" for name, (_, value) in MALLOPT.items())


def _set(variable: str, value: str) -> str:
    found = os.environ.setdefault(variable, value)
    return f"on: {variable}={value}" if found == value else _as_given(variable)


def _as_given(*variables: str) -> str:
    return "as in the environment: " + ", ".join(f"{name}={os.environ[name]}" for name in variables)


def _address(function: Any) -> int | None:
    return ctypes.cast(function, ctypes.c_void_p).value


SETTINGS = {
    "waiting threads": _let_waiting_threads_sleep,
    "huge pages": _ask_for_huge_pages,
    "freed memory": _keep_freed_memory,
}
