"""Published numbers and measured ones: verdicts, and the target of the matched rule."""

import pytest

from capsbench.files.atomic import write_rows
from capsbench.records import (
    BenchmarkFolder,
    BenchmarkRecord,
    CellFolder,
    ProtocolChanges,
    Provenance,
    TrainingRecord,
    load_results,
)
from capsbench.records.training import Selected
from capsbench.reporting.comparisons.aggregate import SeedValues
from capsbench.reporting.comparisons.matched import NEVER, matched_table
from capsbench.reporting.comparisons.published import (
    Counterpart,
    compare_differences,
    compare_published,
    verdict,
)
from capsbench.schema import Benchmark, Published, load_benchmark
from capsbench.schema.parts import pairs

ENTRY = Published.model_validate(
    {
        "model": "CNN",
        "measure": "accuracy-by-view",
        "quantity": {"metric": "accuracy", "split": "novel"},
        "value": 0.8,
        "printed": "20 % error",
        "source": "a paper",
        "selected_on": "test",
        "known_by": "read",
    }
)
THREE = SeedValues({0: 0.70, 1: 0.74, 2: 0.72})  # its 95 % interval is 0.67 to 0.77
TWO = SeedValues({0: 0.72, 1: 0.72})
EQUAL = SeedValues({0: 0.72, 1: 0.72, 2: 0.72})


def record(**changes):
    return BenchmarkRecord(
        benchmark=load_benchmark("quick"),
        changes=ProtocolChanges(**changes),
        command="",
        cells=(),
        provenance=Provenance(versions={}, date=""),
    )


def change(folder, **fields):
    """Change fields of a written benchmark."""
    path = BenchmarkFolder(folder).record
    content = BenchmarkRecord.load(path)
    benchmark = Benchmark.model_validate(content.benchmark.model_dump() | fields)
    content.model_copy(update={"benchmark": benchmark}).save(path)


@pytest.mark.parametrize(
    ("value", "spread", "seed_values", "expected"),
    [
        (0.75, None, THREE, "reproduced"),
        (0.8, None, THREE, "not reproduced"),
        (0.8, 0.05, THREE, "reproduced"),
        (0.6, 0.05, THREE, "not reproduced"),
        (0.6, 0.08, THREE, "reproduced"),
        (0.72, None, TWO, "not decided"),
        (0.72, None, EQUAL, "not decided"),  # without an interval
        (0.72, None, None, "not run"),
    ],
)
def test_a_number_is_reproduced_if_it_lies_in_the_interval(value, spread, seed_values, expected):
    entry = ENTRY.model_copy(update={"value": value, "spread": spread})
    counterpart = Counterpart(seed_values, seed_values.n if seed_values else 0, needs_target=False)
    assert verdict(entry, counterpart, record()) == expected
    if seed_values:
        assert verdict(entry, counterpart, record(settings={"recipe.steps": 1})) == "another size"
        assert (
            verdict(entry, counterpart, record(settings={"data.name": "mnist"}))
            == "another data set"
        )


def test_a_target_that_only_some_seeds_reach_decides_nothing():
    some = Counterpart(THREE, 4, needs_target=True)
    assert verdict(ENTRY.model_copy(update={"value": 0.72}), some, record()) == "not decided"
    assert "3 of 4" in some.note
    none = Counterpart(None, 3, needs_target=True)
    assert verdict(ENTRY, none, record()) == "never reached"
    assert verdict(ENTRY, Counterpart(None, 0, needs_target=True), record()) == "not run"


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({}, "full"),
        ({"models": ("CNN",), "settings": {"seeds": [0]}}, "full"),
        ({"settings": {"recipe.steps": 10}}, "changed"),
        ({"search": True}, "changed"),
        ({"claims": "claims-small"}, "changed"),
        ({"scale": "small", "settings": {"seeds": [0]}}, "small"),
    ],
)
def test_a_subset_of_models_and_seeds_is_still_the_shipped_protocol(changes, size):
    assert record(**changes).size == size


def follow(folder, accuracies, to):
    """Rewrite the trajectories of all seeds of a model, and let the benchmark match models."""
    change(folder, follow=["familiar", "novel"], matched={"to": to})
    for cell in load_results(folder).cells:
        rows = cell.trajectory
        for row, accuracy in zip(rows, accuracies[cell.label], strict=True):
            validation = 0.9 if row["step"] == 200 else 0.5
            row |= {"familiar_accuracy": accuracy, "novel_accuracy": accuracy / 2}
            row["validation_accuracy"] = validation
        files = CellFolder(cell.folder.path)
        write_rows(files.trajectory, rows)
        training = TrainingRecord.load(files.training)
        selected_by_rule = {
            "validation": Selected(step=200, accuracy=0.9),
            "last": Selected(step=300, accuracy=0.5),
        }
        training.model_copy(update={"selected": selected_by_rule}).save(files.training)


CURVES = {
    "CNN": [0.1, 0.5, 0.6, 0.7, 0.9, 0.95],
    "Dynamic routing": [0.1, 0.69, 0.72, 0.6, 0.8, 0.9],
    "EM routing": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
}


@pytest.fixture
def folder(tmp_path, write_benchmark):
    return write_benchmark(tmp_path, models=tuple((label, "cnn-small") for label in CURVES))


def test_models_are_matched_to_the_selected_step_of_another(folder):
    follow(folder, CURVES, "CNN")
    table = matched_table(load_results(folder))
    assert table is not None
    first, second, third = (row.contents() for row in table.rows)
    assert [row[1].text for row in (first, second, third)] == [
        "200, 200",
        "150, 150",
        f"{NEVER}, {NEVER}",
    ]
    assert [cell.text for cell in second[2:]] == ["72.0 %", "36.0 %", "2 of 2"]
    assert [cell.text for cell in third[2:]] == ["–", "–", "0 of 2"]
    assert "sees test labels" in table.caption


def test_a_benchmark_without_the_rule_has_no_table(folder):
    assert matched_table(load_results(folder)) is None


def test_a_published_number_of_the_matched_rule_is_compared_at_the_matched_step(folder):
    follow(folder, CURVES, 0.3)
    change(folder, published=[ENTRY.model_dump() | {"rule": "matched", "model": "EM routing"}])
    (row,) = compare_published(load_results(folder))
    assert row.counterpart.seed_values is not None
    assert row.counterpart.seed_values.mean == pytest.approx(0.15)


COMPARED = {
    "CNN": (0.5, []),
    "Dynamic routing": (0.6, []),
    "EM routing": (0.4, ["Dynamic routing", "CNN"]),
}


def test_published_differences_are_those_of_the_named_models(folder):
    follow(folder, CURVES, 0.55)
    entries = [
        ENTRY.model_dump()
        | {"model": label, "value": value, "rule": "matched", "against": against}
        | {"quantity": {"metric": "accuracy", "split": split}}
        for split in ("novel", "familiar")
        for label, (value, against) in COMPARED.items()
    ]
    entries.append(entries[0] | {"rule": "selected"})
    entries.append(entries[0] | {"rule": "selected", "model": "EM routing"})  # published as equal
    near = entries[3] | {"rule": "selected", "spread": 0.06}  # equal within the spreads
    entries += [near, near | {"model": "EM routing", "value": near["value"] + 0.11}]
    change(folder, published=entries)
    rows = compare_differences(load_results(folder))
    # None for the familiar accuracy, which the rule makes equal.
    assert [(row.first.model, row.entry.model) for row in rows] == [
        ("CNN", "Dynamic routing"),
        ("Dynamic routing", "EM routing"),
        ("CNN", "EM routing"),
    ]
    assert [row.verdict_text for row in rows] == ["not decided"] * 3  # two seeds
    change(folder, matched={"to": 0.99})
    results = load_results(folder)
    assert {row.verdict for row in compare_differences(results)} == {"never reached"}
    assert compare_published(results)[0].verdict == "never reached"


def test_a_number_is_compared_with_one_of_the_same_quantity():
    entries = [ENTRY, ENTRY.model_copy(update={"model": "Other", "against": ("Third",)})]
    with pytest.raises(ValueError, match="'Third'"):
        pairs(entries)


def test_numbers_of_two_sources_are_compared_within_their_source():
    models = ("A", "B", "C")
    of = {
        source: [
            ENTRY.model_copy(update={"model": model, "source": source, "against": against})
            for model, against in zip(models, ((), (), ("B",)), strict=True)
        ]
        for source in ("one", "other")
    }
    entries = [of[source][i] for i in range(3) for source in of]
    compared = {(a.source, a.model, b.source, b.model) for a, b in pairs(entries)}
    assert compared == {(name, a, name, b) for name in of for a, b in ("AB", "BC")}
