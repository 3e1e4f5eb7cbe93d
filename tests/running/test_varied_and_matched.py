"""A benchmark that varies something and matches models on test images, from run to tables."""

import pytest
from rich.console import Console

from capsbench.reporting import matched, published
from capsbench.reporting.scaling_figures import varied, varied_figure
from capsbench.reporting.differences import differences
from capsbench.reporting.results import load
from capsbench.running.plan import plan
from capsbench.running.run import run_benchmark
from capsbench.schema import Benchmark
from capsbench.training.execution import Execution

NUMBER = {
    "model": "Small",
    "at": 8,
    "measure": "accuracy-by-split",
    "key": "familiar/accuracy",
    "printed": "as a test",
    "source": "a test",
    "selected_on": "nothing",
    "known_by": "read",
}


@pytest.fixture
def folder(tmp_path, tiny_protocol, tiny_file):
    models = [
        {"name": f"{tiny_file}:Tiny", "label": label, "arguments": {"rate": rate}}
        for label, rate in (("Tiny", 0.2), ("Small", 0.5))
    ]
    benchmark = Benchmark.model_validate(
        {
            **tiny_protocol,
            "models": models,
            "vary": {"name": "images of each class", "place": "data.per_class", "values": [4, 8]},
            "follow": ["familiar"],
            "matched": {"to": 0.11},
            "measures": [{"measure": "accuracy-by-split"}],
            "seeds": [0, 1, 2],
            "published": [
                {**NUMBER, "value": 0.15, "spread": 0.9},
                {**NUMBER, "value": 5.0, "rule": "matched"},
                {**NUMBER, "value": 0.1, "at": 4, "model": "Tiny"},
                {**NUMBER, "value": 0.3, "at": 4},
            ],
        }
    )
    page = run_benchmark(
        benchmark,
        cells=plan(benchmark),
        output=tmp_path,
        execution=Execution(device="cpu", wandb="off"),
        data_root=None,
        changes=[],
        command="a test",
        console=Console(),
    )
    assert page is not None
    return tmp_path / "tiny"


def test_from_run_to_page(folder):
    results = load(folder)
    titles = ["Tiny · 4", "Tiny · 8", "Small · 4", "Small · 8"]
    assert list(results.by_label()) == titles
    assert results.factors() == []
    for cell in results.cells:
        # What is followed is what is measured: the same images, views and weights.
        assert cell.training is not None
        chosen = cell.training.selected["validation"].step
        row = next(row for row in cell.trajectory if row["step"] == chosen)
        value = cell.measurements["accuracy-by-split"].values["familiar/accuracy"]
        assert row["familiar_accuracy"] == value
        (match,) = matched.matches(results, [cell])
        reached = [row for row in cell.trajectory if row["familiar_accuracy"] >= 0.11]
        assert match.row == (reached[0] if reached else None)
    assert [row.title for row in matched.matched_table(results)] == titles
    # The first model and the other one at the same value, and never at another.
    assert [row.label for row in differences(results, resamples=20)] == titles[2:]
    (panel,) = varied(results)
    assert {name: [x for x, _ in points] for name, points in panel.lines.items()} == {
        "Tiny": [4, 8],
        "Small": [4, 8],
    }
    assert varied_figure(results) is not None
    verdicts = [row.verdict for row in published.published(results)]
    assert verdicts[0] == "reproduced"
    assert verdicts[1] in ("not reproduced", "not decided")
    (compared,) = published.differences(results)
    assert (compared.first.model, compared.entry.model) == ("Tiny", "Small")
    assert compared.published == pytest.approx(0.2)
    page = (folder / "report/index.html").read_text()
    text = (folder / "report/report.md").read_text()
    for told in ("This rule sees test labels", "Published differences", "images of each class"):
        assert told in page
        assert told in text
    assert (folder / "report/figures/varied.svg").is_file()
    assert not list(folder.glob("report/figures/training-*"))
