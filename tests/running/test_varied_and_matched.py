"""A benchmark that varies something and matches models on test images, from run to tables."""

import pytest

from capsbench.records import ProtocolChanges, load_results
from capsbench.reporting.comparisons import matched
from capsbench.reporting.comparisons.differences import model_differences
from capsbench.reporting.comparisons.published import compare_differences, compare_published
from capsbench.reporting.comparisons.scaling import varied_curves
from capsbench.reporting.figures.scaling_figures import varied_figure
from capsbench.running.benchmark import run_benchmark
from capsbench.running.plan import plan
from capsbench.schema import Benchmark

NUMBER = {
    "model": "Small",
    "at": 8,
    "measure": "accuracy-by-split",
    "quantity": {"metric": "accuracy", "split": "familiar"},
    "printed": "as a test",
    "source": "a test",
    "selected_on": "nothing",
    "known_by": "read",
}


@pytest.fixture
def folder(session, tiny_protocol, tiny_file):
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
    page, _ = run_benchmark(
        benchmark, plan(benchmark), session, changes=ProtocolChanges(), command="a test"
    )
    assert page is not None
    return session.output / "tiny"


def test_from_run_to_page(folder):
    results = load_results(folder)
    titles = ["Tiny · 4", "Tiny · 8", "Small · 4", "Small · 8"]
    assert list(results.by_label()) == titles
    for cell in results.cells:
        # The followed accuracy is the measured one: the same images, views and weights.
        assert cell.training is not None
        selected = cell.training.selected["validation"].step
        row = next(row for row in cell.trajectory if row["step"] == selected)
        (value,) = cell.measures["accuracy-by-split"].select(metric="accuracy", split="familiar")
        assert row["familiar_accuracy"] == value.value
        (match,) = matched.matches(results, [cell])
        reached = [row for row in cell.trajectory if row["familiar_accuracy"] >= 0.11]
        assert match.row == (reached[0] if reached else None)
    table = matched.matched_table(results)
    assert table is not None
    assert [row.contents()[0].text for row in table.rows] == titles
    # The first model and the other one at the same value, never at another.
    assert [row.title for row in model_differences(results)] == titles[2:]
    (curves,) = varied_curves(results)
    assert {name: [x for x, _ in points] for name, points in curves.lines.items()} == {
        "Tiny": [4, 8],
        "Small": [4, 8],
    }
    assert varied_figure(results) is not None
    verdicts = [row.verdict for row in compare_published(results)]
    assert verdicts[0] == "reproduced"
    assert verdicts[1] in ("not reproduced", "not decided")
    (compared,) = compare_differences(results)
    assert (compared.first.model, compared.entry.model) == ("Tiny", "Small")
    assert compared.entry.value - compared.first.value == pytest.approx(0.2)
    page = (folder / "report/index.html").read_text()
    text = (folder / "report/report.md").read_text()
    for words in ("sees test labels", "Published differences", "images of each class"):
        assert words in page
        assert words in text
    answer = page[: page.index('id="summary"')]
    assert "images of each class" in answer and 'class="chart"' in answer
    assert "Training of each seed" not in page
