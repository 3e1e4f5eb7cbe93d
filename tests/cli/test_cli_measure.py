"""`capsbench measure`: further measures of a finished training, from its checkpoint."""

import json
from pathlib import Path

import pytest
from filelock import FileLock

import capsbench

CONSISTENCY = "{measure: consistency, grid: {rotation: {start: -90, stop: 90, step: 90}}}"


@pytest.fixture
def cell(cli, tiny):
    """A finished training's folder."""
    code, _, err = cli("run", tiny, "--models", "small", "--seeds", "0", "--device", "cpu")
    assert code == 0, err
    (found,) = Path("runs/digits/cnn-small").glob("0-*")
    return found


def test_a_measure_is_added_without_training(cli, cell, tiny):
    before = (cell / "training.json").stat().st_mtime_ns
    code, (outcome,), _ = cli("measure", str(cell), "--measures", CONSISTENCY, "--json")
    assert code == 0
    assert outcome["measure"] == "consistency"
    assert outcome["values"]["rotation=0/consistency"] == 1
    assert (cell / "training.json").stat().st_mtime_ns == before
    (record,) = (cell / "measures").glob("consistency-*.json")
    assert record.with_suffix(".npz").is_file()
    # What is there is not measured again, and a benchmark that asks for it finds it.
    written = record.stat().st_mtime_ns
    code, text, _ = cli("measure", str(cell), "--measures", f"[{CONSISTENCY}]")
    assert code == 0
    assert "rotation=0/consistency" in text
    protocol = Path(tiny).read_text("utf-8").partition("measures:")[0]
    Path("more.yaml").write_text(f"{protocol}measures: [{CONSISTENCY}]", encoding="utf-8")
    code, text, _ = cli("run", "more.yaml", "--models", "small", "--seeds", "0", "--device", "cpu")
    assert code == 0
    assert "(found)" in text
    assert record.stat().st_mtime_ns == written
    page = Path("runs/tiny/report/index.html").read_text("utf-8")
    assert "How often a model sees a test image" in page or "consistency" in page


def test_a_checkpoint_is_evaluated_as_it_was_measured(cli, cell, tiny):
    (record,) = (cell / "measures").glob("accuracy-by-view-*.json")
    found = capsbench.evaluate(cell / "checkpoints" / "validation", tiny)
    expected = json.loads(record.read_text("utf-8"))["values"]
    assert found.measured["accuracy-by-view"].values == expected


def test_measures_of_a_file(cli, cell):
    Path("more.yaml").write_text("measures: [{measure: filters, sets: 2}]", encoding="utf-8")
    code, (outcome,), _ = cli("measure", str(cell), "--measures", "more.yaml", "--json")
    assert code == 0
    assert outcome["values"]["filters/count"] == 2


def test_attacks_from_another_training(cli, cell, tiny):
    code, _, err = cli("run", tiny, "--models", "smaller", "--seeds", "0", "--device", "cpu")
    assert code == 0, err
    (other,) = (each for each in cell.parent.glob("0-*") if each != cell)
    attacks = "{measure: attacks, methods: [fgsm], epsilons: [0.1], images: 20, sources: [small]}"
    asked = ["measure", str(cell), "--measures", attacks.replace("small", "other")]
    code, _, err = cli(*asked)
    assert code == 2
    assert "attacks needs the trained network of 'other': name its folder, --source" in err
    code, (outcome,), err = cli(*asked, "--source", f"other={other}", "--json")
    assert code == 0, err
    assert "from other/fgsm/eps=0.1/accuracy" in outcome["values"]
    code, _, err = cli(*asked, "--source", "other")
    assert code == 2
    assert "--source takes LABEL=FOLDER" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--measures", "{measure: filter}"], "--measures: 0: input tag 'filter'"),
        (["--measures", "{measure"], "--measures takes YAML, such as '{measure: filters}'"),
        (["--measures", "gone.yaml"], "--measures: cannot read gone.yaml"),
        (["--measures", "2001-99-99"], "--measures takes YAML"),
        (["--measures", "[]"], "--measures names no measure"),
        (
            ["--measures", "{measure: averaged-accuracy, shifts: [[.nan, 0]]}"],
            "input should be a finite number",
        ),
        (
            ["--measures", "{measure: accuracy-by-split, splits: [novel]}"],
            "digits has no novel test images",
        ),
        (
            ["--measures", "{measure: filters}", "--model", "resnet20"],
            "--model: expected what was trained, cnn-small; got resnet20",
        ),
    ],
    ids=["measure", "yaml", "file", "date", "nothing", "no number", "split", "model"],
)
def test_bad_input_is_one_sentence(cli, cell, arguments, message):
    code, out, err = cli("measure", str(cell), *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_a_folder_without_a_training(cli, tiny, folder):
    code, _, err = cli("measure", folder, "--measures", "{measure: filters}")
    assert code == 2
    assert "holds no finished training" in err


def test_a_cell_at_which_another_is_at_work_is_left_alone(cli, cell):
    other = cell / "measures" / ".other.tmp"
    other.write_text("half written", encoding="utf-8")
    with FileLock(cell / ".lock"):
        code, _, err = cli("measure", str(cell), "--measures", "{measure: filters}")
    assert code == 2
    assert "another process is at work in" in err
    assert other.is_file()
