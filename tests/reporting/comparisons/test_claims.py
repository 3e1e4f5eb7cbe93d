"""Claims: differences of known size, families of tests, networks, verdicts and tables."""

from dataclasses import replace

import pytest
import torch

from capsbench.measures import MeasureContext, load_measure
from capsbench.names import find
from capsbench.records import load_results
from capsbench.reporting.comparisons.claims import judge
from capsbench.reporting.exports.claims_checks import is_test_of
from capsbench.reporting.tables.claims_tables import claim_tables, primary_table, verdict_table
from tests.reporting.comparisons.made_up_claims import (
    ACCURACY,
    ERROR,
    FAMILIAR,
    MODELS,
    NOVEL_ACCURACY,
    claims,
    judged_claim,
)


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
