"""What tests of files share."""

import pytest

from tests.files.server import serving


@pytest.fixture
def server():
    """A local web server that can be told to misbehave."""
    with serving() as served:
        yield served
