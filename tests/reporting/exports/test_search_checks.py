"""Records of searches that are not equal searches are refused, and so are other values."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from capsbench.cli import main
from capsbench.errors import UserError
from capsbench.files.atomic import write_json
from capsbench.files.yaml import read_yaml
from capsbench.names import find, table
from capsbench.records import BenchmarkRecord, ProtocolChanges
from capsbench.records.folders import search_file
from capsbench.records.search import is_search_of
from capsbench.reporting.exports.exported import load_exported
from capsbench.reporting.exports.search_checks import ExportedSearch, check_tuned, load_search
from capsbench.reporting.loading import load_results
from capsbench.reporting.tables.searches_table import searches_table
from capsbench.reporting.tuning import tuning
from capsbench.schema import Benchmark, Search, load_benchmark
from capsbench.schema.claims import benchmark_names, is_claims, load_claims
from tests.records.search_records import search_record

RESULTS = Path(__file__).parents[3] / "results"
ACCURACIES = {"Tiny": (0.5, 0.9, None), "Other": (0.7, 0.2, 0.7)}
KNOBS = {"rate": (0.0, 0.5)}


@pytest.fixture
def protocol(tiny_protocol):
    (tiny,) = tiny_protocol["models"]
    models = [tiny, tiny | {"label": "Other"}, tiny | {"label": "Not searched"}]
    return {**tiny_protocol, "models": models, "search": {"trials": 3}}


@pytest.fixture
def record(protocol):
    return search_record(protocol, ACCURACIES, knobs=KNOBS)


def unchosen(content):
    content["trials"][1]["chosen"] = False


def second(content):
    for number in (3, 5):  # an equally good one that comes later
        content["trials"][number]["chosen"] = number == 5


def fewer(content):
    del content["trials"][2]


def more(content):
    content["trials"].append({**content["trials"][0], "chosen": False})


def rate(content):
    content["trials"][0]["recipe"]["learning_rate"] = 0.01


def argument(content):
    content["trials"][0]["arguments"]["rate"] = 0.25


def seed(content):
    content["trials"][0]["runs"][0]["path"] = "digits/net/0-aaaaaaaaaaaa"


def fewer_runs(content):
    del content["trials"][0]["runs"][1:]


def more_runs(content):
    content["trials"][4]["runs"] = content["trials"][3]["runs"]


def other_mean(content):  # the second finalist's is the higher one then
    content["trials"][1]["runs"][1]["accuracy"] = 0.0
    content["trials"][1]["runs"][2]["accuracy"] = 0.5


def all_seeds(content):
    content["seeds"] = [0, 1, 2]


def own_budget(content):
    content["search"]["trials"] = 2


def unknown_model(content):
    content["models"].pop()


def no_choice(content):
    content["models"][0]["knobs"]["rate"] = []


def edited(content):
    content["trials"][1]["runs"][0]["accuracy"] = 1.5


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (unchosen, "Tiny.*best"),
        (second, "Other.*best"),
        (fewer, "Tiny.*3 trials"),
        (more, "Tiny.*3 trials"),
        (rate, "Tiny.*design"),
        (argument, "Tiny.*design"),
        (seed, "runs of a trial of Tiny with seeds 1000, 1001 and 1002"),
        (fewer_runs, "runs of a trial of Tiny with seeds 1000, 1001 and 1002"),
        (more_runs, "runs of a trial of Other with seeds 1000;"),
        (other_mean, "Tiny.*best"),
        (all_seeds, "seeds 1000, 1001 and 1002"),
        (own_budget, "2 trials"),
        (unknown_model, "each model once"),
        (no_choice, "knobs"),
        (edited, "accuracy.*1.5"),
    ],
)
def test_what_is_no_equal_search_is_refused(record, tmp_path, damage, words):
    path = search_file(tmp_path, record.name)
    content = record.file_content()
    del content["checksum"]
    damage(content := json.loads(json.dumps(content)))
    write_json(path, content)
    with pytest.raises(UserError, match=words):
        load_search(path)


def test_results_keep_searches_under_their_names(record, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    record.save(search_file(Path(), record.name))
    path = Path("searches", f"{record.name}.json")
    exported = load_exported(path)
    assert isinstance(exported, ExportedSearch) and exported.record == record
    with pytest.raises(UserError, match="record of a search"):
        load_results(path)
    assert main(["results", str(path)]) == 0
    kept = Path("results", "searches", path.name)
    assert kept.read_bytes() == path.read_bytes()
    assert main(["results", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out.partition("\n[")[2].join(["[", ""]))
    assert (row["file"], row["size"], row["valid"]) == (str(kept), "full", True)
    kept.rename(kept.with_name("mine.json"))
    assert main(["results"]) == 2
    assert f"{record.name}.json; rename it" in capsys.readouterr().err


def test_the_values_of_a_file_are_those_of_its_search(protocol, record):
    searches = {record.name: record}
    tuned = Benchmark.model_validate(
        protocol
        | {
            "models": [
                record.applied_to(each) for each in Benchmark.model_validate(protocol).models
            ]
        }
    )
    assert [bool(entry.tuned) for entry in tuned.models] == [True, True, False]
    assert tuned.models[0].recipe == record.trials[1].recipe
    assert tuned.models[0].arguments == record.trials[1].arguments
    assert tuned.models[1].recipe == record.trials[3].recipe  # the first of two equal ones
    check_tuned(tuned, None, searches)
    with pytest.raises(UserError, match="no record"):
        check_tuned(tuned, None, {})
    with pytest.raises(UserError, match="another protocol"):
        check_tuned(tuned, "cpu", searches)
    first, *others = tuned.models
    for change, words in (
        ({"recipe": first.recipe | {"learning_rate": 0.5}}, "best trial"),
        ({"arguments": {"rate": 0.25}}, "best trial"),
        ({"label": "Else"}, "best trial"),
        ({"name": "cnn-small"}, "tiny: Tiny was tuned as another network"),
        ({"arguments": first.arguments | {"width": 4}}, "another network"),
        ({"recipe": first.recipe | {"schedule": "constant"}}, "another recipe"),
    ):
        changed = tuned.model_copy(update={"models": (first.model_copy(update=change), *others)})
        with pytest.raises(UserError, match=words):
            check_tuned(changed, None, searches)
    steps = tuned.recipe.model_copy(update={"steps": 13})
    with pytest.raises(UserError, match="another protocol"):
        check_tuned(tuned.model_copy(update={"recipe": steps}), None, searches)
    more = tuned.search.model_copy(update={"trials": 64})
    with pytest.raises(UserError, match=r"tuned by 3 trials.*64"):
        check_tuned(tuned.model_copy(update={"search": more}), None, searches)


def test_benchmarks_on_one_data_set_share_a_search(protocol, record):
    shared = protocol | {"name": "other", "views": {"shift": [-1, 1]}, "search": {"trials": 3}}
    shared["recipe"] = protocol["recipe"] | {"steps": 13, "limit": 50}
    benchmark = Benchmark.model_validate(shared)
    models = tuple(map(record.applied_to, benchmark.models))
    check_tuned(benchmark.model_copy(update={"models": models}), None, {record.name: record})
    for change in (
        {"recipe": shared["recipe"] | {"batch_size": 7}},
        {"recipe": shared["recipe"] | {"schedule": "exponential"}},
        {"recipe": shared["recipe"] | {"warmup": 0.1}},
        {"data": {"name": "toynorb"}},
        {"data": {"name": "digits", "arguments": {"size": 16}}},
        {"data": {"name": "digits", "per_class": 5}},
        {"threads": 2},
        {"selection": "last"},
    ):
        changed = Benchmark.model_validate(shared | change).model_copy(update={"models": models})
        with pytest.raises(UserError, match="tuned under another protocol"):
            check_tuned(changed, None, {record.name: record})
    benchmark = benchmark.model_copy(update={"models": models})
    with pytest.raises(UserError, match="tuned under another protocol"):
        check_tuned(benchmark, "cpu", {record.name: record})
    fewer = benchmark.model_copy(
        update={"search": benchmark.search.model_copy(update={"trials": 2})}
    )
    with pytest.raises(UserError, match=r"3 trials.*which has 2"):
        check_tuned(fewer, None, {record.name: record})


def test_a_search_with_settings_of_a_command_is_not_shared(protocol, record):
    other = Benchmark.model_validate(protocol | {"name": "other"})
    for settings, words in (({"seeds": [7]}, None), ({"recipe.steps": 1}, "another protocol")):
        searched = record.protocol.model_copy(update={"settings": settings})
        changed = record.model_copy(update={"protocol": searched})
        tuned = other.model_copy(update={"models": tuple(map(changed.applied_to, other.models))})
        with pytest.raises(UserError, match=words) if words else nullcontext():
            check_tuned(tuned, None, {changed.name: changed})


def test_a_best_rate_at_the_edge_of_the_trials_is_told(protocol):
    rates = [each.recipe["learning_rate"] for each in Search(trials=3).draw({})]
    inner = rates.index(sorted(rates)[1])
    accuracies = {
        "Tiny": [0.9 if number == inner else 0.1 for number in range(3)],
        "Other": [0.9 if number == rates.index(max(rates)) else 0.1 for number in range(3)],
        "Not searched": [0.9 if number == rates.index(min(rates)) else 0.1 for number in range(3)],
    }
    record = search_record(protocol, accuracies)
    assert record.at_edge == ["Other", "Not searched"]
    table = searches_table([record])
    assert table is not None
    rows = {row.cells[1]: row.cells for row in table.rows}
    assert [rows[label][3] for label in accuracies] == ["", "yes", "yes"]
    assert rows["Tiny"][4:] == ("90.0 %", "3")
    assert searches_table([]) is None


def test_the_best_mean_of_the_finalists_is_chosen(protocol):
    """A lucky first seed alone chooses nothing, and a trial that was no finalist has no mean."""
    accuracies = {
        "Tiny": [(0.9, 0.2, 0.2), (0.7, 0.6, 0.65), (0.6, 0.95, 0.95)],
        "Other": [(0.9, None, 0.9), (0.7, 0.7, 0.7), (0.1, 0.1, 0.1)],
    }
    record = search_record(protocol, accuracies)
    assert [len(trial.runs) for trial in record.trials_of("Tiny")] == [3, 3, 1]
    for label in accuracies:
        assert record.chosen(label) == record.trials_of(label)[1]
    lucky, best, _ = record.trials_of("Tiny")
    assert best.accuracy == pytest.approx(0.65)
    assert lucky.accuracy == pytest.approx(1.3 / 3)
    assert record.trials_of("Other")[0].accuracy == pytest.approx(0.6)  # one diverged
    single = protocol | {"search": {"trials": 3, "finalists": 1}}
    record = search_record(single, accuracies)
    assert record.chosen("Tiny") == record.trials_of("Tiny")[0]
    assert all(len(trial.runs) == 1 for trial in record.trials)


def test_pages_state_who_is_tuned(protocol, record):
    benchmark = Benchmark.model_validate(protocol)
    labels = [entry.label for entry in benchmark.models]
    models = tuple(map(record.applied_to, benchmark.models))
    tuned = benchmark.model_copy(update={"models": models})

    def text(benchmark, labels, search=None, **changes):
        page = BenchmarkRecord(
            benchmark=benchmark,
            changes=ProtocolChanges(**changes),
            command="a test",
            cells=(),
            search=search,
            provenance=record.provenance,
        )
        return tuning(page, labels)

    assert text(benchmark, labels).startswith("All models: not tuned here")
    everything = text(tuned, labels)
    assert everything.startswith("Tiny and Other: ")
    assert record.name in everything
    assert everything.index("Not searched: not tuned here") > everything.index(record.name)
    assert "not tuned here" not in text(tuned, ["Tiny", "Other"])
    first = tuned.models[0].model_copy(update={"reason": "it sees wider views"})
    reasoned = tuned.model_copy(update={"models": (first, *tuned.models[1:])})
    assert f"{first.label}: it sees wider views." in text(reasoned, labels)
    assert "another benchmark" not in everything
    elsewhere = text(tuned.model_copy(update={"name": "other"}), labels)
    assert "for another benchmark" in elsewhere
    shared = tuned.model_copy(update={"name": "other"})
    assert "without data.name." in text(shared, labels, settings={"data.name": "kmnist"})
    changes = {"settings": {"recipe.steps": 13, "seeds": [7]}}
    assert "another protocol, without recipe.steps." in text(tuned, labels, **changes)
    assert "another protocol" not in text(tuned, labels, record, **changes)
    assert "another protocol" not in text(tuned, labels, settings={"seeds": [7]})


@pytest.mark.parametrize("name", ["tiny", "other"])
def test_only_an_own_search_was_at_the_value_of_the_file(protocol, record, name):
    vary = {"name": "steps", "place": "recipe.steps", "values": [6, 12]}
    search = protocol["search"] | {"at": 12}
    benchmark = Benchmark.model_validate(protocol | {"name": name, "vary": vary, "search": search})
    models = tuple(map(record.applied_to, benchmark.models))
    page = BenchmarkRecord(
        benchmark=benchmark.model_copy(update={"models": models}),
        changes=ProtocolChanges(),
        command="a test",
        cells=(),
        provenance=record.provenance,
    )
    assert ("of each model at 12" in tuning(page, ["Tiny"])) == (name == "tiny")


def test_the_name_of_a_search_tells_its_benchmark_at_every_scale(protocol):
    for scale in (None, "cpu", "two-cores"):
        name = search_record(protocol, ACCURACIES, knobs=KNOBS, scale=scale).name
        assert is_search_of(name, "tiny") and not is_search_of(name, "tin")


def shipped_protocols():
    """Yield every shipped protocol with its scale, and the parts of claims."""
    for name in benchmark_names():
        for scale in (None, *read_yaml(find("benchmarks", name).source()).get("scales", {})):
            yield load_benchmark(name, scale=scale), scale
    for name in filter(is_claims, table("benchmarks")):
        for scale in (None, *load_claims(name).scales):
            claims = load_claims(name, scale)
            for part in claims.parts:
                yield claims.benchmark(part, scale), scale


def test_shipped_values_are_the_best_ones_of_kept_searches():
    kept = {path.stem: load_search(path).record for path in (RESULTS / "searches").glob("*.json")}
    for benchmark, scale in shipped_protocols():
        check_tuned(benchmark, scale, kept)
