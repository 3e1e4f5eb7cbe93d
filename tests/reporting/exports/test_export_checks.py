"""Exported records that state something else than they hold are refused."""

import json
from pathlib import Path

import pytest

from capsbench.cli import main
from capsbench.errors import UserError
from capsbench.files.atomic import write_json
from capsbench.measures import load_measure
from capsbench.records import MeasureRecord, TrainingConfig
from capsbench.reporting.exports.checks import check_export
from capsbench.reporting.exports.export import load_export


def own_cells(content):
    """Return the cells of the first model: one that differs from the others is refused before."""
    first, *_ = content["cells"]
    return [c for c in content["cells"] if c["reference"]["label"] == first["reference"]["label"]]


def version(content):
    content["record"]["benchmark"]["version"] = 2


def steps(content):
    content["record"]["benchmark"]["recipe"]["steps"] = 400


def name(content):
    content["record"]["benchmark"]["name"] = "quik"


def label(content):
    content["cells"][0]["reference"]["label"] = "Other"


def seed(content):
    content["cells"][0]["reference"]["seed"] = content["cells"][0]["config"]["seed"] = 9


def fit_names(content):
    """Give the cells the names that their changed contents have."""
    for cell in content["cells"]:
        folder = TrainingConfig.model_validate(cell["config"]).folder_name
        cell["reference"]["path"] = f"digits/{cell['reference']['model']}/{folder}"
        cell["training"]["cell"] = folder
        for measure, record in cell["measures"].items():
            record["cell"] = folder
            own = MeasureRecord.model_construct(**record).fingerprint
            cell["reference"]["measures"][measure] = f"{measure}-{own}"


def recipe(content):
    for cell in own_cells(content):
        cell["config"]["recipe"]["learning_rate"] = 0.5


def threads(content):
    content["cells"][0]["config"]["threads"] = 2


def stated_threads(content):
    content["record"]["benchmark"]["threads"] = 2


def no_threads(content):
    content["cells"][0]["config"]["threads"] = None  # as of a training on a GPU


def accuracy(content):
    content["cells"][0]["measures"]["accuracy-by-view"]["values"][0]["value"] = 1.5


def worst(content):
    values = content["cells"][0]["measures"]["accuracy-by-view"]["values"]
    next(value for value in values if value["metric"] == "worst_accuracy")["value"] = -0.25


def schema(content):
    content["schema"] = 7


def extra(content):
    content["note"] = "x"


def scale(content):
    content["record"]["changes"]["scale"] = "../../../evil"


def search(content):
    content["record"]["changes"]["search"] = True
    content["record"]["benchmark"]["models"][1] |= {"recipe": {"steps": 9}, "reason": "more"}


def tuned(content):
    content["record"]["benchmark"]["models"][1] |= {"recipe": {"steps": 9}, "tuned": "quick-1"}


def revision(content):
    for cell in own_cells(content):
        cell["config"]["model"]["revision"] += 1


def per_class(content):
    for cell in content["cells"]:
        cell["config"]["data"]["per_class"] = 5


def model(content):
    for cell in own_cells(content):
        cell["config"]["model"]["name"] = "resnet20"


def width(content):
    for cell in own_cells(content):
        cell["config"]["model"]["arguments"]["width"] = 64


def data(content):
    for cell in content["cells"]:
        cell["config"]["data"]["name"] = "mnist"


def twice(content):
    content["cells"].append(content["cells"][0])


def none(content):
    content["cells"] = []


def measures(content):
    content["cells"][0]["measures"] = {}


def weights(content):
    for cell in own_cells(content):
        cell["measures"]["accuracy-by-view"]["rule"] = "test-best"


def older(content):
    for cell in content["cells"]:
        cell["measures"]["accuracy-by-view"]["revision"] += 1


def selected(content):
    content["cells"][0]["training"]["selected"] = {}


def trajectory(content):
    content["cells"][0]["trajectory"] = []


def grid(content):
    views = content["cells"][0]["measures"]["accuracy-by-view"]["arguments"]["grid"]
    del views["scale"]


def difference(content):
    content["differences"][0]["numbers"]["mean"] += 0.1


def p_value(content):
    content["differences"][0]["numbers"]["p_corrected"] = 0.001


def interval(content):
    content["differences"][0]["numbers"]["interval"][0] -= 0.01


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (scale, "unknown scale"),
        (search, "recipe of the best"),
        (tuned, "other models"),
        (model, "not the training"),
        (width, "not the training"),
        (revision, "not the training"),
        (per_class, "not the training"),
        (data, "not the training"),
        (threads, "would mix threads"),
        (no_threads, "not the training"),
        (stated_threads, "other threads"),
        (twice, "each cell once"),
        (none, "got 0"),
        (measures, "incomplete"),
        (weights, "incomplete"),
        (older, "incomplete"),
        (selected, "incomplete"),
        (trajectory, "got 0 rows"),
        (grid, "other arguments"),
        (difference, "not that of their values"),
        (p_value, "does not follow from its standard error"),
        (interval, "does not follow from its standard error"),
        (version, "version 1 here"),
        (steps, "other recipe"),
        (name, "did you mean 'quick'"),
        (label, "no cell of 'quick'"),
        (seed, "no cell of 'quick'"),
        (recipe, "not the training"),
        (accuracy, "got 1.5"),
        (worst, "got -0.25"),
        (schema, "schema 2, got 7"),
        (extra, "note"),
    ],
)
def test_a_record_that_states_something_else_is_refused(file, damage, message, capsys, monkeypatch):
    content = json.loads(file.read_text())
    content.pop("checksum", None)
    damage(content)
    fit_names(content)
    contributed = file.parents[2] / "contributed.json"
    write_json(contributed, content)
    with pytest.raises(UserError, match=message):
        check_export(load_export(contributed))
    monkeypatch.chdir(file.parents[2])
    assert main(["results", str(contributed)]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert len([*Path("results").rglob("*.json")]) == 1


def test_a_record_of_an_earlier_revision_has_what_the_protocol_states(file, monkeypatch):
    """Arguments that the measure no longer has, and other defaults, are those of its revision."""
    monkeypatch.setattr(load_measure("accuracy-by-view"), "revision", 9)
    content = json.loads(file.read_text())
    content.pop("checksum", None)
    for cell in content["cells"]:
        cell["measures"]["accuracy-by-view"]["arguments"]["former"] = 10
    fit_names(content)
    write_json(file, content)
    check_export(load_export(file))
    grid(content)
    fit_names(content)
    write_json(file, content)
    with pytest.raises(UserError, match="other arguments"):
        check_export(load_export(file))


def own_folder(cell):
    cell["reference"]["path"] = f"digits/cnn-small/0-{'0' * 12}"


def own_seed(cell):
    cell["config"]["seed"] = 9


def own_rate(cell):
    cell["config"]["recipe"]["learning_rate"] = 0.5


def own_rule(cell):
    cell["measures"]["accuracy-by-view"]["rule"] = "last"


def other_training(cell):
    cell["training"]["cell"] = f"1-{'0' * 12}"


def better_row(cell):
    cell["trajectory"][0]["validation_accuracy"] = 1.0


def reordered(cell):
    cell["trajectory"].reverse()


def impossible(cell):
    cell["trajectory"][0]["validation_loss"] = 1e300


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (own_folder, "has the fingerprint"),
        (own_seed, "has the fingerprint"),
        (own_rate, "has the fingerprint"),
        (own_rule, "other arguments or sources"),
        (other_training, "of another cell"),
        (better_row, "selects another row"),
        (reordered, "does not have its steps|do not have its steps"),
        (impossible, r"validation_loss 1e\+300"),
    ],
)
def test_records_of_a_cell_must_fit_each_other_and_their_names(file, damage, words):
    content = json.loads(file.read_text())
    content.pop("checksum")
    damage(content["cells"][0])
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=words):
        load_export(file)


def test_an_edit_by_hand_does_not_fit_the_checksum(file):
    content = json.loads(file.read_text())
    content["cells"][0]["training"]["seconds"] += 1
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="changed after it was written"):
        load_export(file)
