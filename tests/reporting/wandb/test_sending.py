"""Runs that are written offline and then sent: all of them, or as many as the server takes."""

import time

import pytest

from capsbench.reporting.wandb import sending
from capsbench.reporting.wandb.run import Destination, begin
from capsbench.reporting.wandb.sending import send


@pytest.fixture
def written(tmp_path):
    """Return a destination and the folders of runs that are written for it."""

    def written(*names, **settings):
        destination = Destination(tmp_path, "online", project="p", **settings)
        folders = []
        for name in names:
            run = begin(
                destination, run_id=name, name=name, group="g", job_type="evaluate", config={}
            )
            assert run is not None
            run.log({"step": 1})
            run.log_table("values", ("view",), [[90.0]])
            run.finish()
            folders.append(run.folder)
        return destination, folders

    return written


def test_all_runs_arrive(written, stand_in):
    destination, folders = written("first", "second")
    assert stand_in.operations == []  # nothing has waited for the server
    assert send(folders, destination) == set(folders)
    assert destination.failure == ""
    assert set(stand_in.runs) == {"first", "second"}
    assert [row["step"] for row in stand_in.history("second") if "step" in row] == [1]
    assert [name for name in stand_in.uploads if "values" in name]


@pytest.mark.parametrize(
    ("fault", "uploads", "reason"),
    [
        ("hang", False, "only 0 of 1 runs arrived, and none in the last 1 s"),
        ("hang", True, "127.0.0.1 does not answer within 0.5 s"),
        ("hang_uploads", False, "only 0 of 1 runs arrived, and none in the last 1 s"),
    ],
)
def test_a_server_that_hangs_is_left(written, stand_in, monkeypatch, fault, uploads, reason):
    monkeypatch.setattr(sending, "TIMEOUT", 1.0)
    destination, folders = written("first", uploads=uploads)
    stand_in.fault = fault if fault == "hang" else ""
    stand_in.hang_uploads = fault == "hang_uploads"
    before = time.monotonic()
    assert send(folders, destination) == set()
    assert time.monotonic() - before < 3
    assert destination.failure == reason


def test_the_reason_of_a_failing_server_is_told(written, stand_in):
    destination, folders = written("first")
    stand_in.fault = "401"
    assert send(folders, destination) == set()
    assert "refused" in destination.failure


def test_what_has_arrived_is_kept(written, stand_in, monkeypatch):
    monkeypatch.setattr(sending, "TIMEOUT", 2.0)
    destination, folders = written("first", "second")
    answer = type(stand_in).answer

    def answer_first(self, operation, variables):
        if operation == "UpsertBucket" and variables["name"] == "second":
            self.released.wait(60)
        return answer(self, operation, variables)

    monkeypatch.setattr(type(stand_in), "answer", answer_first)
    assert send(folders, destination) == {folders[0]}
    assert "only 1 of 2 runs arrived" in destination.failure


def test_a_full_disk_ends_nothing(written, stand_in, monkeypatch):
    def fail():
        raise OSError(28, "No space left on device")

    destination, folders = written("first")
    monkeypatch.setattr(sending, "TemporaryFile", fail)
    assert send(folders, destination) == set()
    assert "No space left" in destination.failure
