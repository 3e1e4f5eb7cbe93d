"""What tests of formats share."""

import pytest

from tests.files.server import serving


@pytest.fixture
def server():
    """A local web server."""
    with serving() as served:
        yield served
