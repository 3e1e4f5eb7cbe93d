"""Groups of processes: the place of this one, and numbers that do not fit."""

import pytest

from capsbench.environment.process_group import (
    OtherProcessFailedError,
    ProcessGroup,
    is_failure_of_another,
    is_first_process,
    require_processes,
)
from capsbench.errors import UserError

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "x",
    "WORLD_SIZE": "4",
    "LOCAL_WORLD_SIZE": "2",
    "GROUP_WORLD_SIZE": "2",
    "RANK": "3",
    "LOCAL_RANK": "1",
}
SRUN = {
    "SLURM_JOB_ID": "1234",
    "SLURM_STEP_ID": "1",
    "SLURM_NTASKS": "4",
    "SLURM_NNODES": "2",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
}
OWN = {
    "WORLD_SIZE": "4",
    "LOCAL_WORLD_SIZE": "2",
    "NODE_RANK": "1",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "a",
    "MASTER_PORT": "1",
}


@pytest.fixture
def started(monkeypatch):
    """Set the variables of a launcher."""
    names = {*TORCHRUN, *SRUN, *OWN, "SLURM_STEP_NUM_TASKS", "SLURM_STEP_NUM_NODES"}
    for name in names:
        monkeypatch.delenv(name, raising=False)

    def started(variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return started


@pytest.mark.parametrize(
    ("variables", "launcher"), [(TORCHRUN, "torchrun"), (SRUN, "srun"), (OWN, "capsbench")]
)
def test_the_place_of_a_process(started, variables, launcher):
    started(variables)
    group = ProcessGroup(launcher, processes=4, nodes=2, rank=3, local_rank=1)
    assert ProcessGroup.current() == group
    assert require_processes(devices=2, nodes=2) == group
    assert not is_first_process()
    for devices, nodes in ((1, 1), (3, 1), (4, 1), (2, 1), (1, 4), (4, 4)):
        with pytest.raises(UserError, match=f"{launcher} started 4"):
            require_processes(devices, nodes)


def test_srun_inside_of_torchs_variables_gives_the_meeting_place(started):
    started(SRUN)
    group = ProcessGroup.current()
    assert group is not None
    variables = group.torch_variables("train a")
    assert variables["MASTER_ADDR"] == "gpu07"
    assert 15000 <= int(variables["MASTER_PORT"]) < 25000
    assert (variables["RANK"], variables["WORLD_SIZE"]) == ("3", "4")
    started({"SLURM_STEP_ID": "2"})  # two steps of a job at the same time
    assert group.torch_variables("train a")["MASTER_PORT"] != variables["MASTER_PORT"]


def test_each_work_of_torchrun_has_a_meeting_place_of_its_own(started):
    started({**TORCHRUN, "MASTER_ADDR": "gpu07", "MASTER_PORT": "29500"})
    group = ProcessGroup.current()
    assert group is not None
    first, second = map(group.torch_variables, ("train a", "train b"))
    assert first == group.torch_variables("train a")
    assert first["MASTER_ADDR"] == "gpu07"
    assert len({first["MASTER_PORT"], second["MASTER_PORT"], "29500"}) == 3
    assert first["TORCHELASTIC_USE_AGENT_STORE"] == "False"


def test_torchrun_inside_of_srun_is_torchruns(started):
    started({**SRUN, **TORCHRUN})
    group = ProcessGroup.current()
    assert group is not None
    assert group.launcher == "torchrun"


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"},  # sbatch without srun
        {**SRUN, "SLURM_NTASKS": "1", "SLURM_PROCID": "0"},  # one task, as of submitit
    ],
)
def test_a_process_alone_starts_the_others_itself(started, variables):
    started(variables)
    assert ProcessGroup.current() is None
    assert is_first_process()
    assert require_processes(devices=8, nodes=1) is None
    with pytest.raises(UserError, match=r"srun --nodes=2 --ntasks-per-node=8.*MASTER_ADDR"):
        require_processes(devices=8, nodes=2)


def test_one_call_per_machine_needs_the_meeting_place(started):
    started({"MASTER_ADDR": "a", "MASTER_PORT": "1"})
    with pytest.raises(UserError, match="missing: NODE_RANK"):
        require_processes(devices=2, nodes=2)
    started({"NODE_RANK": "1"})
    assert require_processes(devices=2, nodes=2) is None
    assert not is_first_process()


def test_uneven_tasks_of_srun_are_refused(started):
    started({**SRUN, "SLURM_LOCALID": "2"})  # three tasks on one machine, one on the other
    with pytest.raises(UserError, match="2 on each"):
        require_processes(devices=2, nodes=2)


def test_a_number_that_is_none_is_named(started):
    started({**TORCHRUN, "RANK": "first"})
    with pytest.raises(UserError, match="RANK to 'first'"):
        ProcessGroup.current()


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("[gloo/transport/tcp/pair.cc:561] Connection closed by peer"), True),
        (OtherProcessFailedError("the first process"), True),
        (RuntimeError("CUDA out of memory"), False),
        (ValueError("gloo"), False),
    ],
)
def test_the_failure_of_another_process_is_recognized(error, lost):
    assert is_failure_of_another(error) is lost
