"""Claims: differences of known size, families of tests, networks, verdicts and tables."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from capsbench.measures import MeasureContext, index_name, load_measure
from capsbench.names import find
from capsbench.records import load_results
from capsbench.reporting.charts.claim_charts import claim_charts
from capsbench.reporting.comparisons.claim_answers import claim_answers
from capsbench.reporting.comparisons.claims import judge
from capsbench.reporting.exports.claims_checks import is_test_of
from capsbench.reporting.tables.claims_tables import claim_tables, primary_table, verdict_table
from capsbench.reporting.tables.leave_one_out_table import leave_one_out_table
from capsbench.schema.claims import Claims
from capsbench.values import Quantity, Value

MODELS = (("CNN", "cnn-small"), ("Caps", "capsnet-dr"), ("Same", "capsnet-em"))
SPLITS = {"measure": "accuracy-by-split"}
FAMILIAR = Quantity(metric="accuracy", split="familiar")
NOVEL = Quantity(metric="accuracy", split="novel")
ERROR = "expected_calibration_error"
GAIN = Quantity(metric="gain_over_control", layer="poses")
FAMILIAR_ACCURACY = {"quantity": {"metric": "accuracy", "split": "familiar"}}
NOVEL_ACCURACY = {"quantity": {"metric": "accuracy", "split": "novel"}}
ACCURACY = {
    "part": "one",
    "against": "CNN",
    "primary": True,
    "measure": "accuracy-by-split",
    **FAMILIAR_ACCURACY,
}
SEEDS = tuple(range(5))


@pytest.fixture(scope="module")
def parts(tmp_path_factory, write_benchmark, add_measure):
    """Caps is more accurate than CNN by 0.3, far beyond chance; Same is like CNN.

    On novel images all of them guess, and the first seed of CNN guesses on familiar ones, too.
    Training adds 0.2 to a measure of Caps, and takes 0.1 from that of CNN, which is the larger one.
    """
    folder = write_benchmark(tmp_path_factory.mktemp("parts"), models=MODELS, seeds=SEEDS)
    random = np.random.default_rng(0)
    for label, share in (("CNN", 0.5), ("Caps", 0.8), ("Same", 0.5)):
        for seed in SEEDS:
            values, per_image = list[Value](), dict[str, Any]()
            for quantity, mean in ((FAMILIAR, share), (NOVEL, 0.5)):
                correct = random.random(4000) < mean
                values.append(quantity.with_value(float(correct.mean()), 4000))
                per_image |= {quantity.name: correct, index_name(quantity.split): np.arange(4000)}
            add_measure(folder, label, seed, SPLITS, values, per_image=per_image)
            error = {"CNN": 0.2, "Caps": 0.1, "Same": 0.2}[label] + 0.004 * random.random()
            values = [Quantity(metric=ERROR, layer=label).with_value(error, 4000)]
            add_measure(folder, label, seed, {"measure": "calibration"}, values)
            trained, before = {"CNN": (0.7, 0.8), "Caps": (0.4, 0.2), "Same": (0.7, 0.8)}[label]
            noise = 0.01 * random.random(2)
            values = [
                GAIN.with_value(trained + noise[0], 100),
                GAIN.of_untrained().with_value(before + noise[1], 100),
            ]
            add_measure(folder, label, seed, {"measure": "linear-equivariance"}, values)
    return {"one": load_results(folder)}


def claims(*tests, bound=0.02, name="claims"):
    claim = {"claim": "Capsules are <better>", "source": "a test", "bound": bound}
    return Claims.model_validate(
        {
            "name": name,
            "version": 1,
            "title": "Do they?",
            "question": "Who knows?",
            "source": "a test",
            "expected": "at once",
            "parts": {"one": {"benchmark": "quick"}, "two": {"benchmark": "quick"}},
            "claims": [claim | {"tests": list(tests)}],
        }
    )


def judged_claim(parts, *tests, scale="small", **keywords):
    (judged,) = judge(claims(*tests, **keywords), parts, scale)
    return judged


@pytest.mark.parametrize(
    ("test", "verdict"),
    [
        ({"model": "Caps"}, "holds"),
        ({"model": "Caps", "margin": 0.2}, "holds"),
        ({"model": "Caps", "margin": 0.4}, "does not hold"),
        ({"model": "Caps", "lower_is_better": True}, "does not hold"),
        ({"model": "Same"}, "not decided"),
        ({"model": "Same", "margin": -0.2}, "holds"),
        ({"model": "Caps", "quantity": {"metric": "accuracy", "split": "between"}}, "not decided"),
    ],
)
def test_a_test_is_of_the_difference_beyond_the_margin(parts, test, verdict):
    judged = judged_claim(parts, ACCURACY | test, bound=0.001)
    assert judged.verdict == verdict
    (tested,) = judged.tests
    assert tested.verdict == verdict
    if tested.difference is not None:
        assert tested.difference.n_images == 4000
        assert tested.difference.bounds is not None
    else:
        assert tested.reason == "not measured"


def test_networks_as_accurate_as_each_other_are_no_difference(parts):
    test = ACCURACY | {"model": "Same"} | NOVEL_ACCURACY
    judged = judged_claim(parts, test, bound=0.05)
    assert judged.verdict == "no difference"
    assert verdict_table([judged], "small").rows[0].cells[1] == "no difference beyond 5 points"
    assert judged_claim(parts, test, bound=0.001).verdict == "not decided"


def test_a_seed_at_chance_is_named_beside_the_mean(parts):
    results = parts["one"]
    cells = list(results.cells)
    number = next(n for n, cell in enumerate(cells) if (cell.label, cell.seed) == ("CNN", 3))
    record = cells[number].measures["accuracy-by-split"]
    values = tuple(
        value.model_copy(update={"value": 0.101}) if value.quantity == FAMILIAR else value
        for value in record.values
    )
    record = type(record)(**dict(record) | {"values": values})
    cells[number] = replace(cells[number], measures={"accuracy-by-split": record})
    judged = judged_claim(
        {"one": replace(results, cells=tuple(cells))}, ACCURACY | {"model": "Caps"}
    )
    assert judged.tests[0].at_chance == ((), (3,))
    model, against = primary_table(judged, 1, None).rows[0].contents()[3:5]
    assert (model.note, against.note) == ("", "seed 3 at chance")
    assert "seed 3 at chance" in against.line
    assert "CNN, 50,000 parameters" in against.line
    on_sets = [row.cells[2] for row in verdict_table([judged], None).rows]
    assert on_sets[1] == "one: holds (CNN: seed 3 at chance)"


def test_fewer_than_five_seeds_decide_nothing(parts):
    test = ACCURACY | {"model": "Caps"}
    results = parts["one"]
    few = replace(results, cells=tuple(cell for cell in results.cells if cell.seed != 4))
    (tested,) = judged_claim({"one": few}, test).tests
    assert (tested.verdict, tested.reason) == ("not decided", "4 of at least 5 seeds")
    (tested,) = judged_claim(parts, test, scale=None).tests
    assert (tested.verdict, tested.reason) == ("not decided", "5 of at least 10 seeds")
    assert tested.difference is not None  # the numbers are shown all the same


def test_values_without_outcomes_are_compared_over_seeds_and_may_differ_in_quantity(parts):
    test = ACCURACY | {
        "model": "Caps",
        "measure": "calibration",
        "quantity": {"metric": ERROR, "layer": "Caps"},
        "against_quantity": {"metric": ERROR, "layer": "CNN"},
        "lower_is_better": True,
    }
    judged = judged_claim(parts, test)
    assert judged.verdict == "holds"
    (tested,) = judged.tests
    assert tested.difference is not None
    assert (tested.difference.n_seeds, tested.difference.n_images) == ((5, 5), 0)
    assert tested.difference.mean == pytest.approx(0.1, abs=0.01)


LEARNED = ACCURACY | {
    "measure": "linear-equivariance",
    "quantity": {"metric": "gain_over_control", "layer": "poses"},
    "learned": True,
}


def test_a_learned_difference_needs_a_gain_of_the_model_itself(parts):
    """Same is better than Caps, but by its initial weights: training took 0.1 from its number."""
    against = {"model": "Same", "against": "Caps"}
    plain = judged_claim(parts, LEARNED | against | {"learned": False})
    assert (plain.verdict, plain.tests[0].added) == ("holds", None)
    (tested,) = judged_claim(parts, LEARNED | against).tests
    assert tested.verdict == "not decided"
    assert "training has not raised" in tested.reason
    assert tested.difference is not None
    assert tested.difference.p_corrected < 0.05
    assert tested.added is not None
    assert tested.added.mean == pytest.approx(-0.1, abs=0.01)
    assert is_test_of(parts["one"].cells, tested)
    assert not is_test_of(parts["one"].cells, replace(tested, added=None))
    wrong = tested.added._replace(mean=tested.added.mean + 1e-4)
    assert not is_test_of(parts["one"].cells, replace(tested, added=wrong))


def test_a_learned_difference_with_a_gain_holds_and_the_opposite_needs_none(parts):
    """Training adds 0.2 to the number of Caps, which stays smaller; a margin makes it better."""
    better = judged_claim(parts, LEARNED | {"model": "Caps", "margin": -0.5})
    assert better.verdict == "holds"
    (tested,) = better.tests
    assert tested.means == (pytest.approx(0.4, abs=0.01), pytest.approx(0.7, abs=0.01))
    measured = primary_table(better, 1, None).rows[0].contents()[3]
    assert "added by training, p < 0.001" in measured.line
    assert judged_claim(parts, LEARNED | {"model": "Caps"}).verdict == "does not hold"
    lower = {"model": "Same", "against": "CNN", "margin": -0.05, "lower_is_better": True}
    assert judged_claim(parts, LEARNED | lower).verdict == "holds"


def test_layers_with_outcomes_of_images_are_compared_over_images_too(
    tmp_path, write_benchmark, add_measure
):
    """Computed by the real measure: layers of two untrained networks, on the same images."""
    data = find("datamodules", "digits").load()(limit=60)
    measure = load_measure("invariance-error")
    arguments = {
        "measure": "invariance-error",
        "grid": {"rotation": {"start": 90, "stop": 90, "step": 1}},
    }
    config = measure.config.model_validate(arguments)
    build_model = find("models", "cnn-small").load()
    folder = write_benchmark(tmp_path, models=MODELS[:2], seeds=(0, 1, 2))
    for label, width in (("CNN", 2), ("Caps", 4)):
        for seed in range(3):
            torch.manual_seed(seed)
            model = build_model(image_shape=(1, 32, 32), num_classes=10, width=width).eval()
            result = measure.compute(config, model, data, MeasureContext(device="cpu"))
            add_measure(folder, label, seed, arguments, result.values, per_image=result.per_image)
    quantities = {
        "quantity": {"metric": "invariance_error", "layer": "hidden"},
        "against_quantity": {"metric": "invariance_error", "layer": "block 1"},
    }
    test = ACCURACY | {"model": "Caps", "measure": "invariance-error"} | quantities
    (tested,) = judged_claim({"one": load_results(folder)}, test).tests
    assert tested.difference is not None
    assert tested.difference.n_images == 60
    first, second = tested.means
    assert first is not None
    assert second is not None
    assert tested.difference.mean == pytest.approx(first - second)


def test_only_primary_tests_decide_and_are_corrected_together(parts):
    better = ACCURACY | {"model": "Caps"}
    worse = better | {"lower_is_better": True, "primary": False}
    alone = judged_claim(parts, better)
    judged = judged_claim(parts, better, ACCURACY | {"model": "Same", "margin": -0.2}, worse)
    assert judged.verdict == "holds"
    assert [each.verdict for each in judged.tests] == ["holds", "holds", None]
    (first, _, secondary), (single,) = judged.tests, alone.tests
    assert first.difference is not None
    assert single.difference is not None
    assert secondary.difference is not None
    assert (single.difference.comparisons, first.difference.comparisons) == (1, 2)
    assert first.difference.p_corrected == pytest.approx(2 * single.difference.p)
    assert first.difference.p == single.difference.p == secondary.difference.p
    assert (secondary.difference.comparisons, secondary.difference.p_corrected) == (
        1,
        secondary.difference.p,
    )


def test_a_family_is_one_claim(parts):
    """A second claim with many tests takes nothing from the first one."""
    one = claims(ACCURACY | {"model": "Caps"})
    more = claims(*(ACCURACY | {"model": label} for label in ("Caps", "Same")))
    both = one.model_copy(update={"claims": (*one.claims, *more.claims)})
    first, second = judge(both, parts, "small")
    assert first.tests[0].difference is not None
    assert first.tests[0].difference.comparisons == 1
    assert second.tests[0].difference is not None
    assert second.tests[0].difference.comparisons == 2


def test_a_declared_test_counts_although_it_is_not_measured(parts):
    missing = ACCURACY | {"model": "Same", "quantity": {"metric": "accuracy", "split": "between"}}
    judged = judged_claim(parts, ACCURACY | {"model": "Caps"}, missing)
    each = judged.tests[0].difference
    assert each is not None
    assert each.comparisons == 2
    assert each.p_corrected == pytest.approx(2 * each.p)
    assert "for all 2 primary tests together" in primary_table(judged, 1, None).caption


def test_every_verdict_names_the_scale(parts):
    judged = [judged_claim(parts, ACCURACY | {"model": "Caps"})]
    assert verdict_table(judged, "small").columns[1].title == "Verdict, at this scale (small)"
    assert verdict_table(judged, None).columns[1].title == "Verdict"
    assert "at this scale (small)" in primary_table(judged[0], 1, "small").caption
    assert "scale" not in primary_table(judged[0], 1, None).caption


def test_each_network_has_a_row_and_no_claim_fails_because_one_test_does(parts):
    both = parts | {"two": parts["one"]}
    better = ACCURACY | {"model": "Caps"}
    judged = judged_claim(
        both,
        better,
        better | {"part": "two", "margin": 0.4},
        ACCURACY | {"model": "Same", "margin": 0.2},
        ACCURACY | {"model": "Same", "margin": 0.2, "part": "two"},
    )
    assert judged.networks == {"Caps": "not decided", "Same": "does not hold"}
    rows = [row.cells for row in verdict_table([judged], None).rows]
    assert rows == [
        ("Capsules are <better>", "not decided", "4 primary tests on 2 sets"),
        ("· Caps", "not decided", "one: holds; two: does not hold"),
        ("· Same", "does not hold", "one: does not hold; two: does not hold"),
    ]


def test_tables_have_raw_and_corrected_p_and_what_could_have_been_seen(parts):
    tests = (ACCURACY | {"model": "Same"} | NOVEL_ACCURACY, ACCURACY | {"model": "Caps"})
    secondary = ACCURACY | {"model": "Same", "primary": False}
    judged = judged_claim(parts, *tests, secondary)
    _, primary, other = claim_tables([judged], None)
    titles = [column.title for column in primary.columns]
    row = dict(zip(titles, primary.rows[0].contents(), strict=True))
    p, corrected = (float(row[title].text) for title in ("p", "Corrected p"))
    assert corrected == pytest.approx(min(1, 2 * p), rel=0.1)
    low, high = row["Interval"].text.split(" to ")
    assert (row["Seeds"].text, row["Seeds"].details) == ("5 and 5", "4,000 images")
    detectable = points(row["Detectable"].text)
    half = (points(high) - points(low)) / 2
    assert half < detectable < 2.5 * half
    assert "decide nothing" in other.caption
    with_margin = judged_claim(parts, ACCURACY | {"model": "Caps", "margin": -0.005})
    assert "margin −0.5 pts" in primary_table(with_margin, 1, None).rows[0].contents()[5].line
    assert "Verdict" not in {column.title for column in other.columns}


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


def points(text):
    return float(text.removesuffix(" pts").replace("−", "-"))


def test_a_seed_that_one_network_lacks_does_not_make_a_test_wrong(parts):
    """Values that are no means over images are compared over the seeds of both networks."""
    test = ACCURACY | {
        "model": "Caps",
        "measure": "calibration",
        "quantity": {"metric": ERROR, "layer": "Caps"},
        "against_quantity": {"metric": ERROR, "layer": "CNN"},
    }
    results = parts["one"]
    cells = [cell for cell in results.cells if (cell.label, cell.seed) != ("CNN", 2)]
    fewer = {"one": replace(results, cells=tuple(cells))}
    for each in (test, ACCURACY | {"model": "Caps"}):
        (tested,) = judged_claim(fewer, each).tests
        assert tested.difference is not None
        assert is_test_of(cells, tested)
        assert not is_test_of(results.cells, tested)
        other = tested.difference._replace(mean=tested.difference.mean + 1e-4)
        assert not is_test_of(cells, replace(tested, difference=other))
