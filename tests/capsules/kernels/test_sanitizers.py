"""The C kernels under AddressSanitizer and UndefinedBehaviorSanitizer."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from capsbench.capsules.kernels import native
from tests.capsules.kernels.sanitized import DYNAMIC, EM, SANITIZERS

pytestmark = pytest.mark.slow


@cache
def sanitizer_libraries():
    """Return the libraries to be preloaded; skip the test if there is no AddressSanitizer."""
    if (reason := native.unavailable_reason()) is not None:
        pytest.skip(reason)
    compiler = os.environ.get("CC") or "cc"
    probe = subprocess.run(
        [compiler, *SANITIZERS, "-x", "c", "-", "-o", os.devnull],
        check=False,
        input="int main(void) { return 0; }",
        capture_output=True,
        text=True,
    )
    if probe.returncode:
        pytest.skip(f"the compiler has no sanitizers: {probe.stderr.strip().splitlines()[-1]}")
    # AddressSanitizer must find the C++ library when it starts, since torch throws exceptions.
    names = [
        subprocess.run(
            [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libstdc++.so.6")
    ]
    if not all(Path(name).is_absolute() for name in names):
        pytest.skip("there is no shared library of AddressSanitizer, which clang links statically")
    return " ".join(names)


@pytest.fixture
def run(tmp_path):
    """Return a function that runs all passes, after a change of the sources."""

    def run(file=None, old="", new=""):
        libraries = sanitizer_libraries()
        sources = tmp_path / "sources"
        sources.mkdir()
        for path in native.FOLDER.glob("*.[ch]"):
            shutil.copy(path, sources)
        if file is not None:
            text = (sources / file).read_text()
            assert old in text, "the text to break is no longer in the source"
            (sources / file).write_text(text.replace(old, new, 1))
        environment = {
            **os.environ,
            "LD_PRELOAD": libraries,
            # Python keeps objects until the end, which are no leaks of the kernels.
            "ASAN_OPTIONS": "detect_leaks=0",
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "OMP_NUM_THREADS": "2",
        }
        return subprocess.run(
            [sys.executable, "-m", "tests.capsules.kernels.sanitized", str(sources)],
            check=False,
            env=environment,
            capture_output=True,
            text=True,
        )

    return run


def test_no_pass_leaves_its_memory_or_has_undefined_behavior(run):
    result = run()
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{4 * (len(DYNAMIC) + len(EM))} routings\n"


ERRORS = {
    "em: one child too many": (
        "em.c",
        "i < I; i++) {\n            long at",
        "i <= I; i++) {\n            long at",
        "heap-buffer-overflow",
    ),
    "dynamic: one child too many": (
        "dynamic.c",
        "i < BEGIN(slice + 1); i++",
        "i <= BEGIN(slice + 1); i++",
        "heap-buffer-overflow",
    ),
    "dynamic: one vote too few": (
        "dynamic.c",
        "simd u[D], votes[J * E], agree",
        "simd u[D], votes[J * E - 1], agree",
        "stack-buffer-overflow",
    ),
    "undefined shift": ("simd_width.c", "+= (int)ones[l]", "+= 1 << (32 + l)", "shift exponent"),
}


@pytest.mark.parametrize(("file", "old", "new", "message"), ERRORS.values(), ids=ERRORS)
def test_an_error_in_the_sources_is_seen(run, file, old, new, message):
    """Each change would pass the other tests on most machines."""
    result = run(file, old, new)
    assert result.returncode != 0
    assert message in result.stderr
