"""Settings of the process: applied before torch is imported; the environment has precedence."""

import json
import os
import platform
import shutil
import subprocess
import sys

import pytest

from capsbench import process

ON_GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
VARIABLES = {
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
    "THP_MEM_ALLOC_ENABLE",
    "GLIBC_TUNABLES",
    "LD_PRELOAD",
    process.NO_SETUP,
    *(name for name in os.environ if name.startswith("MALLOC_")),
}
HAS_HUGE_PAGES = process.HUGE_PAGES.is_file() and "[never]" not in process.HUGE_PAGES.read_text()


@pytest.fixture
def untouched(monkeypatch):
    """An environment without any of the variables of these settings."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def set_up(untouched):
    """Run lines of code in a new process; return its settings and the JSON that it prints."""

    def run(code="print('null')", start="process.set_up()", **environment):
        program = f"""
import json, os, sys
from capsbench import process
{start}
assert "torch" not in sys.modules
print(json.dumps(process.active_settings()))
{code}
"""
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        settings, printed = map(json.loads, done.stdout.splitlines()[-2:])
        return settings, printed

    return run


@ON_GLIBC
@pytest.mark.skipif(not HAS_HUGE_PAGES, reason="this kernel provides no huge pages")
def test_all_settings_are_on_and_reach_torch(set_up):
    settings, offset = set_up("import torch; print(torch.empty(2**24).data_ptr() % 4096)")
    assert settings == {
        "waiting threads": "on: OMP_WAIT_POLICY=PASSIVE, GOMP_SPINCOUNT=10000",
        "huge pages": "on: THP_MEM_ALLOC_ENABLE=1",
        "freed memory": (
            "on: mallopt M_MMAP_MAX=0, M_TRIM_THRESHOLD=2147483647, M_TOP_PAD=67108864"
        ),
    }
    assert offset == 0  # torch requests huge pages where a page begins, else 64 bytes behind


# Prints the MiB of a block of 128 that stay with the process when it is freed.
KEPT = """
import ctypes
library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20
block, before = library.malloc(2**27), resident()
ctypes.memset(block, 1, 2**27)
library.free(block)
print(resident() - before)
"""


@ON_GLIBC
def test_freed_memory_stays_with_the_process(set_up):
    assert set_up(KEPT)[1] > 120
    assert set_up(KEPT, **{process.NO_SETUP: "1"})[1] < 8


def test_the_option_changes_nothing(set_up):
    start = "from capsbench.cli import main; main(['--no-process-setup', 'list', 'models'])"
    variables = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "THP_MEM_ALLOC_ENABLE", process.NO_SETUP)
    settings, values = set_up(
        f"print(json.dumps([os.environ.get(name) for name in {variables}]))", start
    )
    assert set(settings.values()) == {"off: --no-process-setup"}
    assert values == [None, None, None, "1"]  # the last for the processes of a group
    settings, _ = set_up(start=start.replace("'--no-process-setup', ", ""))
    assert settings["waiting threads"] == "on: OMP_WAIT_POLICY=PASSIVE, GOMP_SPINCOUNT=10000"


@ON_GLIBC
def test_variables_of_the_environment_are_kept(set_up):
    given = {
        "OMP_WAIT_POLICY": "ACTIVE",
        "THP_MEM_ALLOC_ENABLE": "0",
        "MALLOC_TOP_PAD_": "4096",
        "MALLOC_MMAP_MAX_": "9",
    }
    settings, values = set_up(
        f"print(json.dumps([os.environ[name] for name in {[*given]}]))", **given
    )
    assert values == [*given.values()]
    assert settings["waiting threads"] == "as in the environment: OMP_WAIT_POLICY=ACTIVE"
    if HAS_HUGE_PAGES:
        assert settings["huge pages"] == "as in the environment: THP_MEM_ALLOC_ENABLE=0"
    kept = "as in the environment: MALLOC_MMAP_MAX_=9, MALLOC_TOP_PAD_=4096"
    assert settings["freed memory"] == kept
    settings, _ = set_up(GLIBC_TUNABLES="glibc.malloc.tcache_count=0")
    assert settings["freed memory"].endswith(": GLIBC_TUNABLES=glibc.malloc.tcache_count=0")


@ON_GLIBC
def test_a_refusal_of_glibc_is_reported(set_up):
    # Blocks of a kilobyte are too large for its fast bins.
    settings, _ = set_up(start="process.MALLOPT = {'M_MXFAST': (1, 1000)}; process.set_up()")
    assert settings["freed memory"] == "off: glibc refuses M_MXFAST=1000"


@ON_GLIBC
def test_another_allocator_is_not_changed(set_up, tmp_path):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    source, library = tmp_path / "other.c", tmp_path / "other.so"
    source.write_text(
        "#include <stddef.h>\n"
        "void *__libc_malloc(size_t);\n"
        "void *malloc(size_t size) { return __libc_malloc(size); }\n"
    )
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    settings, _ = set_up(LD_PRELOAD=str(library))
    assert settings["freed memory"].startswith("off: another allocator")


def test_other_systems_have_no_settings(monkeypatch, tmp_path):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))  # musl, macOS, Windows
    assert process._keep_freed_memory().startswith("off: only the C library glibc")
    enabled = tmp_path / "enabled"
    monkeypatch.setattr(process, "HUGE_PAGES", enabled)
    assert process._ask_for_huge_pages().startswith("off: ")
    enabled.write_text("always madvise [never]\n")
    assert f"{enabled}: never" in process._ask_for_huge_pages()


def test_a_process_of_another_program_is_not_changed(untouched, monkeypatch):
    monkeypatch.setattr(process, "_active", {})
    assert all("not started" in line for line in process.active_settings().values())
    process.set_up()  # in this one torch is loaded
    assert all("torch" in line for line in process.active_settings().values())
    assert "OMP_WAIT_POLICY" not in os.environ
