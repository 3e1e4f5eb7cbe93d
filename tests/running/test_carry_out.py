"""The scheduler, with an executor that does what a script says."""

from dataclasses import replace

import pytest

from capsbench.environment.failure_kinds import KILLER, killed
from capsbench.errors import UserError
from capsbench.executors.executor import Ended
from capsbench.executors.options import ExecutorOptions
from capsbench.records.failure import FailureRecord
from capsbench.running import carry_out as module
from capsbench.running.carry_out import carry_out
from capsbench.running.job_request import JobRequest, Outcome
from capsbench.running.jobs import CellJob, plan_jobs
from capsbench.running.plan import plan
from capsbench.running.session import Session
from capsbench.schema import Benchmark


class Scripted:
    """Ends every work in the next call with the next answer of its script, or with success."""

    def __init__(self, script):
        self.script = {name: list(answers) for name, answers in script.items()}
        self.log = []
        self.works = []

    def submit(self, works):
        self.works += works

    def ended(self, timeout):
        works, self.works = self.works, []
        return [self._end(work) for work in works]

    def _end(self, work):
        job = JobRequest.model_validate_json(work.request).job
        assert isinstance(job, CellJob)
        name = f"{job.kind} {job.cell.seed}"
        self.log.append(name)
        answers = self.script.get(name, [])
        answer = answers.pop(0) if answers else Outcome(status="done")
        if callable(answer):
            answer = answer(job)
        if isinstance(answer, Ended):
            return replace(answer, id=work.id)
        if isinstance(answer, int):
            return Ended(work.id, None, answer)
        return Ended(work.id, answer.model_dump_json())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def run_script(tiny_protocol, session, monkeypatch):
    """Carry out the jobs of two seeds by a script; returns number, log, outcomes and session."""
    monkeypatch.setattr(module, "BUSY", 0.01)
    monkeypatch.setattr(module, "TICK", 0.01)

    def run_script(retries=2, **script):
        executor = Scripted({name.replace("_", " "): each for name, each in script.items()})
        monkeypatch.setattr(module, "make_executor", lambda *_: executor)
        options = ExecutorOptions(retries=retries)
        this = Session(session.output, None, session.execution, session.console, options)
        jobs = plan_jobs(plan(Benchmark.model_validate(tiny_protocol)), "tiny", this)
        outcomes = {}

        def on_done(job, outcome):
            outcomes[f"{job.kind} {job.cell.seed}"] = outcome.status

        failures = carry_out(jobs, this, on_done)
        return failures, executor.log, outcomes, [this.folder(job.cell) for job in jobs]

    return run_script


FAILED = Outcome(status="failed", reason="it broke")
BUSY = Outcome(status="busy", reason="held by another")


def test_each_job_follows_those_that_it_depends_on(run_script):
    failures, log, outcomes, _ = run_script()
    assert not failures
    assert log == ["train 0", "train 1", "measure 0", "measure 1"]
    assert set(outcomes.values()) == {"done"}


def test_a_failure_ends_its_cell_alone(run_script):
    failures, log, outcomes, _ = run_script(train_0=[FAILED])
    assert failures == 2
    assert log == ["train 0", "train 1", "measure 1"]
    assert outcomes == {"train 0": "failed", "train 1": "done", "measure 1": "done"}


def test_a_job_whose_process_dies_is_tried_again(run_script):
    failures, log, _, _ = run_script(train_0=[-9, -9])
    assert not failures
    assert log.count("train 0") == 3


def test_a_job_that_always_dies_is_recorded_as_failed(run_script):
    failures, log, outcomes, folders = run_script(retries=1, train_0=[-9, -9, -9])
    assert failures == 2
    assert log.count("train 0") == 2
    assert outcomes["train 0"] == "failed"
    record = FailureRecord.load(folders[0].failure)
    assert (record.kind, record.job, record.attempts) == ("killed", "train", 2)
    assert KILLER in record.reason


def test_a_busy_job_comes_later(run_script):
    failures, log, _, _ = run_script(train_0=[BUSY, BUSY])
    assert not failures
    assert log.count("train 0") == 3
    assert log.index("train 1") < len(log) - 1 - log[::-1].index("train 0")


def test_a_job_that_another_run_has_is_not_submitted_meanwhile(run_script, monkeypatch):
    held = [True] * 5
    monkeypatch.setattr(module, "is_held", lambda *_: bool(held and held.pop()))
    failures, log, _, _ = run_script(train_0=[BUSY])
    assert not failures
    assert not held
    assert log.count("train 0") == 2


def test_the_words_of_the_engine_are_in_the_record(run_script):
    ended = Ended("", None, reason="job 7 of SLURM: NODE_FAIL")
    *_, folders = run_script(retries=0, train_0=[ended])
    assert "NODE_FAIL" in FailureRecord.load(folders[0].failure).reason


def test_a_process_of_a_group_waits_for_none_that_has_failed(run_script, monkeypatch, session):
    def another_fails(job):
        record = FailureRecord.now(killed(-9), cell=job.cell.config.folder_name, job="train")
        record.save(session.folder(job.cell).failure)
        return Ended("", None, 1)

    monkeypatch.setattr(Session, "is_one_of_group", True)
    with pytest.raises(UserError, match="SIGKILL"):
        run_script(train_0=[another_fails])


def test_refused_jobs_end_the_run_after_the_others(run_script):
    refused = Outcome(status="refused", reason="the file is damaged")
    with pytest.raises(UserError, match="damaged"):
        run_script(train_0=[refused])


def test_a_full_disk_ends_the_run_at_once(run_script):
    full = Outcome(status="refused", reason="no space left", hopeless=True)
    with pytest.raises(UserError, match="no space"):
        run_script(train_0=[full])
