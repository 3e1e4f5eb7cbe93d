"""Process settings for large tensors, applied at the start of a program, before torch is imported.

A step of a capsule network allocates and frees hundreds of megabytes. The C library returns a large
block to the kernel when it is freed. The next block is new memory, and the kernel clears and maps
each of its pages on the first write. With EM routing that took half of a step. Therefore

* freed memory is kept for the next block (glibc's ``mallopt``);
* torch requests huge pages, so that there are fewer pages (``THP_MEM_ALLOC_ENABLE``);
* threads that wait for each other sleep after some microseconds (``OMP_WAIT_POLICY``, and
  ``GOMP_SPINCOUNT`` for GNU's OpenMP): if other processes run, spinning slows a training several
  times.

Variables that the environment already sets are not changed. The price is memory: a process never
shrinks. Threads are not pinned to cores (``OMP_PROC_BIND``): that would pin this thread, and all
threads and processes that it starts, to the first core.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path
from typing import Any

from capsbench.environment.variables import is_on

NO_SETUP = "CAPSBENCH_NO_PROCESS_SETUP"  # a variable, so that processes of a group inherit it

# Parameters of glibc's malloc.h.
MALLOPT = {
    "M_MMAP_MAX": (-4, 0),  # large blocks come from the heap, like small ones, and return to it
    "M_TRIM_THRESHOLD": (-1, 2**31 - 1),  # less than 2 GiB at its end stay with the process
    "M_TOP_PAD": (-2, 64 * 2**20),  # it grows by this much more than is needed
}
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")

_active: dict[str, str] = {}


def set_up() -> None:
    """Apply the settings, unless ``CAPSBENCH_NO_PROCESS_SETUP=1``; call it first in a program."""
    reason = None
    if is_on(NO_SETUP):
        reason = "--no-process-setup"
    elif "torch" in sys.modules:
        reason = "torch was imported before"
    for name, apply in SETTINGS.items():
        _active[name] = f"off: {reason}" if reason else apply()


def active_settings() -> dict[str, str]:
    """Return each setting as ``on: ...``, or ``off: ...`` with the reason."""
    return {
        name: _active.get(name, "off: this process was not started by capsbench")
        for name in SETTINGS
    }


def _let_waiting_threads_sleep() -> str:
    policy = _set("OMP_WAIT_POLICY", "PASSIVE")
    if not policy.startswith("on"):
        return policy
    # PASSIVE alone makes them sleep immediately; waking one takes longer than a small operation.
    spins = _set("GOMP_SPINCOUNT", "10000")  # some ten microseconds
    return f"{policy}, {spins.partition(': ')[2]}"


def _ask_for_huge_pages() -> str:
    if not HUGE_PAGES.is_file():
        return "off: huge pages exist on Linux only"
    if "[never]" in HUGE_PAGES.read_text(encoding="ascii"):
        return f"off: this kernel provides none ({HUGE_PAGES}: never)"
    return _set("THP_MEM_ALLOC_ENABLE", "1")


def _keep_freed_memory() -> str:
    if platform.libc_ver()[0] != "glibc":
        return "off: only the C library glibc has this setting"
    variables = {"GLIBC_TUNABLES", *(f"MALLOC{name[1:]}_" for name in MALLOPT)}
    if given := sorted(variables & os.environ.keys()):
        return _from_environment(*given)
    library = ctypes.CDLL("libc.so.6")
    if _address(library.malloc) != _address(ctypes.CDLL(None).malloc):
        return "off: another allocator than glibc's is loaded"
    for name, (parameter, value) in MALLOPT.items():
        if library.mallopt(parameter, value) != 1:
            return f"off: glibc refuses {name}={value}"
    return "on: mallopt " + ", ".join(f"{name}={value}" for name, (_, value) in MALLOPT.items())


def _set(variable: str, value: str) -> str:
    current = os.environ.setdefault(variable, value)
    return f"on: {variable}={value}" if current == value else _from_environment(variable)


def _from_environment(*variables: str) -> str:
    return "as in the environment: " + ", ".join(f"{name}={os.environ[name]}" for name in variables)


def _address(function: Any) -> int | None:
    return ctypes.cast(function, ctypes.c_void_p).value


SETTINGS = {
    "waiting threads": _let_waiting_threads_sleep,
    "huge pages": _ask_for_huge_pages,
    "freed memory": _keep_freed_memory,
}
