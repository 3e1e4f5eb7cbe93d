"""Exported records: no number is lost, every statement is checked, the page shows them."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from capsbench.cli import main
from capsbench.errors import UserError
from capsbench.files.atomic import write_json
from capsbench.measures import load_measure
from capsbench.names import find
from capsbench.records import MeasureRecord, ProtocolChanges, TrainingConfig, load_results
from capsbench.records.training import ExecutionRecord
from capsbench.reporting.comparisons.differences import model_differences
from capsbench.reporting.exports.checks import check_export
from capsbench.reporting.exports.claims_checks import check_claims
from capsbench.reporting.exports.claims_export import load_claims_export
from capsbench.reporting.exports.csv_file import results_csv
from capsbench.reporting.exports.export import (
    export_benchmark,
    is_claims_export,
    load_export,
    with_shipped_texts,
)
from capsbench.reporting.exports.revisions import earlier_revisions
from capsbench.reporting.results_page import render
from capsbench.reporting.tables import render_markdown
from capsbench.reporting.tables.result_tables import result_tables
from capsbench.running.benchmark import run_benchmark
from capsbench.running.plan import plan
from capsbench.running.session import Session
from capsbench.schema import benchmark_names, load_benchmark
from capsbench.training.execution import Execution

ROOT = Path(__file__).parents[3]
CHANGES = {"recipe.steps": 4, "recipe.evaluate_every": 2, "recipe.limit": 40, "seeds": [0, 1, 2]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The benchmark quick, made small by changes as the command line makes them."""
    runs = tmp_path_factory.mktemp("runs")
    benchmark = load_benchmark("quick", CHANGES)
    session = Session(runs, None, Execution(device="cpu", wandb="off"), Console())
    run_benchmark(
        benchmark,
        plan(benchmark, models=["CNN", "CapsNet (dynamic routing)"]),
        session,
        changes=ProtocolChanges(settings=CHANGES),
        command=f"capsbench run quick --output {runs} --data-root=/somewhere --limit 40",
    )
    return runs / "quick"


def exports_in(folder):
    """Load the exported benchmarks of a folder."""
    paths = [path for path in sorted(folder.glob("*/*.json")) if not is_claims_export(path)]
    return [with_shipped_texts(load_export(path)) for path in paths]


def claims_in(folder):
    """Load the exported claims of a folder."""
    paths = sorted(folder.glob("*/*.json"))
    return [load_claims_export(path) for path in paths if is_claims_export(path)]


@pytest.fixture
def file(folder, tmp_path):
    return export_benchmark(folder, tmp_path / "results")


def test_numbers_are_exported_and_folders_of_the_machine_are_not(folder, file):
    exported, results = load_export(file), load_results(folder)
    assert file.parent.name == "quick"
    assert file.name.startswith("changed-")
    assert results_csv(exported.results) == results_csv(results)
    assert result_tables(exported.results, exported.differences) == result_tables(
        results, model_differences(results)
    )
    assert exported.results.record.command == "capsbench run quick --limit 40"
    text = file.read_text()
    assert str(folder.parent) not in text
    assert "/somewhere" not in text
    check_export(exported)
    page = render([exported])
    assert "| quick | changed | 6 of 9 |" in page
    assert f"results/quick/{file.name}" in page


def test_details_of_one_machine_are_left_out(folder, file):
    cells = zip(load_export(file).results.cells, load_results(folder).cells, strict=False)
    for exported, cell in cells:
        assert exported.training is not None
        assert cell.training is not None
        execution = cell.training.execution
        assert exported.training.execution == ExecutionRecord(
            device="cpu", device_name=execution.device_name, backend=execution.backend
        )
        assert exported.config == cell.config
        assert list(exported.measures) == list(cell.measures)
        assert exported.trajectory == cell.trajectory


def test_a_file_is_the_same_for_the_same_plan(folder, file, tmp_path):
    measures = load_results(folder).cells[0].folder.path / "measures"
    hidden = measures.rename(measures.with_name("hidden"))
    try:
        again = export_benchmark(folder, tmp_path / "results")
        assert again == file
        assert len(load_export(again).results.cells) == 5
    finally:
        hidden.rename(measures)


def test_an_unfinished_benchmark_has_nothing_to_export(tmp_path, write_benchmark):
    models = (("CNN", "cnn-small"),)
    folder = write_benchmark(tmp_path, models=models, unfinished=(("CNN", 0), ("CNN", 1)))
    with pytest.raises(UserError, match="no finished cell"):
        export_benchmark(folder, tmp_path / "results")


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
    """Give the first cell the names that its changed contents have."""
    for cell in content["cells"][:1]:
        folder = TrainingConfig.model_validate(cell["config"]).folder_name
        cell["reference"]["path"] = f"digits/cnn-small/{folder}"
        cell["training"]["cell"] = folder
        for measure, record in cell["measures"].items():
            record["cell"] = folder
            own = MeasureRecord.model_construct(**record).fingerprint
            cell["reference"]["measures"][measure] = f"{measure}-{own}"


def recipe(content):
    content["cells"][0]["config"]["recipe"]["learning_rate"] = 0.5


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


def revision(content):
    content["cells"][0]["config"]["model"]["revision"] += 1


def per_class(content):
    content["cells"][0]["config"]["data"]["per_class"] = 5


def model(content):
    content["cells"][0]["config"]["model"]["name"] = "resnet20"


def width(content):
    content["cells"][0]["config"]["model"]["arguments"]["width"] = 64


def data(content):
    content["cells"][0]["config"]["data"]["name"] = "mnist"


def twice(content):
    content["cells"].append(content["cells"][0])


def none(content):
    content["cells"] = []


def measures(content):
    content["cells"][0]["measures"] = {}


def weights(content):
    content["cells"][0]["measures"]["accuracy-by-view"]["rule"] = "test-best"


def older(content):
    content["cells"][0]["measures"]["accuracy-by-view"]["revision"] += 1


def selected(content):
    content["cells"][0]["training"]["selected"] = {}


def trajectory(content):
    content["cells"][0]["trajectory"] = []


def grid(content):
    views = content["cells"][0]["measures"]["accuracy-by-view"]["arguments"]["grid"]
    del views["scale"]


def difference(content):
    content["differences"][0]["numbers"]["mean"] += 0.1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (scale, "unknown scale"),
        (search, "recipe of the best"),
        (model, "not the training"),
        (width, "not the training"),
        (revision, "not the training"),
        (per_class, "not the training"),
        (data, "not the training"),
        (twice, "each cell once"),
        (none, "got 0"),
        (measures, "incomplete"),
        (weights, "incomplete"),
        (older, "incomplete"),
        (selected, "incomplete"),
        (trajectory, "got 0 rows"),
        (grid, "other arguments"),
        (difference, "not that of their values"),
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
    assert len(exports_in(Path("results"))) == 1


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


@pytest.fixture
def any_checkout(monkeypatch):
    """Let ``--write`` write the page into the working directory, as in a checkout."""
    monkeypatch.setattr("capsbench.cli.results._require_checkout", lambda: None)


@pytest.mark.usefixtures("any_checkout")
def test_a_contributed_record_is_copied_and_shown(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", folder.name, "--output", str(folder.parent), "--export", "mine"]) == 0
    (record,) = Path("mine/quick").glob("*.json")
    assert main(["results", str(record), "--write"]) == 0
    (exported,) = exports_in(Path("results"))
    assert exported.path.name == record.name
    page = Path("docs/results.md").read_text()
    assert page == render([exported])
    figure = f"docs/figures/results-quick-{record.stem}-by-view.svg"
    for path in (figure, f"results/quick/{record.name}"):
        assert Path(path).is_file()
        assert path.removeprefix("docs/") in page
    assert main(["results", "nowhere.json"]) == 2
    assert "nowhere.json" in capsys.readouterr().err


@pytest.mark.usefixtures("any_checkout")
def test_a_record_replaces_no_other(file, monkeypatch, capsys):
    monkeypatch.chdir(file.parents[2])
    again = Path("mine") / file.name
    again.parent.mkdir(exist_ok=True)
    again.write_bytes(file.read_bytes())
    assert main(["results", str(again)]) == 0  # the same one
    content = json.loads(file.read_text())
    content.pop("checksum", None)
    content["record"]["provenance"]["date"] = "2000-01-01T00:00:00+00:00"
    again.write_text(json.dumps(content))
    assert main(["results", str(again)]) == 2
    assert "with other numbers" in capsys.readouterr().err
    assert json.loads(file.read_text()) != content
    other = again.rename(again.with_name("full-elsewhere.json"))
    assert main(["results", str(other), "--write"]) == 0
    assert len(exports_in(Path("results"))) == 2
    assert len(list(Path("docs/figures").glob("*-by-view.svg"))) == 2
    assert main(["results", str(file)]) == 0  # a file of the folder itself
    same = Path("others") / other.name
    same.parent.mkdir()
    same.write_bytes(other.read_bytes())
    assert main(["results", str(other), str(same)]) == 2
    assert "rename them" in capsys.readouterr().err
    assert main(["results", str(other.rename("a](b.json"))]) == 2
    assert "lower-case" in capsys.readouterr().err


def test_a_record_of_earlier_revisions_stays_and_says_so(file, monkeypatch):
    exported = load_export(file)
    assert earlier_revisions(exported.results.cells) == []
    assert "earlier revisions" not in render([exported])
    cells = [(find("models", "cnn-small").load(), 9), (load_measure("accuracy-by-view"), 3)]
    for cls, revision in cells:
        monkeypatch.setattr(cls, "revision", revision)
    check_export(exported)
    assert earlier_revisions(exported.results.cells) == [
        "model cnn-small 1 (now 9)",
        "measure accuracy-by-view 1 (now 3)",
    ]
    assert "Measured with earlier revisions: model cnn-small 1 (now 9)" in render([exported])


def test_a_command_ends_no_code_span(file):
    content = json.loads(file.read_text())
    content.pop("checksum", None)
    content["record"]["command"] = "capsbench run `<img src=x onerror=alert(1)>`"
    file.write_text(json.dumps(content))
    assert "`` capsbench run `<img src=x onerror=alert(1)>` ``" in render(
        exports_in(file.parents[1])
    )


def test_words_are_those_of_the_shipped_benchmark(file):
    content = json.loads(file.read_text())
    content.pop("checksum", None)
    content["record"]["benchmark"]["title"] = "Made up"
    file.write_text(json.dumps(content))
    (exported,) = exports_in(file.parents[1])
    assert exported.results.benchmark.title == load_benchmark("quick").title


def test_every_published_number_is_on_the_page():
    page = render([])
    for benchmark in benchmark_names():
        for entry in load_benchmark(benchmark).published:
            assert render_markdown.plain(entry.printed) in page
    assert "not run" in page


def test_the_records_of_the_repository_are_sound_and_the_page_shows_them():
    exported, claims = exports_in(ROOT / "results"), claims_in(ROOT / "results")
    for each in exported:
        check_export(each)
    for one in claims:
        check_claims(one)
    assert (ROOT / "docs/results.md").read_text(encoding="utf-8") == render(exported, claims)
