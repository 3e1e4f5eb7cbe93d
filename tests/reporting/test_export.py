"""Exported records: nothing is lost, nothing is believed, and the page of results equals them."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from capsbench.cli import main
from capsbench.errors import UserError
from capsbench.records import read_json, write_json
from capsbench.reporting import markdown, tables
from capsbench.reporting.checks import check_export
from capsbench.reporting.claims_export import check_claims, claims_exports_in
from capsbench.reporting.differences import differences
from capsbench.reporting.export import export, exports_in, read_export
from capsbench.reporting.results import load
from capsbench.reporting.results_page import render
from capsbench.running.plan import plan
from capsbench.running.run import run_benchmark
from capsbench.schema import benchmark_names, load_benchmark
from capsbench.training.execution import Execution

ROOT = Path(__file__).parents[2]
CHANGES = {"recipe.steps": 4, "recipe.evaluate_every": 2, "recipe.limit": 40, "seeds": [0, 1, 2]}
WORDS = [f"{place}={json.dumps(value)}" for place, value in CHANGES.items()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The benchmark quick, made small by changes as the command line makes them."""
    runs = tmp_path_factory.mktemp("runs")
    benchmark = load_benchmark("quick", CHANGES)
    run_benchmark(
        benchmark,
        cells=plan(benchmark, models=["CNN", "CapsNet (dynamic routing)"]),
        output=runs,
        execution=Execution(device="cpu", wandb="off"),
        data_root=None,
        changes=WORDS,
        command=f"capsbench run quick --output {runs} --data-root=/somewhere --limit 40",
        console=Console(),
    )
    return runs / "quick"


@pytest.fixture
def file(folder, tmp_path):
    return export(folder, tmp_path / "results")


def test_the_numbers_survive_and_the_machines_folders_do_not(folder, file):
    kept, results = read_export(file), load(folder)
    assert file.parent.name == "quick"
    assert file.name.startswith("changed-")
    assert tables.csv_text(kept.results) == tables.csv_text(results)
    compared = differences(results)
    assert markdown.result_tables(kept.results, kept.differences) == markdown.result_tables(
        results, compared
    )
    assert kept.results.protocol.command == "capsbench run quick --limit 40"
    text = file.read_text()
    assert str(folder.parent) not in text
    assert "/somewhere" not in text
    check_export(kept)
    page = render([kept])
    assert "| quick | changed | 6 of 9 |" in page
    assert f"results/quick/{file.name}" in page


def test_a_file_is_the_same_for_the_same_plan(folder, file, tmp_path):
    content = read_json(folder / "benchmark.json")
    cell = content["cells"][0]
    measure = folder.parent / cell["path"] / "measures"
    hidden = measure.rename(measure.with_name("hidden"))
    try:
        again = export(folder, tmp_path / "results")
        assert again == file
        assert len(read_export(again).results.cells) == 5
    finally:
        hidden.rename(measure)


def test_an_unfinished_benchmark_has_nothing_to_export(tmp_path, write_benchmark):
    models = (("CNN", "cnn-small"),)
    folder = write_benchmark(tmp_path, models=models, unfinished=(("CNN", 0), ("CNN", 1)))
    with pytest.raises(UserError, match="no finished cell"):
        export(folder, tmp_path / "results")


def version(content):
    content["protocol"]["benchmark"]["version"] = 2


def steps(content):
    content["protocol"]["benchmark"]["recipe"]["steps"] = 400


def name(content):
    content["protocol"]["benchmark"]["name"] = "quik"


def label(content):
    content["cells"][0]["entry"]["label"] = "Other"


def seed(content):
    content["cells"][0]["entry"]["seed"] = 9


def print_(content):
    content["cells"][0]["config"]["fingerprint"] = "0" * 12


def recipe(content):
    content["cells"][0]["config"]["recipe"]["learning_rate"] = 0.5


def share(content):
    content["cells"][0]["measurements"]["accuracy-by-view"]["values"]["novel/accuracy"] = 1.5


def schema(content):
    content["schema"] = 7


def extra(content):
    content["note"] = "x"


def scale(content):
    content["protocol"]["changes"].append("scale=../../../evil")


def search(content):
    content["protocol"]["changes"].append("search")
    content["protocol"]["benchmark"]["models"][1] |= {"recipe": {"steps": 9}, "reason": "more"}


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
    content["cells"][0]["measurements"] = {}


def weights(content):
    content["cells"][0]["measurements"]["accuracy-by-view"]["checkpoint"] = "test-best"


def selected(content):
    content["cells"][0]["training"]["selected"] = {}


def trajectory(content):
    content["cells"][0]["trajectory"] = []


def difference(content):
    content["differences"][0]["mean"] += 0.1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (scale, "unknown scale of benchmark 'quick'"),
        (search, "has not the recipe of the best of the 6 trials"),
        (model, "not the training that the protocol asks for"),
        (width, "not the training that the protocol asks for"),
        (data, "not the training that the protocol asks for"),
        (twice, "expected each cell once"),
        (none, "expected each cell once, and one or more; got 0"),
        (measures, "is incomplete"),
        (weights, "is incomplete"),
        (selected, "is incomplete"),
        (trajectory, "is incomplete"),
        (difference, "is not that of their values"),
        (version, "has version 1 here"),
        (steps, "has other recipe here"),
        (name, "did you mean 'quick'"),
        (label, "is no cell of 'quick'"),
        (seed, "is no cell of 'quick'"),
        (print_, "not the training that the protocol asks for"),
        (recipe, "not the training that the protocol asks for"),
        (share, r"novel/accuracy should lie in \[0, 1\]; got 1.5"),
        (schema, "expected a record of schema 1"),
        (extra, "is no exported record"),
    ],
)
def test_a_record_that_is_not_what_it_says_is_refused(file, damage, message, capsys, monkeypatch):
    content = json.loads(file.read_text())
    damage(content)
    contributed = file.parents[2] / "contributed.json"
    write_json(contributed, content)
    with pytest.raises(UserError, match=message):
        check_export(read_export(contributed))
    monkeypatch.chdir(file.parents[2])
    assert main(["results", str(contributed)]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert len(exports_in(Path("results"))) == 1


def test_a_contributed_record_is_kept_and_shown(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(folder), "--export", "mine"]) == 0
    (record,) = Path("mine/quick").glob("*.json")
    assert main(["results", str(record), "--write"]) == 0
    (kept,) = exports_in(Path("results"))
    assert kept.path.name == record.name
    page = Path("docs/results.md").read_text()
    assert page == render([kept])
    figure = f"docs/figures/results-quick-{record.stem}-by-view.svg"
    for path in (figure, f"results/quick/{record.name}"):
        assert Path(path).is_file()
        assert path.removeprefix("docs/") in page
    assert main(["results", "nowhere.json"]) == 2
    assert "nowhere.json is no file" in capsys.readouterr().err


def test_a_record_replaces_no_other(file, monkeypatch, capsys):
    monkeypatch.chdir(file.parents[2])
    again = Path("mine") / file.name
    again.parent.mkdir(exist_ok=True)
    again.write_bytes(file.read_bytes())
    assert main(["results", str(again)]) == 0  # the same one
    content = json.loads(file.read_text())
    content["protocol"]["date"] = "2000-01-01T00:00:00+00:00"
    again.write_text(json.dumps(content))
    assert main(["results", str(again)]) == 2
    assert "is there already, with other numbers" in capsys.readouterr().err
    assert json.loads(file.read_text()) != content
    other = again.rename(again.with_name("full-elsewhere.json"))
    assert main(["results", str(other), "--write"]) == 0
    assert len(exports_in(Path("results"))) == 2
    assert len(list(Path("docs/figures").glob("*-by-view.svg"))) == 2
    assert main(["results", str(file)]) == 0  # one that is kept already
    same = Path("others") / other.name
    same.parent.mkdir()
    same.write_bytes(other.read_bytes())
    assert main(["results", str(other), str(same)]) == 2
    assert "give them different names" in capsys.readouterr().err
    assert main(["results", str(other.rename("a](b.json"))]) == 2
    assert "name the file with small letters" in capsys.readouterr().err


def test_a_command_ends_no_code_span(file):
    content = json.loads(file.read_text())
    content["protocol"]["command"] = "capsbench run `<img src=x onerror=alert(1)>`"
    file.write_text(json.dumps(content))
    assert "`` capsbench run `<img src=x onerror=alert(1)>` ``" in render(
        exports_in(file.parents[1])
    )


def test_what_a_record_says_of_papers_is_not_shown(file):
    content = json.loads(file.read_text())
    content["protocol"]["benchmark"]["title"] = "Made up"
    file.write_text(json.dumps(content))
    (kept,) = exports_in(file.parents[1])
    assert kept.results.benchmark.title == load_benchmark("quick").title


def test_every_published_number_is_on_the_page():
    page = render([])
    for benchmark in benchmark_names():
        for entry in load_benchmark(benchmark).published:
            assert markdown.plain(entry.printed) in page
    assert "not run" in page


def test_the_records_of_the_repository_are_sound_and_the_page_shows_them():
    kept, claims = exports_in(ROOT / "results"), claims_exports_in(ROOT / "results")
    for each in kept:
        check_export(each)
    for one in claims:
        check_claims(one)
    assert (ROOT / "docs/results.md").read_text(encoding="utf-8") == render(kept, claims)
