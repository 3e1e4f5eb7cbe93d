"""Published numbers beside measured ones: verdicts, and the matched rule's target."""

import pytest

from capsbench.records import CellFolder, read_json, read_rows, write_json, write_rows
from capsbench.reporting import matched
from capsbench.reporting.aggregate import OverSeeds
from capsbench.reporting.published import Beside, differences, published, verdict
from capsbench.reporting.results import Protocol, load
from capsbench.schema import Published, load_benchmark
from capsbench.schema.parts import pairs

ENTRY = Published.model_validate(
    {
        "model": "CNN",
        "measure": "accuracy-by-view",
        "key": "novel/accuracy",
        "value": 0.8,
        "printed": "20 % error",
        "source": "a paper",
        "selected_on": "test",
        "known_by": "read",
    }
)
THREE = OverSeeds({0: 0.70, 1: 0.74, 2: 0.72})  # its 95 % interval is 0.67 to 0.77
TWO = OverSeeds({0: 0.72, 1: 0.72})


def protocol(*changes):
    return Protocol(load_benchmark("quick"), changes, "", "", ())


@pytest.mark.parametrize(
    ("value", "spread", "over", "expected"),
    [
        (0.75, None, THREE, "reproduced"),
        (0.8, None, THREE, "not reproduced"),
        (0.8, 0.05, THREE, "reproduced"),
        (0.6, 0.05, THREE, "not reproduced"),
        (0.6, 0.08, THREE, "reproduced"),
        (0.72, None, TWO, "not decided"),
        (0.72, None, None, "not run"),
    ],
)
def test_a_number_is_reproduced_if_it_meets_the_interval(value, spread, over, expected):
    entry = ENTRY.model_copy(update={"value": value, "spread": spread})
    beside = Beside(over, over.n if over else 0, asks=False)
    assert verdict(entry, beside, protocol()) == expected
    if over:
        assert verdict(entry, beside, protocol("recipe.steps=1")) == "another size"
        assert verdict(entry, beside, protocol("data.name=mnist")) == "another data set"


def test_what_only_some_seeds_reached_is_not_decided_and_said():
    some = Beside(THREE, 4, asks=True)
    assert verdict(ENTRY.model_copy(update={"value": 0.72}), some, protocol()) == "not decided"
    assert some.note == "; reached by 3 of 4 seeds"
    none = Beside(None, 3, asks=True)
    assert verdict(ENTRY, none, protocol()) == "never reached"
    assert verdict(ENTRY, Beside(None, 0, asks=True), protocol()) == "not run"


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ([], "full"),
        (["only=CNN", "seeds=[0]"], "full"),
        (["recipe.steps=10"], "changed"),
        (["search"], "changed"),
        (["scale=small", "recipe.steps=10", "seeds=[0]"], "small"),
    ],
)
def test_only_fewer_models_and_seeds_are_the_shipped_protocol(
    tmp_path, write_benchmark, changes, size
):
    folder = write_benchmark(tmp_path)
    content = read_json(folder / "benchmark.json")
    write_json(folder / "benchmark.json", content | {"changes": changes})
    assert load(folder).protocol.size == size


def follow(folder, accuracies, to):
    """Rewrite the trajectories of all seeds of a model, and let the benchmark match models."""
    content = read_json(folder / "benchmark.json")
    content["benchmark"] |= {"follow": ["familiar", "novel"], "matched": {"to": to}}
    write_json(folder / "benchmark.json", content)
    for cell in content["cells"]:
        records = CellFolder(folder.parent / cell["path"])
        rows = read_rows(records.trajectory)
        familiar = accuracies[cell["label"]]
        for row, accuracy in zip(rows, familiar, strict=True):
            row |= {"familiar_accuracy": accuracy, "novel_accuracy": accuracy / 2}
        write_rows(records.trajectory, rows)
        training = read_json(records.training)
        training["selected"]["validation"]["step"] = 200
        write_json(records.training, training)


CURVES = {
    "CNN": [0.1, 0.5, 0.6, 0.7, 0.9, 0.95],
    "Dynamic routing": [0.1, 0.69, 0.72, 0.6, 0.8, 0.9],
    "EM routing": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
}


def test_models_are_matched_to_another_where_it_was_selected(tmp_path, write_benchmark):
    folder = write_benchmark(tmp_path, models=tuple((label, "cnn-small") for label in CURVES))
    follow(folder, CURVES, "CNN")
    results = load(folder)
    first, second, third = matched.matched_table(results)
    assert (first.steps, second.steps, third.steps) == (
        "200, 200",
        "150, 150",
        "never reached, never reached",
    )
    means = [entry.over.mean for entry in second.entries if entry]
    assert means == pytest.approx([0.72, 0.36])
    assert third.entries == (None, None)
    assert (third.reached, third.seeds) == (0, 2)
    (table,) = matched.tables(results)
    assert "sees test labels" in table.caption


def test_a_published_number_of_the_matched_rule_is_beside_the_matched_look(
    tmp_path, write_benchmark
):
    entry = ENTRY.model_dump() | {"rule": "matched", "model": "EM routing"}
    folder = write_benchmark(tmp_path, models=tuple((label, "cnn-small") for label in CURVES))
    follow(folder, CURVES, 0.3)
    content = read_json(folder / "benchmark.json")
    content["benchmark"]["published"] = [entry]
    write_json(folder / "benchmark.json", content)
    (row,) = published(load(folder))
    assert row.beside.over is not None
    assert row.beside.over.mean == pytest.approx(0.15)


COMPARED = {
    "CNN": (0.5, []),
    "Dynamic routing": (0.6, []),
    "EM routing": (0.4, ["Dynamic routing", "CNN"]),
}


def test_published_differences_are_those_that_are_asked_for(tmp_path, write_benchmark):
    folder = write_benchmark(tmp_path, models=tuple((label, "cnn-small") for label in COMPARED))
    follow(folder, CURVES, 0.55)
    entries = [
        ENTRY.model_dump()
        | {"model": label, "value": value, "rule": "matched", "key": key, "against": against}
        for key in ("novel/accuracy", "familiar/accuracy")
        for label, (value, against) in COMPARED.items()
    ]
    entries.append(entries[0] | {"rule": "selected"})
    entries.append(entries[0] | {"rule": "selected", "model": "EM routing"})  # published as equal
    content = read_json(folder / "benchmark.json")
    content["benchmark"]["published"] = entries
    write_json(folder / "benchmark.json", content)
    results = load(folder)
    rows = differences(results)
    # None of the familiar accuracy, at which they are matched.
    assert [(row.first.model, row.entry.model) for row in rows] == [
        ("CNN", "Dynamic routing"),
        ("Dynamic routing", "EM routing"),
        ("CNN", "EM routing"),
    ]
    assert [row.verdict for row in rows] == ["not decided"] * 3  # two seeds
    content["benchmark"]["matched"] = {"to": 0.99}
    write_json(folder / "benchmark.json", content)
    assert {row.verdict for row in differences(load(folder))} == {"never reached"}
    assert published(load(folder))[0].verdict == "never reached"


def test_a_number_is_compared_with_one_of_the_same_quantity():
    entries = [ENTRY, ENTRY.model_copy(update={"model": "Other", "against": ("Third",)})]
    with pytest.raises(ValueError, match="against 'Third', which has no number of the same"):
        pairs(entries)
