"""Fixtures of the tests of files."""

import pytest

from tests.files.server import serving


@pytest.fixture
def server():
    """Start a local web server with switchable faults."""
    with serving() as served:
        yield served
