"""Measures of one cell that several processes share: the same values as one process's."""

import subprocess
import sys

import pytest

from capsbench.files.atomic import remove
from capsbench.records import MeasureRecord, TrainingRecord
from capsbench.running.jobs import plan_jobs
from tests.running.conftest import ONE_THREAD

MEASURES = [
    {
        "measure": "accuracy-by-view",
        "grid": {"rotation": {"start": -90, "stop": 90, "step": 90}},
    },
    {"measure": "accuracy-by-split", "splits": ["familiar"]},
    {"measure": "calibration", "splits": ["familiar"]},
]
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node")


@pytest.fixture
def protocol(tiny_protocol):
    recipe = {**tiny_protocol["recipe"], "batch_size": 48}
    return {**tiny_protocol, "recipe": recipe, "seeds": [0], "measures": MEASURES}


@pytest.fixture
def measured(run, protocol, session):
    """A cell that one process has trained and measured, and the values, whose records are gone."""
    ((cell,), _) = run(protocol)
    folder = session.folder(cell)
    values = {name: MeasureRecord.load(folder.measure(name)).values for name in cell.measures}
    remove(folder.path / "measures")
    return cell, values


def values_of(cell, session):
    folder = session.folder(cell)
    return {name: MeasureRecord.load(folder.measure(name)).values for name in cell.measures}


def test_each_measure_is_a_job_if_there_are_several_devices(measured, session):
    cell, values = measured
    execution = session.execution.model_copy(update={"devices": 2})
    session.__dict__["execution"] = execution
    jobs = plan_jobs([cell], "tiny", session)
    assert [job.measures for job in jobs] == [(name,) for name in values]
    assert len({job.id for job in jobs}) == len(jobs)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_processes_of_torchrun_share_the_measures(measured, protocol, session, command, processes):
    cell, values = measured
    words = command(protocol, session.output, "--devices", str(processes))
    at = words.index("-m")
    launched = [sys.executable, "-m", *TORCHRUN, str(processes), *words[at:]]
    result = subprocess.run(launched, env=ONE_THREAD, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert values_of(cell, session) == values
    assert result.stdout.count("Tiny, seed 0: trained in") == 1  # one process reports


@pytest.mark.slow
def test_workers_share_the_measures(measured, protocol, session, command):
    cell, values = measured
    words = command(protocol, session.output, "--devices", "2")
    subprocess.run(words, env=ONE_THREAD, capture_output=True, check=True)
    assert values_of(cell, session) == values


@pytest.mark.slow
def test_tasks_of_srun_train_and_measure_together(run, protocol, session, command):
    """Two tasks, with the variables that srun gives them: one trains with the other."""
    ((cell,), _) = run(protocol, output=session.output / "one")
    words = command(protocol, session.output, "--devices", "2")
    step = {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_ID": "0",
        "SLURM_NTASKS": "2",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_NNODES": "1",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_JOB_NAME": "capsbench",
    }
    tasks = [
        subprocess.Popen(
            words,
            env=ONE_THREAD | step | {"SLURM_PROCID": rank, "SLURM_LOCALID": rank},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    outputs = [task.communicate(timeout=600)[0] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0]
    assert [output.count("Tiny, seed 0: trained in") for output in outputs] == [1, 0]
    training = TrainingRecord.load(session.folder(cell).training)
    assert training.execution.devices == 2
    assert training.status == "trained"
    assert len(values_of(cell, session)) == len(MEASURES)
