"""Fixtures of the tests of files."""

import tracemalloc

import pytest

from tests.files.server import serving


@pytest.fixture
def server():
    """Start a local web server with switchable faults."""
    with serving() as served:
        yield served


@pytest.fixture
def peak():
    """Return the most bytes that Python has used since the last call."""
    tracemalloc.start()

    def since():
        value = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        return value

    yield since
    tracemalloc.stop()
