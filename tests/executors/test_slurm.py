"""Works as jobs: submitit's jobs of this machine, and SLURM's commands as small scripts."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from capsbench.errors import UserError
from capsbench.executors import slurm
from capsbench.executors.executor import Ended, Work
from capsbench.executors.options import ExecutorOptions
from capsbench.executors.room import Room
from capsbench.executors.slurm import SlurmArrays
from capsbench.executors.slurm_options import SlurmOptions
from tests.executors.tiny_worker import COMMAND

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="SLURM does not run on Windows")


@pytest.fixture(autouse=True)
def checkout(monkeypatch):
    monkeypatch.chdir(ROOT)  # of the module of COMMAND


def work(name, argument=0, **values):
    return Work(**{"id": name, "title": name, "request": json.dumps([name, argument])} | values)


def all_ended(executor, count):
    ended: dict[str, Ended] = {}
    until = time.monotonic() + 60
    while len(ended) < count:
        assert time.monotonic() < until
        ended |= {each.id: each for each in executor.ended(0.1)}
    return ended


def wait_for(path):
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.05)


# submitit's jobs on this machine


def jobs_here(folder, *, workers=None, command=COMMAND, **options):
    settings = SlurmOptions(cluster="local", time=5, **options)
    return SlurmArrays(
        command, ExecutorOptions(name="slurm", workers=workers, slurm=settings), "cpu", folder
    )


def test_jobs_answer_and_one_that_died_has_its_signal(tmp_path):
    with jobs_here(tmp_path) as executor:
        executor.submit([work("pid"), work("die", signal.SIGKILL)])
        ended = all_ended(executor, 2)
    assert ended["pid"].answer.isdigit()
    assert (ended["die"].answer, ended["die"].code) == (None, -signal.SIGKILL)
    assert list((tmp_path / ".slurm").rglob("*_log.out")), "the logs of a death are kept"


def test_stopping_lets_a_job_save_its_state(tmp_path):
    stopped = tmp_path / "stopped"
    with jobs_here(tmp_path, workers=1) as executor:
        executor.submit([work("sleep", str(stopped)), work("pid")])
        wait_for(stopped.with_suffix(".started"))
    assert stopped.exists()


def test_jobs_of_this_machine_have_devices_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(Room, "of_machine", lambda *_: Room(4, ["4", "7"]))
    options = ExecutorOptions(name="slurm", slurm=SlurmOptions(cluster="local", time=5))
    with SlurmArrays(COMMAND, options, "cuda", tmp_path) as executor:
        executor.submit([work("variable", "CUDA_VISIBLE_DEVICES", id=f"{n}") for n in range(2)])
        assert {each.answer for each in all_ended(executor, 2).values()} == {"4", "7"}


AGAIN = """
import os, signal, sys, time
from pathlib import Path
from capsbench.executors.group import answer_file

request, state = Path(sys.argv[1]), Path(sys.argv[0] + ".state")
if state.exists():
    answer_file(request).write_text("resumed")
    sys.exit()

def save(number, frame):
    state.touch()
    sys.exit(128 + number)

signal.signal(signal.SIGTERM, save)
job = Path(sys.argv[0] + ".job")
job.with_suffix(".new").write_text(str(os.getppid()))
job.with_suffix(".new").rename(job)
time.sleep(60)
"""


@pytest.mark.parametrize("requeue", [True, False])
def test_a_preempted_job_saves_its_state_and_is_queued_again(tmp_path, requeue):
    program = tmp_path / "program.py"
    program.write_text(AGAIN)
    job = tmp_path / "program.py.job"
    command = (COMMAND[0], str(program))
    with jobs_here(tmp_path, command=command, requeue=requeue) as executor:
        executor.submit([work("train")])
        wait_for(job)
        os.kill(int(job.read_text()), signal.SIGUSR2)  # as SLURM does
        ended = all_ended(executor, 1)["train"]
    assert (tmp_path / "program.py.state").exists()
    assert ended.answer == ("resumed" if requeue else None)
    # Of a run without deaths nothing is left.
    assert (tmp_path / ".slurm" / executor.name).exists() is not requeue


# SLURM's commands


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A folder of commands in SLURM's place, which note their arguments."""
    folder = tmp_path / "bin"
    folder.mkdir()
    scripts = {
        "srun": "",
        "sbatch": f'cp "$1" {folder}/script$(ls {folder} | grep -c script); '
        "echo Submitted batch job 7",
        "squeue": f"cat {folder}/states",
        "scancel": f'echo "$*" >> {folder}/cancelled',
    }
    for name, line in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    (folder / "states").write_text("")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "STATES_EVERY", 0.0)
    monkeypatch.setitem(slurm.LOOK_EVERY, "slurm", 0.0)
    return folder


def jobs_of_cluster(folder, *, device="cpu", workers=None, **options):
    settings = ExecutorOptions(name="slurm", workers=workers, slurm=SlurmOptions(**options))
    return SlurmArrays(COMMAND, settings, device, folder)


def flags(script):
    lines = script.read_text().splitlines()
    return {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")}


def test_works_of_equal_resources_are_one_array(tmp_path, cluster):
    options = {"partition": "gpu", "time": 120, "account": "me", "signal": 30, "mem": "8G"}
    with jobs_of_cluster(tmp_path, device="cuda", workers=2, **options) as executor:
        small = [work("pid", id=str(n)) for n in range(3)]
        executor.submit([*small, work("pid", id="large", devices=4, threads=2)])
    array, single = flags(cluster / "script0"), flags(cluster / "script1")
    common = {"partition=gpu", "time=120", "account=me", "mem=8G", "requeue", "signal=USR2@30"}
    assert array >= {*common, "array=0-2%2", "gpus-per-node=1", "cpus-per-task=1"}
    assert single >= {*common, "gpus-per-node=4", "cpus-per-task=8"}
    assert not [flag for flag in single if flag.startswith("array")]


def test_an_array_is_no_larger_than_slurm_allows(tmp_path, cluster, monkeypatch):
    monkeypatch.setattr(slurm, "MAX_ARRAY", 2)
    with jobs_of_cluster(tmp_path) as executor:
        executor.submit([work("pid", id=str(n)) for n in range(5)])
    scripts = sorted(cluster.glob("script*"))
    assert len(scripts) == 3
    arrays = [flag for each in scripts for flag in flags(each) if flag.startswith("array")]
    assert arrays == ["array=0-1%2"] * 2


def test_resources_are_stated_by_name_and_the_script_has_the_lines_of_setup(tmp_path, cluster):
    options = {"gres": "gpu:a100:1", "requeue": False, "setup": ["module load cuda"]}
    with jobs_of_cluster(tmp_path, device="cuda", **options) as executor:
        executor.submit([work("pid")])
    script = flags(cluster / "script0")
    assert script >= {"gres=gpu:a100:1", "no-requeue"}
    assert not [flag for flag in script if flag.startswith("gpus")]
    assert "\nmodule load cuda\n" in (cluster / "script0").read_text()


def test_a_job_that_ended_without_an_answer_has_died_of_its_state(tmp_path, cluster):
    with jobs_of_cluster(tmp_path) as executor:
        executor.submit([work("pid", id=str(n)) for n in range(3)])
        (cluster / "states").write_text("7_0|RUNNING\n7_1|TIMEOUT\n")
        assert executor.ended(0) == [], "an answer may come until the next request"
        died = {each.id: each for each in executor.ended(0)}
        (cluster / "states").write_text("")
    assert died.keys() == {"1", "2"}
    assert all(each.answer is None for each in died.values())
    assert "TIMEOUT" in died["1"].reason and "7_1" in died["1"].reason


def test_a_controller_that_does_not_answer_ends_nothing(tmp_path, cluster):
    with jobs_of_cluster(tmp_path) as executor:
        executor.submit([work("pid")])
        (cluster / "states").unlink()
        assert executor.ended(0) == executor.ended(0) == []


def test_stopping_cancels_what_waits_and_signals_what_runs(tmp_path, cluster):
    with jobs_of_cluster(tmp_path) as executor:
        executor.submit([work("pid")])
    waiting, running, last = (cluster / "cancelled").read_text().splitlines()
    assert all(f"--name={executor.name}" in line for line in (waiting, running, last))
    assert "--state=PENDING" in waiting and "--signal" not in waiting
    assert "--state=RUNNING" in running and "--signal=USR1" in running
    assert "--state" not in last and "--signal" not in last


def test_a_refusal_of_slurm_is_one_sentence(tmp_path, cluster):
    (cluster / "sbatch").write_text("#!/bin/sh\necho error: invalid partition >&2; exit 1\n")
    with jobs_of_cluster(tmp_path) as executor, pytest.raises(UserError, match="invalid partition"):
        executor.submit([work("pid")])


def test_without_slurm_its_absence_is_stated(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"no command 'sbatch'.*cluster=local"):
        jobs_of_cluster(tmp_path).__enter__()
