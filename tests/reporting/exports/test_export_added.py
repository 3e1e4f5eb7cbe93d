"""Exported records of a benchmark with added models."""

import json

import pytest
from rich.console import Console

from capsbench.errors import UserError
from capsbench.records import ProtocolChanges
from capsbench.reporting.exports.checks import check_export
from capsbench.reporting.exports.export import export_benchmark, load_export
from capsbench.reporting.results_pages.pages import result_pages
from capsbench.running.benchmark import run_benchmark
from capsbench.running.plan import plan
from capsbench.running.session import Session
from capsbench.schema import load_benchmark, parse_models
from capsbench.training.execution import Execution

CHANGES = {"recipe.steps": 2, "recipe.evaluate_every": 2, "recipe.limit": 40, "seeds": [0]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The benchmark quick with one of its models and an added one."""
    runs = tmp_path_factory.mktemp("runs")
    own, added = parse_models(["CNN,+{name: cnn-small, label: Narrow, arguments: {width: 2}}"])
    changes = ProtocolChanges(settings=CHANGES, models=own, added=added)
    benchmark = load_benchmark("quick", CHANGES, added=added)
    cells = plan(benchmark, models=changes.requested_models)
    session = Session(runs, None, Execution(device="cpu", wandb="off"), Console())
    run_benchmark(benchmark, cells, session, changes=changes, command="a test")
    return runs / "quick"


def test_the_protocol_of_a_record_holds_the_added_models(folder, tmp_path):
    exported = load_export(export_benchmark(folder, tmp_path))
    assert [cell.label for cell in exported.results.cells] == ["CNN", "Narrow"]
    assert exported.results.benchmark.models[-1].label == "Narrow"
    check_export(exported)
    page = result_pages([exported])["results/quick.md"]
    assert "added=Narrow" in page
    assert "added to the protocol: Narrow; not run: " in page


def edit(file, old, new, count=-1):
    """Change an exported record by hand, in the form of older ones, which have no checksum."""
    content = json.loads(file.read_text())
    content.pop("checksum", None)
    text = json.dumps(content)
    assert old in text
    file.write_text(text.replace(old, new, count))


def test_a_model_that_the_record_does_not_name_is_refused(folder, tmp_path):
    file = export_benchmark(folder, tmp_path)
    edit(file, '"width": 2', '"width": 4', 1)
    with pytest.raises(UserError, match=r"other models|not the training"):
        check_export(load_export(file))


def test_a_model_of_a_users_own_file_is_refused(folder, tmp_path):
    """A file's class is known by its content, which is not here."""
    file = export_benchmark(folder, tmp_path)
    configs = [cell.config for cell in load_export(file).results.cells]
    edit(file, '"name": "cnn-small"', '"name": "Net@0123456789abcdef"')
    for config in configs:
        assert config is not None
        own = config.model.model_copy(update={"name": "Net@0123456789abcdef"})
        edit(file, config.fingerprint, config.model_copy(update={"model": own}).fingerprint)
    with pytest.raises(UserError, match="register a name"):
        check_export(load_export(file))
