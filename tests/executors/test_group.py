"""Groups of processes: the meeting place of each."""

import json
from pathlib import Path

import pytest

from capsbench.executors.executor import Work
from capsbench.executors.group import run_group
from tests.executors.tiny_worker import COMMAND

GROUP = ("LOCAL_RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID", "SLURM_STEP_ID")


@pytest.fixture
def variable(monkeypatch):
    """Return a variable as the deciding process of a group sees it."""
    monkeypatch.chdir(Path(__file__).parents[2])
    for name in GROUP:
        monkeypatch.delenv(name, raising=False)

    def variable(name, *, work="train a", nodes=1, node=0, devices=2):
        for key, value in {"MASTER_ADDR": "gpu07", "MASTER_PORT": "29500"}.items():
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("NODE_RANK", str(node))
        request = json.dumps(["variable", name])
        return run_group(COMMAND, Work(work, work, request, devices=devices, nodes=nodes)).answer

    return variable


def test_groups_of_one_machine_have_places_of_their_own(variable):
    ports = {variable("MASTER_PORT") for _ in range(2)}
    assert len(ports) == 2 and "29500" not in ports
    assert variable("MASTER_ADDR") == "127.0.0.1"
    assert variable("RANK", node=1) == "0"  # of a machine that is not the first of its cluster


def test_machines_find_each_other_and_each_work_has_a_place_of_its_own(variable):
    ports = [variable("MASTER_PORT", nodes=2, node=node, devices=1) for node in range(2)]
    assert ports[0] == ports[1] != variable("MASTER_PORT", work="train b", nodes=2, devices=1)
    assert variable("MASTER_ADDR", nodes=2, devices=1) == "gpu07"
    assert variable("RANK", nodes=2, node=1) == "2"
