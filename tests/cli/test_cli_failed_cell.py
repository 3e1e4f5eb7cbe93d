"""A model that fails in training: other cells go on, and ``--retry failed`` tries it again."""

from pathlib import Path

import pytest

from capsbench.records import CellFolder, load_results
from capsbench.records.cell_files import load_failure

ODD = '''
"""A linear network that fails in training while a file says so."""

from pathlib import Path

from torch import nn


class Odd(nn.Module):
    """A linear network."""

    def __init__(self, *, image_shape, num_classes):
        super().__init__()
        channels, height, width = image_shape
        self.layer = nn.Linear(channels * height * width, num_classes)

    def forward(self, images):
        if len(images) > 8 and Path("broken").exists():
            raise ValueError("this network is broken")
        return self.layer(images.flatten(1))
'''
LINE = [
    *("run", "tiny.yaml", "--models", "smaller,+odd.py:Odd", "--seeds", "0", "--workers", "0"),
    *("--device", "cpu", "--wandb", "off"),
]


@pytest.fixture
def failed(cli, tiny):
    """The runs folder after the training of one model failed; returns the folder of its cell."""
    Path("odd.py").write_text(ODD, encoding="utf-8")
    Path("broken").touch()
    code, out, _ = cli(*LINE)
    assert code == 1
    assert "this network is broken" in out
    return next(Path("runs").glob("digits/*/*/failure.json")).parent


@pytest.mark.slow
def test_a_failed_cell_from_its_failure_to_its_repetition(cli, failed):
    failure = load_failure(CellFolder(failed))
    assert (failure.job, failure.kind) == ("train", "user code")
    assert "odd.py:" in failure.reason
    assert "in forward" in failure.traceback
    done, cell = load_results(Path("runs/tiny")).cells
    assert (done.problem, cell.problem) == (None, "failed: user code")

    code, status, _ = cli("status", "--json")
    assert code == 0
    assert (status["counts"]["done"], status["counts"]["failed"]) == (1, 1)
    page = Path("runs/tiny/report/index.html").read_text("utf-8")
    assert "this network is broken" in page
    assert "--retry failed" in page

    _, (_, row), _ = cli(*LINE, "--dry-run", "--json")
    assert (row["state"], row["failed_job"]) == ("failed", "train")
    assert "broken" in row["failure"]
    assert row["training_seconds"] is None
    assert "--retry failed" in cli(*LINE, "--dry-run")[1]
    code, (_, row), _ = cli(*LINE, "--dry-run", "--json", "--retry", "failed")
    assert (code, row["state"], row["training_seconds"]) == (0, "failed", None)
    assert "network is broken" in row["problem"]
    assert "a training step fails" in cli(*LINE, "--dry-run", "--retry", "failed")[1]

    Path("broken").unlink()
    _, (_, row), _ = cli(*LINE, "--dry-run", "--json", "--retry", "failed")
    assert row["training_seconds"] > 0
    assert cli(*LINE)[0] == 1  # a failed cell is not tried again by itself
    assert cli(*LINE, "--retry", "failed")[0] == 0
    assert not (failed / "failure.json").exists()
    assert [cell.problem for cell in load_results(Path("runs/tiny")).cells] == [None, None]
    assert "is broken" not in Path("runs/tiny/report/index.html").read_text("utf-8")
