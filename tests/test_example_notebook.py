"""examples/compare_two_models.ipynb: its stored outputs are sound, and it runs."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

PATH = Path(__file__).parents[1] / "examples" / "compare_two_models.ipynb"
MAX_BYTES = 200_000


def read():
    return nbformat.read(PATH, as_version=4)


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_stored_outputs_are_those_of_one_complete_run():
    notebook = read()
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    stored = outputs(notebook)
    assert not [output for output in stored if output.output_type == "error"]
    assert sum("image/png" in output.get("data", {}) for output in stored) == 2
    assert max(len(output.get("data", {}).get("text/plain", "")) for output in stored) < 1000
    assert PATH.stat().st_size < MAX_BYTES


def test_stored_outputs_name_no_place_of_a_machine():
    """The cell that runs prints the address of its page: clear its output before a commit."""
    text = json.dumps(outputs(read()))
    assert not [word for word in ("file:", "/tmp", "/home", "/Users") if word in text]


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    notebook = read()
    folder = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, resources=folder).execute()
    shown = [output.get("data", {}).get("text/html", "") for output in outputs(notebook)]
    first, *_, last = [html for html in shown if '<div class="capsbench">' in html]
    assert "My network" in last
    assert "My network" not in first
