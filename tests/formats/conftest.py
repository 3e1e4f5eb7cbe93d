"""Fixtures of the tests of formats."""

import pytest

from tests.files.server import serving


@pytest.fixture
def server():
    """Start a local web server."""
    with serving() as served:
        yield served
