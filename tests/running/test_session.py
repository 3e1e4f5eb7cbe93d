"""The session: the process that prints and reports."""

import pytest

from tests.environment.test_process_group import OWN, TORCHRUN


@pytest.fixture
def with_processes(session, monkeypatch):
    for name in {*OWN, *TORCHRUN}:
        monkeypatch.delenv(name, raising=False)

    def make(devices, nodes=1, **variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        execution = session.execution.model_copy(update={"devices": devices, "nodes": nodes})
        session.__dict__["execution"] = execution
        return session

    return make


@pytest.mark.parametrize(
    ("devices", "nodes", "variables", "first"),
    [
        (1, 1, {"NODE_RANK": "1"}, True),
        (2, 1, {"NODE_RANK": "1"}, True),  # as another program's variable on this machine
        (2, 2, {"NODE_RANK": "1"}, False),
        (2, 2, {"NODE_RANK": "0"}, True),
        (4, 1, TORCHRUN, False),
    ],
)
def test_the_process_that_reports(with_processes, devices, nodes, variables, first):
    assert with_processes(devices, nodes, **variables).is_first is first
