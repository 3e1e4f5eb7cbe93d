"""Several processes on one runs folder share cells and measures; nothing is done twice."""

import subprocess
import threading
from dataclasses import replace

import pytest

from capsbench.files.atomic import write_rows
from capsbench.files.lease import BusyError, Lease, LeaseLostError, lease
from capsbench.files.processes import this_process
from capsbench.measures import run_measure
from capsbench.records import BenchmarkFolder
from capsbench.running import measure_job, train_job
from capsbench.running.leftovers import clear_benchmark, clear_cell
from capsbench.running.measure_job import measure_cell
from capsbench.running.plan import plan
from capsbench.running.train_job import train_cell
from capsbench.schema import Benchmark
from tests.running.conftest import ONE_THREAD

GRID = {"rotation": {"start": -90, "stop": 90, "step": 90}}
MEASURES = [
    {"measure": "accuracy-by-view", "grid": GRID},
    {"measure": "consistency", "grid": GRID},
]


@pytest.fixture
def cell(tiny_protocol):
    """A cell with two measures, not trained yet."""
    protocol = {**tiny_protocol, "measures": MEASURES, "seeds": [0]}
    return plan(Benchmark.model_validate(protocol))[0]


@pytest.fixture
def trained(cell, session):
    train_cell(cell, session)
    return cell


@pytest.fixture
def computed(monkeypatch):
    """Names of the measures that were computed, in order."""
    names, compute = [], run_measure

    def run(config, *arguments):
        names.append(config.measure)
        return compute(config, *arguments)

    monkeypatch.setattr(measure_job, "run_measure", run)
    return names


def test_a_cell_that_is_being_trained_is_busy(cell, session):
    folder = session.folder(cell)
    with lease(folder.lease, "train it"), pytest.raises(BusyError, match="train it"):
        train_cell(cell, session)
    assert not folder.config.is_file()
    train_cell(cell, session)
    assert folder.training.is_file()
    assert not folder.lease.exists()


def test_a_training_states_its_progress(cell, session, monkeypatch):
    seen, update = [], Lease.update

    def spy(held, **progress):
        update(held, **progress)
        seen.append(progress)

    monkeypatch.setattr(Lease, "update", spy)
    train_cell(cell, session)
    assert {"steps": cell.recipe.steps, "device": "cpu"} in seen
    steps = [each["step"] for each in seen if "step" in each]
    assert steps == list(range(1, cell.recipe.steps + 1))
    assert all(each["steps_per_second"] >= 0 for each in seen if "step" in each)
    assert any("validation accuracy" in each.get("note", "") for each in seen)


def test_a_training_that_lost_its_lease_writes_nothing_more(cell, session, monkeypatch):
    folder = session.folder(cell)
    rows, states = [], []

    def lose(path, content):
        write_rows(path, content)
        rows.append(len(content))
        folder.lease.unlink()
        lease(folder.lease, "train it instead")
        states.append(folder.state.is_file())

    monkeypatch.setattr(train_job, "write_rows", lose)
    with pytest.raises(LeaseLostError, match="train it instead"):
        train_cell(cell, session)
    assert rows == [1]
    assert states == [False]
    assert not folder.state.is_file()
    assert not folder.training.is_file()
    assert folder.lease.is_file()


def test_measures_of_others_are_left_to_them(trained, session, computed):
    folder = session.folder(trained)
    first, second = trained.measures
    with (
        lease(folder.measure_lease(first), "measure it"),
        pytest.raises(BusyError, match="measure it"),
    ):
        measure_cell(trained, session)
    assert computed == ["consistency"]
    assert folder.measure(second).is_file()
    assert not folder.measure(first).is_file()
    measure_cell(trained, session)
    assert computed == ["consistency", "accuracy-by-view"]
    assert [path.name for path in (folder.path / "measures").iterdir() if path.name[0] == "."] == []


def test_a_measure_that_another_process_records_meanwhile_is_not_repeated(
    trained, session, computed
):
    folder = session.folder(trained)
    first, _ = trained.measures
    measure_cell(trained, session)
    content = {path: path.read_bytes() for path in (folder.measure(first), folder.per_image(first))}
    for path in content:
        path.unlink()
    computed.clear()
    held, waits = lease(folder.measure_lease(first), "measure it"), []

    def finish(holder):
        waits.append(holder.task)
        for path, bytes_ in reversed(content.items()):
            path.write_bytes(bytes_)
        threading.Timer(0.3, held.release).start()

    assert measure_cell(trained, session, on_wait=finish) == {}
    assert waits == ["measure it"]
    assert computed == []


def test_a_measure_that_lost_its_lease_is_not_recorded(trained, session, monkeypatch):
    folder = session.folder(trained)
    first, _ = trained.measures

    def lose(*arguments):
        folder.measure_lease(first).unlink()
        return run_measure(*arguments)

    monkeypatch.setattr(measure_job, "run_measure", lose)
    with pytest.raises(LeaseLostError, match="removed"):
        measure_cell(trained, session, names=[first])
    assert not folder.measure(first).is_file()


def test_leftovers_of_a_cell_go_when_no_process_uses_it(trained, session):
    folder, dead = session.folder(trained), replace(this_process(), start=0)
    before = sorted(folder.path.rglob("*"))
    for name in (f".training.json.{dead}.1.tmp", f"measures/.a.npz.{dead}.1.tmp"):
        (folder.path / name).parent.mkdir(exist_ok=True)
        (folder.path / name).touch()
    for path in (folder.state, folder.replaced):
        path.touch()
    with lease(folder.lease, "train it"):
        clear_cell(folder)
        assert folder.state.is_file()
        text = folder.lease.read_text().replace(str(this_process()), str(dead))
    folder.lease.write_text(text)
    (folder.path / "measures" / ".a-0.lease").write_text(text)
    clear_cell(folder)
    (folder.path / "measures").rmdir()
    assert sorted(folder.path.rglob("*")) == before


def test_the_state_of_an_unfinished_training_stays(cell, session):
    folder = session.folder(cell)
    folder.path.mkdir(parents=True)
    for path in (folder.state, folder.replaced):
        path.touch()
    clear_cell(folder)
    assert folder.state.is_file()
    assert folder.replaced.is_file()


def test_leftovers_of_a_benchmark_go(tmp_path):
    dead, folder = replace(this_process(), start=0), BenchmarkFolder(tmp_path / "tiny")
    figures = folder.report / "figures"
    figures.mkdir(parents=True)
    for place in (folder.path, folder.report, figures):
        for name in ("benchmark.json", "examples.npz", "index.html"):
            (place / f".{name}.{dead}.1.tmp").touch()
    clear_benchmark(folder)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.slow
def test_two_runs_share_the_cells_and_train_none_twice(tiny_file, tiny_protocol, tmp_path, command):
    trainings = tmp_path / "trainings"
    trainings.mkdir()
    text = tiny_file.read_text().replace(
        "        loss = cross",
        "        if progress == 0:\n"
        "            import tempfile\n"
        f"            tempfile.mkstemp(dir={str(trainings)!r})\n"
        "        loss = cross",
    )
    (tmp_path / "counted.py").write_text(text)
    models = [{"name": str(tmp_path / "counted.py:Tiny"), "label": "Tiny"}]
    recipe = {**tiny_protocol["recipe"], "steps": 40}
    protocol = {**tiny_protocol, "models": models, "recipe": recipe, "seeds": [0, 1, 2, 3]}
    line = command(protocol, tmp_path, "--workers", "1")
    runs = [
        subprocess.Popen(line, env=ONE_THREAD, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0].decode() for process in runs]
    assert [process.returncode for process in runs] == [0, 0], outputs
    assert len(list(trainings.iterdir())) == 4
    assert len(list(tmp_path.rglob("training.json"))) == 4
    assert [path for path in tmp_path.rglob(".*") if path.suffix in (".tmp", ".lease")] == []
    index = tmp_path / "tiny/report/index.html"
    assert index.is_file()
