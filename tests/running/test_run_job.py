"""Jobs of code that exits, asks, prints, or closes what it did not open; full and closed logs."""

import os
import signal
from pathlib import Path

import pytest

from capsbench.executors.local import LocalPool
from capsbench.executors.room import Room
from capsbench.executors.template import Template
from capsbench.files.lease import lease
from capsbench.records.failure import FailureRecord
from capsbench.running import run_job
from capsbench.running.job_leases import is_held
from capsbench.running.job_request import JobRequest, Outcome
from capsbench.running.jobs import CellJob
from capsbench.running.plan import plan
from capsbench.running.worker_command import WORKER
from capsbench.schema import Benchmark
from capsbench.trusted_code import trusting_code

ODD = '''
import os
import sys

from torch import nn


class Odd(nn.Module):
    """A linear network whose training does something that no network should do."""

    def __init__(self, *, image_shape, num_classes, act="nothing"):
        super().__init__()
        channels, height, width = image_shape
        self.layer = nn.Linear(channels * height * width, num_classes)
        self.act = act

    def forward(self, images):
        if len(images) > 8:
            getattr(self, self.act)()
        return self.layer(images.flatten(1))

    def exits(self):
        sys.exit(0)

    def asks(self):
        input("Which? ")

    def prints(self):
        os.write(1, b"from descriptor 1\\n")
        sys.stderr.write("from stderr\\n")

    def closes(self):
        sys.stdout.close()

    def is_denied(self):
        raise PermissionError(13, "Permission denied", "/of/root/alone")
'''
ACTS = ("exits", "asks", "prints", "closes", "is_denied")


@pytest.fixture
def requests(tiny_protocol, session, tmp_path):
    """Requests to train the odd networks, by name."""
    (tmp_path / "odd.py").write_text(ODD, encoding="utf-8")
    name = f"{tmp_path / 'odd.py'}:Odd"
    models = [{"name": name, "label": act, "arguments": {"act": act}} for act in ACTS]
    recipe = {**tiny_protocol["recipe"], "steps": 2, "evaluate_every": 2}
    protocol = {**tiny_protocol, "models": models, "seeds": [0], "recipe": recipe}
    with trusting_code(True):
        cells = plan(Benchmark.model_validate(protocol))
    return {
        cell.label: JobRequest.of(CellJob(kind="train", benchmark="tiny", cell=cell), session)
        for cell in cells
    }


def failure(request):
    return FailureRecord.load(request.output / request.job.cell.path / "failure.json")


def test_odd_networks_have_outcomes_and_their_worker_survives(requests):
    with Template(WORKER) as template, LocalPool(template, Room(1)) as pool:
        pool.submit([each.work(place) for place, each in enumerate(requests.values())])
        outcomes: dict[str, Outcome] = {}
        while len(outcomes) < len(ACTS):
            for ended in pool.ended(1):
                assert ended.answer is not None, ended
                outcomes[ended.id] = Outcome.model_validate_json(ended.answer)
    by_act = {act: outcomes[request.job.id] for act, request in requests.items()}
    for act, words in {"exits": "SystemExit", "asks": "EOFError"}.items():
        assert by_act[act].status == "failed"
        assert words in by_act[act].reason
        assert words in failure(requests[act]).traceback
    assert by_act["prints"].status == "done"
    log = requests["prints"].log.read_text("utf-8")
    assert "from descriptor 1" in log
    assert "from stderr" in log
    assert by_act["is_denied"].status == "refused"
    assert not by_act["is_denied"].hopeless
    logs = [each.log.read_text("utf-8").partition("process ")[2] for each in requests.values()]
    workers = {log.partition("\n")[0] for log in logs}
    assert len(workers) == 1


def test_an_error_after_a_signal_is_no_failure(requests, monkeypatch):
    """Libraries can make another error of the KeyboardInterrupt that a signal raises."""
    monkeypatch.setattr(run_job, "pending_stop", lambda: signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_job.run_logged(requests["exits"].model_dump_json())
    assert "SystemExit" in requests["exits"].log.read_text("utf-8")
    assert not list(requests["exits"].output.rglob("failure.json"))


def test_the_end_of_another_process_of_a_group_is_no_failure_of_this_one(requests, monkeypatch):
    def lose_connection(job, session):
        raise RuntimeError("[gloo/transport/tcp/pair.cc] Connection reset by peer")

    monkeypatch.setattr(run_job, "run_job", lose_connection)
    for name, value in {"LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    request = requests["prints"]
    with pytest.raises(SystemExit) as end:
        run_job.run_logged(request.model_dump_json())
    assert end.value.code == 1 and end.value.__suppress_context__
    assert "in lose_connection" in request.log.read_text("utf-8")
    assert not list(request.output.rglob("failure.json"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is full")
def test_a_log_on_a_full_disk_stops_the_run(requests):
    request = requests["prints"]
    request.log.parent.mkdir(parents=True)
    request.log.symlink_to("/dev/full")
    outcome = Outcome.model_validate_json(run_job.run_logged(request.model_dump_json()))
    assert (outcome.status, outcome.hopeless) == ("refused", True)
    assert "space" in outcome.reason
    os.write(1, b"")  # the descriptor is back


def test_a_job_is_held_while_others_have_all_that_is_left_of_it(tiny_protocol, session):
    measures = [tiny_protocol["measures"][0], {"measure": "calibration"}]
    protocol = {**tiny_protocol, "measures": measures}
    cell, _ = plan(Benchmark.model_validate(protocol))
    folder = session.folder(cell)
    train, measure = (
        CellJob(kind=kind, benchmark="tiny", cell=cell) for kind in ("train", "measure")
    )
    assert not is_held(train, session)
    with lease(folder.lease, "train"):
        assert is_held(train, session)
        assert not is_held(measure, session)
    one, other = cell.measures
    with lease(folder.measure_lease(one), "measure"):
        assert not is_held(measure, session)
        assert is_held(measure.model_copy(update={"measures": (one,)}), session)
        with lease(folder.measure_lease(other), "measure"):
            assert is_held(measure, session)
