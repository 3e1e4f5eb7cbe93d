"""Settings of the process: made before torch is there, kept where the user has spoken, told."""

import json
import os
import platform
import shutil
import subprocess
import sys

import pytest

from capsbench import process

ON_GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone can be told")
VARIABLES = {
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
    "THP_MEM_ALLOC_ENABLE",
    "GLIBC_TUNABLES",
    "LD_PRELOAD",
    process.PLAIN,
    *(name for name in os.environ if name.startswith("MALLOC_")),
}
LENDS_HUGE_PAGES = process.HUGE_PAGES.is_file() and "[never]" not in process.HUGE_PAGES.read_text()


@pytest.fixture
def untouched(monkeypatch):
    """An environment in which the user has said nothing of these settings."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def tuned(untouched):
    """In a new process, the settings and what lines of code print as JSON."""

    def run(code="print('null')", start="process.tune()", **environment):
        program = f"""
import json, os, sys
from capsbench import process
{start}
assert "torch" not in sys.modules
print(json.dumps(process.settings_in_force()))
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
@pytest.mark.skipif(not LENDS_HUGE_PAGES, reason="this kernel lends no huge pages")
def test_all_is_on_and_torch_knows(tuned):
    settings, offset = tuned("import torch; print(torch.empty(2**24).data_ptr() % 4096)")
    assert settings == {
        "waiting threads": "on: OMP_WAIT_POLICY=PASSIVE, GOMP_SPINCOUNT=10000",
        "huge pages": "on: THP_MEM_ALLOC_ENABLE=1",
        "freed memory": (
            "on: mallopt M_MMAP_MAX=0, M_TRIM_THRESHOLD=2147483647, M_TOP_PAD=67108864"
        ),
    }
    assert offset == 0  # torch asks for huge pages where a page begins, else 64 bytes behind


# How many MiB of a block of 128 stay with the process when it is freed.
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
def test_freed_memory_stays_with_the_process(tuned):
    assert tuned(KEPT)[1] > 120
    assert tuned(KEPT, **{process.PLAIN: "1"})[1] < 8


def test_the_option_leaves_everything_as_it_is(tuned):
    start = "from capsbench.cli import main; main(['--plain-process', 'list', 'models'])"
    variables = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "THP_MEM_ALLOC_ENABLE", process.PLAIN)
    settings, found = tuned(
        f"print(json.dumps([os.environ.get(name) for name in {variables}]))", start
    )
    assert set(settings.values()) == {"off: --plain-process"}
    assert found == [None, None, None, "1"]  # the last for the processes of a group
    settings, _ = tuned(start=start.replace("'--plain-process', ", ""))
    assert settings["waiting threads"] == "on: OMP_WAIT_POLICY=PASSIVE, GOMP_SPINCOUNT=10000"


@ON_GLIBC
def test_what_the_environment_says_is_kept(tuned):
    given = {
        "OMP_WAIT_POLICY": "ACTIVE",
        "THP_MEM_ALLOC_ENABLE": "0",
        "MALLOC_TOP_PAD_": "4096",
        "MALLOC_MMAP_MAX_": "9",
    }
    settings, found = tuned(
        f"print(json.dumps([os.environ[name] for name in {[*given]}]))", **given
    )
    assert found == [*given.values()]
    assert settings["waiting threads"] == "as in the environment: OMP_WAIT_POLICY=ACTIVE"
    if LENDS_HUGE_PAGES:
        assert settings["huge pages"] == "as in the environment: THP_MEM_ALLOC_ENABLE=0"
    kept = "as in the environment: MALLOC_MMAP_MAX_=9, MALLOC_TOP_PAD_=4096"
    assert settings["freed memory"] == kept
    settings, _ = tuned(GLIBC_TUNABLES="glibc.malloc.tcache_count=0")
    assert settings["freed memory"].endswith(": GLIBC_TUNABLES=glibc.malloc.tcache_count=0")


@ON_GLIBC
def test_a_refusal_of_glibc_is_told(tuned):
    # Blocks of a kilobyte are too large for its fast bins.
    settings, _ = tuned(start="process.MALLOPT = {'M_MXFAST': (1, 1000)}; process.tune()")
    assert settings["freed memory"] == "off: glibc refuses M_MXFAST=1000"


@ON_GLIBC
def test_another_allocator_is_left_alone(tuned, tmp_path):
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
    settings, _ = tuned(LD_PRELOAD=str(library))
    assert settings["freed memory"] == "off: another allocator than glibc's is loaded"


def test_elsewhere_nothing_is_done_and_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))  # musl, macOS, Windows
    assert process._keep_freed_memory() == "off: only the C library glibc can be told to"
    enabled = tmp_path / "enabled"
    monkeypatch.setattr(process, "HUGE_PAGES", enabled)
    assert process._ask_for_huge_pages() == "off: only Linux has them"
    enabled.write_text("always madvise [never]\n")
    assert process._ask_for_huge_pages() == f"off: this kernel lends none ({enabled}: never)"


def test_a_process_that_is_not_ours_is_left_alone(untouched, monkeypatch):
    monkeypatch.setattr(process, "_in_force", {})
    assert set(process.settings_in_force().values()) == {
        "off: this process was not started by capsbench"
    }
    process.tune()  # in this one torch is loaded
    assert set(process.settings_in_force().values()) == {"off: torch was there before"}
    assert "OMP_WAIT_POLICY" not in os.environ
