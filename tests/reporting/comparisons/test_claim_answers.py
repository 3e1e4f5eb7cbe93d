"""Claims in sentences and charts, and their differences without one seed."""

import numpy as np
import pytest

from capsbench.reporting.charts.claim_charts import claim_charts
from capsbench.reporting.comparisons.claim_answers import claim_answers, verdict_counts
from capsbench.reporting.tables.leave_one_out_table import leave_one_out_table
from tests.reporting.comparisons.made_up_claims import ACCURACY, ERROR, judged_claim


def test_sentences_and_charts_have_the_difference_without_the_margin(parts):
    tests = (ACCURACY | {"model": "Caps", "margin": 0.2}, ACCURACY | {"model": "Same"})
    judged = judged_claim(parts, *tests)
    caps, _ = judged.tests
    low, high = (100 * (limit + 0.2) for limit in caps.difference.interval)
    ((verdict, sentence),) = claim_answers([judged])
    assert verdict == "Capsules are <better>: not decided."
    assert sentence.startswith("Caps: holds on one (")
    assert f"(against CNN, {100 * (caps.difference.mean + 0.2):.1f} pts, " in sentence
    assert f"95 % interval {low:.1f} to {high:.1f}, detectable " in sentence
    assert sentence.endswith("5 seeds of each network.")
    charts = claim_charts([judged])
    rows = [row for each in charts["claim-1"].spec["datasets"].values() for row in each]
    row = next(row for row in rows if row.get("name") == "Caps on one")
    assert (row["low"], row["high"]) == pytest.approx((low, high))
    assert {"low": -2.0, "high": 2.0} in rows  # the bound, in percentage points
    error = {"measure": "calibration", "quantity": {"metric": ERROR, "layer": "Caps"}}
    error |= {"against_quantity": {"metric": "explained"}}
    assert list(claim_charts([judged_claim(parts, ACCURACY | {"model": "Caps"} | error)])) == []
    not_measured = claim_answers([judged_claim(parts, ACCURACY | {"model": "Caps"} | error)])
    assert "Caps: not decided on one (not measured, against CNN)." in not_measured[0].text


def test_verdicts_are_counted_also_those_that_none_has(parts):
    judged = judged_claim(parts, ACCURACY | {"model": "Caps"}, ACCURACY | {"model": "Same"})
    assert [test.verdict for test in judged.primary] == ["holds", "no difference"]
    claims, tests = verdict_counts([judged]).split(". ")
    assert claims == ("Of 1 claim 0 hold, 0 do not hold, 0 show no difference and 1 is not decided")
    assert tests.startswith("Of 2 primary tests, ")
    assert tests.endswith("1 holds, 0 do not hold, 1 shows no difference and 0 are not decided.")


def test_a_difference_without_one_seed_is_that_of_the_others(parts):
    judged = judged_claim(parts, ACCURACY | {"model": "Caps"}, ACCURACY | {"model": "Same"})
    cells = {part: results.cells for part, results in parts.items()}
    table = leave_one_out_table([judged], cells)
    assert table is not None
    for test, row in zip(judged.tests, table.rows, strict=True):
        one, other = np.array(test.values)
        without = [np.delete(one, k).mean() - np.delete(other, k).mean() for k in range(5)]
        numbers = [cell.number for cell in row.contents()[2:]]
        assert numbers == pytest.approx([one.mean() - other.mean(), min(without), max(without)])
    left = [c for c in cells["one"] if (c.label, c.seed) not in (("CNN", 0), ("Caps", 4))]
    crossed = leave_one_out_table([judged], {"one": left})
    assert crossed is not None
    one, other = np.array(judged.tests[0].values)[:, 1:4]  # the common seeds
    without = [np.delete(one, k).mean() - np.delete(other, k).mean() for k in range(3)]
    numbers = [cell.number for cell in crossed.rows[0].contents()[3:]]
    assert numbers == pytest.approx([min(without), max(without)])
    lower = judged_claim(parts, ACCURACY | {"model": "Caps", "lower_is_better": True})
    opposite = leave_one_out_table([lower], cells)
    assert opposite is not None
    numbers = [each.rows[0].contents()[2].number for each in (opposite, table)]
    assert numbers[0] == pytest.approx(-(numbers[1] or 0))
    few = [cell for cell in cells["one"] if cell.seed in (0, 1)]
    assert leave_one_out_table([judged], {"one": few}) is None
