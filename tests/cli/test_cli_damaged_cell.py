"""Each file of a finished cell, damaged in every way: one sentence, or mended by the next run."""

import json
import re
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from capsbench.errors import UserError
from capsbench.files.atomic import read_rows, remove
from capsbench.records import load_results
from capsbench.records.cell_files import load_arrays

RUN = ["run", "tiny.yaml", "--seeds", "0", "--device", "cpu", "--wandb", "off"]
FILES = (
    "config.json",
    "training.json",
    "trajectory.csv",
    "checkpoints/validation/model.safetensors",
    "checkpoints/validation/config.json",
    "measures/*.json",
    "measures/*.npz",
)
WEIGHTS = "checkpoints"
GRID = "{measure: accuracy-by-view, grid: {rotation: {start: -90, stop: 90, step: 90}}}"
MORE = f"measures=[{GRID}, {{measure: calibration}}]"


def place(folder, pattern):
    (file,) = Path(folder).glob(pattern)
    return file


def _write(content):
    return lambda file, other: file.write_bytes(content(file.read_bytes()))


def _folder(file, other):
    file.unlink()
    file.mkdir()


def _link(file, other):
    file.unlink()
    file.symlink_to("nowhere")


DAMAGES = {
    "deleted": lambda file, other: file.unlink(),
    "emptied": _write(lambda content: b""),
    "zeroed": _write(lambda content: bytes(len(content))),
    "truncated": _write(lambda content: content[: len(content) // 2]),
    "replaced by another cell's": lambda file, other: shutil.copy(other, file),
    "a folder": _folder,
    "a link to nothing": _link,
}


def numbers(folder):
    """All numbers of a cell that do not depend on the clock."""
    weights = load_file(place(folder, "checkpoints/validation/model.safetensors"))
    rows = read_rows(Path(folder, "trajectory.csv"))
    arrays = load_arrays(place(folder, "measures/accuracy-by-view-*.npz"), None)
    measure = json.loads(place(folder, "measures/accuracy-by-view-*.json").read_bytes())
    return (
        Path(folder, "config.json").read_bytes(),
        {name: tensor.tolist() for name, tensor in weights.items()},
        [{name: value for name, value in row.items() if name != "seconds"} for row in rows],
        {name: array.tolist() for name, array in arrays.items()},
        measure["values"],
    )


def follow_advice(message):
    """Remove what the messages say is to be removed."""
    for name in re.findall(r"remove (?:the )?(\S+)", message):
        named = re.search(r"error: (\S+)", message) if name == "it" else None
        remove(Path(named[1] if named else name))


@pytest.fixture
def damaged(cells, request):
    """The folder of a cell with one damaged file."""
    pattern, damage = request.param
    folder, other = cells["small"], cells["smaller"]
    DAMAGES[damage](place(folder, pattern), place(other, pattern))
    return folder


def every(damages):
    """Damage every file of a cell in these ways, one after the other."""
    return pytest.mark.parametrize(
        "damaged",
        [(file, damage) for file in FILES for damage in damages],
        ids=[f"{file} {damage}" for file in FILES for damage in damages],
        indirect=True,
    )


@every(DAMAGES)
def test_records_are_refused_or_unchanged(damaged, trained_runs, request):
    """Weights are verified when they are used, and arrays when differences are computed."""
    pattern, damage = request.node.callspec.params["damaged"]
    loaded, message = None, ""
    try:
        loaded = load_results(Path("runs/tiny")).cells[0]
    except UserError as error:
        message = str(error)
    if loaded is None:
        assert pattern.rpartition("/")[2].strip("*") in message
        assert "run the benchmark again" in message
        assert "\n" not in message
        assert not pattern.startswith(WEIGHTS)
    else:
        original = load_results(trained_runs / "tiny").cells[0]
        assert loaded.trajectory == original.trajectory
        lost = damage == "deleted" and pattern.startswith("measures")
        lost_training = damage == "deleted" and pattern == "training.json"
        assert pattern.startswith((WEIGHTS, "measures/*.npz")) or lost or lost_training
        assert loaded.problem == {
            lost: "not measured yet", lost_training: "not finished yet"
        }.get(True)  # fmt: skip


@pytest.mark.slow
@every(["deleted", "replaced by another cell's"])
def test_the_advice_leads_back_to_the_same_numbers(damaged, trained_runs, cli):
    for command in (
        ("report", "tiny", "--export", "mine"),
        ("measure", str(damaged), "--measures", "{measure: calibration}"),
        ("evaluate", str(damaged / "checkpoints/validation"), "--benchmark", "tiny.yaml",
         "--into", "again"),
        RUN,
        ("run", "tiny.yaml", "--seeds", "0", "--dry-run"),
    ):  # fmt: skip
        code, _, err = cli(*command)
        assert code in (0, 2)
        assert err.count("capsbench: error:") == (code == 2)
        assert "Traceback" not in err
    for _ in range(3):
        code, _, err = cli(*RUN)
        if code == 0:
            break
        follow_advice(err)
    code, _, err = cli("measure", str(damaged), "--measures", "{measure: calibration}")
    if code:  # weights are needed for another measure alone
        assert "checkpoint" in err
        follow_advice(err)
        assert cli(*RUN, "--set", MORE)[0] == 0
        assert cli(*RUN)[0] == 0
        assert cli("measure", str(damaged), "--measures", "{measure: calibration}")[0] == 0
    assert cli("report", "tiny", "--export", "mine")[0] == 0
    record = json.loads(Path("runs/tiny/benchmark.json").read_bytes())
    original = next(c["path"] for c in record["cells"] if c["label"] == "small")
    assert numbers(damaged) == numbers(trained_runs / original)
