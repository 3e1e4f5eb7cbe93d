"""Works as tasks of Ray: its absence, and for real where Ray is installed."""

import importlib.util
import json
import signal
import sys
import time
from pathlib import Path

import pytest

from capsbench.errors import UserError
from capsbench.executors import ray as executor_of_ray
from capsbench.executors.executor import Ended, Work
from capsbench.executors.options import ExecutorOptions
from capsbench.executors.ray import RayCluster
from capsbench.records import provenance
from tests.executors.tiny_worker import COMMAND, carry_out

ROOT = Path(__file__).parents[2]

with_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed"
)


@pytest.fixture(autouse=True)
def checkout(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # so that Ray's processes import the tests


def work(name, argument=0, **values):
    return Work(**{"id": name, "title": name, "request": json.dumps([name, argument])} | values)


def cluster(folder, *, device="cpu", **options):
    return RayCluster(carry_out, COMMAND, ExecutorOptions(name="ray", **options), device, folder)


def all_ended(executor, count):
    ended: dict[str, Ended] = {}
    until = time.monotonic() + 120
    while len(ended) < count:
        assert time.monotonic() < until
        ended |= {each.id: each for each in executor.ended(0.2)}
    return ended


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'capsbench\[ray\]'"):
        cluster(tmp_path).__enter__()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense"])
def test_an_address_without_a_cluster_is_refused_at_once(address):
    with pytest.raises((OSError, ValueError)):
        executor_of_ray._require_answer(address)


def test_the_package_is_shipped_with_its_table_of_names():
    package, table = executor_of_ray._package()
    assert (package / "models" / "__init__.py").is_file()
    assert "capsbench.models" in (table / "entry_points.txt").read_text(encoding="utf-8")


@with_ray
@pytest.mark.slow
def test_tasks_answer_and_deaths_are_reported(tmp_path):
    with cluster(tmp_path, workers=2) as executor:
        works = [work("pid", id="a"), work("die", signal.SIGKILL), work("pid", id="b", devices=2)]
        executor.submit([*works, work("exit", 3, devices=2)])
        ended = all_ended(executor, 4)
        # A worker process is reused.
        executor.submit([work("pid", id=str(n)) for n in range(6)])
        assert len({each.answer for each in all_ended(executor, 6).values()}) <= 2
    assert ended["a"].answer.isdigit() and ended["b"].answer.isdigit()
    assert ended["die"].answer is None and "WorkerCrashed" in ended["die"].reason
    assert (ended["exit"].answer, ended["exit"].code) == (None, 3)
    assert list(tmp_path.iterdir()) == []


def wait_in_steps(request):
    """Wait as a training computes: Ray interrupts between two operations, and no system call."""
    stopped = Path(request)
    stopped.with_suffix(".started").touch()
    try:
        for _ in range(600):
            time.sleep(0.1)
    except KeyboardInterrupt:
        stopped.touch()
        raise
    return "waited"


@with_ray
@pytest.mark.slow
def test_stopping_lets_a_task_save_its_state(tmp_path):
    stopped = tmp_path / "stopped"
    options = ExecutorOptions(name="ray")
    with RayCluster(wait_in_steps, COMMAND, options, "cpu", tmp_path) as executor:
        executor.submit([Work("wait", "wait", str(stopped))])
        until = time.monotonic() + 60
        while not stopped.with_suffix(".started").exists():
            assert time.monotonic() < until
            time.sleep(0.1)
        now = time.monotonic()
        executor.stop()
    assert stopped.exists()
    assert time.monotonic() - now < 30


@with_ray
@pytest.mark.slow
def test_a_cluster_without_the_devices_or_the_folder_is_refused(tmp_path, monkeypatch):
    with cluster(tmp_path, device="cuda") as executor:
        most = max(node.get("GPU", 0) for node in executor_of_ray._nodes())
        with pytest.raises(UserError, match=rf"{most + 1:.0f} GPUs.*has {most:.0f}"):
            executor.submit([work("pid", devices=int(most) + 1)])
        for marker in tmp_path.glob(".ray-*"):
            marker.unlink()  # as a node sees it whose disk is another one
        monkeypatch.setattr(executor, "_uses_gpus", False)
        executor.submit([work("pid")])
        with pytest.raises(UserError, match=r"does not see.*--output"):
            all_ended(executor, 1)


def test_a_shipped_copy_states_the_commit_of_the_checkout(tmp_path, monkeypatch):
    copy = tmp_path / "capsbench" / "records" / "provenance.py"  # no .git above it
    monkeypatch.setattr(provenance, "__file__", str(copy))
    assert provenance.current_commit() is None
    monkeypatch.setenv(provenance.SHIPPED_COMMIT, "0123456789ab")
    assert provenance.current_commit() == "0123456789ab"
