"""Benchmarks run, resumed, killed and widened: nothing finished is lost, nothing is done twice."""

import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock
from rich.console import Console
from safetensors.torch import load_file

from capsbench.errors import UserError
from capsbench.pretrained import WEIGHTS
from capsbench.records import CellFolder, read_json, read_npz, read_rows
from capsbench.running.plan import plan
from capsbench.running.run import cell_state, run_benchmark
from capsbench.schema import Benchmark
from capsbench.training.execution import Execution

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
ON_GLIBC = "on" if platform.libc_ver()[0] == "glibc" else "off: only the C library glibc"


@pytest.fixture
def run(tmp_path, capsys):
    """Run a protocol; returns its cells, and the moments at which the trainings were recorded."""

    def run(protocol, *, models=None, **execution):
        benchmark = Benchmark.model_validate(protocol)
        cells = plan(benchmark, models=models)
        page = run_benchmark(
            benchmark,
            cells=cells,
            output=tmp_path,
            execution=Execution(**{"device": "cpu", "wandb": "off", **execution}),
            data_root=None,
            changes=[],
            command="a test",
            console=Console(),
        )
        assert page is not None
        assert page.is_file()
        moments = {c.path: (tmp_path / c.path / "training.json").stat().st_mtime_ns for c in cells}
        return cells, moments

    return run


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        ({"splits": ["novel"]}, "digits has no novel test images"),
        ({"splits": ["rearranged"]}, "digits does not know the parts"),
        ({"ranges": {"aside": {"azimuth": 90}}}, "digits records no view"),
    ],
    ids=["novel", "rearranged", "azimuth"],
)
def test_what_cannot_be_tested_is_told_before_training(
    run, tiny_protocol, tmp_path, measure, message
):
    measures = [{"measure": "accuracy-by-split", **measure}]
    with pytest.raises(UserError, match=message):
        run({**tiny_protocol, "measures": measures})
    assert not list(tmp_path.rglob("*.json"))


def test_a_run_leaves_whole_records(run, tiny_protocol, tmp_path):
    cells, _ = run(tiny_protocol)
    assert [cell.seed for cell in cells] == [0, 1]
    for cell in cells:
        folder = CellFolder(tmp_path / cell.path)
        config, training = read_json(folder.config), read_json(folder.training)
        assert folder.path.name == f"{cell.seed}-{config['fingerprint']}"
        assert folder.path.parent == tmp_path / "digits" / "Tiny"
        assert training["status"] == "trained"
        assert [row["step"] for row in read_rows(folder.trajectory)] == [4, 8, 12]
        assert not folder.state.exists()
        assert (folder.checkpoint("last") / "model.safetensors").is_file()
        (name,) = cell.measures
        measured, samples = read_json(folder.measure(name)), read_npz(folder.samples(name))
        assert measured["n"] == 100
        assert samples["correct"].shape == (3, 100)
        assert measured["values"]["rotation=90/accuracy"] == samples["correct"][2].mean()
        assert {view["familiar"] for view in measured["views"]} == {True, False}
    assert not list(tmp_path.rglob("*.tmp"))


def transferring(protocol):
    """The protocol with a second model, each a source of attacks."""
    (model, *_) = protocol["models"]
    models = [model | {"label": "a"}, model | {"label": "b", "arguments": {"rate": 0.05}}]
    attacks = {
        "measure": "attacks",
        "methods": ["fgsm"],
        "epsilons": [0.1],
        "images": 20,
        "sources": ["a", "b"],
    }
    return {**protocol, "models": models, "seeds": [0], "measures": [attacks]}


def test_attacks_are_transferred_both_ways(run, tiny_protocol, tmp_path):
    protocol = transferring(tiny_protocol)
    with pytest.raises(UserError, match="measures of b look at a, seed 0, which is not trained"):
        run(protocol, models=["b"])
    cells, first = run(protocol)
    for cell, other in zip(cells, "ba", strict=True):
        (name,) = cell.measures
        values = read_json(CellFolder(tmp_path / cell.path).measure(name))["values"]
        transferred = {key.partition("/")[0] for key in values if key.startswith("from ")}
        assert transferred == {f"from {other}"}
        assert "fgsm/eps=0.1/accuracy" in values
    again, moments = run(protocol, models=["b"])  # its source is there already
    assert moments == {cell.path: first[cell.path] for cell in again}


def test_another_source_is_another_measure(tiny_protocol):
    protocol = transferring(tiny_protocol)
    names = [list(cell.measures) for cell in plan(Benchmark.model_validate(protocol))]
    longer = {**protocol, "recipe": {**protocol["recipe"], "steps": 16}}
    assert [list(c.measures) for c in plan(Benchmark.model_validate(longer))] != names
    protocol["measures"][0]["sources"] = ["aa"]
    with pytest.raises(ValueError, match="attacks: unknown model 'aa'; did you mean 'a'"):
        Benchmark.model_validate(protocol)


def test_a_precision_that_is_emulated_is_told_once(run, tiny_protocol, capsys, monkeypatch):
    monkeypatch.setattr("capsbench.training.devices.multiplies_bfloat16", lambda: False)
    run(tiny_protocol | {"recipe": tiny_protocol["recipe"] | {"precision": "bf16-mixed"}})
    assert capsys.readouterr().out.count("no bfloat16 instructions") == 1


def test_a_second_run_finds_everything(run, tiny_protocol, capsys):
    _, first = run(tiny_protocol)
    capsys.readouterr()
    _, second = run(tiny_protocol)
    assert second == first
    assert capsys.readouterr().out.count("(found)") == 2


def test_what_determines_a_training_makes_another_cell(tiny_protocol, tiny_file):
    def paths(protocol):
        return {cell.path for cell in plan(Benchmark.model_validate(protocol))}

    changes: list[dict[str, Any]] = [
        {"seeds": [2]},
        {"recipe": {**tiny_protocol["recipe"], "steps": 13}},
        {"recipe": {**tiny_protocol["recipe"], "limit": 90}},
        {"views": {"rotation": [-10, 15]}},
        {"models": [{"name": f"{tiny_file}:Tiny", "arguments": {"rate": 0.3}}]},
    ]
    base = paths(tiny_protocol)
    for change in changes:
        assert not base & paths({**tiny_protocol, **change}), change
    same: list[dict[str, Any]] = [
        {"title": "Other", "version": 2},
        {"models": [{"name": f"{tiny_file}:Tiny", "label": "Other", "arguments": {"rate": 0.2}}]},
        {
            "measures": [
                {
                    "measure": "accuracy-by-view",
                    "grid": {"scale": {"start": 1, "stop": 2, "step": 1}},
                }
            ]
        },
    ]
    for change in same:
        assert base == paths({**tiny_protocol, **change}), change


def test_an_added_measure_trains_nothing(run, tiny_protocol, tmp_path):
    _, before = run(tiny_protocol)
    grid = {"shift_x": {"start": 0, "stop": 8, "step": 4}}
    wider = {**tiny_protocol, "measures": [{"measure": "accuracy-by-view", "grid": grid}]}
    cells, after = run(wider)
    assert after == before
    for cell in cells:
        (name,) = cell.measures
        assert (
            "shift_x=8/accuracy"
            in read_json(tmp_path / cell.path / "measures" / f"{name}.json")["values"]
        )
        assert len(list((tmp_path / cell.path / "measures").glob("*.json"))) == 2


def test_a_diverged_cell_is_a_result_and_the_others_go_on(
    run, tiny_protocol, tiny_file, tmp_path, capsys
):
    models = [
        {"name": f"{tiny_file}:Tiny", "label": "Bad", "arguments": {"explode": True}},
        {"name": f"{tiny_file}:Tiny", "label": "Good"},
    ]
    cells, _ = run({**tiny_protocol, "models": models, "seeds": [0]})
    bad, good = (read_json(tmp_path / cell.path / "training.json") for cell in cells)
    assert (bad["status"], bad["diverged_at"]) == ("diverged", 7)
    assert good["status"] == "trained"
    assert "Bad, seed 0: diverged at step 7" in capsys.readouterr().out
    assert [cell_state(tmp_path, cell) for cell in cells] == ["done", "done"]


def command(protocol, folder, *more):
    path = Path(folder, "tiny.yaml")
    path.write_text(yaml.safe_dump(protocol))
    return [
        sys.executable, "-m", "capsbench", "run", str(path), "--output", str(folder),
        "--device", "cpu", "--wandb", "off", *more,
    ]  # fmt: skip


def weights(cells, folder):
    chosen = [CellFolder(folder / cell.path).checkpoint("validation") for cell in cells]
    return [
        {key: weight.numpy().tobytes() for key, weight in load_file(path / WEIGHTS).items()}
        for path in chosen
    ]


def test_killed_and_started_again(run, tiny_protocol, tmp_path):
    """kill -9 in the second cell: the first stays, the second ends with the same bits."""
    protocol = {**tiny_protocol, "recipe": {**tiny_protocol["recipe"], "steps": 150, "batch_size": 64}}
    cells = plan(Benchmark.model_validate(protocol))
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed.mkdir(), whole.mkdir()
    process = subprocess.Popen(command(protocol, killed), env=ONE_THREAD)
    state = killed / cells[1].path / "state.ckpt"
    deadline = time.monotonic() + 120
    while not state.is_file() and time.monotonic() < deadline:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [cell_state(killed, cell) for cell in cells] == ["done", "resumable"]
    first = (killed / cells[0].path / "training.json").stat().st_mtime_ns
    leftover = killed / cells[1].path / ".training.json.1.tmp"
    leftover.write_text("half a rec")

    for folder in (killed, whole):
        subprocess.run(command(protocol, folder), env=ONE_THREAD, check=True, capture_output=True)
    assert (killed / cells[0].path / "training.json").stat().st_mtime_ns == first
    assert weights(cells, killed) == weights(cells, whole)
    assert not list(killed.rglob("*.tmp"))
    trajectories = [read_rows(CellFolder(f / cells[1].path).trajectory) for f in (killed, whole)]
    for rows in trajectories:
        for row in rows:
            del row["seconds"]
    assert trajectories[0] == trajectories[1]


def test_two_processes_make_one_record(tiny_protocol, tmp_path):
    """DDP over gloo: each sees half of a batch, nothing is counted twice, one record is left."""
    protocol = {**tiny_protocol, "seeds": [0]}
    (cell,) = plan(Benchmark.model_validate(protocol))
    arguments = command(protocol, tmp_path, "--devices", "2", "--strategy", "ddp")
    done = subprocess.run(arguments, env=ONE_THREAD, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folder = CellFolder(tmp_path / cell.path)
    training = read_json(folder.training)
    assert training["execution"]["devices"] == 2
    # Made by each process itself, not found where its parent has left them.
    assert training["execution"]["process"]["freed memory"].startswith(ON_GLIBC)
    assert training["status"] == "trained"
    (name,) = cell.measures
    assert read_json(folder.measure(name))["n"] == 100
    assert len(list(folder.path.rglob("training.json"))) == 1
    # Dropout differs by process; the rest of the arithmetic is that of one process.
    assert len(read_rows(folder.trajectory)) == 3


def test_two_processes_learn_what_one_learns(tiny_protocol, tiny_file, tmp_path):
    """Without dropout, the same global batches give the same weights to rounding."""
    models = [{"name": f"{tiny_file}:Tiny", "arguments": {"rate": 0.0}}]
    protocol = {**tiny_protocol, "seeds": [0], "models": models, "follow": ["familiar"]}
    (cell,) = plan(Benchmark.model_validate(protocol))
    found = []
    for number in ("1", "2"):
        folder = tmp_path / number
        folder.mkdir()
        strategy = "auto" if number == "1" else "ddp"
        arguments = command(protocol, folder, "--devices", number, "--strategy", strategy)
        if number == "2":
            arguments.insert(arguments.index("run"), "--plain-process")
        subprocess.run(arguments, env=ONE_THREAD, check=True, capture_output=True)
        found.append(read_rows(CellFolder(folder / cell.path).trajectory))
    settings = read_json(CellFolder(folder / cell.path).training)["execution"]["process"]
    assert set(settings.values()) == {"off: --plain-process"}  # the option reaches the group
    for one, two in zip(*found, strict=True):
        assert one["validation_loss"] == pytest.approx(two["validation_loss"], rel=1e-4)
        for column in ("validation_accuracy", "familiar_accuracy"):
            assert one[column] == pytest.approx(two[column], abs=1e-6)
        assert one["train_loss"] == pytest.approx(two["train_loss"], rel=1e-4)


def test_a_cell_that_another_process_trains_is_left_alone(run, tiny_protocol, tmp_path):
    cell = plan(Benchmark.model_validate(tiny_protocol))[0]
    (tmp_path / cell.path).mkdir(parents=True)
    with (
        FileLock(tmp_path / cell.path / ".lock"),
        pytest.raises(UserError, match="another process"),
    ):
        run(tiny_protocol)


def test_a_damaged_record_is_named(run, tiny_protocol, tmp_path):
    cells, _ = run(tiny_protocol)
    (tmp_path / cells[0].path / "training.json").write_text('{"schema": 1, "sta')
    with pytest.raises(UserError, match=r"training\.json is damaged"):
        run(tiny_protocol)


def test_the_page_can_be_built_from_records_alone(run, tiny_protocol, tmp_path):
    run(tiny_protocol)
    content = json.loads((tmp_path / "tiny" / "benchmark.json").read_text())
    assert [entry["seed"] for entry in content["cells"]] == [0, 1]
    examples = read_npz(tmp_path / "tiny" / "examples.npz")["images"]
    assert examples.shape == (3, 5, 1, 32, 32)
    assert (
        examples[0] == examples[1][..., ::-1, :].swapaxes(-1, -2)
    ).all()  # -90 degrees: clockwise


def test_no_failure_of_a_mirror_ends_a_run(run, tiny_protocol, tmp_path, monkeypatch, caplog):
    def fail(**_):
        raise RuntimeError("the service did not start")

    monkeypatch.setattr("wandb.init", fail)
    run({**tiny_protocol, "seeds": [0]}, wandb="offline")
    assert "could not be started: the service did not start" in caplog.text


def test_a_mirror_that_fails_half_way_ends_nothing_either(run, tiny_protocol, monkeypatch, caplog):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr("wandb.sdk.wandb_run.Run.log", fail)
    run({**tiny_protocol, "seeds": [0]}, wandb="offline")
    assert "stopped mirroring: disk full" in caplog.text


def test_a_mirrored_run_is_one_per_cell_and_one_for_all(run, tiny_protocol, tmp_path):
    cells, _ = run(tiny_protocol, wandb="offline")
    for cell in cells:
        assert len(list((tmp_path / cell.path).glob("wandb/offline-run-*/*.wandb"))) == 1
    assert len(list((tmp_path / "tiny").glob("wandb/offline-run-*/*.wandb"))) == 1


def test_a_cell_that_was_finished_meanwhile_is_not_trained_again(
    run, tiny_protocol, tmp_path, monkeypatch
):
    """The state was read before another process, which held the lock, was done."""
    _, before = run({**tiny_protocol, "seeds": [0]})
    monkeypatch.setattr("capsbench.running.run.cell_state", lambda *_: "to do")
    _, after = run({**tiny_protocol, "seeds": [0]})
    assert after == before


def test_leftovers_of_a_killed_measure_and_report_are_removed(run, tiny_protocol, tmp_path):
    cells, _ = run({**tiny_protocol, "seeds": [0]})
    folder = CellFolder(tmp_path / cells[0].path)
    (name,) = cells[0].measures
    folder.measure(name).unlink()
    (folder.path / "measures" / ".half.json.1.tmp").write_text("{")
    (tmp_path / "tiny" / "report" / ".index.html.1.tmp").write_text("<")
    run({**tiny_protocol, "seeds": [0]})
    assert folder.measure(name).is_file()
    assert not list(tmp_path.rglob("*.tmp"))
