"""The page names the models that ran, and says nothing of the others as if they had."""

import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from capsbench.records import BenchmarkFolder, BenchmarkRecord, ProtocolChanges, load_results
from capsbench.reporting import report
from capsbench.reporting.exports.export import ExportedResults
from capsbench.reporting.networks import networks
from capsbench.reporting.protocol import protocol_terms
from capsbench.reporting.results_pages.pages import result_pages
from capsbench.reporting.terminal import result_tables
from capsbench.schema import benchmark_names, load_benchmark

ADDED, OWN = "EM routing", "Dynamic routing"


@pytest.fixture
def folder(tmp_path, write_benchmark):
    """Records of the first model and of an added one; a model with its own recipe did not run."""
    folder: Path = write_benchmark(tmp_path)
    file = BenchmarkFolder(folder).record
    record = BenchmarkRecord.load(file)
    own = {"recipe": {"weight_decay": 0.25}, "reason": "a test"}
    models = tuple(
        entry.model_copy(update=own if entry.label == OWN else {})
        for entry in record.benchmark.models
    )
    benchmark = record.benchmark.model_copy(update={"models": models, "conflicts": ("A choice.",)})
    changes = ProtocolChanges(models=("CNN",), added=(models[-1],))
    cells = tuple(cell for cell in record.cells if cell.label != OWN)
    update = {"benchmark": benchmark, "changes": changes, "cells": cells}
    record.model_copy(update=update).save(file)
    return folder


def test_every_page_names_the_models_that_ran(folder):
    words = f"Networks: CNN; added to the protocol: {ADDED}; not run: {OWN}. The question"
    results = load_results(folder)
    assert networks(results).startswith(words)
    page = report.build(folder)
    console = Console(record=True, file=StringIO())
    console.print(result_tables(results))
    for text in (
        page.read_text("utf-8"),
        page.with_name("report.md").read_text("utf-8"),
        result_pages([ExportedResults(Path("results/quick/full.json"), results, [])])[
            "results/quick.md"
        ],
        console.export_text(),
    ):
        assert words in " ".join(text.split())


def test_the_protocol_says_nothing_of_models_that_were_not_run(folder):
    terms = dict(protocol_terms(load_results(folder)))
    assert OWN not in terms["Recipe"]
    assert "0.25" not in terms["Recipe"]
    assert "not run" in terms["Choices"]
    assert terms["Choices"].endswith("A choice.")


def test_all_models_of_a_protocol(tmp_path, write_benchmark):
    results = load_results(write_benchmark(tmp_path))
    assert networks(results) == "Networks: CNN, Dynamic routing and EM routing."


@pytest.mark.parametrize("name", benchmark_names())
def test_titles_and_questions_name_no_set_of_networks(name):
    benchmark = load_benchmark(name)
    text = f"{benchmark.title} {benchmark.question}"
    labels = [re.escape(entry.label) for entry in benchmark.models]
    sets = [*labels, "CNNs?", "(two|three|four|five) networks"]
    assert [each for each in sets if re.search(rf"\b{each}\b", text)] == []
