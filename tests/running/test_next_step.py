"""The line after a run: what is missing, or else a command that works."""

import shlex
from pathlib import Path

import pytest

from capsbench.cli.run import parse_seeds
from capsbench.records import ClaimsRecord, Provenance, Results, load_results
from capsbench.running.next_step import next_claims_step, next_step
from capsbench.schema.claims import load_claims
from tests.reporting.conftest import _write_benchmark as write_benchmark

ONE = (("CNN", "cnn-small"),)
CALIBRATION = {"measure": "calibration"}


def with_command(results, command):
    record = results.record.model_copy(update={"command": command})
    return Results(record, results.cells)


def command_of(line):
    """The words of the command that a line names, which a shell reads without the comment."""
    assert line.startswith("next: ")
    return shlex.split(line.removeprefix("next: "), comments=True)


@pytest.mark.parametrize(
    ("state", "key_words"),
    [
        ({"diverged": (("CNN", 1),)}, ("1 of 2 trainings (CNN, seed 1) diverged", "learning_rate")),
        (
            {"diverged": (("CNN", 0), ("CNN", 1))},
            ("2 of 2 trainings (CNN, seed 0, ...) diverged",),
        ),
        ({"unfinished": (("CNN", 0),)}, ("1 of 2 trainings (CNN, seed 0) not finished", "same")),
    ],
    ids=["one diverged", "all diverged", "unfinished"],
)
def test_what_is_missing_comes_first(tmp_path, state, key_words):
    results = load_results(write_benchmark(tmp_path, models=ONE, **state))
    line = next_step(results, tmp_path, None)
    assert [word for word in key_words if word not in line] == []
    assert "next: " not in line


@pytest.mark.parametrize(
    ("command", "seeds", "expected"),
    [
        ("capsbench run quick", (0, 1), "capsbench run quick --seeds 0-4"),
        (
            "capsbench run quick --seeds 0,1 --set 'models=[{name: a b}]'",
            (0, 1),
            "capsbench run quick --set 'models=[{name: a b}]' --seeds 0-4",
        ),
        ("capsbench run quick --seeds=7", (7,), "capsbench run quick --seeds 7-11"),
        ("capsbench run quick --seeds 0,9", (0, 9), "capsbench run quick --seeds 0,1,2,3,9"),
    ],
)
def test_more_seeds_are_the_same_command(tmp_path, command, seeds, expected):
    results = load_results(write_benchmark(tmp_path, models=ONE, seeds=seeds))
    words = command_of(next_step(with_command(results, command), tmp_path, None))
    assert shlex.join(words) == expected
    assert set(seeds) < set(parse_seeds(words[-1]))


def test_with_enough_seeds_a_measure_then_the_export(tmp_path, add_calibration):
    folder = write_benchmark(tmp_path / "runs", models=ONE, seeds=(0, 1, 2))
    results = load_results(folder)
    words = command_of(next_step(results, tmp_path / "runs", Path("my data")))
    assert words[:2] == ["capsbench", "measure"]
    assert (Path(words[2]) / "training.json").is_file()
    assert words[3:] == ["--measures", "{measure: calibration}", "--data-root", "my data"]
    add_calibration(folder)
    line = next_step(load_results(folder), tmp_path / "runs", None)
    output = str(tmp_path / "runs")
    assert command_of(line) == [
        *("capsbench", "report", "quick", "--output", output, "--export", "mine")
    ]
    assert "--output" not in next_step(load_results(folder), Path("runs"), None)


@pytest.fixture
def add_calibration():
    from tests.reporting.conftest import _add_measure

    def add(folder):
        for seed in (0, 1, 2):
            _add_measure(folder, "CNN", seed, CALIBRATION, [])

    return add


def test_an_own_model_is_measured_from_its_file_and_not_exported(tmp_path, add_calibration):
    folder = write_benchmark(tmp_path, models=(("CNN", "my nets/net.py:Net"),), seeds=(0, 1, 2))
    words = command_of(next_step(load_results(folder), tmp_path, None))
    assert words[:2] == ["capsbench", "measure"]
    assert words[-2:] == ["--model", "my nets/net.py:Net"]
    add_calibration(folder)
    assert next_step(load_results(folder), tmp_path, None) == ""


@pytest.mark.parametrize(
    ("scale", "expected"),
    [("cpu", "capsbench run claims --dry-run"), (None, "capsbench report claims --export mine")],
)
def test_after_claims(scale, expected):
    record = ClaimsRecord(
        claims=load_claims("claims"),
        scale=scale,
        parts={},
        command="capsbench run claims" + (f" --scale {scale}" if scale else ""),
        provenance=Provenance.now(),
    )
    assert shlex.join(command_of(next_claims_step(record, Path("runs")))) == expected
