"""Interrupted runs: a killed training ends with the same bits, and leaves no rubbish."""

import signal
import subprocess
import time
from dataclasses import replace

import pytest
from rich.console import Console
from safetensors.torch import load_file

from capsbench.files.atomic import read_rows
from capsbench.files.processes import this_process
from capsbench.pretrained import WEIGHTS
from capsbench.running.cell_state import cell_state
from capsbench.running.plan import plan
from capsbench.running.session import Session
from capsbench.schema import Benchmark
from tests.running.conftest import ONE_THREAD


def weights(cells, session):
    """The bits of the selected weights of every cell."""
    folders = [session.folder(cell).checkpoint("validation") for cell in cells]
    return [
        {key: weight.numpy().tobytes() for key, weight in load_file(path / WEIGHTS).items()}
        for path in folders
    ]


@pytest.mark.slow  # the short soak kills processes, too
def test_a_killed_run_is_resumed_with_the_same_bits(run, tiny_protocol, session, command):
    """kill -9 in the second cell: the first one stays, the second one ends with the same bits."""
    recipe = {**tiny_protocol["recipe"], "steps": 150, "batch_size": 64}
    recipe["augmentation"] = ["RandAugment", "RandomErasing"]
    protocol = {**tiny_protocol, "recipe": recipe}
    cells = plan(Benchmark.model_validate(protocol))
    killed, undisturbed = (
        Session(session.output / name, None, session.execution, Console())
        for name in ("killed", "undisturbed")
    )
    for each in (killed, undisturbed):
        each.output.mkdir()
    one_by_one = command(protocol, killed.output, "--workers", "1")
    process = subprocess.Popen(one_by_one, env=ONE_THREAD)
    state = killed.folder(cells[1]).state
    deadline = time.monotonic() + 120
    while not state.is_file() and time.monotonic() < deadline:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [cell_state(cell, killed) for cell in cells] == ["done", "resumable"]
    first = killed.folder(cells[0]).training.stat().st_mtime_ns
    dead = replace(this_process(), start=0)
    (killed.folder(cells[1]).path / f".training.json.{dead}.1.tmp").write_text("half a rec")

    for each in (killed, undisturbed):
        run(protocol, output=each.output)
    assert killed.folder(cells[0]).training.stat().st_mtime_ns == first
    assert weights(cells, killed) == weights(cells, undisturbed)
    assert not list(killed.output.rglob("*.tmp"))
    trajectories = [read_rows(each.folder(cells[1]).trajectory) for each in (killed, undisturbed)]
    for rows in trajectories:
        for row in rows:
            del row["seconds"]
    assert trajectories[0] == trajectories[1]


def test_leftovers_of_a_killed_measure_and_report_are_removed(run, tiny_protocol, session):
    cells, _ = run({**tiny_protocol, "seeds": [0]})
    folder = session.folder(cells[0])
    (name,) = cells[0].measures
    folder.measure(name).unlink()
    dead = replace(this_process(), start=0)
    (folder.path / "measures" / f".half.json.{dead}.1.tmp").write_text("{")
    (session.output / "tiny" / "report" / f".index.html.{dead}.1.tmp").write_text("<")
    run({**tiny_protocol, "seeds": [0]})
    assert folder.measure(name).is_file()
    assert not list(session.output.rglob("*.tmp"))
