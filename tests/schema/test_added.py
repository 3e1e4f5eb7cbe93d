"""Requested models: of the file, and added to it."""

import pytest

from capsbench.errors import UserError
from capsbench.schema import ModelEntry, load_benchmark, parse_models

RESNET = "{name: torchvision.models:resnet18, label: ResNet, arguments: {width_per_group: 8}}"


@pytest.mark.parametrize(
    ("texts", "own", "added"),
    [
        ([], None, []),
        (["CNN,", ", "], ("CNN",), []),
        (["CNN, CapsNet (dynamic routing)"], ("CNN", "CapsNet (dynamic routing)"), []),
        (["+net.py:Net"], None, [ModelEntry(name="net.py:Net", label="Net")]),
        (
            ["CNN,+net.py:Net, + cnn-p4"],
            ("CNN",),
            [ModelEntry(name="net.py:Net"), ModelEntry(name="cnn-p4", label="cnn-p4")],
        ),
        (
            [f"+{RESNET},CNN", "lenet5"],
            ("CNN", "lenet5"),
            [
                ModelEntry(
                    name="torchvision.models:resnet18",
                    label="ResNet",
                    arguments={"width_per_group": 8},
                )
            ],
        ),
    ],
    ids=["none", "empty parts", "own", "added", "mixed", "mapping"],
)
def test_a_plus_adds_a_model(texts, own, added):
    assert parse_models(texts) == (own, tuple(added))


def test_models_may_follow_one_of_a_file(tmp_path):
    file = tmp_path / "net.py"
    file.touch()
    requested = parse_models([f"+{file}:Net,CNN", "MLP"])
    assert requested.own == ("CNN", "MLP")
    assert [entry.name for entry in requested.added] == [f"{file}:Net"]


def test_a_comma_in_a_path_needs_braces(tmp_path):
    file = tmp_path / "a+b,c.py"
    file.touch()
    with pytest.raises(UserError, match=r"comma.*name: ") as error:
        parse_models([f"+{file}:Net"])
    remedy = str(error.value).partition("'")[2].removesuffix("'")
    assert [entry.name for entry in parse_models([remedy]).added] == [f"{file}:Net"]


def test_added_models_come_after_those_of_the_changed_file():
    changes = {"models": [{"name": "lenet5"}], "matched": {"to": "Net"}, "follow": ["familiar"]}
    added = parse_models(["+{name: cnn-small, label: Net}"]).added
    benchmark = load_benchmark("quick", changes, added=added)
    assert [entry.label for entry in benchmark.models] == ["lenet5", "Net"]
    variants = {"vary": {"name": "steps", "place": "recipe.steps", "values": [3, 4]}}
    assert load_benchmark("quick", variants, added=added).models[-1].label == "Net"


def test_a_label_names_one_model():
    """Two classes of one name from two files are plausible: one of them needs a label."""
    added = parse_models(["+a.py:Net,+b.py:Net"]).added
    with pytest.raises(
        UserError, match=r"'Net' is that of a\.py:Net and of b\.py:Net.*label: Net 2"
    ):
        load_benchmark("quick", added=added)
    with pytest.raises(UserError, match=r"must not begin with '\+'"):
        parse_models(["+{name: cnn-p4, label: +P4}"])
