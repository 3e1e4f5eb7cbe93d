"""docs/measures.md names every measure, metric and field of a value, and its Python runs."""

import re
from pathlib import Path
from typing import Any

import pytest

from capsbench.measures import load_measure
from capsbench.models.cnn_small import CNNSmall
from capsbench.names import table
from capsbench.values import Value

PAGE = (Path(__file__).parents[1] / "docs" / "measures.md").read_text(encoding="utf-8")
MEASURES = sorted(table("measures"))
EVALUATION, QUERY = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
ROWS = """\
label,seed,measure,metric,factor,view,value
CNN,0,accuracy-by-view,accuracy,rotation,90,0.25
CNN,1,accuracy-by-view,accuracy,rotation,90,0.75
CNN,0,accuracy-by-view,accuracy,rotation,,0.9
CNN,0,accuracy-by-view,area,rotation,90,0.9
CNN,0,accuracy-by-view,accuracy,scale,90,0.9
CNN,0,consistency,accuracy,rotation,90,0.9
"""


def test_every_measure_has_a_definition():
    assert sorted(re.findall(r"^\| `([a-z-]+)` \|.*\|.*\|$", PAGE, flags=re.MULTILINE)) == MEASURES


@pytest.mark.parametrize("measure", MEASURES)
def test_every_metric_is_named(measure):
    (cell,) = re.findall(rf"^\| {measure} \|(.*)\|$", PAGE, flags=re.MULTILINE)
    own = load_measure(measure)
    conditions = re.findall(r"condition `\w+`(?:: `\w+` or `\w+`)?", cell)
    names = set(re.findall(r"`(\w+)`", cell))
    names -= {name for text in conditions for name in re.findall(r"`(\w+)`", text)}
    assert names == set(own.metrics)


def test_every_field_of_a_value_is_named():
    section = PAGE.partition("## Values")[2]
    assert all(f"`{field}`" in section for field in Value.model_fields)


def test_evaluation_of_a_model_in_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = CNNSmall(image_shape=(1, 32, 32), num_classes=10, width=2, hidden=4)
    names: dict[str, Any] = {"model": model}
    exec(compile(EVALUATION, "measures.md", "exec"), names)
    assert {row["measure"] for row in names["rows"]} == {"accuracy-by-view"}
    assert list(tmp_path.glob("*.png")) == [tmp_path / "accuracy-by-view.png"]


def test_query_of_results(tmp_path, monkeypatch):
    (tmp_path / "runs/quick/report").mkdir(parents=True)
    (tmp_path / "runs/quick/report/results.csv").write_text(ROWS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(QUERY, "measures.md", "exec"), names)
    assert names["curves"].to_dict() == {"CNN": {90.0: 0.5}}
