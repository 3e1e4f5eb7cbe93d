"""The table of all values, read by pandas as its users read it."""

import io

import pandas as pd
import pytest

from capsbench.records import load_results
from capsbench.reporting.exports.csv_file import results_csv
from capsbench.values import Quantity


def test_pandas_filters_and_groups_every_value(tmp_path, write_benchmark, add_measure):
    folder = write_benchmark(tmp_path)
    attacked = Quantity(metric="accuracy", condition={"method": "fgsm", "epsilon": 0.1})
    config = {"measure": "attacks", "methods": ["fgsm"], "epsilons": [0.1]}
    add_measure(folder, "CNN", 0, config, [attacked.with_value(0.25, 50)])
    results = load_results(folder)
    table = pd.read_csv(io.StringIO(results_csv(results)))
    records = [record for cell in results.cells for record in cell.measures.values()]
    assert len(table) == sum(len(record.values) for record in records)

    views = table[(table["measure"] == "accuracy-by-view") & (table["factor"] == "rotation")]
    curves = views[views["view"].notna()].pivot_table("value", index="view", columns="label")
    expected = [
        value.value
        for cell in results.by_label()["CNN"]
        for value in cell.measures["accuracy-by-view"].select(factor="rotation", view=90.0)
    ]
    assert curves.loc[90.0, "CNN"] == pytest.approx(sum(expected) / len(expected), rel=1e-12)

    attacks = table[(table["condition_method"] == "fgsm") & (table["condition_epsilon"] == 0.1)]
    assert attacks[["label", "seed", "value", "n"]].to_numpy().tolist() == [["CNN", 0, 0.25, 50]]
