"""Jobs: their order, their dependencies, and their form as plain JSON."""

import json

from capsbench.running.jobs import CellJob, plan_jobs
from capsbench.running.plan import plan
from capsbench.running.session import Session
from capsbench.schema import Benchmark
from tests.running.test_benchmark import transferring


def jobs_of(protocol, session, **execution):
    cells = plan(Benchmark.model_validate(protocol))
    changed = session.execution.model_copy(update=execution)
    this = Session(session.output, None, changed, session.console)
    return cells, plan_jobs(cells, "tiny", this)


def kinds(jobs):
    return [(job.kind, job.cell.seed) for job in jobs]


def assert_dependencies_come_first(jobs):
    for position, job in enumerate(jobs):
        assert set(job.depends_on) <= {earlier.id for earlier in jobs[:position]}


def test_a_cell_is_trained_then_measured(tiny_protocol, session):
    _, jobs = jobs_of(tiny_protocol, session)
    assert kinds(jobs) == [("train", 0), ("measure", 0), ("train", 1), ("measure", 1)]
    assert jobs[1].depends_on == (jobs[0].id,)
    assert_dependencies_come_first(jobs)


def test_processes_of_a_group_train_first(tiny_protocol, session):
    _, jobs = jobs_of(tiny_protocol, session, devices=2)
    assert kinds(jobs) == [("train", 0), ("train", 1), ("measure", 0), ("measure", 1)]


def test_measures_of_a_cell_on_several_devices_are_jobs_of_their_own(tiny_protocol, session):
    measures = [*tiny_protocol["measures"], {"measure": "cost"}]
    _, jobs = jobs_of(tiny_protocol | {"seeds": [0], "measures": measures}, session, devices=2)
    assert [job.kind for job in jobs] == ["train", "measure", "measure"]
    assert [name for job in jobs[1:] for name in job.measures] == list(jobs[0].cell.measures)
    assert len({job.id for job in jobs}) == 3


def test_a_failed_cell_has_no_jobs_and_nothing_can_use_it(tiny_protocol, session):
    cells, _ = jobs_of(transferring(tiny_protocol), session)
    folder = session.folder(cells[0])
    folder.path.mkdir(parents=True)
    folder.failure.write_text("{}")
    _, jobs = jobs_of(transferring(tiny_protocol), session)
    assert [(job.kind, job.cell.path) for job in jobs] == [("train", cells[1].path)]


def test_measures_wait_for_their_sources(tiny_protocol, session):
    cells, jobs = jobs_of(transferring(tiny_protocol), session)
    assert [job.kind for job in jobs] == ["train", "train", "measure", "measure"]
    for job in jobs[2:]:
        assert set(job.depends_on) == {jobs[0].id, jobs[1].id}
    assert {cell.path for cell in cells} == {job.cell.path for job in jobs}


def test_finished_cells_have_no_jobs(run, tiny_protocol, session):
    run(tiny_protocol)
    assert jobs_of(tiny_protocol, session)[1] == []


def test_a_job_is_plain_json(tiny_protocol, session):
    _, jobs = jobs_of(transferring(tiny_protocol), session)
    for job in jobs:
        text = json.dumps(job.model_dump(mode="json"), allow_nan=False)
        again = CellJob.model_validate(json.loads(text))
        assert again == job
        assert again.cell.config.fingerprint == job.cell.config.fingerprint
        assert list(again.cell.measures) == list(job.cell.measures)
