"""The progress bar: none in a log file, one output of text in a notebook."""

import io
import sys
from types import ModuleType

import pytest
from rich.console import Console

from capsbench import progress
from capsbench.progress import progress_bar


class Output:
    """An output of a notebook's cell that keeps what it showed."""

    def __init__(self, content, **options):
        assert options == {"raw": True, "display_id": True}
        self.shown = [content["text/plain"]]

    def update(self, content, *, raw):
        assert raw
        self.shown.append(content["text/plain"])


@pytest.fixture
def outputs(monkeypatch):
    """Every output that was added to the cell."""
    outputs: list[Output] = []

    def display(content, **options):
        outputs.append(Output(content, **options))
        return outputs[-1]

    module = ModuleType("IPython.display")
    monkeypatch.setattr(module, "display", display, raising=False)
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return outputs


def work(console):
    with progress_bar(console) as bar:
        task = bar.add_task("[training]", total=4, note="")
        bar.update(task, completed=1, note="accuracy 0.5")
        bar.advance(task)


def test_a_log_file_shows_nothing():
    stream = io.StringIO()
    work(Console(file=stream))
    assert stream.getvalue() == ""


def test_a_notebook_shows_one_line_that_disappears(outputs, monkeypatch):
    monkeypatch.setattr(progress, "NOTEBOOK_SECONDS", 0)
    work(Console(force_jupyter=True))
    (output,) = outputs
    first, *lines, last = output.shown
    assert (first, last) == ("", "")
    assert ["[training]" in line and "accuracy 0.5" in line for line in lines] == [True, True]
    assert ["1/4" in lines[0], "2/4" in lines[1]] == [True, True]


def test_a_short_operation_leaves_no_output(outputs):
    work(Console(force_jupyter=True))
    assert outputs == []
